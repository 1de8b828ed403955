"""Can the measurements be trusted at all: numbers that are numbers, items that count once."""

from collections.abc import Iterator
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView
from audit.types import Claim, Exact, Finding, Metric, Missing, Role, Sense, Unit
from checks.methods import COUNTED

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


class Integrity:
    """NaN, infinity and duplicates."""

    name: ClassVar[str] = "integrity"
    summary: ClassVar[str] = "every output is a number and every item counts once"
    metrics: ClassVar[tuple[Metric, ...]] = (NONFINITE, DUPLICATES)

    def ask(self, context: Context, /) -> Ask:
        roles = tuple(Claim(NONFINITE.name, (("role", role.value),)) for role in Role)
        return Ask(probes=(), claims=(*roles, Claim(DUPLICATES.name)))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for role in Role:
            counted = ledger.nonfinite(role)
            statistic = counted if isinstance(counted, Missing) else Exact(float(counted[0]), counted[1])
            yield Finding(Claim(NONFINITE.name, (("role", role.value),)), statistic)
        copies, stored = ledger.stored_items()
        yield Finding(Claim(DUPLICATES.name), Exact(copies / stored, stored))
