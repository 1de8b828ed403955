"""What every rendering of an evidence shares: the order of the results and the sentences about them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from audit.errors import AuditError
from audit.evidence import Evidence
from audit.records import DataName, ModelRecord, RoleName
from audit.report import numbers, scopes
from audit.report.rows import MARKS, Part, Row

MOST_UNGROUPED = 30
_ORDER = list(MARKS)
_PARTS = list(Part)


@dataclass(frozen=True, slots=True)
class Results:
    """All criteria, numbered through; in each part what blocks first."""

    rows: tuple[Row, ...]

    def of(self, part: Part) -> tuple[Row, ...]:
        """The rows of one table."""
        return tuple(row for row in self.rows if row.part is part)

    @property
    def required(self) -> tuple[Row, ...]:
        """What the overall verdict rests on."""
        return self.of(Part.REQUIRED)

    @property
    def waived(self) -> tuple[Row, ...]:
        return self.of(Part.WAIVED)

    @property
    def advisory(self) -> tuple[Row, ...]:
        return self.of(Part.ADVISORY)

    @property
    def inapplicable(self) -> tuple[Row, ...]:
        return self.of(Part.INAPPLICABLE)

    @property
    def drawn(self) -> tuple[Row, ...]:
        """The rows that may have a margin."""
        return tuple(row for row in self.rows if row.record.applicable)

    @property
    def reasons(self) -> tuple[Row, ...]:
        """The three required results that stand most in the way of a PASS."""
        return tuple(row for row in self.required if row.record.verdict != "PASS")[:3]

    @property
    def narrowest(self) -> Row | None:
        """The required PASS that is nearest to its limit in guard bands."""
        passed = [row for row in self.required if row.record.verdict == "PASS"]
        return min(passed, key=_position, default=None)


def results(evidence: Evidence) -> Results:
    """The decisions: FAIL, NOT EVALUATED, CONDITIONAL FAIL, CONDITIONAL PASS, PASS; then by margin.

    Where there are more than `MOST_UNGROUPED`, those that passed are ordered by their condition first, and under a
    condition that is a number by that.
    """
    body = evidence.body
    waivers = {(waiver.id, waiver.claim): waiver for waiver in body.policy.waivers}
    rows = [Row(0, record, waivers.get((record.waiver or "", record.claim))) for record in body.decisions]
    if len(rows) > MOST_UNGROUPED:
        headings = scopes.headings(row.record.claim for row in rows)
        rows = [_under(headings[row.record.claim], row) if row.record.verdict == "PASS" else row for row in rows]
    return Results(tuple(replace(row, number=number) for number, row in enumerate(sorted(rows, key=_rank), start=1)))


def _under(heading: str, row: Row) -> Row:
    """The row under its heading, which names the metric too where the title is that of a metric and its scope."""
    metric, name = scopes.apart(row.record.title, row.record.claim)
    if heading.startswith(scopes.BY) and name:
        return replace(row, condition=f"{heading} – {metric}", name=name)
    return replace(row, condition=heading)


def grouped(rows: Iterable[Row]) -> list[tuple[str, tuple[Row, ...]]]:
    """Rows that follow one another under one condition, with its name; empty where they stand under none."""
    return [(condition, tuple(group)) for condition, group in groupby(rows, key=lambda row: row.condition)]


def _rank(row: Row) -> tuple[Any, ...]:
    scope = scopes.parsed(row.record.claim).scope
    place, many = scopes.order(scope), row.condition.startswith(scopes.BY)
    whole = place if row.condition == scopes.words(scope) else ()
    group = (row.condition != scopes.CLEAN, many, whole, row.condition)
    within = place if many and scopes.numbered(scope) else ()
    return _PARTS.index(row.part), _ORDER.index(row.record.verdict), group, within, _position(row), row.record.claim


def _position(row: Row) -> float:
    return -math.inf if row.position is None else row.position


def model(evidence: Evidence, role: RoleName) -> ModelRecord | None:
    """The model in that role, if the evidence names one."""
    return next((record for record in evidence.body.models if record.role == role), None)


def name(evidence: Evidence, role: RoleName | DataName) -> str:
    """What the file of a model or of the data is called; a label, which no digest covers."""
    return evidence.run.names.get(role, f"The {role}")


def not_for_release(evidence: Evidence) -> bool:
    """Whether the page must say that no release may rest on it, whatever its verdict."""
    return evidence.body.verdict.exploratory or bool(evidence.body.deviations)


def issued(evidence: Evidence) -> datetime:
    """When the run ended, in UTC; raises AuditError where the evidence does not say so in ISO 8601."""
    try:
        moment = datetime.fromisoformat(evidence.run.finished)
    except ValueError as error:
        raise AuditError(
            f"evidence.json: run.finished is {evidence.run.finished!r}, not a time in ISO 8601",
            "Render the evidence.json that `prune-audit run` wrote.",
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def certificate_number(evidence: Evidence) -> str:
    """The first 16 hex digits of the id, in groups."""
    return numbers.groups(evidence.id[:16])
