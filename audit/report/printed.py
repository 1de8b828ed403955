"""Findings as they print in the cells of a table that tells several metrics of one thing, and their order there."""

import math
from collections.abc import Iterable

from audit.report import numbers, scopes
from audit.report.levels import Point
from audit.report.rows import Row, clean

Criteria = tuple[tuple[str, Row], ...]
"""The criteria of a line, each with what it is about where that is not what the line is about."""
_BLOCKING = ("FAIL", "NOT EVALUATED")


def place(points: Iterable[Point], loss: Point | None) -> tuple[int, float]:
    """A key that sorts: first where a criterion failed, then where one was not evaluated, then the largest losses."""
    words = {point.row.word for point in points if point.row is not None}
    urgency = next((place for place, word in enumerate(_BLOCKING) if word in words), len(_BLOCKING))
    return urgency, math.inf if loss is None or loss.value is None else -loss.value


def blocks(key: tuple[int, float]) -> bool:
    """Whether what sorts by that key failed or was not evaluated."""
    return key[0] < len(_BLOCKING)


def matters(key: tuple[int, float]) -> bool:
    """Whether what sorts by that key blocks, or has lost anything."""
    return blocks(key) or key[1] < 0


def estimate(point: Point | None) -> str:
    """The estimate alone, in the digits of its criterion where it has one; a dash where there is none."""
    if point is None or point.value is None:
        return "–"
    if point.row is not None and point.row.record.estimate is not None:
        return point.row.estimate
    return numbers.measured(point.value, point.finding.unit)


def bounded(point: Point | None) -> str:
    """Estimate and bounds, these in one line; only the estimate of what was counted."""
    if point is None or point.value is None or point.finding.lower == point.finding.upper:
        return estimate(point)
    return point.words.replace(", ", ",\N{NO-BREAK SPACE}")


def criteria(points: Iterable[tuple[bool, Point | None]]) -> Criteria:
    """The criteria of the points; those that need no name come first."""
    decided = [(plain, point.row) for plain, point in points if point is not None and point.row is not None]
    return tuple(
        ("" if plain else _label(row), row) for plain, row in sorted(decided, key=lambda it: (not it[0], it[1].number))
    )


def notes(points: Iterable[Point | None]) -> tuple[str, ...]:
    """Why what has no value was not measured, each reason once."""
    missing = [point.finding for point in points if point is not None and point.value is None]
    return tuple(dict.fromkeys(record.detail or record.missing or "no reason given" for record in missing))


def _label(row: Row) -> str:
    """What a criterion is about, without its scope but for the model."""
    claim = scopes.parsed(row.record.claim)
    title, _ = scopes.apart(clean(row.record.title), row.record.claim)
    return ", ".join(filter(None, (title, dict(claim.scope).get("role", ""))))
