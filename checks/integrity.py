"""Can the measurements be trusted at all: numbers that are numbers, items that count once."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView
from audit.types import Claim, Exact, Finding, Metric, Missing, Role, Sense, Unit
from checks.methods import COUNTED

_NAMED = 10

NONFINITE: Final = Metric(
    name="integrity.nonfinite",
    title="Items with NaN or infinite outputs",
    unit=Unit.ITEMS,
    low=0.0,
    high=float(2**53),
    better=Sense.AT_MOST,
    method=COUNTED,
    meaning="Items for which any output of the model is NaN or infinite, over all probes.",
)
DUPLICATES: Final = Metric(
    name="integrity.duplicates",
    title="Duplicate items in the test set",
    unit=Unit.PERCENT,
    low=0.0,
    high=1.0,
    better=Sense.AT_MOST,
    method=COUNTED,
    meaning="Share of stored items that are exact copies of another; copies are left out of every statistic.",
)
EMPTY_CLASSES: Final = Metric(
    name="integrity.empty_classes",
    title="Classes without items",
    unit=Unit.ITEMS,
    low=0.0,
    high=float(2**53),
    better=Sense.AT_MOST,
    method=COUNTED,
    meaning="Classes of the models that no item of the test set belongs to.",
)


class Integrity:
    """NaN, infinity, duplicates and empty classes."""

    name: ClassVar[str] = "integrity"
    summary: ClassVar[str] = "every output is a number, every item counts once, every class has items"
    metrics: ClassVar[tuple[Metric, ...]] = (NONFINITE, DUPLICATES, EMPTY_CLASSES)

    def ask(self, context: Context, /) -> Ask:
        roles = tuple(Claim(NONFINITE.name, (("role", role.value),)) for role in Role)
        return Ask(probes=(), claims=(*roles, Claim(DUPLICATES.name), Claim(EMPTY_CLASSES.name)))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for role in Role:
            counted = ledger.nonfinite(role)
            statistic = counted if isinstance(counted, Missing) else Exact(float(counted[0]), counted[1])
            yield Finding(Claim(NONFINITE.name, (("role", role.value),)), statistic)
        copies, stored = ledger.stored_items()
        yield Finding(Claim(DUPLICATES.name), Exact(copies / stored, stored))
        yield Finding(Claim(EMPTY_CLASSES.name), _empty(context, ledger.class_counts()))


def _empty(context: Context, counts: Sequence[int]) -> Exact | Missing:
    """0, or the names of what cannot be judged: an empty class is a gap in the data, no fault of the candidate."""
    empty = [name for name, count in zip(context.classes, counts, strict=True) if count == 0]
    if empty:
        return Missing("empty-class", f"no item belongs to: {', '.join(empty[:_NAMED])}{' …' * (len(empty) > _NAMED)}")
    return Exact(0.0, sum(counts))
