"""Betting test of a bounded mean: the authors' reference numbers, its laws, and its error."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.stats import means

REFERENCE = np.arange(37, 3701, 37) % 100 / 1000  # ((37 i) mod 100) / 1000, i = 1 … 100
ALPHA = 0.05

samples = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=60)
inner = st.floats(0.001, 0.999)


def naive_log_capital(x: list[float], m: float, alpha: float) -> list[float]:
    """The definition, one observation at a time; a bet is made before its observation is looked at."""
    path, capital, total, squares, variance = [], 0.0, 0.5, 0.25, 0.25
    for seen, value in enumerate(x, start=1):
        bet = min(math.sqrt(2.0 * math.log(1.0 / alpha) / (len(x) * variance)), 0.9 / (1.0 - m))
        capital += math.log(1.0 - bet * (value - m))
        path.append(capital)
        total += value
        squares += (value - total / (seen + 1)) ** 2
        variance = squares / (seen + 1)
    return path


def test_reference_capital_and_first_crossing() -> None:
    capital = means.log_capital(REFERENCE, 0.1, ALPHA)
    assert capital[-1] == pytest.approx(4.818812113, abs=5e-10)
    assert int(np.argmax(capital >= math.log(20.0))) + 1 == 65


@given(x=samples, m=inner, alpha=st.floats(0.001, 0.5))
def test_capital_follows_the_definition(x: list[float], m: float, alpha: float) -> None:
    np.testing.assert_allclose(means.log_capital(x, m, alpha), naive_log_capital(x, m, alpha), atol=1e-9)


@given(x=samples, m=inner, data=st.data())
def test_a_bet_never_knows_what_comes_next(x: list[float], m: float, data: st.DataObject) -> None:
    known = data.draw(st.integers(0, len(x)))
    other = [1.0 - value for value in x[known:]]
    before = means.log_capital(x, m, ALPHA)[:known]
    np.testing.assert_array_equal(before, means.log_capital(x[:known] + other, m, ALPHA)[:known])


@pytest.mark.parametrize("m", [0.02, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("n", [1, 5, 11])
def test_capital_is_fair_and_the_p_value_valid_by_enumeration(n: int, m: float) -> None:
    """Every sequence of n coin flips with mean exactly m."""
    flips = np.array(list(itertools.product([0.0, 1.0], repeat=n)))
    mass = m ** flips.sum(1) * (1.0 - m) ** (n - flips.sum(1))
    capital = np.exp([means.log_capital(x, m, ALPHA)[-1] for x in flips])
    assert mass @ capital == pytest.approx(1.0, abs=1e-12)
    for test in (means.p_at_most, means.p_at_least):
        p = np.array([test(x, m, ALPHA) for x in flips])
        for level in (0.5, 0.2, 0.05, 0.01):
            assert mass[p <= level].sum() <= level + 1e-12


def draw_sparse_beta(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.9, rng.beta(0.3, 30.0, n), rng.beta(2.0, 5.0, n))


def draw_spikes(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.01, rng.uniform(0.9, 1.0, n), rng.uniform(0.0, 0.02, n))


def draw_paired(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice([0.0, 0.5, 1.0], n, p=[0.01, 0.96, 0.03])


@pytest.mark.parametrize("n", [50, 400])
@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (draw_sparse_beta, 0.9 * 0.3 / 30.3 + 0.1 * 2.0 / 7.0),
        (draw_spikes, 0.01 * 0.95 + 0.99 * 0.01),
        (draw_paired, 0.51),
        (lambda rng, n: (rng.random(n) < 0.02).astype(float), 0.02),
    ],
)
def test_false_verdicts_stay_below_alpha_in_simulation(draw, mean: float, n: int) -> None:
    rng = np.random.default_rng(20240131)
    repetitions = 2000
    runs = [draw(rng, n) for _ in range(repetitions)]
    ceiling = ALPHA + 3.0 * math.sqrt(ALPHA * (1.0 - ALPHA) / repetitions)
    assert np.mean([means.p_at_most(x, mean, ALPHA) <= ALPHA for x in runs]) <= ceiling
    assert np.mean([means.p_at_least(x, mean, ALPHA) <= ALPHA for x in runs]) <= ceiling


def test_power_of_the_study() -> None:
    """n = 1 000 pairs, margin 1 %, no drop, 1 % disagreement: power .690 (± 3 standard errors here)."""
    rng = np.random.default_rng(7)
    runs = rng.choice([-1.0, 0.0, 1.0], (1000, 1000), p=[0.005, 0.99, 0.005])
    power = np.mean([means.p_at_most(x, 0.01, ALPHA, low=-1.0, high=1.0) <= ALPHA for x in runs])
    assert abs(power - 0.690) < 0.05


@given(x=samples, limits=st.tuples(inner, inner))
def test_a_laxer_limit_never_hurts(x: list[float], limits: tuple[float, float]) -> None:
    strict, lax = sorted(limits)
    assert means.p_at_most(x, lax, ALPHA) <= means.p_at_most(x, strict, ALPHA) * (1.0 + 1e-12)
    assert means.p_at_least(x, strict, ALPHA) <= means.p_at_least(x, lax, ALPHA) * (1.0 + 1e-12)


@given(x=samples, m=inner, data=st.data())
def test_a_smaller_value_never_hurts_the_last_one(x: list[float], m: float, data: st.DataObject) -> None:
    smaller = data.draw(st.floats(0.0, x[-1]))
    p = means.p_at_most([*x[:-1], smaller], m, ALPHA)
    assert p <= means.p_at_most(x, m, ALPHA) * (1.0 + 1e-12)


@given(x=samples, alpha=st.floats(0.001, 0.5))
def test_upper_bound_leaves_no_accepted_limit_above_it(x: list[float], alpha: float) -> None:
    bound = means.upper(x, alpha)
    for limit in np.linspace(0.001, 0.999, 200):
        if limit >= bound:
            assert means.p_at_most(x, limit, alpha) <= alpha
        elif limit < bound - 2.0 * means.BOUND_TOLERANCE:
            assert means.p_at_most(x, limit, alpha) > alpha


def bisected(x: list[float] | np.ndarray, alpha: float) -> float:
    """The upper bound, found without a guess."""
    accepted, rejected = 0.0, 1.0
    while rejected - accepted > means.BOUND_TOLERANCE:
        middle = (accepted + rejected) / 2.0
        proven = means.p_at_most(x, middle, alpha) <= alpha
        accepted, rejected = (accepted, middle) if proven else (middle, rejected)
    return rejected


@given(x=samples, alpha=st.floats(0.001, 0.5))
def test_bounds_are_those_of_bisection(x: list[float], alpha: float) -> None:
    assert means.upper(x, alpha) == bisected(x, alpha)


@pytest.mark.parametrize("draw", [draw_sparse_beta, draw_spikes, draw_paired])
@pytest.mark.parametrize("n", [1000, 20_000])
def test_bounds_of_large_samples_are_too_and_take_few_looks(
    draw: Callable[..., np.ndarray], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, looks, capital = draw(np.random.default_rng(n), n), [], means._log_capital
    expected = bisected(x, ALPHA)
    monkeypatch.setattr(means, "_log_capital", lambda *arguments: looks.append(1) or capital(*arguments))
    assert means.upper(x, ALPHA) == expected
    assert len(looks) <= 6


@given(x=st.lists(st.floats(-3.0, 5.0), min_size=1, max_size=60), limit=st.floats(-2.9, 4.9))
def test_mirrored_values_swap_the_directions(x: list[float], limit: float) -> None:
    mirrored = [-value for value in x]
    p = means.p_at_most(x, limit, ALPHA, low=-3.0, high=5.0)
    assert means.p_at_least(mirrored, -limit, ALPHA, low=-5.0, high=3.0) == pytest.approx(p, rel=1e-9)
    upper, lower = (bound(x, ALPHA, low=-3.0, high=5.0) for bound in (means.upper, means.lower))
    assert means.lower(mirrored, ALPHA, low=-5.0, high=3.0) == pytest.approx(-upper, abs=1e-7)
    assert -3.0 <= lower <= upper <= 5.0


def test_bounds_close_in_on_the_mean_and_order_is_heeded() -> None:
    x = np.random.default_rng(3).permutation(np.repeat([0.0, 0.2], 2000))
    assert means.lower(x, ALPHA) < 0.1 < means.upper(x, ALPHA)
    assert means.upper(x, ALPHA) - means.lower(x, ALPHA) < 0.01
    assert means.p_at_most(np.sort(x), 0.11, ALPHA) != means.p_at_most(x, 0.11, ALPHA)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: means.p_at_most([], 0.5, ALPHA), "not empty"),
        (lambda: means.p_at_most([0.1, float("nan")], 0.5, ALPHA), "NaN at position 1"),
        (lambda: means.p_at_most([0.1, 1.2], 0.5, ALPHA), r"value must lie in \[0.0, 1.0\], got 1.2"),
        (lambda: means.upper([float("inf")], ALPHA), "got inf"),
        (lambda: means.p_at_most([0.1], 1.0, ALPHA), "limit must lie strictly between 0.0 and 1.0, got 1.0"),
        (lambda: means.p_at_least([0.1], 0.0, ALPHA), "got 0.0"),
        (lambda: means.p_at_least([0.1], float("nan"), ALPHA), "got nan"),
        (lambda: means.log_capital([0.1], 1.5, ALPHA), "m must lie strictly between 0.0 and 1.0, got 1.5"),
        (lambda: means.upper([0.1], 0.7), r"alpha must lie in \(0, 0.5\], got 0.7"),
        (lambda: means.lower([0.1], ALPHA, low=1.0, high=0.0), "low < high, got"),
        (lambda: means.upper([0.1], ALPHA, high=float("inf")), "support must be finite"),
    ],
)
def test_values_outside_their_domain_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
