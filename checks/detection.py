"""How well scores tell two groups of items apart: figures of a detector, as they are usually counted.

In every function `own` [N] are scores of items that belong, `foreign` [M] of those that do not; scores are higher for
what belongs. Raises ValueError where a group is empty or a score is NaN: neither has a figure.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from audit.findings import Missing

Scores = NDArray[Any]
FEWEST: Final = 100
"""Calibration items below which there is no threshold, and"""
BEYOND: Final = 5
"""how many of them it must reject."""


def auroc(own: Scores, foreign: Scores) -> float:
    """Area under the receiver operating characteristic, by ranks (Hanley & McNeil, 1982); ties count half.

    >>> auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    _require(own, foreign)
    ranks = rankdata(np.concatenate([own, foreign]))
    n, m = len(own), len(foreign)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def aupr(own: Scores, foreign: Scores) -> float:
    """Average precision at finding foreign items by low scores: Σ (recall step) · precision, ties taken together.

    >>> aupr(np.array([3.0]), np.array([1.0, 2.0]))
    1.0
    """
    _require(own, foreign)
    score = np.concatenate([own, foreign])
    order = np.argsort(score, kind="stable")
    is_foreign = (np.arange(len(score)) >= len(own))[order]
    last = np.flatnonzero(np.diff(score[order], append=np.inf))  # of each group of equal scores
    found = np.cumsum(is_foreign)[last]
    steps = np.diff(found, prepend=0) / len(foreign)
    return float((steps * found / (last + 1)).sum())


def fpr95(own: Scores, foreign: Scores) -> float:
    """Share of the foreign items that are accepted where 95 % of the own ones are.

    >>> fpr95(np.arange(100.0), np.array([4.0, 5.0]))
    0.5
    """
    _require(own, foreign)
    return float((foreign >= threshold(own, 0.95)).mean())


def threshold(own: Scores, accepted: float) -> float:
    """The highest score at or above which at least the share `accepted` of the items lies.

    >>> threshold(np.arange(100.0), 0.95)
    5.0
    """
    _require(own)
    return float(np.sort(own)[int(np.floor((1 - accepted) * len(own) + 1e-9))])


def deployed(calibration: Scores, accepted: float) -> float | Missing:
    """The same of calibration items; Missing where they are too few to set a threshold that stays in place."""
    n = len(calibration)
    if n < FEWEST or (1 - accepted) * n + 1e-9 < BEYOND:
        why = f"{n} calibration items set no threshold at {100 * accepted:g} %: it takes {FEWEST}, {BEYOND} beyond"
        return Missing("too-few-items", why)
    return threshold(calibration, accepted)


def _require(*groups: Scores) -> None:
    if any(len(group) == 0 or np.isnan(group).any() for group in groups):
        raise ValueError("a group without items, or a score that is no number, has no figure")
