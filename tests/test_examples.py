"""The certificates in docs/ are of evidence that this version of the program reads, and its pages repeat them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from audit import evidence
from audit.report import junit, markdown
from audit.report.rows import Part
from audit.report.view import results
from checks.perturbations.corruptions.catalogue import KINDS

DOCS = Path(__file__).parent.parent / "docs"
EXAMPLES = sorted(DOCS.glob("example-*/*/evidence.json"))
CIFAR = DOCS / "example-cifar10"
CANDIDATES = ("pruned-50", "pruned-75", "pruned-90")
MARKED = re.compile(r"(<!-- (\w+): begin[^>]*-->\n).*?(<!-- \2: end -->\n)", re.DOTALL)


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


def table(policy: str) -> str:
    """Every criterion that speaks of the pair, and how it came out for each candidate."""
    records = [evidence.load(CIFAR / f"{name}-{policy}" / "evidence.json") for name in CANDIDATES]
    found = [results(record) for record in records]
    verdicts = [f"**{record.body.verdict.overall}**" for record in records]
    lines = [
        f"| {policy} | limit | {' | '.join(CANDIDATES)} |",
        "|---|---|---|---|---|",
        f"| **overall** | | {' | '.join(verdicts)} |",
    ]
    cells: dict[str, list[str]] = {}
    for each in found:
        for part in Part:
            for row in each.of(part):
                if not row.record.claim.startswith("integrity.") and "@corruption=" not in row.record.claim:
                    title = row.record.title + ("" if part is Part.REQUIRED else f" ({part.value})")
                    cell = f"{row.mark.glyph} {row.estimate} {row.bounds}".rstrip()
                    cells.setdefault(row.record.claim, [title, row.limit]).append(cell)
    order = [record.claim for record in records[0].body.decisions]
    lines += [f"| {' | '.join(cells[claim])} |" for claim in order if claim in cells]
    return "\n".join(lines) + "\n"


def figure(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def drops() -> str:
    """What each candidate loses under each corruption and severity, beside the reference's own accuracy there."""
    found = [
        {finding.claim: finding.estimate for finding in record.body.findings}
        for record in (evidence.load(CIFAR / f"{name}-standard" / "evidence.json") for name in CANDIDATES)
    ]

    def cell(values: Mapping[str, float | None], metric: str, kind: str) -> str:
        each = (values[f"{metric}@corruption={kind},severity={severity}"] for severity in (1, 2, 3))
        return " · ".join(figure(value, 1) for value in each)

    lines = [f"| corruption | reference, % | {' | '.join(CANDIDATES)} |", "|---|---|---|---|---|"]
    for kind in KINDS:
        lost = " | ".join(cell(values, "accuracy.drop", kind) for values in found)
        lines.append(f"| {kind.replace('_', ' ')} | {cell(found[0], 'reference.accuracy', kind)} | {lost} |")
    for title, metric in (
        ("mean over all cells", "corruption.mean_drop"),
        ("the same beyond the loss on clean images", "corruption.mean_excess_drop"),
        ("largest in any cell", "corruption.worst_drop"),
    ):
        lines.append(f"| {title} | | {' | '.join(figure(values[metric], 2) for values in found)} |")
    return "\n".join(lines) + "\n"


def test_the_page_of_the_cifar_example_says_what_its_evidence_says() -> None:
    page = CIFAR / "README.md"
    text = page.read_text(encoding="utf-8")
    expected = MARKED.sub(lambda part: part[1] + (drops() if part[2] == "drops" else table(part[2])) + part[3], text)
    if os.environ.get("UPDATE_GOLDENS"):
        page.write_text(expected, encoding="utf-8")
        return
    assert [part[1] for part in MARKED.findall(text)] == ["standard", "drops", "strict"]
    assert text == expected
