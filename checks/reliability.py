"""How far confidence lies from being right, and how well it tells wrong answers: figures as they are usually counted.

Bins are given by their upper edges but the last, which is that of everything; a value on an edge lies below it.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

BINS: Final = 15
"""As many as in Guo et al. (ICML 2017)."""
FEWEST: Final = 200
"""Items below which nobody has tried the asymptotic bound."""
_LEVEL: Final = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model answered: how sure it is of each answer, in [0, 1], and whether that is right; [N] each.

    Raises ValueError without items, for a confidence out of range or no number, and where the two are not of one shape.
    """

    confidence: Floats
    right: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.confidence.shape != self.right.shape or self.confidence.ndim != 1 or not len(self):
            raise ValueError(f"no answers: {self.confidence.shape} confidences and {self.right.shape} outcomes")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():  # written so that NaN is refused too
            raise ValueError("a confidence is no number within [0, 1]")

    def __len__(self) -> int:
        return len(self.confidence)


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Answers by bin of confidence: how many, the sum of their confidences, how many of them are right; [B] each."""

    count: NDArray[np.int64]
    confidence: Floats
    right: NDArray[np.int64]


def equal_width(bins: int = BINS) -> Floats:
    """Edges [bins - 1] of bins that are equally wide.

    >>> equal_width(4)
    array([0.25, 0.5 , 0.75])
    """
    return np.arange(1, bins) / bins


def equal_mass(values: Floats, bins: int = BINS) -> Floats:
    """Edges [bins - 1] of bins that hold equally many of the `values` [N].

    Equal values stay together, whatever their order: then bins hold more or fewer, and some may hold none.

    >>> equal_mass(np.array([0.1, 0.4, 0.2, 0.3]), 2)
    array([0.2])
    """
    last = -(-np.arange(1, bins) * len(values) // bins) - 1
    edges: Floats = np.sort(values)[last]
    return edges


def binned(answers: Answers, edges: Floats) -> Bins:
    """Answers by bin of confidence."""
    places, bins = _places(answers.confidence, edges), len(edges) + 1
    return Bins(
        np.bincount(places, minlength=bins),
        _sums(places, answers.confidence, bins),
        np.bincount(places[answers.right], minlength=bins),
    )


def ece(bins: Bins) -> float:
    """Expected calibration error Σ (n_b/n)·|confidence − accuracy| (Naeini et al., AAAI 2015), in [0, 1].

    Biased upwards, most where a model is calibrated.

    >>> ece(binned(Answers(np.array([0.5, 0.9]), np.array([True, False])), equal_width(2)))
    0.7
    """
    return float(np.abs(bins.confidence - bins.right).sum() / bins.count.sum())


def murphy(bins: Bins) -> tuple[float, float]:
    """Reliability Σ (n_b/n)·(confidence − accuracy)² and resolution Σ (n_b/n)·(accuracy − overall accuracy)².

    Reliability − resolution + overall accuracy · overall error is the mean of (confidence − right)², where each item
    has the mean confidence of its bin (Murphy, Journal of Applied Meteorology, 1973).
    """
    some, n = bins.count > 0, bins.count.sum()
    count, overall = bins.count[some], bins.right.sum() / n
    confidence, accuracy = bins.confidence[some] / count, bins.right[some] / count
    return float(count @ (confidence - accuracy) ** 2 / n), float(count @ (accuracy - overall) ** 2 / n)


def ece_increase_bound(reference: Answers, candidate: Answers) -> float:
    """Upper 95 % bound, one-sided and asymptotic, of ECE of the candidate minus ECE of the reference, in [-1, 1].

    Of answers to the same items in a random order that was fixed beforehand, on bins of equal width. With
    d = confidence − right of an item, the candidate's error is the mean of u, d with the sign of its bin's sum: biased
    upwards. The reference's is bounded from below by the mean of v, d with the sign of the sum over those items of its
    bin that come before it: any sign does that does not hang on what comes later, and the errors of v form a
    martingale. The bound is mean(u − v) + z·sd(u − v)/√n. A bootstrap of the difference keeps the bias and misses far
    too often; signs from all other items are correlated, which sd does not see. Raises ValueError below 200 items, or
    where the two are not as many.
    """
    n, edges = len(reference), equal_width()
    if n < FEWEST or n != len(candidate):
        raise ValueError(f"{n} and {len(candidate)} answers have no bound: it takes {FEWEST} to the same items")
    places, excess = _places(candidate.confidence, edges), _excess(candidate)
    upper = _signs(_sums(places, excess, BINS))[places] * excess
    parts = upper - _foreseen(_places(reference.confidence, edges), _excess(reference))
    bound = parts.mean() + norm.ppf(_LEVEL) * parts.std(ddof=1) / math.sqrt(n)
    return float(min(bound, 1.0))


def classwise(probabilities: Floats, labels: NDArray[Any]) -> float:
    """Debiased root mean square calibration error over classes of probabilities [N, K] with labels [N], in [0, 1].

    The marginal calibration error of Kumar, Liang & Ma (NeurIPS 2019) with equal weights, on bins of equal mass of each
    class: the squared errors are debiased, averaged over classes, and cut at 0 before the root is taken.
    """
    squares = [_debiased(Answers(own, labels == k)) for k, own in enumerate(probabilities.T)]
    return math.sqrt(min(max(float(np.mean(squares)), 0.0), 1.0))


def risks(answers: Answers) -> Floats:
    """Share of errors among the i most confident answers, i = 1 … N (Geifman & El-Yaniv, NeurIPS 2017).

    Answers of equal confidence have no order among them: each counts as the mean error of them all.

    >>> risks(Answers(np.array([0.9, 0.8, 0.8]), np.array([True, True, False])))
    array([0.        , 0.25      , 0.33333333])
    """
    _, places, sizes = np.unique(-answers.confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(places[~answers.right], minlength=len(sizes))
    taken = np.arange(1, len(answers) + 1)
    found: Floats = np.interp(taken, _up_to(sizes), _up_to(errors)) / taken
    return found


def aurc(answers: Answers) -> float:
    """Area under the risk–coverage curve, the mean of `risks` (Geifman, Uziel & El-Yaniv, ICLR 2019), in [0, 1].

    >>> aurc(Answers(np.array([0.9, 0.8, 0.7]), np.array([True, True, False]))) * 9
    1.0
    """
    return float(risks(answers).mean())


def _places(values: Floats, edges: Floats) -> NDArray[np.intp]:
    """The bin of each value [N]."""
    return np.searchsorted(edges, values, side="left")


def _sums(places: NDArray[np.intp], values: Floats, bins: int) -> Floats:
    """The sum of the values in each bin [bins]."""
    return np.bincount(places, values, bins).astype(np.float64, copy=False)


def _excess(answers: Answers) -> Floats:
    """By how much confidence exceeds being right [N]."""
    return answers.confidence - answers.right


def _signs(sums: Floats) -> Floats:
    return np.where(sums < 0, -1.0, 1.0)


def _foreseen(places: NDArray[np.intp], excess: Floats) -> Floats:
    """Each excess with the sign that the earlier ones in its bin have together [N]; of the first, as it is."""
    found = excess.copy()
    for place in np.unique(places):
        own = np.flatnonzero(places == place)
        found[own[1:]] *= _signs(np.cumsum(excess[own])[:-1])
    return found


def _debiased(answers: Answers) -> float:
    """Squared calibration error of one class; a bin of one item says nothing of its own spread, and counts as 0."""
    bins = binned(answers, equal_mass(answers.confidence))
    some = bins.count > 1
    count = bins.count[some]
    confidence, share = bins.confidence[some] / count, bins.right[some] / count
    errors = (confidence - share) ** 2 - share * (1 - share) / (count - 1)
    return float(count @ errors / len(answers))


def _up_to(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of the first 0, 1, … counts."""
    return np.concatenate([[0], np.cumsum(counts)])
