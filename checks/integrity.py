"""Can the measurements be trusted at all: numbers that are numbers, answers that stay, items that count once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing
from audit.parity import TOLERANCE, Parity
from audit.types import PAIR, Claim, Role, Sense, TaskKind, Unit
from checks import conversion
from checks.perturbations.clean import CLEAN

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
    meaning="Share of items with a decision between two outputs that are closer than rounding can move them, under the "
    "worst probe, of segmentation the share of its pixels; "
    "a verdict must hold with all of them counted against the candidate.",
)
_BEYOND = f"beyond {100 * TOLERANCE:g} % the audit ends without a certificate, whatever the policy says."

BATCH_DIFFERENCE: Final = Metric(
    name="integrity.batch_difference",
    title="Same item in another batch",
    unit=Unit.PERCENT,
    low=0.0,
    high=TOLERANCE,
    better=Sense.AT_MOST,
    kind=Kind.COUNTED,
    meaning="Largest difference of an output of one item between batches of other sizes (down to 1), other items and "
    f"in reverse order, as a part of the model's largest output; {_BEYOND}",
    of_pair=False,
)
RELOAD_DIFFERENCE: Final = Metric(
    name="integrity.reload_difference",
    title="Same item after another load",
    unit=Unit.PERCENT,
    low=0.0,
    high=TOLERANCE,
    better=Sense.AT_MOST,
    kind=Kind.COUNTED,
    meaning="Largest difference between the outputs that were observed for the first and the last batch and those of "
    f"the model loaded once more, and asked again after the audit, as a part of its largest output; {_BEYOND} So does "
    "any difference within the run where the runtime promises the same bits.",
    of_pair=False,
)
_PARITY: Final = (BATCH_DIFFERENCE, RELOAD_DIFFERENCE)


@dataclass(frozen=True)
class Integrity:
    """NaN, infinity, near ties, duplicates, empty classes; parity of all answers, and of an export with its origin."""

    name: ClassVar[str] = "integrity"
    summary: ClassVar[str] = "every output is a number and stays the same, items count once, every class has items"
    metrics: ClassVar[tuple[Metric, ...]] = (
        NONFINITE, *_PARITY, *conversion.METRICS, NEAR_TIES, DUPLICATES, EMPTY_CLASSES,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        of_roles = [_of(metric, role) for metric in (NONFINITE, *_PARITY) for role in context.roles]
        exported = Role.ORIGIN in context.roles
        parity = [Claim(metric.name) for metric in conversion.metrics(context.task) if exported]
        ties = [_of(NEAR_TIES, role) for role in _deciding(context)]
        of_data = [Claim(DUPLICATES.name), *([Claim(EMPTY_CLASSES.name)] if context.classes else [])]
        return Ask((CLEAN,) if exported else (), (*of_roles, *parity, *ties, *of_data))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for role in context.roles:
            counted = ledger.nonfinite(role)
            statistic = counted if isinstance(counted, Missing) else Exact(float(counted[0]), counted[1])
            yield Finding(_of(NONFINITE, role), statistic)
            yield from _parity(role, ledger.parity(role))
        if Role.ORIGIN in context.roles:
            yield from conversion.measure(ledger, context.task)
        for role in _deciding(context):
            ties = ledger.near_ties(role)
            yield Finding(
                _of(NEAR_TIES, role), ties if isinstance(ties, Missing) else Exact(ties[0] / ties[1], ties[1])
            )
        copies, stored = ledger.stored_items()
        yield Finding(Claim(DUPLICATES.name), Exact(copies / stored, stored))
        if context.classes:
            yield Finding(Claim(EMPTY_CLASSES.name), _empty(context, ledger.class_counts()))


def _deciding(context: Context) -> tuple[Role, ...]:
    """Models that decide between outputs; those that estimate values do not."""
    return () if context.task is TaskKind.REGRESSION else PAIR


def _of(metric: Metric, role: Role) -> Claim:
    return Claim(metric.name, (("role", role.value),))


def _parity(role: Role, found: Parity | Missing) -> Iterator[Finding]:
    """What the engine measured before any check: it has let nothing pass that is beyond the tolerance."""
    if isinstance(found, Missing):
        yield from (Finding(_of(metric, role), found) for metric in _PARITY)
        return
    for metric, value in zip(_PARITY, (found.batch, found.reload), strict=True):
        yield Finding(_of(metric, role), Exact(value, found.items))


def _empty(context: Context, counts: Sequence[int]) -> Exact | Missing:
    """0, or the names of what cannot be judged: an empty class is a gap in the data, no fault of the candidate."""
    empty = [name for name, count in zip(context.classes, counts, strict=True) if count == 0]
    if empty:
        return Missing("empty-class", f"no item belongs to: {', '.join(empty[:_NAMED])}{' …' * (len(empty) > _NAMED)}")
    return Exact(0.0, sum(counts))
