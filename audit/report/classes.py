"""What single classes lost, as the certificate prints it: by class, by confusion, and under conditions."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audit.evidence import Evidence
from audit.report import cells, groups, printed
from audit.report.groups import Found, Names
from audit.report.levels import Point
from audit.report.printed import Criteria

MOST_CONFUSIONS = 10
_CHECK, _KEYS = "per_class.", ("class", "named")
_LOSS, _WORST, _DISTANCE = "recall_drop", "worst_recall_drop", "confusion_distance"
_COLUMNS = (
    ("recall", groups.both), (_LOSS, groups.bounded), ("precision", groups.both), ("negative_flips", groups.plain),
    ("false_naming_increase", groups.plain),
)  # fmt: skip
_CONFUSED, _MORE_CONFUSED = "confusion", "confusion_increase"
_OTHERS = ("accuracy", "accuracy_drop", "precision_drop", "positive_flips", _CONFUSED, _MORE_CONFUSED)
_METRICS = {metric for metric, _ in _COLUMNS} | {*_OTHERS, _WORST, _DISTANCE}


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
class Classes:
    """All classes of an audit; `confusions` are None where none were looked at."""

    clean: groups.Listed
    confusions: tuple[Confusion, ...] | None
    overall: tuple[cells.Overall, ...]
    conditions: groups.Conditions | None
    claims: frozenset[str]

    @property
    def stated(self) -> bool:
        """Whether the policy names any confusion."""
        return any(it.criteria or it.share != "–" for it in self.confusions or ())


def told(evidence: Evidence) -> Classes | None:
    """What the certificate says of classes; None where none was looked at."""
    plain, elsewhere = groups.found(evidence, _CHECK, _METRICS, _KEYS)
    single = [it for it in plain if len(it.names) == 1]
    if not single:
        return None
    losses = [it for it in elsewhere if it.metric in (_LOSS, _WORST)]
    shown = [*plain, *(it for it in elsewhere if it.metric != _DISTANCE)]
    return Classes(
        clean=groups.listed(single, _LOSS, _COLUMNS, groups.MOST_LINES),
        confusions=_confusions(plain, elsewhere),
        overall=tuple(groups.overall(it for it in plain if it.metric in (_WORST, _DISTANCE))),
        conditions=groups.conditions(losses, _CHECK + _LOSS, "Loss of recall", "any class"),
        claims=frozenset(it.point.finding.claim for it in shown),
    )


def _confusions(plain: Sequence[Found], elsewhere: Sequence[Found]) -> tuple[Confusion, ...] | None:
    """Those that the policy names, and of all others the largest that grew; None where none were looked at."""
    found: dict[Names, dict[str, Point]] = defaultdict(dict)
    for it in plain:
        if len(it.names) == len(_KEYS):
            found[it.names][it.metric] = it.point
    if not found:
        return None
    places = {pair: printed.place(points.values(), points.get(_MORE_CONFUSED)) for pair, points in found.items()}
    order = sorted(found, key=lambda pair: places[pair])
    stated = [pair for pair in order if _CONFUSED in found[pair]]
    grown = [pair for pair in order if _CONFUSED not in found[pair] and printed.matters(places[pair])]
    chosen = {*stated[: groups.MOST_LINES], *grown[:MOST_CONFUSIONS]}
    return tuple(_confusion(pair, found[pair], elsewhere) for pair in order if pair in chosen)


def _confusion(pair: Names, found: Mapping[str, Point], elsewhere: Sequence[Found]) -> Confusion:
    increase, share = found.get(_MORE_CONFUSED), found.get(_CONFUSED)
    under = [it for it in elsewhere if it.names == pair and it.metric == _MORE_CONFUSED]
    worst = min(under, key=lambda it: it.place, default=None)
    name, named = map(groups.short, pair)
    return Confusion(
        name=name,
        named=named,
        items=groups.items(increase, share),
        increase=printed.bounded(increase),
        share=printed.bounded(share),
        criteria=printed.criteria((True, found.get(metric)) for metric in (_MORE_CONFUSED, _CONFUSED)),
        elsewhere="–" if worst is None else f"{printed.estimate(worst.point)} ({groups.words(worst.condition)})",
        criteria_elsewhere=() if worst is None else printed.criteria([(True, worst.point)]),
    )
