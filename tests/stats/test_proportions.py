"""Clopper–Pearson: published bounds, third-party implementations, and the exact error of both verdicts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from audit.stats import proportions

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(1e-6, 0.5)
limits = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (13, 16, 0.5435, 0.9595),
        (0, 10, 0.0, 0.3085),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_published_two_sided_intervals(k: int, n: int, low: float, high: float) -> None:
    assert proportions.lower(k, n, 0.025) == pytest.approx(low, abs=5e-5)
    assert proportions.upper(k, n, 0.025) == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(
    ("k", "n", "high"),
    [
        (0, 59, 0.049508),
        (0, 149, 0.019905),
        (0, 299, 0.009969),
        (1, 93, 0.049994),
        (1, 473, 0.009990),
        (5, 523, 0.019996),
        (10, 1000, 0.016903),
        (50, 10_000, 0.006324),
    ],
)
def test_one_sided_upper_bounds(k: int, n: int, high: float) -> None:
    assert proportions.upper(k, n, 0.05) == pytest.approx(high, abs=5e-7)


@pytest.mark.parametrize(
    ("limit", "alpha", "n"),
    [
        (0.05, 0.05, 59),
        (0.01, 0.05, 299),
        (0.10, 0.05, 29),
        (0.02, 0.05, 149),
        (0.05, 0.01, 90),
        (0.01, 0.01, 459),
        (0.005, 0.05, 598),
        (0.001, 0.05, 2995),
        (0.5, 0.5, 1),
        (0.5, 0.25, 2),
        (0.5, 2.0**-29, 29),
        (0.25, 0.75**3, 3),
    ],
)
def test_wilks_sample_sizes_of_order_one(limit: float, alpha: float, n: int) -> None:
    assert proportions.smallest_n_at_most(limit, alpha) == n
    assert proportions.p_at_most(0, n, limit) <= alpha
    assert n == 1 or proportions.p_at_most(0, n - 1, limit) > alpha


@given(limit=st.floats(1e-4, 1.0 - 1e-9), alpha=levels)
def test_smallest_n_is_the_first_that_can_pass(limit: float, alpha: float) -> None:
    n = proportions.smallest_n_at_most(limit, alpha)
    assert proportions.p_at_most(0, n, limit) <= alpha
    assert n == 1 or proportions.p_at_most(0, n - 1, limit) > alpha


@given(table=counts, limit=limits, alpha=levels)
def test_agrees_with_scipy_and_statsmodels(table: tuple[int, int], limit: float, alpha: float) -> None:
    k, n = table
    for ours, side in ((proportions.p_at_most, "less"), (proportions.p_at_least, "greater")):
        theirs = binomtest(k, n, limit, alternative=side).pvalue
        assert ours(k, n, limit) == pytest.approx(theirs, rel=1e-9, abs=1e-30)
    low, high = proportion_confint(k, n, alpha=2.0 * alpha, method="beta")
    assert proportions.lower(k, n, alpha) == pytest.approx(low, rel=1e-7, abs=1e-12)
    assert proportions.upper(k, n, alpha) == pytest.approx(high, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.1])
@pytest.mark.parametrize("limit", [0.001, 0.01, 0.02, 0.05, 0.2, 0.5, 0.9])
def test_false_verdicts_stay_below_alpha_for_every_n(limit: float, alpha: float) -> None:
    """Exact enumeration; the truth lies at the limit, then ever further on the wrong side of the claim."""
    closest = 0.0
    for n in range(1, 151):
        k = np.arange(n + 1)
        passes = np.array([proportions.p_at_most(i, n, limit) <= alpha for i in range(n + 1)])
        fails = np.array([proportions.p_at_least(i, n, limit) <= alpha for i in range(n + 1)])
        for share in (0.0, 0.1, 0.5):
            false_pass = binom.pmf(k, n, limit + share * (1.0 - limit))[passes].sum()
            false_fail = binom.pmf(k, n, limit * (1.0 - share))[fails].sum()
            assert max(false_pass, false_fail) <= alpha + 1e-12
            closest = max(closest, false_pass, false_fail)
    assert closest > 0.8 * alpha


@pytest.mark.parametrize("theta", [0.003, 0.05, 0.3, 0.77])
def test_bounds_cover_the_truth_for_every_n(theta: float) -> None:
    for n in (1, 7, 40, 150):
        mass = binom.pmf(np.arange(n + 1), n, theta)
        missed_above = [proportions.upper(k, n, 0.05) < theta for k in range(n + 1)]
        missed_below = [proportions.lower(k, n, 0.05) > theta for k in range(n + 1)]
        assert mass[missed_above].sum() <= 0.05 + 1e-12
        assert mass[missed_below].sum() <= 0.05 + 1e-12


@given(table=counts, limit=limits, alpha=levels)
def test_bound_and_p_value_tell_the_same_verdict(table: tuple[int, int], limit: float, alpha: float) -> None:
    k, n = table
    upper, lower = proportions.upper(k, n, alpha), proportions.lower(k, n, alpha)
    assert lower <= k / n <= upper
    if abs(upper - limit) > 1e-9:
        assert (proportions.p_at_most(k, n, limit) <= alpha) == (upper <= limit)
    if abs(lower - limit) > 1e-9:
        assert (proportions.p_at_least(k, n, limit) <= alpha) == (lower >= limit)


@given(table=counts, limit=limits, laxer=limits)
def test_more_events_or_a_stricter_limit_never_help(table: tuple[int, int], limit: float, laxer: float) -> None:
    k, n = table
    limit, laxer = sorted((limit, laxer))
    slack = 1.0 + 1e-12
    p = proportions.p_at_most(k, n, limit)
    assert proportions.p_at_most(k, n, laxer) <= p * slack
    assert k == n or p <= proportions.p_at_most(k + 1, n, limit) * slack
    assert p + proportions.p_at_least(k, n, limit) >= 1.0 - 1e-9


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proportions.upper(-1, 10, 0.05), "k must be an integer of at least 0, got -1"),
        (lambda: proportions.upper(11, 10, 0.05), "k must not exceed n = 10, got 11"),
        (lambda: proportions.lower(0, 0, 0.05), "n must be an integer of at least 1, got 0"),
        (lambda: proportions.lower(1.5, 10, 0.05), "k must be an integer of at least 0, got 1.5"),
        (lambda: proportions.upper(1, 10, 0.0), r"alpha must lie in \(0, 0.5\], got 0.0"),
        (lambda: proportions.upper(1, 10, 0.51), "got 0.51"),
        (lambda: proportions.upper(1, 10, float("nan")), "got nan"),
        (lambda: proportions.p_at_most(1, 10, float("nan")), r"limit must lie in \[0, 1\], got nan"),
        (lambda: proportions.p_at_least(1, 10, 1.1), "got 1.1"),
        (lambda: proportions.smallest_n_at_most(0.0, 0.05), "limit must lie strictly between 0.0 and 1.0"),
    ],
)
def test_values_outside_their_domain_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
