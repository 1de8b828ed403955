"""What single classes lost, as the certificate prints it: by class, by confusion, and under conditions."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from audit.evidence import Evidence
from audit.report import cells, heatmap, numbers, printed, scopes
from audit.report.levels import Point
from audit.report.printed import Criteria
from audit.report.rows import clean
from audit.report.view import results
from audit.types import Scope, scope_value

MOST_LINES = 40
MOST_CONFUSIONS = 10
MOST_WORST = 10
MOST_NOTES = 5
_CHECK = "per_class."
_LOSS, _WORST, _DISTANCE = "recall_drop", "worst_recall_drop", "confusion_distance"
_SHOWN = (
    ("recall", "reference"), ("recall", "candidate"), (_LOSS, ""), ("precision", "reference"),
    ("precision", "candidate"), ("negative_flips", ""), ("false_naming_increase", ""),
)  # fmt: skip
"""What a line tells of a class: metric and role."""
_CONFUSED, _MORE_CONFUSED = "confusion", "confusion_increase"
_OTHERS = ("accuracy", "accuracy_drop", "precision_drop", "positive_flips", _CONFUSED, _MORE_CONFUSED)
_METRICS = {metric for metric, _ in _SHOWN} | {*_OTHERS, _WORST, _DISTANCE}
_OWN = ("class", "named", "role")
"""Keys of a scope that are no condition."""
_STEPS = ("level", "severity")
_TITLE, _ANY = "Loss of recall", "any class"
_LONGEST = 48


@dataclass(frozen=True, slots=True)
class Line:
    """One class on clean data, as it prints, and why something of it was not measured."""

    name: str
    items: str
    recall: str
    loss: str
    precision: str
    broken: str
    claimed: str
    criteria: Criteria
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Items of one class that are named another: how many more than before, and how many under the worst condition."""

    name: str
    named: str
    items: str
    increase: str
    share: str
    criteria: Criteria
    elsewhere: str
    criteria_elsewhere: Criteria


@dataclass(frozen=True, slots=True)
class Worst:
    """One class under one condition, as it prints."""

    name: str
    condition: str
    items: str
    loss: str
    criteria: Criteria


@dataclass(frozen=True, slots=True)
class Conditions:
    """Loss of recall by kind of condition and class: what is drawn, of how many there are, where it is worst.

    `notes` say why it was not measured everywhere.
    """

    grid: cells.Grid
    kinds: int
    classes: int
    drawn: int
    worst: tuple[Worst, ...]
    notes: tuple[str, ...]

    @property
    def in_part(self) -> bool:
        """Whether there is more than is drawn."""
        return self.kinds > len(self.grid.lines) or self.classes > self.drawn


@dataclass(frozen=True, slots=True)
class Classes:
    """All classes of an audit, what blocks first; `confusions` are None where none were looked at."""

    lines: tuple[Line, ...]
    more: int
    more_blocked: int
    notes: tuple[str, ...]
    confusions: tuple[Confusion, ...] | None
    overall: tuple[cells.Overall, ...]
    conditions: Conditions | None
    claims: frozenset[str]

    @property
    def decided(self) -> bool:
        """Whether any class has a limit of its own."""
        return any(line.criteria for line in self.lines)

    @property
    def stated(self) -> bool:
        """Whether the policy names any confusion."""
        return any(it.criteria or it.share != "–" for it in self.confusions or ())


@dataclass(frozen=True, slots=True)
class _Found:
    """A finding of the check: its metric, and its scope in parts; '' for a part that it has not."""

    metric: str
    name: str
    named: str
    role: str
    condition: Scope
    point: Point

    @property
    def place(self) -> tuple[int, float]:
        return printed.place((self.point,), self.point)


def told(evidence: Evidence) -> Classes | None:
    """What the certificate says of classes; None where none was looked at."""
    found = tuple(_all_found(evidence))
    plain, elsewhere = ([it for it in found if bool(it.condition) is there] for there in (False, True))
    by_class: dict[str, dict[tuple[str, str], Point]] = defaultdict(dict)
    for it in plain:
        if it.name and not it.named:
            by_class[it.name][it.metric, it.role] = it.point
    if not by_class:
        return None
    places = {name: printed.place(of.values(), of.get((_LOSS, ""))) for name, of in by_class.items()}
    names = sorted(by_class, key=lambda name: places[name])
    lines = tuple(_line(name, by_class[name]) for name in names[:MOST_LINES])
    common = tuple(note for note in lines[0].notes if len(lines) > 1 and all(note in line.notes for line in lines))
    return Classes(
        lines=tuple(replace(line, notes=tuple(it for it in line.notes if it not in common)) for line in lines),
        more=len(names) - len(lines),
        more_blocked=sum(printed.blocks(places[name]) for name in names[MOST_LINES:]),
        notes=common,
        confusions=_confusions(plain, elsewhere),
        overall=tuple(_overall(plain)),
        conditions=_conditions(elsewhere),
        claims=frozenset(it.point.finding.claim for it in found if it.metric != _DISTANCE or not it.condition),
    )


def short(name: str) -> str:
    """A name that somebody gave, without the middle of a very long one.

    >>> short("x" * 30 + "y" * 30) == "x" * 24 + "…" + "y" * 23, short("cat")
    (True, 'cat')
    """
    half = _LONGEST // 2
    name = clean(name)
    return name if len(name) <= _LONGEST else f"{name[:half]}…{name[1 - half :]}"


def _all_found(evidence: Evidence) -> Iterator[_Found]:
    rows = {row.record.claim: row for row in results(evidence).rows}
    names = {scope_value(name): name for data in evidence.body.data for name in data.classes}
    for record in evidence.body.findings:
        claim = scopes.parsed(record.claim)
        metric = claim.metric.removeprefix(_CHECK)
        if metric == claim.metric or metric not in _METRICS:
            continue
        own = {key: names.get(value, value) for key, value in claim.scope if key in _OWN}
        condition = tuple(pair for pair in claim.scope if pair[0] not in _OWN)
        step = tuple(pair for pair in condition if pair[0] in _STEPS)
        point = Point(Fraction(0), scopes.words(step) if step else "", record, rows.get(record.claim))
        name, named, role = (own.get(key, "") for key in _OWN)
        yield _Found(metric, name, named, role, condition, point)


def _line(name: str, found: Mapping[tuple[str, str], Point]) -> Line:
    shown = [found.get(key) for key in _SHOWN]
    recall, recall_now, loss, precision, precision_now, broken, claimed = shown
    return Line(
        name=short(name),
        items=_items(loss, recall),
        recall=_pair(recall, recall_now),
        loss=printed.bounded(loss),
        precision=_pair(precision, precision_now),
        broken=printed.estimate(broken),
        claimed=printed.estimate(claimed),
        criteria=printed.criteria((metric == _LOSS, point) for (metric, _), point in found.items()),
        notes=printed.notes(shown),
    )


def _items(*points: Point | None) -> str:
    """Of how many items; a dash where none of the points knows."""
    known = [point.finding.n for point in points if point is not None and point.value is not None]
    empty = any(point is not None and point.finding.missing == "empty-class" for point in points)
    return numbers.count(known[0]) if known else "0" if empty else "–"


def _pair(reference: Point | None, candidate: Point | None) -> str:
    both = [printed.estimate(point) for point in (reference, candidate)]
    return " → ".join(both) if both != ["–", "–"] else "–"


def _overall(plain: Sequence[_Found]) -> Iterator[cells.Overall]:
    """What was counted over all classes."""
    for it in plain:
        record = it.point.finding
        if it.metric in (_WORST, _DISTANCE):
            value = numbers.with_unit(numbers.measured(record.estimate, record.unit), record.unit)
            words = value if record.estimate is not None else f"not measured: {record.detail or record.missing}"
            yield cells.Overall(record.claim, record.title, words, it.point.row)


def _confusions(plain: Sequence[_Found], elsewhere: Sequence[_Found]) -> tuple[Confusion, ...] | None:
    """Those that the policy names, and of all others the largest that grew; None where none were looked at."""
    found: dict[tuple[str, str], dict[str, Point]] = defaultdict(dict)
    for it in plain:
        if it.named:
            found[it.name, it.named][it.metric] = it.point
    if not found:
        return None
    places = {pair: printed.place(points.values(), points.get(_MORE_CONFUSED)) for pair, points in found.items()}
    order = sorted(found, key=lambda pair: places[pair])
    stated = [pair for pair in order if _CONFUSED in found[pair]]
    grown = [pair for pair in order if _CONFUSED not in found[pair] and printed.matters(places[pair])]
    chosen = {*stated[:MOST_LINES], *grown[:MOST_CONFUSIONS]}
    return tuple(_confusion(pair, found[pair], elsewhere) for pair in order if pair in chosen)


def _confusion(pair: tuple[str, str], found: Mapping[str, Point], elsewhere: Sequence[_Found]) -> Confusion:
    increase, share = found.get(_MORE_CONFUSED), found.get(_CONFUSED)
    under = [it for it in elsewhere if (it.name, it.named) == pair and it.metric == _MORE_CONFUSED]
    worst = min(under, key=lambda it: it.place, default=None)
    return Confusion(
        name=short(pair[0]),
        named=short(pair[1]),
        items=_items(increase, share),
        increase=printed.bounded(increase),
        share=printed.bounded(share),
        criteria=printed.criteria((True, found.get(metric)) for metric in (_MORE_CONFUSED, _CONFUSED)),
        elsewhere="–" if worst is None else f"{printed.estimate(worst.point)} ({_words(worst.condition)})",
        criteria_elsewhere=() if worst is None else printed.criteria([(True, worst.point)]),
    )


def _conditions(elsewhere: Sequence[_Found]) -> Conditions | None:
    """Of each class under each kind of condition the level or severity that stands worst."""
    worst: dict[tuple[Scope, str], _Found] = {}
    for it in sorted(elsewhere, key=lambda it: it.place):
        if it.metric in (_LOSS, _WORST):
            worst.setdefault((_kind(it.condition), it.name), it)
    if not worst:
        return None
    kinds, names = list(dict.fromkeys(kind for kind, _ in worst)), list(dict.fromkeys(name for _, name in worst))
    some = [name for name in names if name]
    columns = [*[""] * ("" in names), *some][: heatmap.MOST_COLUMNS]
    lines = tuple(
        cells.Line(_name(kind), tuple(worst[kind, name].point if (kind, name) in worst else None for name in columns))
        for kind in sorted(kinds[: heatmap.MOST_LINES], key=scopes.order)
    )
    unit = next(iter(worst.values())).point.finding.unit
    headings = tuple(short(name) if name else _ANY for name in columns)
    of_classes = [it for it in worst.values() if it.name and printed.matters(it.place)]
    return Conditions(
        grid=cells.Grid(_CHECK + _LOSS, _TITLE, unit, headings, lines),
        kinds=len(kinds),
        classes=len(some),
        drawn=sum(map(bool, columns)),
        worst=tuple(map(_worst, of_classes[:MOST_WORST])),
        notes=printed.notes(it.point for it in elsewhere if it.metric in (_LOSS, _WORST)),
    )


def _worst(it: _Found) -> Worst:
    return Worst(
        short(it.name), _words(it.condition), _items(it.point), printed.bounded(it.point),
        printed.criteria([(True, it.point)]),
    )  # fmt: skip


def _kind(condition: Scope) -> Scope:
    return tuple(pair for pair in condition if pair[0] not in _STEPS)


def _name(kind: Scope) -> str:
    """A kind of condition by its name; what a corruption is called says that it is one."""
    names = [value if key == "corruption" else f"{key} {value}" for key, value in kind]
    return _spaced(", ".join(names)) or "levels"


def _words(condition: Scope) -> str:
    return _spaced(scopes.words(condition))


def _spaced(text: str) -> str:
    return clean(text).replace("_", " ")
