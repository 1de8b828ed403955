"""Does the candidate still compute the same function: decisions that changed, and how far outputs moved?"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Finding, Kind, Metric, Missing, OrderStatistic, Presupposition
from audit.traces import Trace
from audit.types import Claim, Scope, Sense, TaskKind, Unit
from checks import alignment
from checks.accuracy import working
from checks.methods import mean, paired, share
from checks.perturbations.clean import CLEAN

AGREEMENT: Final = Metric(
    name="functional.agreement", title="Same decision", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION,
    meaning="Share of items on which both models name the same class. Of segmentation: mean over items of the share of "
    "pixels; of regression: items whose every value is within the tolerance of the reference's; of control: the same "
    "decision.",
)  # fmt: skip
EXCESS: Final = Metric(
    name="functional.excess_disagreement", title="Excess disagreement", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST,
    kind=Kind.PAIRED,
    meaning="Share of items on which the candidate differs from the reference, minus the share on which the "
    "reference differs from the label.",
    gains=0.05,  # the error of a typical reference: where both agree and both are wrong
)  # fmt: skip
NEGATIVE: Final = Metric(
    name="functional.negative_flips", title="Right before, wrong now", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION,
    meaning="Share of items, or pixels, that the reference gets right and the candidate gets wrong.",
)  # fmt: skip
POSITIVE: Final = Metric(
    name="functional.positive_flips", title="Wrong before, right now", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION,
    meaning="Share of items, or pixels, that the reference gets wrong and the candidate gets right.",
)  # fmt: skip
SOFTMAX_L2: Final = Metric(
    name="functional.softmax_l2", title="Mean softmax distance ℓ2", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Euclidean distance between the two probability vectors (Liebenwein et al., 2021).",
)  # fmt: skip
SOFTMAX_L2_Q99: Final = Metric(
    name="functional.softmax_l2_q99", title="Softmax distance ℓ2, 99 % of items", unit=Unit.DISTANCE, low=0.0,
    high=math.sqrt(2.0), better=Sense.AT_MOST, kind=Kind.QUANTILE, q=0.99,
    meaning="The Euclidean distance that at most one item in a hundred exceeds.",
)  # fmt: skip
SOFTMAX_LINF: Final = Metric(
    name="functional.softmax_linf", title="Mean softmax distance ℓ∞", unit=Unit.DISTANCE, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.MEAN, meaning="Largest change of any class probability.",
)  # fmt: skip
JENSEN_SHANNON: Final = Metric(
    name="functional.jensen_shannon", title="Mean Jensen–Shannon divergence", unit=Unit.DISTANCE, low=0.0,
    high=1.0, better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="Jensen–Shannon divergence of the two probability vectors, in bits (Lin, 1991).",
)  # fmt: skip
RELATIVE: Final = Metric(
    name="functional.relative_logit_error", title="Logits that moved far", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION,
    meaning="Share of items whose logits, less their mean, moved by more than ε times their own length: "
    "‖candidate − reference‖₂ > ε·‖reference‖₂ (Baykal, Liebenwein et al., 2019). Not to be had of probabilities that "
    "were rounded to 0.",
)  # fmt: skip
RELATIVE_Q99: Final = Metric(
    name="functional.relative_logit_error_q99", title="Relative logit error, 99 % of items", unit=Unit.DISTANCE,
    low=0.0, high=sys.float_info.max, better=Sense.AT_MOST, kind=Kind.QUANTILE, q=0.99,
    meaning="‖candidate − reference‖₂ / ‖reference‖₂ of the logits, less their mean, that at most one item in a "
    "hundred exceeds.",
)  # fmt: skip
FAR: Final = 10.0
DEVIATION: Final = Metric(
    name="functional.deviation", title="Mean deviation", unit=Unit.TOLERANCES, low=0.0, high=FAR,
    better=Sense.AT_MOST, kind=Kind.MEAN,
    meaning="How far the candidate's outputs lie from the reference's, in tolerances, of the value where that is "
    f"farthest; {FAR:g} stands for anything beyond. For regression and control.",
)  # fmt: skip
DEVIATION_Q99: Final = Metric(
    name="functional.deviation_q99", title="Deviation, 99 % of items", unit=Unit.TOLERANCES, low=0.0,
    high=sys.float_info.max, better=Sense.AT_MOST, kind=Kind.QUANTILE, q=0.99,
    meaning="The deviation, in tolerances, that at most one item in a hundred exceeds.",
)  # fmt: skip
RELATIVE_ERROR: Final = Metric(
    name="functional.relative_error", title="Outputs that moved far", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION,
    meaning="Share of items whose outputs moved by more than ε times their own length: "
    "‖candidate − reference‖₂ > ε·‖reference‖₂. For regression and control.",
)  # fmt: skip
_NO_LENGTH: Final = {
    DEVIATION_Q99: Missing("no-tolerance", "of some values the tolerance is 0: they are 0 themselves"),
    RELATIVE_Q99: Missing("no-length", "of some items all logits of the reference are equal"),
}
"""Why a quantile cannot be told of values of which some are infinite."""
_MEANS: Final = {"softmax_l2": SOFTMAX_L2, "softmax_linf": SOFTMAX_LINF, "jensen_shannon": JENSEN_SHANNON}
VALUED: Final = frozenset({TaskKind.REGRESSION, TaskKind.CONTROL})
"""Tasks whose outputs are values, of which no softmax is taken."""


def means(task: TaskKind) -> Mapping[str, Metric]:
    """The mean distances between the outputs of two models, by pair column."""
    return {"deviation": DEVIATION} if task in VALUED else _MEANS


@dataclass(frozen=True)
class Functional:
    """Agreement, flips, and distances between the outputs; `epsilon` are the ε of the relative logit error."""

    epsilon: tuple[Annotated[float, Field(gt=0)], ...] = (0.1, 0.5)

    def __post_init__(self) -> None:
        names = [dict(_moved(epsilon).scope)["epsilon"] for epsilon in self.epsilon]
        if len(set(names)) < len(names) or list(map(float, names)) != list(self.epsilon):
            raise ValueError(f"the ε {self.epsilon} must differ, and have six digits at most")

    name: ClassVar[str] = "functional"
    summary: ClassVar[str] = "decisions that changed, the distance between the two outputs, alignment of named layers"
    metrics: ClassVar[tuple[Metric, ...]] = (
        AGREEMENT, EXCESS, NEGATIVE, POSITIVE, SOFTMAX_L2, SOFTMAX_L2_Q99, SOFTMAX_LINF, JENSEN_SHANNON, RELATIVE,
        RELATIVE_Q99, DEVIATION, DEVIATION_Q99, RELATIVE_ERROR, *alignment.METRICS,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        distant = {*means(context.task).values(), *_quantiles(context.task).values()}
        plain = (AGREEMENT, EXCESS, NEGATIVE, POSITIVE, *(metric for metric in self.metrics if metric in distant))
        moved = [_moved(epsilon, metric) for _, metric in lengths(context.task) for epsilon in self.epsilon]
        claims = (*(Claim(metric.name) for metric in plain), *moved, *alignment.claims(context))
        return Ask(probes=(CLEAN,), claims=claims)

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        match ledger.trace(CLEAN):
            case Missing() as missing:
                yield from (Finding(claim, missing) for claim in self.ask(context).claims)
            case Trace() as trace:
                yield from decisions(trace)
                yield from _flips(trace)
                yield from distances(trace, context.task)
                for column, metric in _quantiles(context.task).items():
                    yield _farthest(trace, column, metric)
                for column, metric in lengths(context.task):
                    yield from self._moved_far(trace, column, metric)
                yield from alignment.findings(context, ledger)

    def _moved_far(self, trace: Trace, column: str, metric: Metric) -> Iterator[Finding]:
        error = trace.columns[column]
        for epsilon in self.epsilon:
            yield Finding(_moved(epsilon, metric), saturated(error) or share(trace, error > epsilon))


def _moved(epsilon: float, metric: Metric = RELATIVE) -> Claim:
    return Claim(metric.name, (("epsilon", f"{epsilon:g}"),))


def saturated(error: NDArray[np.float64]) -> Missing | None:
    """Why relative errors [rows] of probabilities cannot be told, for some are NaN; None where they can."""
    lost = int(np.isnan(error).sum())
    return Missing("saturated-outputs", f"of {lost} items probabilities were rounded to 0") if lost else None


def _quantiles(task: TaskKind) -> Mapping[str, Metric]:
    """The metrics that are quantiles, by pair column."""
    if task in VALUED:
        return {"deviation": DEVIATION_Q99}
    own = {"softmax_l2": SOFTMAX_L2_Q99}
    return own if task is TaskKind.SEGMENTATION else {**own, "relative_logit_error": RELATIVE_Q99}


def lengths(task: TaskKind) -> tuple[tuple[str, Metric], ...]:
    """The pair columns of relative errors, with their metrics; an item of pixels has none."""
    if task is TaskKind.SEGMENTATION:
        return ()
    return (("relative_error", RELATIVE_ERROR),) if task in VALUED else (("relative_logit_error", RELATIVE),)


def _farthest(trace: Trace, column: str, metric: Metric) -> Finding:
    values, claim = trace.columns[column], Claim(metric.name)
    if lost := saturated(values):
        return Finding(claim, lost)
    if not np.isfinite(values).all():
        return Finding(claim, _NO_LENGTH[metric])
    return Finding(claim, OrderStatistic(tuple(values.tolist()), metric.q))


def decisions(trace: Trace, scope: Scope = (), clean: Trace | None = None) -> Iterator[Finding]:
    """Agreement and excess disagreement; `clean` as in `accuracy.right`."""
    agree = trace.columns["agree"]
    excess = paired(trace, trace.columns["right_reference"], agree)
    yield Finding(Claim(AGREEMENT.name, scope), share(trace, agree), presupposes=_off_clean(trace, clean))
    yield Finding(Claim(EXCESS.name, scope), excess, presupposes=(working(trace, clean),))


def distances(trace: Trace, task: TaskKind, scope: Scope = (), clean: Trace | None = None) -> Iterator[Finding]:
    """Mean distances between the outputs of both; `clean` as in `accuracy.right`."""
    presupposed = _off_clean(trace, clean)
    for column, metric in means(task).items():
        yield Finding(Claim(metric.name, scope), mean(trace, trace.columns[column], metric), presupposes=presupposed)


def _off_clean(trace: Trace, clean: Trace | None) -> tuple[Presupposition, ...]:
    """Two networks that noise has driven to one class are alike and prove nothing.

    On the clean set every policy wants a working reference anyway.
    """
    return () if clean is None else (working(trace, clean),)


def _flips(trace: Trace) -> Iterator[Finding]:
    yield Finding(Claim(NEGATIVE.name), share(trace, trace.columns["lost"]), presupposes=(working(trace),))
    yield Finding(Claim(POSITIVE.name), share(trace, trace.columns["won"]))
