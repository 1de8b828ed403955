"""Does a monitor that was set up for the reference still tell foreign inputs when the candidate runs behind it?

Scores of a single output row, all of them higher for inputs of the kind that the network was trained on: the maximum
softmax (Hendrycks & Gimpel, ICLR 2017), the maximum logit (Hendrycks et al., ICML 2022), the free energy with its sign
turned (Liu et al., NeurIPS 2020), the entropy with its sign turned. A deployed monitor has one threshold, which nobody
sets anew when the network behind it is exchanged: it is that at which the reference accepts 95 % of the calibration
items.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing, Presupposition, Proportion
from audit.traces import Trace
from audit.types import PAIR, Claim, DataRole, Role, Scope, Sense, TaskKind, Unit, label_of, role_of
from checks import detection
from checks.accuracy import working
from checks.methods import paired, share
from checks.perturbations.clean import CLEAN, Clean

ACCEPTED: Final = 0.95
"""Share of the calibration items that the reference accepts at the threshold."""
Score = Literal["max_softmax", "max_logit", "energy", "entropy"]


def _counted(name: str, title: str, meaning: str, better: Sense, unit: Unit = Unit.PERCENT) -> Metric:
    low = 0.0 if unit is Unit.PERCENT else -1.0
    return Metric(
        name=name, title=title, unit=unit, low=low, high=1.0, better=better, kind=Kind.COUNTED, of_pair=False,
        meaning=f"{meaning} As counted: nothing is said beyond these items.",
    )  # fmt: skip


AUROC: Final = _counted(
    "ood.auroc", "AUROC", "Share of the pairs of a test item and a foreign item in which the test item has the higher "
    "score; equal scores count half.", Sense.AT_LEAST,
)  # fmt: skip
AUPR: Final = _counted("ood.aupr", "AUPR", "Average precision at finding foreign items by low scores.", Sense.AT_LEAST)
FPR: Final = _counted(
    "ood.fpr95", "FPR at 95 % TPR", "Share of the foreign items that are accepted where 95 % of the test items are, at "
    "a threshold of each model's own.", Sense.AT_MOST,
)  # fmt: skip
AUROC_DROP: Final = _counted(
    "ood.auroc_drop",
    "Loss of AUROC",
    "AUROC of the reference minus AUROC of the candidate.",
    Sense.AT_MOST,
    Unit.POINTS,
)
AUPR_DROP: Final = _counted(
    "ood.aupr_drop", "Loss of AUPR", "AUPR of the reference minus AUPR of the candidate.", Sense.AT_MOST, Unit.POINTS
)
FPR_RISE: Final = _counted(
    "ood.fpr95_rise", "Rise of FPR", "FPR of the candidate minus FPR of the reference.", Sense.AT_MOST, Unit.POINTS
)
MISSES: Final = Metric(
    name="ood.misses", title="Foreign items accepted", unit=Unit.PERCENT, low=0.0, high=1.0, better=Sense.AT_MOST,
    kind=Kind.PROPORTION, of_pair=False,
    meaning="Share of the foreign items with a score at or above the threshold at which the reference accepts 95 % of "
    "the calibration items.",
)  # fmt: skip
ALARMS: Final = Metric(
    name="ood.false_alarms", title="Test items rejected", unit=Unit.PERCENT, low=0.0, high=1.0, better=Sense.AT_MOST,
    kind=Kind.PROPORTION, of_pair=False, meaning="Share of the test items with a score below that threshold.",
)  # fmt: skip
MISS_INCREASE: Final = Metric(
    name="ood.miss_increase", title="More foreign items accepted", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED,
    meaning="ood.misses of the candidate minus those of the reference, on the same items, both at the reference's "
    "threshold. It presupposes that the reference's monitor works: of foreign items it must find, and of test items "
    "accept, as large a share as is asked of accuracy off the clean set.",
)  # fmt: skip
ALARM_INCREASE: Final = Metric(
    name="ood.false_alarm_increase", title="More test items rejected", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED,
    meaning="ood.false_alarms of the candidate minus those of the reference, on the same items, both at the threshold "
    "of the reference. It presupposes that the reference's monitor works: of the test items it must accept as large a "
    "share as is asked of accuracy off the clean set.",
)  # fmt: skip
_FIGURES: Final[Mapping[str, tuple[Metric, Metric, Callable[[NDArray[Any], NDArray[Any]], float], int]]] = {
    "auroc": (AUROC, AUROC_DROP, detection.auroc, 1),
    "aupr": (AUPR, AUPR_DROP, detection.aupr, 1),
    "fpr95": (FPR, FPR_RISE, detection.fpr95, -1),
}
"""Figures of each model, their loss, how they are counted, and the sign of what is better."""


@dataclass(frozen=True)
class OutOfDistribution:
    """Detection of foreign inputs by four scores, and what becomes of a deployed monitor."""

    scores: Annotated[tuple[Score, ...], Field(min_length=1)] = ("max_softmax", "max_logit", "energy", "entropy")

    def __post_init__(self) -> None:
        if len(set(self.scores)) < len(self.scores):
            raise ValueError(f"{self.scores} names a score twice")

    name: ClassVar[str] = "ood"
    summary: ClassVar[str] = "telling foreign inputs by their scores, and a monitor set up for the reference"
    metrics: ClassVar[tuple[Metric, ...]] = (
        AUROC, AUPR, FPR, AUROC_DROP, AUPR_DROP, FPR_RISE, MISSES, ALARMS, MISS_INCREASE, ALARM_INCREASE,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        sets, calibration = _sets(context), _calibration(context)
        if not sets:
            return Ask((), ())
        claims = [claim for scope in sets for score in self.scores for claim in _figure_claims(score, scope)]
        if calibration:
            claims += [claim for score in self.scores for claim in _alarm_claims(score)]
            claims += [claim for scope in sets for score in self.scores for claim in _miss_claims(score, scope)]
        return Ask((CLEAN, *sets.values(), *calibration), tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        sets, calibration, clean = _sets(context), _calibration(context), ledger.trace(CLEAN)
        for score in self.scores:
            thresholds = [_threshold(ledger.trace(probe), score) for probe in calibration]
            for threshold in thresholds if sets else ():
                yield from _alarms(clean, score, threshold)
            for scope, probe in sets.items():
                foreign = ledger.trace(probe)
                yield from _figures(clean, foreign, score, scope)
                for threshold in thresholds:
                    yield from _misses(clean, foreign, score, threshold, scope)


def _sets(context: Context) -> dict[Scope, Clean]:
    """The foreign sets as they are, by how claims name them; of tasks without a softmax none."""
    if context.task is not TaskKind.CLASSIFICATION:
        return {}
    names = (name for name in context.data if role_of(name) is DataRole.OUT_OF_DISTRIBUTION)
    return {(("set", label_of(name) or name),): Clean(name) for name in names}


def _calibration(context: Context) -> tuple[Clean, ...]:
    return (Clean(DataRole.CALIBRATION),) if DataRole.CALIBRATION in context.data else ()


def _scope(score: str, *more: tuple[str, str]) -> Scope:
    return tuple(sorted((("score", score), *more)))


def _figure_claims(score: str, scope: Scope) -> list[Claim]:
    claims = []
    for own, loss, _, _ in _FIGURES.values():
        claims += [Claim(own.name, _scope(score, ("role", role.value), *scope)) for role in PAIR]
        claims.append(Claim(loss.name, _scope(score, *scope)))
    return claims


def _alarm_claims(score: str) -> list[Claim]:
    own = [Claim(ALARMS.name, _scope(score, ("role", role.value))) for role in PAIR]
    return [*own, Claim(ALARM_INCREASE.name, _scope(score))]


def _miss_claims(score: str, scope: Scope) -> list[Claim]:
    own = [Claim(MISSES.name, _scope(score, ("role", role.value), *scope)) for role in PAIR]
    return [*own, Claim(MISS_INCREASE.name, _scope(score, *scope))]


def _scored(trace: Trace | Missing, score: str, role: Role) -> NDArray[np.float64] | Missing:
    """One model's scores of a data set [N]."""
    if isinstance(trace, Missing):
        return trace
    values: NDArray[np.float64] = trace.columns[f"{score}_{role}"]
    if np.isnan(values).any():
        return Missing("no-logits", f"the {role} gives no logits, so that its {score} cannot be told")
    return values


def _threshold(calibration: Trace | Missing, score: str) -> float | Missing:
    """The score at or above which the reference accepts 95 % of the calibration items."""
    values = _scored(calibration, score, Role.REFERENCE)
    if isinstance(values, Missing):
        return values
    return detection.deployed(values, ACCEPTED)


def _figures(clean: Trace | Missing, foreign: Trace | Missing, score: str, scope: Scope) -> Iterator[Finding]:
    pairs = {role: (_scored(clean, score, role), _scored(foreign, score, role)) for role in PAIR}
    why = next((each for pair in pairs.values() for each in pair if isinstance(each, Missing)), None)
    if why is not None:
        yield from (Finding(claim, why) for claim in _figure_claims(score, scope))
        return
    sound = {role: (np.asarray(own), np.asarray(other)) for role, (own, other) in pairs.items()}
    n = sum(map(len, sound[Role.REFERENCE]))
    for own, loss, count, sign in _FIGURES.values():
        found = {role: count(*sound[role]) for role in PAIR}
        for role in PAIR:
            yield Finding(Claim(own.name, _scope(score, ("role", role.value), *scope)), Exact(found[role], n))
        lost = sign * (found[Role.REFERENCE] - found[Role.CANDIDATE]) + 0.0  # no negative zero
        yield Finding(Claim(loss.name, _scope(score, *scope)), Exact(lost, n))


def _alarms(clean: Trace | Missing, score: str, threshold: float | Missing) -> Iterator[Finding]:
    rejected = _beyond(clean, score, threshold, np.less)
    if isinstance(rejected, Missing):
        yield from (Finding(claim, rejected) for claim in _alarm_claims(score))
        return
    assert isinstance(clean, Trace)
    for role in PAIR:
        yield Finding(Claim(ALARMS.name, _scope(score, ("role", role.value))), share(clean, rejected[role]))
    increase = paired(clean, rejected[Role.CANDIDATE], rejected[Role.REFERENCE])
    yield Finding(Claim(ALARM_INCREASE.name, _scope(score)), increase, (working(clean), _accepting(clean, rejected)))


def _misses(
    clean: Trace | Missing, foreign: Trace | Missing, score: str, threshold: float | Missing, scope: Scope
) -> Iterator[Finding]:
    accepted = _beyond(foreign, score, threshold, np.greater_equal)
    rejected = _beyond(clean, score, threshold, np.less)
    why = next((each for each in (accepted, rejected) if isinstance(each, Missing)), None)
    if why is not None:
        yield from (Finding(claim, why) for claim in _miss_claims(score, scope))
        return
    assert not isinstance(accepted, Missing) and not isinstance(rejected, Missing)
    assert isinstance(foreign, Trace) and isinstance(clean, Trace)
    for role in PAIR:
        own = _scope(score, ("role", role.value), *scope)
        yield Finding(Claim(MISSES.name, own), share(foreign, accepted[role]))
    increase = paired(foreign, accepted[Role.CANDIDATE], accepted[Role.REFERENCE])
    found = Proportion(int((~accepted[Role.REFERENCE]).sum()), len(foreign))
    monitor = Presupposition(found, working(clean).accuracy, 1 - ACCEPTED, what="share of foreign items found")
    sound = (working(clean), monitor, _accepting(clean, rejected))
    yield Finding(Claim(MISS_INCREASE.name, _scope(score, *scope)), increase, sound)


def _accepting(clean: Trace, rejected: Mapping[Role, NDArray[np.bool_]]) -> Presupposition:
    """That the reference's monitor lets test items through: behind one that rejects all of them nothing gets worse."""
    found = Proportion(int((~rejected[Role.REFERENCE]).sum()), len(clean))
    return Presupposition(found, working(clean).accuracy, 1 - ACCEPTED, what="share of test items accepted")


def _beyond(
    trace: Trace | Missing, score: str, threshold: float | Missing, side: Callable[[Any, float], NDArray[np.bool_]]
) -> dict[Role, NDArray[np.bool_]] | Missing:
    """Which items of a data set lie on one side of the threshold, for each model."""
    scored = {role: _scored(trace, score, role) for role in PAIR}
    why = next((each for each in (threshold, *scored.values()) if isinstance(each, Missing)), None)
    if why is not None or isinstance(threshold, Missing):
        assert why is not None
        return why
    return {role: side(values, threshold) for role, values in scored.items()}
