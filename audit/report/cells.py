"""What each corruption costs at each severity: the heat map of the report and its tables, as data."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from audit.evidence import Evidence, FindingRecord
from audit.report import numbers, scopes
from audit.report.levels import Figure, Point, Table
from audit.report.rows import Row, clean
from audit.report.view import results

DRAWN = "accuracy.drop"
_FIRST = (DRAWN, "corruption.excess_drop", "reference.accuracy", "candidate.accuracy")
"""The order of the metrics; those that are not named follow by their names."""
_OVERALL = (
    "corruption.mean_drop", "corruption.mean_excess_drop", "corruption.mean_error", "corruption.mce",
    "corruption.worst_drop",
)  # fmt: skip
_KEYS = ("corruption", "severity")
_NAMED = 3
"""How many cells that failed the alternative text names."""


@dataclass(frozen=True, slots=True)
class Line:
    """One corruption: a cell for each severity, None where nothing was to be measured."""

    name: str
    cells: tuple[Point | None, ...]

    @property
    def mean(self) -> float | None:
        """The plain mean of the estimates that there are: a figure without bounds."""
        values = [cell.value for cell in self.cells if cell is not None and cell.value is not None]
        return fmean(values) if values else None


@dataclass(frozen=True, slots=True)
class Grid:
    """One metric by corruption and severity, both in their order."""

    metric: str
    title: str
    unit: str
    severities: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def points(self) -> Iterator[Point]:
        """Every cell that there is."""
        return (cell for line in self.lines for cell in line.cells if cell is not None)

    @property
    def rows(self) -> tuple[Row, ...]:
        """The criteria of the cells."""
        return tuple(cell.row for cell in self.points if cell.row is not None)

    @property
    def with_means(self) -> bool:
        """Whether the means of the lines tell more than the cells: of losses at several severities."""
        return self.metric == DRAWN and len(self.severities) > 1

    @property
    def extent(self) -> float:
        """The largest amount in any cell; 0 where nothing was measured."""
        return max((abs(cell.value) for cell in self.points if cell.value is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Overall:
    """A claim over all cells, as it prints, and its criterion, where there is one."""

    claim: str
    title: str
    words: str
    row: Row | None


def grids(evidence: Evidence) -> tuple[Grid, ...]:
    """All metrics that were measured by corruption and severity, the one that is drawn first; () without that one."""
    rows = {row.record.claim: row for row in results(evidence).rows}
    found: dict[str, dict[tuple[str, str], Point]] = defaultdict(dict)
    for record in evidence.body.findings:
        metric, scope = scopes.parsed(record.claim)
        values = dict(scope)
        number = scopes.level(values.get("severity", ""))
        if tuple(values) == _KEYS and number is not None:
            name, severity = values["corruption"], values["severity"]
            found[metric][name, severity] = Point(number, severity, record, rows.get(record.claim))
    if DRAWN not in found:
        return ()
    others = sorted(set(found) - set(_FIRST))
    return tuple(_grid(metric, found[metric]) for metric in (*_FIRST, *others) if metric in found)


def tables(drawn: Sequence[Grid]) -> tuple[Table, ...]:
    """The same values in words, with the means of the lines where they are drawn."""
    return tuple(
        Table(grid.title, grid.unit, (grid.metric,), "Corruption", tuple(_columns(grid)), tuple(_lines(grid)))
        for grid in drawn
    )


def overall(evidence: Evidence) -> tuple[Overall, ...]:
    """What was measured over all cells, in the order in which it is told; of the reference first."""
    rows = {row.record.claim: row for row in results(evidence).rows}
    found = sorted(evidence.body.findings, key=lambda record: record.claim, reverse=True)
    return tuple(
        Overall(record.claim, record.title, _told(record), rows.get(record.claim))
        for metric in _OVERALL
        for record in found
        if scopes.parsed(record.claim).metric == metric
    )


def described(grid: Grid) -> str:
    """The heat map for those who cannot see it: its extent, its range, and where a criterion failed."""
    values = [point.value for point in grid.points if point.value is not None]
    ends = " to ".join(numbers.measured(end, grid.unit) for end in (min(values), max(values))) if values else "no value"
    failed = [point for point in grid.points if point.failed]
    named = "; ".join(clean(scopes.words(scopes.parsed(point.finding.claim).scope)) for point in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return (
        f"Heat map of {grid.title} in {grid.unit} by corruption and severity, {len(grid.lines)} × "
        f"{len(grid.severities)}: {ends}. FAIL: {named or 'nowhere'}{more}. The table below has every value."
    )


def _grid(metric: str, found: Mapping[tuple[str, str], Point]) -> Grid:
    severities = sorted({severity for _, severity in found}, key=lambda text: scopes.order((("severity", text),)))
    names = sorted({name for name, _ in found}, key=lambda name: scopes.order((("corruption", name),)))
    first = next(iter(found.values())).finding
    return Grid(
        metric,
        clean(scopes.apart(first.title, first.claim)[0]),
        first.unit,
        tuple(severities),
        tuple(Line(_name(name), tuple(found.get((name, severity)) for severity in severities)) for name in names),
    )


def _name(corruption: str) -> str:
    return clean(corruption).replace("_", " ")


def _columns(grid: Grid) -> Iterator[str]:
    yield from (f"severity {severity}" for severity in grid.severities)
    if grid.with_means:
        yield "mean"


def _lines(grid: Grid) -> Iterator[tuple[str, tuple[Point | Figure | None, ...]]]:
    for line in grid.lines:
        means = (Figure(numbers.measured(line.mean, grid.unit)),) if grid.with_means else ()
        yield line.name, (*line.cells, *means)


def _told(record: FindingRecord) -> str:
    """Estimate in its unit and bounds, or why there is none."""
    if record.estimate is None:
        return f"not measured: {record.detail or record.missing}"
    estimate = numbers.with_unit(numbers.measured(record.estimate, record.unit), record.unit)
    return " ".join(filter(None, (estimate, numbers.bounds(record.lower, record.upper, record.unit))))
