"""Does the candidate's confidence say as truly as its parent's how likely an answer is right?

Proper scores are decided, on clean items and under every condition under which other checks show items: they are means
over items, and paired. Calibration errors are counted. Nothing here shows a network an item that it would not see
anyway, but for those of the calibration set.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import Field

from audit.contracts import Ask, Context, LedgerView
from audit.findings import Exact, Finding, Kind, Metric, Missing, Presupposition
from audit.traces import Trace
from audit.types import PAIR, Claim, DataRole, Role, Scope, Sense, TaskKind, Unit
from checks import calibration_errors, selective, temperature
from checks.accuracy import working
from checks.figures import claim, counted, paired_rise, percent, require_names
from checks.methods import mean, paired
from checks.perturbations.clean import CLEAN, Clean
from checks.reliability import Answers

LEAST: Final = 1e-4
"""Probabilities of a label below this count as this: of an unbounded log loss nothing is proven."""
FARTHEST: Final = -math.log(LEAST)
_MOVES: Final = (
    "of the candidate minus of the reference, on the same items. It moves with accuracy too. At a temperature, the "
    "logits of both are divided by the reference's, or of each by its own; the reference's mean confidence, as a share "
    "of the way from guessing to certainty, must then reach as large a share of its accuracy as is asked of accuracy "
    "off the clean set. At a temperature near 0 every answer is certain, and the score says no more than accuracy does."
)


def _score(name: str, title: str, meaning: str, low: float, high: float, *, of_pair: bool) -> Metric:
    return Metric(
        name=f"calibration.{name}", title=title, unit=Unit.DISTANCE, low=low, high=high, better=Sense.AT_MOST,
        kind=Kind.MEAN, meaning=meaning, of_pair=of_pair,
    )  # fmt: skip


BRIER: Final = _score(
    "brier", "Brier score", "Mean of Σ(p − y)²/2 over classes, with y 1 for the label and 0 elsewhere (Brier, 1950).",
    0.0, 1.0, of_pair=False,
)  # fmt: skip
LOG_LOSS: Final = _score(
    "log_loss", "Log loss", f"Mean of −ln of the label's probability, below {LEAST:g} counted as that, in nats.",
    0.0, FARTHEST, of_pair=False,
)  # fmt: skip
BRIER_INCREASE: Final = _score(
    "brier_increase", "Rise of the Brier score", f"Brier score {_MOVES}", -1.0, 1.0, of_pair=True
)  # fmt: skip
LOG_LOSS_INCREASE: Final = _score(
    "log_loss_increase", "Rise of the log loss", f"Log loss, probabilities below {LEAST:g} counted as that, in nats: "
    f"{_MOVES}", -FARTHEST, FARTHEST, of_pair=True,
)  # fmt: skip
WHEN_WRONG: Final = counted(
    "confidence_when_wrong", "Confidence in wrong answers", "Mean maximum softmax of the items that a model gets wrong."
)  # fmt: skip
WHEN_WRONG_INCREASE: Final = counted(
    "confidence_when_wrong_increase", "Rise of confidence in wrong answers", "Mean maximum softmax of the items that "
    "the candidate gets wrong, minus that of the items that the reference gets wrong.", Unit.POINTS, low=-1.0,
)  # fmt: skip
CONFIDENT_ERRORS: Final = paired_rise(
    "confident_errors_increase", "More confident errors", "Share of the items that the candidate gets wrong with a "
    "maximum softmax of at least the named percentage, minus that share of the reference. A candidate that is never so "
    "sure keeps any limit of it: its errors are those of accuracy.drop.",
)  # fmt: skip
_SCORES: Final = {"brier": (BRIER, BRIER_INCREASE), "log_loss": (LOG_LOSS, LOG_LOSS_INCREASE)}
"""Proper scores by pair column: of one model, and their rise."""


@dataclass(frozen=True)
class Calibration:
    """Proper scores, calibration errors, confidence in wrong answers, rejection of doubtful ones, and temperatures.

    An error is confident from each share of `confident` on. `coverage` are the shares of the calibration items that a
    rejection threshold accepts. On those items a temperature is fitted too, and at the reference's, which stays in
    place, proper scores are compared again. Without calibration items there is neither threshold nor temperature, and
    nothing is promised of them.
    """

    confident: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.9,)
    coverage: tuple[Annotated[float, Field(ge=0.5, lt=1)], ...] = (0.9,)

    def __post_init__(self) -> None:
        require_names(self.confident)
        require_names(self.coverage)

    name: ClassVar[str] = "calibration"
    summary: ClassVar[str] = (
        "proper scores, calibration errors, confidence in wrong answers, selective prediction and temperatures"
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        BRIER, LOG_LOSS, BRIER_INCREASE, LOG_LOSS_INCREASE, *calibration_errors.METRICS, WHEN_WRONG,
        WHEN_WRONG_INCREASE, CONFIDENT_ERRORS, *selective.METRICS, temperature.TEMPERATURE,
    )  # fmt: skip

    def ask(self, context: Context, /) -> Ask:
        if context.task is not TaskKind.CLASSIFICATION:
            return Ask((), ())
        calibrated = _calibrated(context)
        scopes: list[Scope] = [(), *(condition.scope for condition in context.conditions)]
        scopes += temperature.SCOPES if calibrated else ()
        claims = [claim(own, role=role) for own in (BRIER, LOG_LOSS, WHEN_WRONG) for role in PAIR]
        claims += [Claim(rise.name, scope) for scope in scopes for _, rise in _SCORES.values()]
        claims += [claim(WHEN_WRONG_INCREASE), *(_confident(share) for share in self.confident)]
        claims += [*calibration_errors.claims(), *selective.curve_claims()]
        if calibrated:
            claims += [each for share in self.coverage for each in selective.threshold_claims(share)]
            claims += temperature.claims()
        return Ask((CLEAN, *calibrated), tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        claims = self.ask(context).claims
        if not claims:
            return
        clean = ledger.trace(CLEAN)
        if isinstance(clean, Missing):
            yield from (Finding(each, clean) for each in claims)
            return
        yield from self._of_clean(clean, ledger)
        for condition in context.conditions:
            yield from _rises(ledger.trace(condition.probe), clean, condition.scope)
        for probe in _calibrated(context):
            for share in self.coverage:
                yield from selective.behind_thresholds(clean, ledger.trace(probe), share)
            temperatures = temperature.fitted(ledger, probe)
            yield from temperature.told(temperatures)
            for scope, trace in temperature.scaled(clean, ledger, temperatures):
                sure = () if isinstance(trace, Missing) else (temperature.sure(trace),)
                yield from _rises(trace, None, scope, sure)

    def _of_clean(self, clean: Trace, ledger: LedgerView) -> Iterator[Finding]:
        """What takes nothing but clean items."""
        answers = {role: Answers(selective.confidence(clean, role), clean.columns[f"right_{role}"]) for role in PAIR}
        yield from _scores(clean)
        yield from _when_wrong(answers)
        yield from (_confident_errors(clean, answers, share) for share in self.confident)
        yield from calibration_errors.errors(answers)
        for role in PAIR:
            yield from calibration_errors.diagram(answers[role], role)
            yield calibration_errors.by_class(ledger.probabilities(CLEAN, role), clean.columns["label"], role)
        yield from selective.curve(answers)


def _calibrated(context: Context) -> tuple[Clean, ...]:
    """The calibration set, where there is one."""
    return (Clean(DataRole.CALIBRATION),) if DataRole.CALIBRATION in context.data else ()


def _confident(share: float) -> Claim:
    return claim(CONFIDENT_ERRORS, confidence=percent(share))


def _scores(clean: Trace) -> Iterator[Finding]:
    """Proper scores of both on clean items, and their rise."""
    for column, (own, _) in _SCORES.items():
        for role in PAIR:
            yield Finding(claim(own, role=role), mean(clean, clean.columns[f"{column}_{role}"], own))
    yield from _rises(clean, None, ())


def _rises(
    trace: Trace | Missing, clean: Trace | None, scope: Scope, further: tuple[Presupposition, ...] = ()
) -> Iterator[Finding]:
    """By how much the candidate's scores are worse; `clean`, off the clean set, is the trace there.

    They presuppose a working reference, and what is `further`.
    """
    for column, (own, rise) in _SCORES.items():
        if isinstance(trace, Missing):
            yield Finding(Claim(rise.name, scope), trace)
            continue
        scores = {role: trace.columns[f"{column}_{role}"].clip(own.low, own.high) for role in PAIR}
        worse = mean(trace, scores[Role.CANDIDATE] - scores[Role.REFERENCE], rise)
        yield Finding(Claim(rise.name, scope), worse, (working(trace, clean), *further))


def _when_wrong(answers: Mapping[Role, Answers]) -> Iterator[Finding]:
    """How sure the models are of their wrong answers."""
    found: list[Exact | Missing] = []
    for role in PAIR:
        wrong = answers[role].confidence[~answers[role].right]
        none = Missing("no-errors", f"the {role} makes no error")
        found.append(Exact(float(wrong.mean()), len(wrong)) if len(wrong) else none)
        yield Finding(claim(WHEN_WRONG, role=role), found[-1])
    match found:
        case [Exact(before), Exact(now)]:
            yield Finding(claim(WHEN_WRONG_INCREASE), Exact(now - before, len(answers[Role.REFERENCE])))
        case [Missing() as none, _] | [_, Missing() as none]:
            yield Finding(claim(WHEN_WRONG_INCREASE), none)


def _confident_errors(clean: Trace, answers: Mapping[Role, Answers], share: float) -> Finding:
    sure = {role: ~own.right & (own.confidence >= share) for role, own in answers.items()}
    more = paired(clean, sure[Role.CANDIDATE], sure[Role.REFERENCE])
    return Finding(_confident(share), more, (working(clean),))
