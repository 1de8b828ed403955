"""Which single decisions did pruning turn, and were they hard ones? (Hooker et al., arXiv 1911.05248.)"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Exemplar, Finding, Kind, Metric, Missing
from audit.traces import Trace
from audit.types import PAIR, Claim, Role, Scope, Sense, TaskKind, Unit
from checks import detection
from checks.accuracy import working
from checks.figures import percent, require_names
from checks.functional import NEGATIVE, POSITIVE
from checks.methods import share
from checks.perturbations.clean import CLEAN

_LOST: Final = "that only the reference gets right, of those "
NEW: Final = Metric(
    name="flips.new_damage", title="Wrong now, where the reference was sure", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION,
    meaning=f"Share of all items {_LOST}in which the reference's two largest probabilities lie at least so far apart "
    "as the scope says, in percent.",
)  # fmt: skip
HARD: Final = Metric(
    name="flips.hard", title="Wrong now, where the reference was unsure", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION,
    meaning=f"Share of all items {_LOST}in which the reference's two largest probabilities lie less far apart.",
)  # fmt: skip
HARDNESS: Final = Metric(
    name="flips.hardness", title="Flips are the hard items", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.COUNTED, of_pair=False,
    meaning="Share of the pairs of an item that the candidate loses and one that it keeps in which the lost one has "
    "the smaller margin of the reference (AUROC): 100 % where the hardest are lost, 50 % where any are. As counted.",
)  # fmt: skip
EXEMPLARS: Final = Metric(
    name="flips.exemplars", title="Items on which the two disagree", unit=Unit.ITEMS, low=0.0, high=float(2**53),
    better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="Number of items that the two models name differently: pruning-identified exemplars of this pair. As "
    "counted; the first of them are listed, lost ones first, and of these those of which the reference was surest.",
)  # fmt: skip
_UNDER: Final = (NEGATIVE, POSITIVE)
"""What is measured under conditions; on clean data the check `functional` does."""


@dataclass(frozen=True)
class Flips:
    """Decisions that turned: how many under conditions, how hard they were, and which.

    `sure` are margins of the reference, as shares, from which on a lost item is new damage and no hard one. Of the
    items on which the two disagree at most `listed` are told one by one.
    """

    sure: Annotated[tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1)] = (0.5,)
    listed: Annotated[int, Field(ge=0, le=1000)] = 50

    def __post_init__(self) -> None:
        require_names(self.sure)

    name: ClassVar[str] = "flips"
    summary: ClassVar[str] = "decisions that turned: how many under conditions, how hard they were, and which"
    metrics: ClassVar[tuple[Metric, ...]] = (NEGATIVE, POSITIVE, NEW, HARD, HARDNESS, EXEMPLARS)

    def ask(self, context: Context, /) -> Ask:
        if context.task is not TaskKind.CLASSIFICATION:
            return Ask((), ())
        under = (Claim(metric.name, each.scope) for each in context.conditions for metric in _UNDER)
        return Ask((CLEAN,), (*self._clean_claims(), *under))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        if context.task is not TaskKind.CLASSIFICATION:
            return
        clean, ids = ledger.trace(CLEAN), ledger.ids(CLEAN)
        if isinstance(clean, Trace) and not isinstance(ids, Missing):
            yield from self._clean(clean)
            names = context.classes
            exemplars = tuple(_exemplar(clean, row, ids[row], names) for row in _ranked(clean)[: self.listed].tolist())
            count = Exact(float((~clean.columns["agree"]).sum()), len(clean))
            yield Finding(Claim(EXEMPLARS.name), count, exemplars=exemplars)
        else:
            why = clean if isinstance(clean, Missing) else ids
            assert isinstance(why, Missing)
            yield from (Finding(claim, why) for claim in self._clean_claims())
        for condition in context.conditions:
            yield from _under(ledger.trace(condition.probe), clean, condition.scope)

    def _clean_claims(self) -> Iterator[Claim]:
        for margin in self.sure:
            yield from (Claim(metric.name, _scope(margin)) for metric in (NEW, HARD))
        yield from (Claim(metric.name) for metric in (HARDNESS, EXEMPLARS))

    def _clean(self, trace: Trace) -> Iterator[Finding]:
        lost, margin = trace.columns["lost"], _margin(trace, Role.REFERENCE)
        for at in self.sure:
            for metric, there in ((NEW, margin >= at), (HARD, margin < at)):
                yield Finding(Claim(metric.name, _scope(at)), share(trace, lost & there), (working(trace),))
        kept = trace.columns["right_reference"] & ~lost
        yield Finding(Claim(HARDNESS.name), _hardness(margin, kept, lost, len(trace)), (working(trace),))


def _scope(margin: float) -> Scope:
    return (("margin", percent(margin)),)


def _under(trace: Trace | Missing, clean: Trace | Missing, scope: Scope) -> Iterator[Finding]:
    """Flips under a condition."""
    if isinstance(trace, Trace) and isinstance(clean, Trace):
        yield Finding(Claim(NEGATIVE.name, scope), share(trace, trace.columns["lost"]), (working(trace, clean),))
        yield Finding(Claim(POSITIVE.name, scope), share(trace, trace.columns["won"]))
        return
    why = trace if isinstance(trace, Missing) else clean
    assert isinstance(why, Missing)
    yield from (Finding(Claim(metric.name, scope), why) for metric in _UNDER)


def _hardness(
    margin: NDArray[np.float64], kept: NDArray[np.bool_], lost: NDArray[np.bool_], items: int
) -> Exact | Missing:
    """AUROC of the margin at telling items that are kept from those that are lost."""
    if not kept.any() or not lost.any():
        return Missing("nothing-lost" if not lost.any() else "nothing-kept", "there are no two kinds of items to tell")
    return Exact(detection.auroc(margin[kept], margin[lost]), items)


def _ranked(trace: Trace) -> NDArray[np.intp]:
    """The items on which the two disagree: lost ones first, then by the larger of the two margins, largest first."""
    rows = np.flatnonzero(~trace.columns["agree"])
    lost, own, other = trace.columns["lost"][rows], *(_margin(trace, role)[rows] for role in PAIR)
    order = np.lexsort((trace.order[rows], -np.where(lost, own, np.maximum(own, other)), ~lost))
    return rows[order]


def _margin(trace: Trace, role: Role) -> NDArray[np.float64]:
    """Margins without the digits that float32 outputs do not have: items that are equally hard are level."""
    margins: NDArray[np.float64] = trace.columns[f"margin_{role}"].round(6)
    return margins


def _exemplar(trace: Trace, row: int, item: NDArray[np.uint8], names: tuple[str, ...]) -> Exemplar:
    """One item of a trace in which every item is seen once."""
    label, reference, candidate = (
        names[int(trace.columns[column][row])] for column in ("label", "named_reference", "named_candidate")
    )
    sure = [round(float(trace.columns[f"max_softmax_{role}"][row]), 4) for role in ("reference", "candidate")]
    return Exemplar(item.tobytes().hex(), int(trace.order[row]), label, reference, candidate, *sure)
