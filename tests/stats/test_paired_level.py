"""Exact enumeration of both errors of the exact paired test: no nuisance value lifts them above α."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from audit.stats import paired

ALPHA = 0.05
NEVER = -1


def last_rejected(p_values: Callable[[int, int], float], n: int) -> np.ndarray:
    """For each c the largest b with p ≤ α (NEVER if none), for p-values that increase with b.

    The next c starts where the last one ended, which takes two or three p-values per c.
    """
    thresholds, b = [], NEVER
    for c in range(n + 1):
        b = min(b, n - c)
        while b < n - c and p_values(b + 1, c) <= ALPHA:
            b += 1
        while b > NEVER and p_values(b, c) > ALPHA:
            b -= 1
        thresholds.append(b)
    return np.array(thresholds)


def error(thresholds: np.ndarray, n: int, harm: float, gain: float, *, few_harms: bool) -> float:
    """Probability of b ≤ thresholds[c] (few_harms) or b > thresholds[c] for trinomial (b, c)."""
    c = np.arange(n + 1)
    given_gains = binom.cdf if few_harms else binom.sf
    share = min(harm / (1.0 - gain), 1.0) if gain < 1.0 else 0.0
    return float(binom.pmf(c, n, gain) @ given_gains(thresholds, n - c, share))


def nuisances(limit: float) -> np.ndarray:
    return (1.0 - limit) / 2.0 * np.sin(np.linspace(0.0, np.pi / 2.0, 81)) ** 2


CASES = [(20, 0.1), (44, 0.1), (60, 0.3), (60, 0.05), (100, 0.0), (100, 0.02), (150, 0.02), (149, 0.005)]


@pytest.mark.parametrize(("n", "limit"), CASES)
def test_false_pass_stays_below_alpha(n: int, limit: float) -> None:
    region = last_rejected(lambda b, c: paired.p_at_most(b, c, n, limit), n)
    on_boundary = [error(region, n, q + limit, q, few_harms=True) for q in nuisances(limit)]
    beyond = [
        error(region, n, q + limit + extra * (1.0 - limit - 2.0 * q), q, few_harms=True)
        for q in nuisances(limit)
        for extra in (0.01, 0.1, 0.6)
    ]
    assert max(on_boundary + beyond) <= ALPHA + 1e-6
    assert max(on_boundary) > 0.6 * ALPHA


@pytest.mark.parametrize(("n", "limit"), CASES)
def test_false_fail_stays_below_alpha(n: int, limit: float) -> None:
    """For each c the p-value falls with b: "more than the last b with p > α" is the region of FAIL."""
    region = last_rejected(lambda b, c: 1.0 - paired.p_at_least(b, c, n, limit) - (1.0 - 2.0 * ALPHA), n)
    on_boundary = [error(region, n, q + limit, q, few_harms=False) for q in nuisances(limit)]
    beyond = [
        error(region, n, share * (1.0 - q), q, few_harms=False)
        for q in np.linspace(0.0, 1.0, 41)
        for share in (0.0, 0.02, 0.3, 1.0)
        if share * (1.0 - q) - q <= limit
    ]
    assert max(on_boundary + beyond) <= ALPHA + 1e-6
    assert max(on_boundary) > 0.6 * ALPHA
