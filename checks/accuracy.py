"""Does the candidate still get right what the reference gets right?"""

from collections.abc import Iterator
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Ask, Context, LedgerView, Trace
from audit.types import (
    Claim,
    Finding,
    Metric,
    Missing,
    PairedDifference,
    Proportion,
    Sense,
    Unit,
)
from checks.methods import EXACT_BINOMIAL, EXACT_PAIRED
from checks.perturbations.clean import CLEAN

TOP = 5

REFERENCE: Final = Metric(
    name="reference.accuracy", title="Accuracy of the reference", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, method=EXACT_BINOMIAL, meaning="Share of items that the reference gets right.",
)  # fmt: skip
CANDIDATE: Final = Metric(
    name="candidate.accuracy", title="Accuracy of the candidate", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, method=EXACT_BINOMIAL, meaning="Share of items that the candidate gets right.",
)  # fmt: skip
DROP: Final = Metric(
    name="accuracy.drop", title="Loss of accuracy", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, method=EXACT_PAIRED,
    meaning="Accuracy of the reference minus accuracy of the candidate, on the same items.",
)  # fmt: skip
TOPK_DROP: Final = Metric(
    name="accuracy.topk_drop", title="Loss of top-k accuracy", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, method=EXACT_PAIRED,
    meaning="As accuracy.drop, counting an item as right when its label is among the k highest outputs.",
)  # fmt: skip


class Accuracy:
    """Clean accuracy of both models and the paired drop."""

    name: ClassVar[str] = "accuracy"
    summary: ClassVar[str] = "accuracy of both models and the paired loss, top-1 and top-k"
    metrics: ClassVar[tuple[Metric, ...]] = (REFERENCE, CANDIDATE, DROP, TOPK_DROP)

    def ask(self, context: Context, /) -> Ask:
        claims = [Claim(metric.name) for metric in (REFERENCE, CANDIDATE, DROP)]
        if len(context.classes) > TOP:
            claims.append(_topk_claim())
        return Ask(probes=(CLEAN,), claims=tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        claims = self.ask(context).claims
        match ledger.trace(CLEAN):
            case Missing() as missing:
                yield from (Finding(claim, missing) for claim in claims)
            case Trace() as trace:
                yield from (finding for finding in _findings(trace) if finding.claim in claims)


def _findings(trace: Trace) -> Iterator[Finding]:
    reference, candidate = trace.columns["rank_reference"], trace.columns["rank_candidate"]
    own = Proportion(int((reference == 0).sum()), len(trace))
    yield Finding(Claim(REFERENCE.name), own)
    yield Finding(Claim(CANDIDATE.name), Proportion(int((candidate == 0).sum()), len(trace)))
    for claim, k in ((Claim(DROP.name), 1), (_topk_claim(), TOP)):
        yield Finding(claim, _paired(reference < k, candidate < k), presupposes=own)


def _topk_claim() -> Claim:
    return Claim(TOPK_DROP.name, (("k", str(TOP)),))


def _paired(reference: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> PairedDifference:
    harm, gain = reference & ~candidate, ~reference & candidate
    return PairedDifference(int(harm.sum()), int(gain.sum()), len(reference))
