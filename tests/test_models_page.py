"""docs/models.md names a test in every cell, and each of them exists."""

import re
from pathlib import Path

from tests import test_formats

HOME = Path(__file__).parent.parent
PAGE = (HOME / "docs" / "models.md").read_text(encoding="utf-8")


def test_every_row_has_a_test_and_every_test_exists() -> None:
    heads = "as it comes|format|what stands|compared|case"
    rows = [line for line in PAGE.splitlines() if re.match(rf"\| (?!{heads})", line)]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (HOME / "tests" / file).read_text(encoding="utf-8"), name


def test_every_cell_of_the_formats_is_a_test() -> None:
    cells = {
        cell for row in PAGE.splitlines() if "`test_formats.py::" in row for cell in re.findall(r"`([^`:]+)`", row)
    }
    expected = {f"{form}-{task}" for form in test_formats.FORMATS for task in test_formats.TASKS} | {
        *test_formats.TASKS
    }
    names = {"architecture", "--trust-code", ".pt2", "audit.compare"}
    assert cells - names == expected
