"""Does the candidate still compute the same function: decisions that changed, and how far outputs moved?"""

import math
from collections.abc import Iterator
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView, Trace
from audit.types import (
    BoundedMean,
    Claim,
    Finding,
    Metric,
    Missing,
    OrderStatistic,
    PairedDifference,
    Proportion,
    Sense,
    Unit,
)
from checks.methods import BETTING, EXACT_BINOMIAL, EXACT_PAIRED, ORDER_STATISTIC
from checks.perturbations.clean import CLEAN

AGREEMENT: Final = Metric(
    name="functional.agreement", title="Same decision", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, method=EXACT_BINOMIAL,
    meaning="Share of items on which both models name the same class.",
)  # fmt: skip
EXCESS: Final = Metric(
    name="functional.excess_disagreement", title="Excess disagreement", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST,
    method=EXACT_PAIRED,
    meaning="Share of items on which the candidate differs from the reference, minus the share on which the "
    "reference differs from the label.",
)  # fmt: skip
NEGATIVE: Final = Metric(
    name="functional.negative_flips", title="Right before, wrong now", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, method=EXACT_BINOMIAL,
    meaning="Share of items that the reference gets right and the candidate gets wrong.",
)  # fmt: skip
POSITIVE: Final = Metric(
    name="functional.positive_flips", title="Wrong before, right now", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, method=EXACT_BINOMIAL,
    meaning="Share of items that the reference gets wrong and the candidate gets right.",
)  # fmt: skip
SOFTMAX_L2: Final = Metric(
    name="functional.softmax_l2", title="Mean softmax distance ℓ2", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, method=BETTING,
    meaning="Euclidean distance between the two probability vectors (Liebenwein et al., 2021).",
)  # fmt: skip
SOFTMAX_L2_Q99: Final = Metric(
    name="functional.softmax_l2_q99", title="Softmax distance ℓ2, 99 % of items", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, method=ORDER_STATISTIC,
    meaning="The Euclidean distance that at most one item in a hundred exceeds.",
)  # fmt: skip
SOFTMAX_LINF: Final = Metric(
    name="functional.softmax_linf", title="Mean softmax distance ℓ∞", unit=Unit.DISTANCE, low=0.0, high=1.0,
    better=Sense.AT_MOST, method=BETTING, meaning="Largest change of any class probability.",
)  # fmt: skip
JENSEN_SHANNON: Final = Metric(
    name="functional.jensen_shannon", title="Mean Jensen–Shannon divergence", unit=Unit.DISTANCE, low=0.0,
    high=1.0, better=Sense.AT_MOST, method=BETTING,
    meaning="Jensen–Shannon divergence of the two probability vectors, in bits (Lin, 1991).",
)  # fmt: skip
_MEANS = {"softmax_l2": SOFTMAX_L2, "softmax_linf": SOFTMAX_LINF, "jensen_shannon": JENSEN_SHANNON}


class Functional:
    """Agreement, flips, and distances between the outputs."""

    name: ClassVar[str] = "functional"
    summary: ClassVar[str] = "decisions that changed, and the distance between the two outputs"
    metrics: ClassVar[tuple[Metric, ...]] = (
        AGREEMENT, EXCESS, NEGATIVE, POSITIVE, SOFTMAX_L2, SOFTMAX_L2_Q99, SOFTMAX_LINF, JENSEN_SHANNON,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        return Ask(probes=(CLEAN,), claims=tuple(Claim(metric.name) for metric in self.metrics))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        match ledger.trace(CLEAN):
            case Missing() as missing:
                yield from (Finding(Claim(metric.name), missing) for metric in self.metrics)
            case Trace() as trace:
                yield from _decisions(trace)
                yield from _distances(trace)


def _decisions(trace: Trace) -> Iterator[Finding]:
    agree, n = trace.columns["agree"], len(trace)
    right, still = trace.columns["rank_reference"] == 0, trace.columns["rank_candidate"] == 0
    own = Proportion(int(right.sum()), n)
    excess = PairedDifference(int((~agree & right).sum()), int((agree & ~right).sum()), n)
    yield Finding(Claim(AGREEMENT.name), Proportion(int(agree.sum()), n))
    yield Finding(Claim(EXCESS.name), excess, presupposes=own)
    yield Finding(Claim(NEGATIVE.name), Proportion(int((right & ~still).sum()), n), presupposes=own)
    yield Finding(Claim(POSITIVE.name), Proportion(int((~right & still).sum()), n))


def _distances(trace: Trace) -> Iterator[Finding]:
    for column, metric in _MEANS.items():
        values = tuple(trace.columns[column].tolist())
        yield Finding(Claim(metric.name), BoundedMean(values, metric.low, metric.high))
    values = tuple(trace.columns["softmax_l2"].tolist())
    yield Finding(Claim(SOFTMAX_L2_Q99.name), OrderStatistic(values, 0.99))
