"""The verdict as Markdown, for the summary page of a CI step."""

import re

from audit.evidence import Evidence
from audit.report import numbers, sentences
from audit.report.rows import MARKS, Part, Row, clean
from audit.report.view import certificate_number, name, not_for_release, results

MOST_ROWS = 50
MOST_PASSED = 10
"""How many that passed a table shows that has more than `MOST_ROWS`."""
_SYNTAX = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")
# A claim id (accuracy.drop@severity=5) stays as one types it; a mention or an address does not.
_LINKS = re.compile(r"(?<!\w@)(?<=@)(?=\w)|(?<=@)(?=[\w-]+\.)|(?<=#)(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_JOINER = "\N{WORD JOINER}"


def render(evidence: Evidence) -> str:
    """Verdict, statement, results and digests; long tables are cut and say so."""
    found = results(evidence)
    body = evidence.body
    mark = MARKS[body.verdict.overall]
    accepted = "Accepted" if body.verdict.accepted else "Not accepted"
    parts = [
        f"## {mark.glyph} {body.verdict.overall}: verification certificate {certificate_number(evidence)}",
        f"**{escape(sentences.conformity(evidence, found))}** {accepted} under this policy.",
        escape(sentences.headline(evidence, found)),
    ]
    if left_out := sentences.left_out(body.policy):
        parts.append(f"{left_out}, because no data were given that can have them.")
    if not_for_release(evidence):
        kind = " Exploratory." if body.verdict.exploratory else ""
        parts.append(f"**NOT FOR RELEASE.**{kind} {' '.join(map(escape, body.deviations))}".rstrip())
    if found.waived:
        shown = [f"- {escape(sentences.waived(row))}" for row in found.waived[:MOST_ROWS]]
        parts.append("\n".join(["**Waived:**", "", *shown]))
    for part in Part:
        parts += _table(f"{part.value.capitalize()} criteria", found.of(part))
    parts += [_digests(evidence), sentences.FIRST_PARTY]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no markup, table cell, link, reference or notification comes of it."""
    return _SYNTAX.sub(r"\\\1", _LINKS.sub(_JOINER, clean(text)))


def _table(title: str, rows: tuple[Row, ...]) -> list[str]:
    if not rows:
        return []
    shown = _shown(rows)
    lines = [
        "| # | Verdict | Criterion | Limit | Estimate [bounds] | Margin |",
        "| ---: | --- | --- | --- | --- | ---: |",
        *map(_line, shown),
    ]
    more = len(rows) - len(shown)
    cut = [f"… and {numbers.count(more)} more in certificate.html."] if more > 0 else []
    return [f"### {title}", "\n".join(lines), *cut]


def _shown(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """All rows of a short table; of a long one what blocks, and the first of what passed."""
    if len(rows) <= MOST_ROWS:
        return rows
    blocking = sum(row.record.verdict != "PASS" for row in rows)
    return rows[: min(MOST_ROWS, blocking + MOST_PASSED)]


def _line(row: Row) -> str:
    record = row.record
    why = "".join(f"<br>{escape(note)}" for note in sentences.notes(row))
    cells = (
        str(row.number),
        f"{row.mark.glyph} {row.word}",
        f"{escape(record.title)}<br>{escape(record.claim)}{why}",
        row.limit,
        f"{row.estimate} {row.bounds}".rstrip(),
        row.margin_with_unit,
    )
    return f"| {' | '.join(cells)} |"


def _digests(evidence: Evidence) -> str:
    body = evidence.body
    named = [
        *((model.role, name(evidence, model.role), model.sha256) for model in body.models),
        *((f"{data.role} data", name(evidence, data.role), data.sha256) for data in body.data),
        ("policy", body.policy.id, body.policy.sha256),
        ("certificate", "id", evidence.id),
    ]
    lines = [f"| {role} | {escape(name)} | `{sha256}` |" for role, name, sha256 in named]
    return "\n".join(["| Item | Name | SHA-256 |", "| --- | --- | --- |", *lines])
