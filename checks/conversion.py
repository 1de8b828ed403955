"""Is it pruning or conversion that costs something: of a candidate beside its origin, the network that was exported."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from audit.contracts import LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing
from audit.traces import Trace
from audit.types import Claim, Role, Sense, TaskKind, Unit
from checks.accuracy import working
from checks.functional import FAR, VALUED, lengths, saturated
from checks.methods import differing, mean, paired, share
from checks.perturbations.clean import CLEAN

_UNBOUNDED = float(2**53)

PRUNING_DROP: Final = Metric(
    name="pruning.drop", title="Loss of accuracy by pruning", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED, of_pair=False,
    meaning="Accuracy of the reference minus accuracy of the origin, which the candidate's file was exported from, on "
    "the same items. With conversion.drop it makes up accuracy.drop.",
)  # fmt: skip
PRUNING_FLIPS: Final = Metric(
    name="pruning.flips", title="Decisions changed by pruning", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION, of_pair=False,
    meaning="Share of items, or pixels, on which the origin decides otherwise than the reference.",
)  # fmt: skip
DROP: Final = Metric(
    name="conversion.drop", title="Loss of accuracy by conversion", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED, of_pair=False,
    meaning="Accuracy of the origin minus accuracy of the candidate, on the same items.",
)  # fmt: skip
FLIPS: Final = Metric(
    name="conversion.flips", title="Decisions changed by conversion", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION, of_pair=False,
    meaning="Share of items, or pixels, on which the candidate decides otherwise than its origin.",
)  # fmt: skip
SOFTMAX_L2: Final = Metric(
    name="conversion.softmax_l2", title="Mean softmax distance ℓ2 by conversion", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, kind=Kind.MEAN, of_pair=False,
    meaning="Euclidean distance between the probability vectors of the candidate and of its origin.",
)  # fmt: skip
DIFFERENCE: Final = Metric(
    name="conversion.output_difference", title="Largest change of an output by conversion", unit=Unit.PERCENT, low=0.0,
    high=_UNBOUNDED, better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="Largest relative difference of the outputs of any item, of logits less their mean: "
    "‖candidate − origin‖₂ ÷ ‖origin‖₂. Not to be had of probabilities that were rounded to 0.",
)  # fmt: skip

DEVIATION: Final = Metric(
    name="conversion.deviation", title="Mean deviation by conversion", unit=Unit.TOLERANCES, low=0.0, high=FAR,
    better=Sense.AT_MOST, kind=Kind.MEAN, of_pair=False,
    meaning="As functional.deviation, of the candidate from its origin.",
)  # fmt: skip

_PRUNING: Final = (PRUNING_DROP, PRUNING_FLIPS)
METRICS: Final = (DROP, FLIPS, SOFTMAX_L2, DEVIATION, DIFFERENCE, *_PRUNING)
"""None is about the candidate beside its reference: no audit passes by such claims alone."""


def metrics(task: TaskKind) -> tuple[Metric, ...]:
    """What is measured of models that do this."""
    return (*_PRUNING, *_converted(task))


def _converted(task: TaskKind) -> tuple[Metric, ...]:
    """An item of pixels has no output of its own that could be compared by its length."""
    distance = DEVIATION if task in VALUED else SOFTMAX_L2
    return (DROP, FLIPS, distance) if task is TaskKind.SEGMENTATION else (DROP, FLIPS, distance, DIFFERENCE)


def measure(ledger: LedgerView, task: TaskKind) -> Iterator[Finding]:
    """Findings of all metrics of a task, in an audit in which an origin takes part."""
    match ledger.trace(CLEAN, Role.ORIGIN):
        case Missing() as missing:
            yield from (Finding(Claim(metric.name), missing) for metric in _PRUNING)
        case Trace() as trace:
            yield from _steps(trace, PRUNING_DROP, PRUNING_FLIPS, Role.REFERENCE)
    match ledger.trace(CLEAN, to=Role.ORIGIN):
        case Missing() as missing:
            yield from (Finding(Claim(metric.name), missing) for metric in _converted(task))
        case Trace() as trace:
            yield from _steps(trace, DROP, FLIPS, Role.ORIGIN)
            yield from _distances(trace, task)


def _steps(trace: Trace, drop: Metric, flips: Metric, first: Role) -> Iterator[Finding]:
    """Accuracy lost and decisions changed from `first` to the next network, where the former works."""
    works = (replace(working(trace), role=first),)
    lost = paired(trace, trace.columns["right_reference"], trace.columns["right_candidate"])
    yield Finding(Claim(drop.name), lost, presupposes=works)
    yield Finding(Claim(flips.name), share(trace, differing(trace)), presupposes=works)


def _distances(trace: Trace, task: TaskKind) -> Iterator[Finding]:
    works = (replace(working(trace), role=Role.ORIGIN),)
    column, metric = ("deviation", DEVIATION) if task in VALUED else ("softmax_l2", SOFTMAX_L2)
    yield Finding(Claim(metric.name), mean(trace, trace.columns[column], metric), presupposes=works)
    for length, _ in lengths(task):
        yield Finding(Claim(DIFFERENCE.name), _largest(trace, length), presupposes=works)


def _largest(trace: Trace, column: str) -> Exact | Missing:
    error = trace.columns[column]
    return saturated(error) or Exact(min(float(error.max()), _UNBOUNDED), len(trace))
