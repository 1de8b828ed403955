"""Order-statistic bound: Wilks' numbers, scipy's quantile test, and its exact coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, quantile_test

from audit.stats import quantiles


@pytest.mark.parametrize(
    ("n", "q", "alpha", "rank"),
    [
        (299, 0.99, 0.05, 299),
        (298, 0.99, 0.05, None),
        (1000, 0.99, 0.05, 996),
        (10_000, 0.99, 0.05, 9917),
        (59, 0.95, 0.05, 59),
        (58, 0.95, 0.05, None),
        (93, 0.95, 0.05, 92),  # Wilks, order 2
        (92, 0.95, 0.05, 92),
        (473, 0.99, 0.05, 472),
        (472, 0.99, 0.05, 472),
        (662, 0.99, 0.01, 661),
        (661, 0.99, 0.01, 661),
        (124, 0.95, 0.05, 122),  # order 3
        (123, 0.95, 0.05, 122),
        (628, 0.99, 0.05, 626),
        (627, 0.99, 0.05, 626),
    ],
)
def test_ranks_of_wilks(n: int, q: float, alpha: float, rank: int | None) -> None:
    assert quantiles.upper_rank(n, q, alpha) == rank


@given(n=st.integers(1, 2000), q=st.floats(0.001, 0.999), alpha=st.floats(0.001, 0.5))
def test_rank_is_the_smallest_that_covers(n: int, q: float, alpha: float) -> None:
    covered = binom.cdf(np.arange(n), n, q)  # of ranks 1 … n
    rank = quantiles.upper_rank(n, q, alpha)
    if rank is None:
        assert covered[-1] < 1.0 - alpha + 1e-12
    else:
        assert covered[rank - 1] >= 1.0 - alpha - 1e-12
        assert rank == 1 or covered[rank - 2] < 1.0 - alpha + 1e-12


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(300, 1200))
def test_agrees_with_scipy(seed: int, n: int) -> None:
    x = np.random.default_rng(seed).standard_exponential(n)
    theirs = quantile_test(x, q=0.0, p=0.99, alternative="less").confidence_interval(0.95).high
    bound = quantiles.upper(x, 0.99, 0.05)
    assert bound is not None and bound[0] == theirs == np.sort(x)[bound[1] - 1]


def test_an_unbounded_value_may_be_the_bound_but_never_a_hidden_one() -> None:
    x = [1.0] * 298 + [math.inf]
    assert quantiles.upper(x, 0.99, 0.05) == (math.inf, 299)
    assert quantiles.upper([1.0] * 298, 0.99, 0.05) is None


@pytest.mark.parametrize(
    ("x", "q", "alpha", "message"),
    [
        ([], 0.9, 0.05, r"not empty, got shape \(0,\)"),
        ([[1.0]], 0.9, 0.05, r"one-dimensional.*\(1, 1\)"),
        ([1.0, float("nan")], 0.9, 0.05, "NaN at position 1"),
        ([1.0], 1.0, 0.05, "q must lie strictly between 0.0 and 1.0, got 1.0"),
        ([1.0], float("nan"), 0.05, "got nan"),
        ([1.0], 0.9, 0.6, "alpha"),
    ],
)
def test_values_outside_their_domain_are_refused(x: list, q: float, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantiles.upper(x, q, alpha)
