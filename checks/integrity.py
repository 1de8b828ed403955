"""Can the measurements be trusted at all: numbers that are numbers, items that count once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing
from audit.types import PAIR, Claim, Role, Sense, Unit

_NAMED = 10

NONFINITE: Final = Metric(
    name="integrity.nonfinite",
    title="Items with NaN or infinite outputs",
    unit=Unit.ITEMS,
    low=0.0,
    high=float(2**53),
    better=Sense.AT_MOST,
    kind=Kind.COUNTED,
    meaning="Items for which any output of the model is NaN or infinite, over all probes.",
)
DUPLICATES: Final = Metric(
    name="integrity.duplicates",
    title="Duplicate items in the test set",
    unit=Unit.PERCENT,
    low=0.0,
    high=1.0,
    better=Sense.AT_MOST,
    kind=Kind.COUNTED,
    meaning="Share of stored items that are exact copies of another; copies are left out of every statistic.",
)
EMPTY_CLASSES: Final = Metric(
    name="integrity.empty_classes",
    title="Classes without items",
    unit=Unit.ITEMS,
    low=0.0,
    high=float(2**53),
    better=Sense.AT_MOST,
    kind=Kind.COUNTED,
    meaning="Classes of the models that no item of the test set belongs to.",
)

NEAR_TIES: Final = Metric(
    name="integrity.near_ties",
    title="Decisions closer than the runtime's noise",
    unit=Unit.PERCENT,
    low=0.0,
    high=1.0,
    better=Sense.AT_MOST,
    kind=Kind.COUNTED,
    meaning="Share of outputs whose two largest values are closer than rounding can move them, under the worst probe; "
    "a verdict must hold with all of them counted against the candidate.",
)


@dataclass(frozen=True)
class Integrity:
    """NaN, infinity, near ties, duplicates and empty classes."""

    name: ClassVar[str] = "integrity"
    summary: ClassVar[str] = "every output is a number, every item counts once, every class has items"
    metrics: ClassVar[tuple[Metric, ...]] = (NONFINITE, NEAR_TIES, DUPLICATES, EMPTY_CLASSES)

    def ask(self, context: Context, /) -> Ask:
        nonfinite = [_of(NONFINITE, role) for role in context.roles]
        of_data = (Claim(DUPLICATES.name), *([Claim(EMPTY_CLASSES.name)] if context.classes else ()))
        return Ask((), (*nonfinite, *(_of(NEAR_TIES, role) for role in PAIR), *of_data))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for role in context.roles:
            counted = ledger.nonfinite(role)
            statistic = counted if isinstance(counted, Missing) else Exact(float(counted[0]), counted[1])
            yield Finding(_of(NONFINITE, role), statistic)
        for role in PAIR:
            ties = ledger.near_ties(role)
            yield Finding(
                _of(NEAR_TIES, role), ties if isinstance(ties, Missing) else Exact(ties[0] / ties[1], ties[1])
            )
        copies, stored = ledger.stored_items()
        yield Finding(Claim(DUPLICATES.name), Exact(copies / stored, stored))
        if context.classes:
            yield Finding(Claim(EMPTY_CLASSES.name), _empty(context, ledger.class_counts()))


def _of(metric: Metric, role: Role) -> Claim:
    return Claim(metric.name, (("role", role.value),))


def _empty(context: Context, counts: Sequence[int]) -> Exact | Missing:
    """0, or the names of what cannot be judged: an empty class is a gap in the data, no fault of the candidate."""
    empty = [name for name, count in zip(context.classes, counts, strict=True) if count == 0]
    if empty:
        return Missing("empty-class", f"no item belongs to: {', '.join(empty[:_NAMED])}{' …' * (len(empty) > _NAMED)}")
    return Exact(0.0, sum(counts))
