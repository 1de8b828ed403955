"""What single slices lost, as the certificate prints it: by value, by pair of values, and under conditions."""

from collections.abc import Sequence
from dataclasses import dataclass

from audit.evidence import Evidence
from audit.report import cells, groups
from audit.report.groups import Found

MOST_PAIRS = 10
_CHECK, _KEYS = "slices.", ("attribute", "value")
_LOSS, _WORST, _SMALL = "accuracy_drop", "worst_drop", "small_crossings"
_COLUMNS = (("accuracy", groups.both), (_LOSS, groups.bounded), ("negative_flips", groups.plain))
_OF_SLICES = {metric for metric, _ in _COLUMNS} | {"positive_flips"}


@dataclass(frozen=True, slots=True)
class Slices:
    """All slices of an audit; `pairs` of values are None where none were looked at.

    `small` is how many pairs have too few items; None where that is not known.
    """

    clean: groups.Listed
    pairs: groups.Listed | None
    small: int | None
    overall: tuple[cells.Overall, ...]
    conditions: groups.Conditions | None
    claims: frozenset[str]


def told(evidence: Evidence) -> Slices | None:
    """What the certificate says of slices; None where none was looked at."""
    plain, elsewhere = groups.found(evidence, _CHECK, {*_OF_SLICES, _WORST, _SMALL}, _KEYS)
    of_slices = [it for it in plain if it.metric in _OF_SLICES]
    single, pairs = ([it for it in of_slices if len(it.names) == parts * len(_KEYS)] for parts in (1, 2))
    worst, small = ([it for it in plain if it.metric == metric] for metric in (_WORST, _SMALL))
    if not single:
        return None
    return Slices(
        clean=groups.listed(single, _LOSS, _COLUMNS, groups.MOST_LINES),
        pairs=groups.listed(pairs, _LOSS, _COLUMNS, MOST_PAIRS, worse=True) if pairs or small else None,
        small=_sum(small),
        overall=tuple(groups.overall([*worst, *(it for it in small if it.point.row is not None)])),
        conditions=groups.conditions(
            [it for it in elsewhere if it.metric == _LOSS], _CHECK + _LOSS, "Loss of accuracy"
        ),
        claims=frozenset(it.point.finding.claim for it in (*plain, *elsewhere)),
    )


def _sum(small: Sequence[Found]) -> int | None:
    counts = [it.point.value for it in small]
    return None if None in counts else sum(int(count) for count in counts if count is not None)
