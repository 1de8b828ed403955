"""Findings that differ in nothing but their level: the curves of the report, as data."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

from audit.evidence import Evidence, FindingRecord
from audit.report import numbers, scopes
from audit.report.rows import Row, clean
from audit.report.view import results
from audit.types import Scope

MOST_PANELS = 12
PIXEL = 255
_NONE = "none"
_AXES = {
    "noise normalised": (
        "level, standard deviations of the input",
        "Levels of noise after normalisation are in standard deviations of the normalised input.",
    ),
    "noise salt_and_pepper": ("level, share of the pixels", "Levels of salt and pepper are shares of the pixels."),
}
"""What the levels of a condition are where they are no 255ths: on its axis, and in a sentence."""
_DRAWN = {
    "accuracy.drop": "",
    "functional.agreement": "baseline.agreement",
    "functional.softmax_l2": "baseline.softmax_l2",
    "functional.deviation": "baseline.deviation",
}
"""Metrics that are drawn, in this order, each with the same measure of the baseline model."""


@dataclass(frozen=True, slots=True)
class Point:
    """A finding at a level; `row` is its criterion, where there is one. Level 0 has the text "none"."""

    level: Fraction
    text: str
    finding: FindingRecord
    row: Row | None

    @property
    def value(self) -> float | None:
        """The estimate, in the unit of the finding."""
        return self.finding.estimate

    @property
    def failed(self) -> bool:
        """Whether its criterion is broken."""
        return self.row is not None and self.row.word == "FAIL"

    @property
    def words(self) -> str:
        """Estimate and bounds as they print."""
        if self.value is None:
            return "not measured"
        if self.row is not None and self.row.record.estimate is not None:
            return " ".join(filter(None, (self.row.estimate, self.row.bounds)))
        unit = self.finding.unit
        bounds = numbers.bounds(self.finding.lower, self.finding.upper, unit)
        return " ".join(filter(None, (numbers.measured(self.value, unit), bounds)))


@dataclass(frozen=True, slots=True)
class Figure:
    """A value in a table that is neither bounded nor decided."""

    words: str
    row: None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One metric under one condition, by level; `baseline` is the baseline's own curve, or empty."""

    metric: str
    title: str
    unit: str
    condition: str
    points: tuple[Point, ...]
    baseline: tuple[Point, ...]

    @property
    def in_pixels(self) -> bool:
        """Whether every level is written in 255ths of the range of a value."""
        return all(point.text.endswith(f"/{PIXEL}") for point in self.points if point.level)

    @property
    def axis(self) -> str:
        """What the levels are, with their unit."""
        if self.in_pixels:
            return "level, 255ths of the range of a value"
        return _AXES.get(self.condition, ("level", ""))[0]

    @property
    def curves(self) -> tuple[tuple[str, tuple[Point, ...]], ...]:
        """The candidate's curve and the baseline's, each with its heading."""
        own = (self.condition or "candidate", self.points)
        theirs = ", ".join(filter(None, ("baseline", self.condition)))
        return (own, (theirs, self.baseline)) if self.baseline else (own,)


@dataclass(frozen=True, slots=True)
class Table:
    """Values of one metric in words: named lines of a cell per column, empty where nothing is.

    `corner` is what the lines are, such as levels.
    """

    title: str
    unit: str
    metrics: tuple[str, ...]
    corner: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Point | Figure | None, ...]], ...]

    @property
    def limit(self) -> str:
        """The limit, where every value has the same."""
        limits = {None if point.row is None else point.row.limit for point in self._points}
        return (limits.pop() or "") if len(limits) == 1 else ""

    @property
    def contents(self) -> str:
        """What stands in the cells."""
        if all(point.row is None for point in self._points):
            return "estimate and one-sided bounds"
        return f"estimate, one-sided bounds{' and' if self.limit else ', limit and'} verdict"

    @property
    def _points(self) -> tuple[Point, ...]:
        return tuple(cell for _, cells in self.lines for cell in cells if isinstance(cell, Point))


_Curves = Mapping[tuple[str, Scope], tuple[Point, ...]]


def panels(evidence: Evidence) -> tuple[Panel, ...]:
    """The first `MOST_PANELS` curves with at least two levels and two values, in the order of the metrics."""
    curves = _curves(evidence)
    titles = {record.claim: record.title for record in evidence.body.findings}
    found = [
        Panel(
            metric,
            clean(titles.get(metric) or scopes.apart(points[-1].finding.title, points[-1].finding.claim)[0]),
            points[-1].finding.unit,
            clean(scopes.words(scope)) if scope else "",
            points,
            curves.get((baseline, scope), ()),
        )
        for metric, baseline in _DRAWN.items()
        for (name, scope), points in sorted(curves.items(), key=lambda curve: scopes.order(curve[0][1]))
        if name == metric
    ]
    return tuple(found[:MOST_PANELS])


def sheets(drawn: Sequence[Panel]) -> tuple[tuple[Panel, ...], ...]:
    """The panels figure by figure: a metric each, or all in one where there is one condition only."""
    if len({panel.condition for panel in drawn}) == 1:
        return (tuple(drawn),)
    return tuple(tuple(group) for _, group in groupby(drawn, key=lambda panel: panel.metric))


def tables(drawn: Iterable[Panel]) -> tuple[Table, ...]:
    """The same values in words, one table for each metric and each unit of its levels."""
    groups: dict[tuple[str, str], list[Panel]] = defaultdict(list)
    for panel in drawn:
        groups[panel.metric, panel.axis].append(panel)
    return tuple(map(_table, groups.values()))


def heading(drawn: Iterable[Panel]) -> str:
    """What the section is called: by the condition that all curves share, if it is one.

    >>> heading(())
    'By level'
    """
    kinds = {panel.condition.split(" ")[0] for panel in drawn}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return f"By level of {kind}" if kind else "By level"


def units(drawn: Iterable[Panel]) -> str:
    """What the levels of those conditions are that need a word; '' where none does."""
    return " ".join(dict.fromkeys(_AXES[panel.condition][1] for panel in drawn if panel.condition in _AXES))


def _curves(evidence: Evidence) -> _Curves:
    """All curves by metric and scope without the level, each sorted by level and beginning with the clean value."""
    rows = {row.record.claim: row for row in results(evidence).rows}
    found: dict[tuple[str, Scope], list[Point]] = defaultdict(list)
    clean_points: dict[str, Point] = {}
    for record in evidence.body.findings:
        claim = scopes.parsed(record.claim)
        text = dict(claim.scope).get("level", "")
        level = scopes.level(text)
        row = rows.get(record.claim)
        if level:
            rest = tuple(pair for pair in claim.scope if pair[0] != "level")
            found[claim.metric, rest].append(Point(level, text, record, row))
        elif not claim.scope:
            clean_points[claim.metric] = Point(Fraction(0), _NONE, record, row)
    for (metric, _), points in found.items():
        points.sort(key=lambda point: point.level)
        points[:0] = [clean_points[metric]] if metric in clean_points else []
    return {name: tuple(points) for name, points in found.items() if _worth_drawing(points)}


def _worth_drawing(points: list[Point]) -> bool:
    levels = {point.level for point in points if point.level}
    return len(levels) > 1 and sum(point.value is not None for point in points) > 1


def _table(drawn: Sequence[Panel]) -> Table:
    curves = [curve for panel in drawn for curve in panel.curves]
    at = [{point.level: point for point in points} for _, points in curves]
    levels = {point.level: point.text for _, points in curves for point in points}
    lines = tuple((clean(levels[level]), tuple(curve.get(level) for curve in at)) for level in sorted(levels))
    metrics = dict.fromkeys(scopes.parsed(points[-1].finding.claim).metric for _, points in curves)
    columns = tuple(name for name, _ in curves)
    return Table(drawn[0].title, drawn[0].unit, tuple(metrics), "Level", columns, lines)
