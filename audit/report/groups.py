"""What an average hides, as the certificate prints it: what is told alike of classes and of slices."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from audit.evidence import Evidence
from audit.records import DataRecord
from audit.report import cells, heatmap, numbers, printed, scopes
from audit.report.levels import Point
from audit.report.printed import Criteria
from audit.report.rows import clean
from audit.report.view import results
from audit.types import Scope, scope_value

MOST_LINES = 40
MOST_WORST = 10
MOST_NOTES = 5
_ROLES = ("reference", "candidate", "")
_STEPS = ("level", "severity")
_EMPTY = ("empty-class", "empty-slice")
_LONGEST = 48

Names = tuple[str, ...]
"""What a group is called: a class, or an attribute and its value; of two attributes, these and then their values."""
Points = Mapping[tuple[str, str], Point]
"""What was found of a group, by metric and role; '' is the pair of models."""
Columns = Sequence[tuple[str, Callable[[Points, str], str]]]
"""What a line tells: metrics, and how each prints. The first is the share of right items of either model."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of a check: its metric, and its scope in parts; () and '' for a part that it has not."""

    metric: str
    names: Names
    role: str
    condition: Scope
    point: Point

    @property
    def place(self) -> tuple[int, float]:
        return printed.place((self.point,), self.point)


@dataclass(frozen=True, slots=True)
class Line:
    """One group on clean data, as it prints, and why something of it was not measured."""

    names: Names
    items: str
    cells: tuple[str, ...]
    criteria: Criteria
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """Groups on clean data, what blocks first; of how many more there are, and how many of these block.

    `notes` say why something was measured in no group of several, `hidden` why it was not in those without a line.
    """

    lines: tuple[Line, ...]
    more: int
    more_blocked: int
    notes: tuple[str, ...]
    hidden: tuple[str, ...]

    @property
    def decided(self) -> bool:
        """Whether any group has a limit of its own."""
        return any(line.criteria for line in self.lines)


@dataclass(frozen=True, slots=True)
class Worst:
    """One group under one condition, as it prints."""

    name: str
    condition: str
    items: str
    loss: str
    criteria: Criteria


@dataclass(frozen=True, slots=True)
class Conditions:
    """A loss by kind of condition and group: what is drawn, of how many there are, where it is worst.

    `notes` say why it was not measured everywhere.
    """

    grid: cells.Grid
    kinds: int
    groups: int
    drawn: int
    worst: tuple[Worst, ...]
    notes: tuple[str, ...]

    @property
    def in_part(self) -> bool:
        """Whether there is more than is drawn."""
        return self.kinds > len(self.grid.lines) or self.groups > self.drawn


def found(
    evidence: Evidence, check: str, metrics: Iterable[str], keys: Sequence[str]
) -> tuple[list[Found], list[Found]]:
    """The findings of a check that have these metrics, on clean data and under conditions.

    `keys` are those of a scope that name a group; `+` joins names under one key.
    """
    rows = {row.record.claim: row for row in results(evidence).rows}
    given = {scope_value(name): name for data in evidence.body.data for name in _given(data)}
    plain: list[Found] = []
    elsewhere: list[Found] = []
    for record in evidence.body.findings:
        claim = scopes.parsed(record.claim)
        metric = claim.metric.removeprefix(check)
        if metric == claim.metric or metric not in metrics:
            continue
        own = dict(claim.scope)
        names = tuple(given.get(part, part) for key in keys if key in own for part in own[key].split("+"))
        condition = tuple(pair for pair in claim.scope if pair[0] not in (*keys, "role"))
        step = tuple(pair for pair in condition if pair[0] in _STEPS)
        point = Point(Fraction(0), scopes.words(step) if step else "", record, rows.get(record.claim))
        (elsewhere if condition else plain).append(Found(metric, names, own.get("role", ""), condition, point))
    return plain, elsewhere


def listed(of_groups: Iterable[Found], loss: str, columns: Columns, most: int, *, worse: bool = False) -> Listed:
    """A line each for the first `most` groups: where something failed or was not evaluated, then by their loss.

    With `worse` only for those that block or have lost anything.
    """
    by_names: dict[Names, dict[tuple[str, str], Point]] = defaultdict(dict)
    for it in of_groups:
        by_names[it.names][it.metric, it.role] = it.point
    places = {names: printed.place(points.values(), points.get((loss, ""))) for names, points in by_names.items()}
    order = sorted(by_names, key=lambda names: places[names])
    shown = [names for names in order if not worse or printed.matters(places[names])][:most]
    others = order[len(shown) :]
    lines = [_line(names, by_names[names], loss, columns) for names in shown]
    # Said once of all only where it is true of all.
    alike = lines[1:] and not others
    common = tuple(note for note in lines[0].notes if all(note in line.notes for line in lines)) if alike else ()
    hidden = printed.notes(point for names in others for point in _told(by_names[names], columns))
    return Listed(
        lines=tuple(replace(line, notes=tuple(note for note in line.notes if note not in common)) for line in lines),
        more=len(others),
        more_blocked=sum(printed.blocks(places[names]) for names in others),
        notes=common,
        hidden=tuple(note for note in hidden if note not in common),
    )


def both(points: Points, metric: str) -> str:
    """What was measured of the reference and then of the candidate."""
    each = [printed.estimate(points.get((metric, role))) for role in ("reference", "candidate")]
    return " → ".join(each) if each != ["–", "–"] else "–"


def bounded(points: Points, metric: str) -> str:
    """Of the pair, with bounds."""
    return printed.bounded(points.get((metric, "")))


def plain(points: Points, metric: str) -> str:
    """Of the pair, the estimate alone."""
    return printed.estimate(points.get((metric, "")))


def overall(counted: Iterable[Found]) -> Iterator[cells.Overall]:
    """What was counted over all groups."""
    for it in counted:
        record = it.point.finding
        value = numbers.with_unit(numbers.measured(record.estimate, record.unit), record.unit)
        words = value if record.estimate is not None else f"not measured: {record.detail or record.missing}"
        yield cells.Overall(record.claim, record.title, words, it.point.row)


def conditions(losses: Sequence[Found], metric: str, title: str, any_group: str = "") -> Conditions | None:
    """Of each group under each kind of condition the level or severity that stands worst; None without losses.

    `any_group` heads the column of the losses that are of no single group.
    """
    worst: dict[tuple[Scope, Names], Found] = {}
    for it in sorted(losses, key=lambda it: it.place):
        worst.setdefault((_kind(it.condition), it.names), it)
    if not worst:
        return None
    kinds, every = list(dict.fromkeys(kind for kind, _ in worst)), list(dict.fromkeys(names for _, names in worst))
    groups = [names for names in every if names]
    columns = [*[()] * (() in every), *groups][: heatmap.MOST_COLUMNS]
    lines = tuple(
        cells.Line(
            _name(kind), tuple(worst[kind, names].point if (kind, names) in worst else None for names in columns)
        )
        for kind in sorted(kinds[: heatmap.MOST_LINES], key=scopes.order)
    )
    unit = next(iter(worst.values())).point.finding.unit
    of_groups = [it for it in worst.values() if it.names and printed.matters(it.place)]
    return Conditions(
        grid=cells.Grid(metric, title, unit, tuple(_label(names) or any_group for names in columns), lines),
        kinds=len(kinds),
        groups=len(groups),
        drawn=sum(map(bool, columns)),
        worst=tuple(map(_worst, of_groups[:MOST_WORST])),
        notes=printed.notes(it.point for it in losses),
    )


def short(name: str) -> str:
    """A name that somebody gave, without the middle of a very long one.

    >>> short("x" * 30 + "y" * 30) == "x" * 24 + "…" + "y" * 23, short("cat")
    (True, 'cat')
    """
    half = _LONGEST // 2
    name = clean(name)
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[1 - half :]}"


def items(*points: Point | None) -> str:
    """Of how many items; a dash where none of the points knows."""
    known = [point.finding.n for point in points if point is not None and point.value is not None]
    empty = any(point is not None and point.finding.missing in _EMPTY for point in points)
    return numbers.count(known[0]) if known else "0" if empty else "–"


def words(condition: Scope) -> str:
    """A condition as one reads it."""
    return _spaced(scopes.words(condition))


def _given(data: DataRecord) -> Iterator[str]:
    """Names that people gave, which scopes have encoded."""
    yield from data.classes
    for attribute in data.attributes:
        yield from (attribute.name, *attribute.values)


def _line(names: Names, points: Points, loss: str, columns: Columns) -> Line:
    return Line(
        names=tuple(map(short, names)),
        items=items(points.get((loss, "")), points.get((columns[0][0], "reference"))),
        cells=tuple(prints(points, metric) for metric, prints in columns),
        criteria=printed.criteria((metric == loss, point) for (metric, _), point in points.items()),
        notes=printed.notes(_told(points, columns)),
    )


def _told(points: Points, columns: Columns) -> list[Point | None]:
    return [points.get((metric, role)) for metric, _ in columns for role in _ROLES]


def _label(names: Names) -> str:
    return " = ".join(map(short, names))


def _worst(it: Found) -> Worst:
    return Worst(
        _label(it.names), words(it.condition), items(it.point), printed.bounded(it.point),
        printed.criteria([(True, it.point)]),
    )  # fmt: skip


def _kind(condition: Scope) -> Scope:
    return tuple(pair for pair in condition if pair[0] not in _STEPS)


def _name(kind: Scope) -> str:
    """A kind of condition by its name; what a corruption is called says that it is one."""
    names = [value if key == "corruption" else f"{key} {value}" for key, value in kind]
    return _spaced(", ".join(names)) or "levels"


def _spaced(text: str) -> str:
    return clean(text).replace("_", " ")
