"""The certificates in docs/ are of evidence that this version of the program reads."""

from pathlib import Path

import pytest

from audit import evidence
from audit.report import junit, markdown

EXAMPLES = sorted((Path(__file__).parent.parent / "docs").glob("example-*/*/evidence.json"))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_form_is_that_of_its_evidence(path: Path) -> None:
    record = evidence.load(path)
    for name, form in (("summary.md", markdown), ("junit.xml", junit)):
        assert (path.parent / name).read_text(encoding="utf-8") == form.render(record)
    page = (path.parent / "certificate.html").read_text(encoding="utf-8")
    assert record.id[:32] in page and record.body.verdict.overall in page
    assert (path.parent / "certificate.pdf").read_bytes().startswith(b"%PDF-")
