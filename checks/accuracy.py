"""Does the candidate still get right what the reference gets right?"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Ask, Context, LedgerView
from audit.findings import BoundedMean, Exact, Finding, Kind, Metric, Missing, Presupposition, Proportion
from audit.traces import Trace
from audit.types import PAIR, Claim, Role, Scope, Sense, TaskKind, Unit
from checks.methods import paired, share
from checks.perturbations.clean import CLEAN

TOP = 5
_RIGHT: Final = (
    "Of segmentation: mean over items of the share of pixels; of regression: items whose every value is within the "
    "tolerance of its target; of control: items on which it decides as it should."
)

REFERENCE: Final = Metric(
    name="reference.accuracy", title="Accuracy of the reference", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION, meaning=f"Share of items that the reference gets right. {_RIGHT}",
    of_pair=False,
)  # fmt: skip
CANDIDATE: Final = Metric(
    name="candidate.accuracy", title="Accuracy of the candidate", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION, meaning=f"Share of items that the candidate gets right. {_RIGHT}",
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
MIOU: Final = Metric(
    name="accuracy.miou", title="Mean IoU", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.COUNTED, of_pair=False,
    meaning="Of segmentation: pixels of a class that are named so, by those that are named or labelled so, from one "
    "confusion matrix over all items; mean over classes. No mean over items: nothing is said beyond these. Near ties "
    "count as they fell.",
)  # fmt: skip
MIOU_DROP: Final = Metric(
    name="accuracy.miou_drop", title="Loss of mean IoU", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="Mean IoU of the reference minus mean IoU of the candidate, on the same items. What is proven beyond these "
    "items is accuracy.drop.",
)  # fmt: skip


@dataclass(frozen=True)
class Accuracy:
    """Clean accuracy of both models and the paired drop; of segmentation the mean IoU too."""

    name: ClassVar[str] = "accuracy"
    summary: ClassVar[str] = "accuracy of both models and the paired loss, top-1 and top-k, mean IoU"
    metrics: ClassVar[tuple[Metric, ...]] = (REFERENCE, CANDIDATE, DROP, TOPK_DROP, MIOU, MIOU_DROP)

    def ask(self, context: Context, /) -> Ask:
        claims = [Claim(metric.name) for metric in (REFERENCE, CANDIDATE, DROP)]
        if context.task is TaskKind.CLASSIFICATION and len(context.classes) > TOP:
            claims.append(_topk_claim())
        if context.task is TaskKind.SEGMENTATION:
            claims += [*(_miou_claim(role) for role in PAIR), Claim(MIOU_DROP.name)]
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
                    yield Finding(_topk_claim(), paired(trace, *among), presupposes=(working(trace),))
                if context.task is TaskKind.SEGMENTATION:
                    yield from _overlap(trace)


def right(trace: Trace, scope: Scope = (), clean: Trace | None = None) -> Iterator[Finding]:
    """Accuracy of both and the drop; `clean`, off the clean set, is the trace there."""
    reference, candidate = trace.columns["right_reference"], trace.columns["right_candidate"]
    yield Finding(Claim(REFERENCE.name, scope), _own(trace))
    yield Finding(Claim(CANDIDATE.name, scope), share(trace, candidate))
    drop = paired(trace, reference, candidate)
    yield Finding(Claim(DROP.name, scope), drop, presupposes=(working(trace, clean),))


def working(trace: Trace, clean: Trace | None = None, role: Role = Role.REFERENCE) -> Presupposition:
    """That the reference, or the `role` it was joined with, works; `clean`, off the clean set, is the trace there."""
    return Presupposition(_own(trace, role), None if clean is None else _own(clean, role), trace.chance, role)


def _own(trace: Trace, role: Role = Role.REFERENCE) -> Proportion | BoundedMean:
    return share(trace, trace.columns["right_reference" if role is Role.REFERENCE else "right_candidate"])


def _overlap(trace: Trace) -> Iterator[Finding]:
    """Mean IoU of both and the drop."""
    columns = trace.columns
    found = {role: mean_iou(columns[f"hit_{role}"], columns[f"named_{role}"], columns["labelled"]) for role in PAIR}
    for role, value in found.items():
        yield Finding(_miou_claim(role), Exact(value, len(trace)))
    drop = Exact(found[Role.REFERENCE] - found[Role.CANDIDATE], len(trace))
    yield Finding(Claim(MIOU_DROP.name), drop, presupposes=(working(trace),))


def mean_iou(hits: NDArray[Any], named: NDArray[Any], labelled: NDArray[Any]) -> float:
    """Mean over classes of the pixels named and labelled so by those named or labelled so (Jaccard, 1912).

    Both are summed over all items first.

    Each argument holds pixels by item and class [N, K]. Classes that no pixel is labelled as are left out.
    """
    hit, name, label = (counts.sum(axis=0, dtype=np.int64) for counts in (hits, named, labelled))
    there = label > 0
    return float((hit[there] / (name + label - hit)[there]).mean())


def _miou_claim(role: Role) -> Claim:
    return Claim(MIOU.name, (("role", role.value),))


def _topk_claim() -> Claim:
    return Claim(TOPK_DROP.name, (("k", str(TOP)),))
