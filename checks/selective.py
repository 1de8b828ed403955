"""What becomes of rejecting doubtful answers when the candidate runs behind the reference's rejection threshold?

Confidence is the maximum softmax. Nobody sets a deployed threshold anew when the network before it is exchanged: it is
that at which the reference accepts a stated share of the calibration items. A threshold of each model's own, set
likewise, tells what a new one would save.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.findings import Exact, Finding, Missing, Presupposition, Proportion
from audit.traces import Trace
from audit.types import PAIR, Claim, Role, Unit
from checks import detection
from checks.accuracy import working
from checks.figures import claim, counted, paired_rise, percent
from checks.methods import paired
from checks.reliability import Answers, aurc, risks

COVERAGES: Final = tuple(range(5, 101, 5))
"""Shares of the items at which the curve is told, in percent."""
_DIGITS: Final = 12
"""Decimals of a confidence: beyond them lies the order in which a softmax was summed."""

AURC: Final = counted(
    "aurc", "Area under the risk–coverage curve", "Mean, over i, of the share of errors among the i items with the "
    "highest maximum softmax (Geifman & El-Yaniv); items of equal confidence count as the mean error of them all.",
)  # fmt: skip
AURC_INCREASE: Final = counted(
    "aurc_increase", "Rise of the area under the risk–coverage curve", "Area of the candidate minus area of the "
    "reference.", Unit.POINTS, low=-1.0,
)  # fmt: skip
RISK: Final = counted(
    "risk", "Errors at a coverage", "Share of errors among so many percent of the test items, those with the highest "
    "maximum softmax; items of equal confidence count as the mean error of them all.",
)  # fmt: skip
ACCEPTED_ERRORS: Final = paired_rise(
    "accepted_errors_increase", "More errors let through", "Share of the test items that the candidate gets wrong with "
    "a maximum softmax at or above the threshold, minus that share of the reference. The threshold is the highest at "
    "which the named percentage of the calibration items is accepted: by the reference, for both, or of each model's "
    "own. Who rejects more lets fewer errors through: both models must accept as large a share of the test items as is "
    "asked of accuracy off the clean set, and calibration.rejection_increase says how many more are rejected.",
)  # fmt: skip
REJECTIONS: Final = paired_rise(
    "rejection_increase", "More items rejected", "Share of the test items on which the candidate's maximum softmax "
    "lies below the highest threshold at which the reference accepts the named percentage of the calibration items, "
    "minus that share of the reference, which must accept as large a share of the test items as is asked of accuracy "
    "off the clean set.",
)  # fmt: skip
METRICS: Final = (AURC, AURC_INCREASE, RISK, ACCEPTED_ERRORS, REJECTIONS)


def confidence(trace: Trace, role: Role) -> NDArray[np.float64]:
    """How sure a model is of its answers [rows]; what rounding alone tells apart is equal."""
    sure: NDArray[np.float64] = trace.columns[f"max_softmax_{role}"].round(_DIGITS)
    return sure


def curve_claims() -> list[Claim]:
    """What is counted on test items alone."""
    points = [_risk(coverage, role) for role in PAIR for coverage in COVERAGES]
    return [*(claim(AURC, role=role) for role in PAIR), claim(AURC_INCREASE), *points]


def curve(answers: Mapping[Role, Answers]) -> Iterator[Finding]:
    """The risk–coverage curve of both, and its area."""
    areas = {role: aurc(answers[role]) for role in PAIR}
    n = len(answers[Role.REFERENCE])
    for role in PAIR:
        yield Finding(claim(AURC, role=role), Exact(areas[role], n))
        risk = risks(answers[role])
        for coverage in COVERAGES:
            taken = -(-coverage * n // 100)
            yield Finding(_risk(coverage, role), Exact(float(risk[taken - 1]), taken))
    yield Finding(claim(AURC_INCREASE), Exact(areas[Role.CANDIDATE] - areas[Role.REFERENCE], n))


def threshold_claims(coverage: float) -> list[Claim]:
    """What takes a threshold from calibration items."""
    return [*(_accepted(coverage, threshold) for threshold in ("own", "reference")), _rejected(coverage)]


def behind_thresholds(clean: Trace, calibration: Trace | Missing, coverage: float) -> Iterator[Finding]:
    """Errors let through and items rejected, at thresholds that accept a share of the calibration items."""
    thresholds = _thresholds(calibration, coverage)
    if isinstance(thresholds, Missing):
        yield from (Finding(each, thresholds) for each in threshold_claims(coverage))
        return
    reference = thresholds[Role.REFERENCE]
    for name, used in {"own": thresholds, "reference": dict.fromkeys(PAIR, reference)}.items():
        through = {role: _accepts(clean, role, used[role]) & ~clean.columns[f"right_{role}"] for role in PAIR}
        more = paired(clean, through[Role.CANDIDATE], through[Role.REFERENCE])
        accepting = (_accepting(clean, role, used[role]) for role in PAIR)
        yield Finding(_accepted(coverage, name), more, (working(clean), *accepting))
    rejected = {role: ~_accepts(clean, role, reference) for role in PAIR}
    lost = paired(clean, rejected[Role.CANDIDATE], rejected[Role.REFERENCE])
    yield Finding(_rejected(coverage), lost, (working(clean), _accepting(clean, Role.REFERENCE, reference)))


def _thresholds(calibration: Trace | Missing, coverage: float) -> dict[Role, float] | Missing:
    """The confidence at or above which each model accepts a share of the calibration items."""
    if isinstance(calibration, Missing):
        return calibration
    found: dict[Role, float] = {}
    for role in PAIR:
        threshold = detection.deployed(confidence(calibration, role), coverage)
        if isinstance(threshold, Missing):
            return threshold
        found[role] = threshold
    return found


def _accepts(trace: Trace, role: Role, threshold: float) -> NDArray[np.bool_]:
    return confidence(trace, role) >= threshold


def _accepting(clean: Trace, role: Role, threshold: float) -> Presupposition:
    """That a model's answers are not simply all rejected: then no error is let through, and nothing gets worse."""
    accepted = Proportion(int(_accepts(clean, role, threshold).sum()), len(clean))
    accuracy = working(clean, role=role).accuracy
    return Presupposition(accepted, accuracy, role=role, what="share of test items accepted")


def _risk(coverage: int, role: Role) -> Claim:
    return claim(RISK, coverage=str(coverage), role=role)


def _accepted(coverage: float, threshold: str) -> Claim:
    return claim(ACCEPTED_ERRORS, coverage=percent(coverage), threshold=threshold)


def _rejected(coverage: float) -> Claim:
    return claim(REJECTIONS, coverage=percent(coverage))
