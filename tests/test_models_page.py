"""docs/models.md names a test in every cell, and each of them exists."""

import re
from pathlib import Path

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
