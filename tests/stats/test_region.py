"""Regions of tables against brute force over the trinomial, and the proof of the far shortcut."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, multinomial

from audit.stats import paired
from audit.stats.proportions import lower, upper
from audit.stats.region import RARE, Region


def plain_score(b: int, c: int, n: int, t: float) -> float:
    if t < 0.0:
        return -plain_score(c, b, n, -t)
    linear = -(b + c) + (2 * n - b + c) * t
    q = (math.sqrt(linear**2 + 8 * n * c * t * (1 - t)) - linear) / (4 * n)
    variance = n * (2 * q + t * (1 - t))
    return (b - c - n * t) / math.sqrt(variance) if variance > 0.0 else 0.0


def brute_force(b: int, c: int, n: int, t: float, gamma: float) -> float:
    """p_at_most for t ≥ 0 and p_at_least for t > 0 by every table and 4 001 nuisance values: (pass, fail)."""
    tables = np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)])
    z = np.array([plain_score(i, j, n, t) for i, j, _ in tables])
    observed = plain_score(b, c, n, t)
    ends = (lower(c, n, gamma / 2), upper(c, n, gamma / 2))
    q = np.linspace(*np.minimum(ends, (1 - t) / 2), 4001)
    cells = np.stack([q + t, q, np.maximum(1 - 2 * q - t, 0.0)], axis=1)
    mass = np.stack([multinomial.pmf(tables, n, p / p.sum()) for p in cells])
    few = mass[:, z <= observed + 1e-9].sum(axis=1).max()
    many = mass[:, z >= observed - 1e-9].sum(axis=1).max()
    return np.minimum(1.0, np.array([few, many]) + gamma)


@pytest.mark.parametrize(
    ("b", "c", "n", "t"),
    [(2, 1, 18, 0.25), (0, 2, 15, 0.1), (5, 0, 16, 0.1), (9, 2, 17, 0.6), (1, 14, 16, 0.05), (8, 8, 16, 0.02)],
)
@pytest.mark.parametrize("gamma", [1e-4, 0.05])
def test_p_values_agree_with_brute_force(b: int, c: int, n: int, t: float, gamma: float) -> None:
    expected = brute_force(b, c, n, t, gamma)
    assert paired.p_at_most(b, c, n, t, gamma) == pytest.approx(expected[0], abs=2e-6)
    assert paired.p_at_least(b, c, n, t, gamma) == pytest.approx(expected[1], abs=2e-6)


@pytest.mark.parametrize(("n", "z"), [(200, -1.9), (200, 1.9), (900, -2.6), (900, 0.4)])
@pytest.mark.parametrize("limit", [0.0, 0.01, 0.2])
def test_the_largest_probability_is_not_missed(n: int, z: float, limit: float) -> None:
    ceiling = (1.0 - limit) / 2.0
    region = Region.beyond(z, n, limit, (0.0, ceiling), few_harms=z < 0.0)
    dense = region.probability(ceiling * np.sin(np.linspace(0.0, math.pi / 2.0, 4001)) ** 2).max()
    found = region.largest_probability(0.0, ceiling)
    assert dense - 1e-9 <= found <= dense + 1e-4


def row_by_row(region: Region, nuisance: NDArray[np.float64]) -> list[float]:
    """`Region.probability` with a tail of its own for each row."""
    found = []
    for q in nuisance.tolist():
        others = binom(region.n - region.gains, min((q + region.limit) / (1.0 - q), 1.0))
        share = others.cdf(region.harms - 1) if region.few_harms else others.sf(region.harms - 1)
        mass = np.exp(binom.logpmf(region.gains, region.n, q))
        found.append((mass * share).sum() + 2.0 * math.exp(-RARE))
    return found


@given(
    n=st.integers(1, 500), z=st.floats(-5.0, 5.0), limit=st.floats(0.0, 0.95), few_harms=st.booleans(),
    ends=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
)  # fmt: skip
def test_rows_that_follow_from_one_another_are_those_counted_one_by_one(
    n: int, z: float, limit: float, few_harms: bool, ends: tuple[float, float]
) -> None:
    low, high = sorted((1.0 - limit) / 2.0 * end for end in ends)
    region = Region.beyond(z, n, limit, (low, high), few_harms=few_harms)
    nuisance = np.linspace(low, high, 5)
    assert region.probability(nuisance) == pytest.approx(row_by_row(region, nuisance), rel=1e-9)


@pytest.mark.parametrize("few_harms", [True, False])
@pytest.mark.parametrize("z", [-3.0, -1.6, 0.0, 1.6, 3.0])
@pytest.mark.parametrize(("n", "limit", "q"), [(10_000, 0.02, 0.03), (10_000, 0.0, 1e-4), (200_000, 0.005, 0.02)])
def test_rows_of_large_samples_follow_as_well(n: int, limit: float, q: float, z: float, few_harms: bool) -> None:
    region = Region.beyond(z, n, limit, (0.9 * q, 1.1 * q), few_harms=few_harms)
    nuisance = np.linspace(0.9 * q, 1.1 * q, 40)
    assert region.probability(nuisance) == pytest.approx(row_by_row(region, nuisance), rel=1e-8)


def far_tail(n: int, limit: float, *, few_harms: bool, most_gains: float = math.inf) -> float:
    z = -paired.FAR if few_harms else paired.FAR
    highest = min((1.0 - limit) / 2.0, most_gains / n)
    region = Region.beyond(z, n, limit, (0.0, highest), few_harms=few_harms)
    return region.largest_probability(0.0, highest)


@pytest.mark.parametrize("few_harms", [True, False])
@pytest.mark.parametrize("n", [*range(1, 41), 60, 100, 150, 300, 1000])
def test_far_tables_are_rarer_than_stated(n: int, few_harms: bool) -> None:
    """The skewest limits, n · limit ≈ FAR², are among those tried; the whole range of the nuisance is."""
    for limit in {0.0, 1e-4, 0.005, 0.02, min(paired.FAR_LIMIT, paired.FAR**2 / n), paired.FAR_LIMIT}:
        assert far_tail(n, limit, few_harms=few_harms) < paired.FAR_TAIL / 10.0


@pytest.mark.parametrize("few_harms", [True, False])
@pytest.mark.parametrize("n", [3000, 10_000, 50_000, 1_000_000])
def test_far_tables_are_rarer_than_stated_in_large_samples(n: int, few_harms: bool) -> None:
    """Up to 200 expected gains, where the score is skew; with more of them it only becomes more normal."""
    for limit in {0.0, 1.0 / n, paired.FAR**2 / n, 200.0 / n, 0.02, paired.FAR_LIMIT}:
        assert far_tail(n, limit, few_harms=few_harms, most_gains=200.0) < paired.FAR_TAIL / 10.0


def test_the_shortcut_would_be_wrong_nearer_to_one() -> None:
    """Six items of which five were harmed are 6 standard errors from "all but one in a thousand are"."""
    assert paired.tango_z(5, 0, 6, 0.999) < -paired.FAR
    assert far_tail(6, 0.999, few_harms=True) > 1e-3
    assert paired.p_at_most(5, 0, 6, 0.999) > 1e-3


@pytest.mark.parametrize(("b", "c", "n", "limit"), [(50, 300, 1000, 0.02), (0, 40, 10_000, 0.01), (0, 0, 4000, 0.02)])
def test_the_shortcut_is_never_below_the_enumeration(
    b: int, c: int, n: int, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = paired.p_at_most(b, c, n, limit), paired.p_at_least(b, c, n, limit)
    assert stated == (paired.GAMMA + paired.FAR_TAIL, 1.0)
    monkeypatch.setattr(paired, "FAR", math.inf)
    monkeypatch.setattr(paired, "FAR_TAIL", 0.0)
    enumerated = paired.p_at_most(b, c, n, limit), paired.p_at_least(b, c, n, limit)
    assert enumerated[0] < stated[0] and 0.99 < enumerated[1] <= stated[1]
