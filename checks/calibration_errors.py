"""Calibration errors and reliability diagrams: what is told of calibration, and not decided.

The estimate of an expected calibration error is biased, most for the better model.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audit.findings import Exact, Finding, Metric, Missing
from audit.types import PAIR, Claim, Role, Sense, Unit
from checks import reliability
from checks.figures import claim, counted
from checks.reliability import BINS, FEWEST, Answers, Bins

ECE: Final = counted(
    "ece", "Expected calibration error", "Mean over items of |mean confidence − accuracy| of their bin, in "
    f"{BINS} bins of confidence (maximum softmax), of equal width or of equal mass; equal values share a bin. Biased "
    "upwards.",
)  # fmt: skip
ECE_INCREASE: Final = counted(
    "ece_increase", "Rise of the expected calibration error", "Calibration error of the candidate minus that of the "
    "reference. Biased downwards where the reference is the better calibrated one.", Unit.POINTS, low=-1.0,
)  # fmt: skip
ECE_INCREASE_BOUND: Final = counted(
    "ece_increase_bound", "Rise of the expected calibration error, at most", "Asymptotic one-sided 95 % upper bound of "
    f"the candidate's expected calibration error minus the reference's, in {BINS} bins of equal width: the candidate's "
    "as counted, the reference's bounded from below by the signs that earlier items give its bins. It takes "
    f"{FEWEST} items.", Unit.POINTS, low=-1.0, reach="It holds for many items, and no audit passes by it alone.",
)  # fmt: skip
CLASSWISE: Final = counted(
    "classwise_ece", "Calibration error by class", "Root of the mean over classes of the debiased squared calibration "
    f"error of a class's probability, in {BINS} bins of equal mass (Kumar, Liang & Ma, 2019).",
)  # fmt: skip
RELIABILITY: Final = counted(
    "reliability", "Reliability", "Mean over items of (mean confidence − accuracy)² of their bin, of equal width: what "
    "the Brier score of being right loses by confidence that is not true (Murphy, 1973).", Unit.DISTANCE,
)  # fmt: skip
RESOLUTION: Final = counted(
    "resolution", "Resolution", "Mean over items of (accuracy of their bin − accuracy)², bins of equal width: what the "
    "Brier score of being right gains by confidence that tells items apart (Murphy, 1973).", Unit.DISTANCE,
    Sense.AT_LEAST,
)  # fmt: skip
BIN_SHARE: Final = counted(
    "bin_share", "Items in a bin", f"Share of the items whose maximum softmax lies in one of {BINS} bins of equal "
    "width; a bin holds its upper edge.",
)  # fmt: skip
BIN_CONFIDENCE: Final = counted(
    "bin_confidence", "Confidence in a bin", "Mean maximum softmax of the items in a bin."
)  # fmt: skip
BIN_ACCURACY: Final = counted(
    "bin_accuracy", "Accuracy in a bin", "Share of the items in a bin that are right.", better=Sense.AT_LEAST
)  # fmt: skip
METRICS: Final = (
    ECE, ECE_INCREASE, ECE_INCREASE_BOUND, CLASSWISE, RELIABILITY, RESOLUTION, BIN_SHARE, BIN_CONFIDENCE, BIN_ACCURACY,
)  # fmt: skip
_OF_BIN: Final = (BIN_SHARE, BIN_CONFIDENCE, BIN_ACCURACY)
_KINDS: Final = ("mass", "width")


def claims() -> list[Claim]:
    """All of them, on clean items."""
    return [
        *(claim(ECE, bins=bins, role=role) for bins in _KINDS for role in PAIR),
        *(claim(ECE_INCREASE, bins=bins) for bins in _KINDS),
        claim(ECE_INCREASE_BOUND),
        *(claim(metric, role=role) for metric in (CLASSWISE, RELIABILITY, RESOLUTION) for role in PAIR),
        *(_of_bin(metric, place, role) for metric in _OF_BIN for place in range(BINS) for role in PAIR),
    ]


def errors(answers: Mapping[Role, Answers]) -> Iterator[Finding]:
    """Expected calibration errors, their rise, and the most that it is."""
    n = len(answers[Role.REFERENCE])
    for kind in _KINDS:
        found = {role: reliability.ece(_bins(answers[role], kind)) for role in PAIR}
        for role in PAIR:
            yield Finding(claim(ECE, bins=kind, role=role), Exact(found[role], n))
        yield Finding(claim(ECE_INCREASE, bins=kind), Exact(found[Role.CANDIDATE] - found[Role.REFERENCE], n))
    few = Missing("too-few-items", f"{n} items are too few for an asymptotic bound: it takes {FEWEST}")
    bound = few if n < FEWEST else Exact(reliability.ece_increase_bound(*(answers[role] for role in PAIR)), n)
    yield Finding(claim(ECE_INCREASE_BOUND), bound)


def diagram(answers: Answers, role: Role) -> Iterator[Finding]:
    """What a model's reliability diagram shows, and what that comes to."""
    bins, n = _bins(answers, "width"), len(answers)
    parts = zip((RELIABILITY, RESOLUTION), reliability.murphy(bins), strict=True)
    yield from (Finding(claim(metric, role=role), Exact(value, n)) for metric, value in parts)
    for place, (count, confidence, right) in enumerate(zip(bins.count, bins.confidence, bins.right, strict=True)):
        yield Finding(_of_bin(BIN_SHARE, place, role), Exact(float(count / n), n))
        for metric, total in ((BIN_CONFIDENCE, confidence), (BIN_ACCURACY, right)):
            empty = Missing("empty-bin", f"the {role} has no confidence in this bin")
            yield Finding(_of_bin(metric, place, role), Exact(float(total / count), int(count)) if count else empty)


def by_class(probabilities: NDArray[np.float64] | Missing, labels: NDArray[np.int32], role: Role) -> Finding:
    """A model's calibration error over all classes."""
    if isinstance(probabilities, Missing):
        return Finding(claim(CLASSWISE, role=role), probabilities)
    return Finding(claim(CLASSWISE, role=role), Exact(reliability.classwise(probabilities, labels), len(labels)))


def _bins(answers: Answers, kind: str) -> Bins:
    edges = reliability.equal_width() if kind == "width" else reliability.equal_mass(answers.confidence)
    return reliability.binned(answers, edges)


def _of_bin(metric: Metric, place: int, role: Role) -> Claim:
    return claim(metric, bin=f"{place + 1:02d}", role=role)
