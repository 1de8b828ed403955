"""Is it pruning or conversion that costs something: of a candidate beside its origin, the network that was exported."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from audit.contracts import LedgerView, Trace
from audit.findings import Exact, Finding, Kind, Metric, Missing
from audit.types import Claim, Role, Sense, Unit
from checks.accuracy import working
from checks.methods import mean, paired, share
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
    meaning="Share of items on which the origin names another class than the reference.",
)  # fmt: skip
DROP: Final = Metric(
    name="conversion.drop", title="Loss of accuracy by conversion", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED, of_pair=False,
    meaning="Accuracy of the origin minus accuracy of the candidate, on the same items.",
)  # fmt: skip
FLIPS: Final = Metric(
    name="conversion.flips", title="Decisions changed by conversion", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION, of_pair=False,
    meaning="Share of items on which the candidate names another class than its origin.",
)  # fmt: skip
SOFTMAX_L2: Final = Metric(
    name="conversion.softmax_l2", title="Mean softmax distance ℓ2 by conversion", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, kind=Kind.MEAN, of_pair=False,
    meaning="Euclidean distance between the probability vectors of the candidate and of its origin.",
)  # fmt: skip
DIFFERENCE: Final = Metric(
    name="conversion.output_difference", title="Largest change of an output by conversion", unit=Unit.PERCENT, low=0.0,
    high=_UNBOUNDED, better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="Largest relative difference of the logits of any item, less their mean: "
    "‖candidate − origin‖₂ ÷ ‖origin‖₂. Not to be had of probabilities that were rounded to 0.",
)  # fmt: skip

_PRUNING: Final = (PRUNING_DROP, PRUNING_FLIPS)
_CONVERSION: Final = (DROP, FLIPS, SOFTMAX_L2, DIFFERENCE)
METRICS: Final = (*_CONVERSION, *_PRUNING)
"""None is about the candidate beside its reference: no audit passes by such claims alone."""


def measure(ledger: LedgerView) -> Iterator[Finding]:
    """Findings of all metrics, in an audit in which an origin takes part."""
    match ledger.trace(CLEAN, Role.ORIGIN):
        case Missing() as missing:
            yield from (Finding(Claim(metric.name), missing) for metric in _PRUNING)
        case Trace() as trace:
            yield from _steps(trace, PRUNING_DROP, PRUNING_FLIPS, Role.REFERENCE)
    match ledger.trace(CLEAN, to=Role.ORIGIN):
        case Missing() as missing:
            yield from (Finding(Claim(metric.name), missing) for metric in _CONVERSION)
        case Trace() as trace:
            yield from _steps(trace, DROP, FLIPS, Role.ORIGIN)
            yield from _distances(trace)


def _steps(trace: Trace, drop: Metric, flips: Metric, first: Role) -> Iterator[Finding]:
    """Accuracy lost and decisions changed from `first` to the next network, where the former works."""
    before, after = trace.columns["rank_reference"] == 0, trace.columns["rank_candidate"] == 0
    works = (replace(working(trace), role=first),)
    lost = paired(trace, harm=before & ~after, gain=~before & after)
    yield Finding(Claim(drop.name), lost, presupposes=works)
    yield Finding(Claim(flips.name), share(trace, ~trace.columns["agree"]), presupposes=works)


def _distances(trace: Trace) -> Iterator[Finding]:
    works = (replace(working(trace), role=Role.ORIGIN),)
    distance = mean(trace, trace.columns["softmax_l2"], SOFTMAX_L2)
    yield Finding(Claim(SOFTMAX_L2.name), distance, presupposes=works)
    yield Finding(Claim(DIFFERENCE.name), _largest(trace), presupposes=works)


def _largest(trace: Trace) -> Exact | Missing:
    error = trace.columns["relative_logit_error"]
    if lost := int(np.isnan(error).sum()):
        return Missing("saturated-outputs", f"of {lost} items probabilities were rounded to 0")
    return Exact(min(float(error.max()), _UNBOUNDED), len(trace))
