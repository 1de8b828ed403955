"""Does the candidate still get right what the reference gets right?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from audit.contracts import Ask, Context, LedgerView, Trace
from audit.findings import BoundedMean, Finding, Kind, Metric, Missing, PairedDifference, Presupposition, Proportion
from audit.types import Claim, Role, Scope, Sense, Unit
from checks.methods import Flags, paired, share
from checks.perturbations.clean import CLEAN

TOP = 5

REFERENCE: Final = Metric(
    name="reference.accuracy", title="Accuracy of the reference", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION, meaning="Share of items that the reference gets right.",
    of_pair=False,
)  # fmt: skip
CANDIDATE: Final = Metric(
    name="candidate.accuracy", title="Accuracy of the candidate", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION, meaning="Share of items that the candidate gets right.",
)  # fmt: skip
DROP: Final = Metric(
    name="accuracy.drop", title="Loss of accuracy", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED,
    meaning="Accuracy of the reference minus accuracy of the candidate, on the same items.",
)  # fmt: skip
TOPK_DROP: Final = Metric(
    name="accuracy.topk_drop", title="Loss of top-k accuracy", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED,
    meaning="As accuracy.drop, counting an item as right when its label is among the k highest outputs.",
)  # fmt: skip


@dataclass(frozen=True)
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
                yield from right(trace)
                if _topk_claim() in claims:
                    among = [trace.columns[f"rank_{role}"] < TOP for role in ("reference", "candidate")]
                    yield Finding(_topk_claim(), _drop(trace, *among), presupposes=(working(trace),))


def right(trace: Trace, scope: Scope = (), clean: Trace | None = None) -> Iterator[Finding]:
    """Accuracy of both and the drop; `clean`, off the clean set, is the trace there."""
    reference, candidate = trace.columns["rank_reference"] == 0, trace.columns["rank_candidate"] == 0
    yield Finding(Claim(REFERENCE.name, scope), _own(trace))
    yield Finding(Claim(CANDIDATE.name, scope), share(trace, candidate))
    drop = _drop(trace, reference, candidate)
    yield Finding(Claim(DROP.name, scope), drop, presupposes=(working(trace, clean),))


def working(trace: Trace, clean: Trace | None = None, role: Role = Role.REFERENCE) -> Presupposition:
    """That the reference, or the `role` that it was joined with, works; `clean`, off the clean set, is the trace there.

    What guessing gets is the share of the most frequent class.
    """
    chance = float(np.bincount(trace.labels).max() / len(trace.labels))
    return Presupposition(_own(trace, role), None if clean is None else _own(clean, role), chance, role)


def _own(trace: Trace, role: Role = Role.REFERENCE) -> Proportion | BoundedMean:
    return share(trace, trace.columns["rank_reference" if role is Role.REFERENCE else "rank_candidate"] == 0)


def _topk_claim() -> Claim:
    return Claim(TOPK_DROP.name, (("k", str(TOP)),))


def _drop(trace: Trace, reference: Flags, candidate: Flags) -> PairedDifference | BoundedMean:
    return paired(trace, harm=reference & ~candidate, gain=~reference & candidate)
