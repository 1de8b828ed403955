"""Paired differences: published intervals, reference p-values, and the laws of the p-values."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from audit.stats import paired, region

PASS = [  # (b, c, n, limit), Tango's p, exact p over every nuisance value, exact p of Berger and Boos
    ((0, 0, 149, 0.02), 0.040598, 0.049282, 0.049382),
    ((0, 0, 148, 0.02), 0.041111, 0.050287, 0.050387),
    ((5, 3, 500, 0.02), 0.014861, 0.015064, 0.013764),
    ((20, 15, 2000, 0.01), 0.010185, 0.010629, 0.009733),
    ((105, 95, 10_000, 0.005), 0.002837, 0.002863, 0.002819),
    ((120, 100, 10_000, 0.005), 0.023046, 0.023294, 0.023000),
    ((12, 4, 1000, 0.02), 0.008164, 0.008843, 0.007461),
    ((1, 0, 44, 0.1), 0.043766, 0.057109, 0.057209),
]
FAIL = [  # (b, c, n, limit), Tango's p, exact p of Berger and Boos
    ((60, 20, 1000, 0.02), 0.010309, 0.012283),
    ((8, 0, 200, 0.01), 0.007398, 0.009014),
    ((180, 90, 10_000, 0.005), 0.006762, 0.007146),
]
SLOW_FULL_SEARCH = 2000  # n above which searching every nuisance value takes seconds

tables = st.integers(1, 80).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)
limits = st.floats(-0.95, 0.95)


def normal_cdf(z: float) -> float:
    return math.erfc(-z / math.sqrt(2.0)) / 2.0


@pytest.mark.parametrize(
    ("b", "c", "n", "alpha", "low", "high", "digits"),
    [
        (9, 3, 32, 0.025, -0.027, 0.390, 3),
        (0, 1, 44, 0.05, -0.096, 0.037, 3),
        (16, 8, 86, 0.025, -0.020, 0.207, 3),
        (1, 7, 21, 0.025, -0.517, -0.026, 3),
        (6, 16, 161, 0.025, -0.1240, -0.0054, 4),
        (28, 25, 618, 0.05, -0.0148, 0.0247, 4),
        (3, 0, 3, 0.025, -0.1230, 1.0, 4),
    ],
)
def test_published_tango_intervals(b: int, c: int, n: int, alpha: float, low: float, high: float, digits: int) -> None:
    assert paired.tango_lower(b, c, n, alpha) == pytest.approx(low, abs=0.501 * 10**-digits)
    assert paired.tango_upper(b, c, n, alpha) == pytest.approx(high, abs=0.501 * 10**-digits)


@pytest.mark.parametrize(
    ("table", "bound"), [((105, 95, 10_000), 0.003347), ((120, 100, 10_000), 0.004465), ((5, 3, 500), 0.015145)]
)
def test_one_sided_tango_bounds(table: tuple[int, int, int], bound: float) -> None:
    assert paired.tango_upper(*table, 0.05) == pytest.approx(bound, abs=5e-7)


def test_tango_s_own_example_passes_by_score_but_not_exactly() -> None:
    assert paired.tango_z(1, 0, 44, 0.1) == pytest.approx(-1.708564, abs=5e-7)
    assert paired.tango_upper(1, 0, 44, 0.05) < 0.1
    assert paired.p_at_most(1, 0, 44, 0.1) > 0.05


@pytest.mark.parametrize(("arguments", "tango", "full", "boos"), PASS)
def test_reference_p_values_of_pass(
    arguments: tuple[int, int, int, float], tango: float, full: float, boos: float
) -> None:
    assert normal_cdf(paired.tango_z(*arguments)) == pytest.approx(tango, abs=1e-6)
    assert paired.p_at_most(*arguments) == pytest.approx(boos, abs=1e-6)
    if arguments[2] <= SLOW_FULL_SEARCH:
        assert paired.p_at_most(*arguments, gamma=0.0) == pytest.approx(full, abs=1e-6)


@pytest.mark.parametrize(("arguments", "tango", "boos"), FAIL)
def test_reference_p_values_of_fail(arguments: tuple[int, int, int, float], tango: float, boos: float) -> None:
    assert normal_cdf(-paired.tango_z(*arguments)) == pytest.approx(tango, abs=1e-6)
    assert paired.p_at_least(*arguments) == pytest.approx(boos, abs=1e-6)


@pytest.mark.parametrize("n", [60, 148, 149])
def test_without_discordant_items_the_p_value_is_that_of_a_proportion(n: int) -> None:
    assert paired.p_at_most(0, 0, n, 0.02, gamma=0.0) == pytest.approx(0.98**n, abs=1e-9)


@pytest.mark.parametrize(
    ("test", "arguments"),
    [(paired.p_at_most, row[0]) for row in PASS] + [(paired.p_at_least, row[0]) for row in FAIL],
)
def test_a_ten_times_finer_grid_changes_nothing(
    test, arguments: tuple[int, int, int, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = test(*arguments)
    monkeypatch.setattr(region, "GRID_STEP", region.GRID_STEP / 10.0)
    assert test(*arguments) == pytest.approx(p, abs=1e-6)


@given(table=tables, limit=limits)
def test_the_score_solves_its_own_definition(table: tuple[int, int, int], limit: float) -> None:
    """Its nuisance maximises the trinomial likelihood on p12 = p21 + limit: no neighbour is likelier."""
    b, c, n = table
    z = paired.tango_z(b, c, n, limit)
    assert z == -paired.tango_z(c, b, n, -limit)
    assert math.copysign(1.0, z) == math.copysign(1.0, b - c - n * limit) or abs(z) < 1e-9
    difference = b - c - n * limit
    assume(abs(difference) > 1e-6)
    q = ((difference / z) ** 2 / n - abs(limit) * (1.0 - abs(limit))) / 2.0  # of the rarer change

    def log_likelihood(rarer: float) -> float:
        more, fewer = (b, c) if limit >= 0.0 else (c, b)
        cells = ((more, rarer + abs(limit)), (fewer, rarer), (n - b - c, 1.0 - 2.0 * rarer - abs(limit)))
        if any(p < 0.0 or (p == 0.0 and count) for count, p in cells):
            return -math.inf
        return sum(count * math.log(p) for count, p in cells if count)

    q = min(max(q, 0.0), (1.0 - abs(limit)) / 2.0)
    for neighbour in (q - 1e-4, q + 1e-4):
        assert log_likelihood(neighbour) <= log_likelihood(q) + 1e-6 or log_likelihood(q) == -math.inf


@given(table=tables, limit=limits)
def test_one_table_scores_what_it_does_among_many(table: tuple[int, int, int], limit: float) -> None:
    b, c, n = table
    more, fewer, sign = (c, b, -1.0) if limit < 0.0 else (b, c, 1.0)
    among_many = region.score(np.array([more, 0]), np.array([fewer, 0]), n, abs(limit))[0]
    assert paired.tango_z(b, c, n, limit) == pytest.approx(sign * among_many, rel=1e-12, abs=1e-12)


@given(table=tables, alpha=st.floats(0.001, 0.5))
def test_tango_bounds_enclose_the_estimate_and_solve_the_score(table: tuple[int, int, int], alpha: float) -> None:
    b, c, n = table
    low, high = paired.tango_lower(b, c, n, alpha), paired.tango_upper(b, c, n, alpha)
    assert -1.0 <= low <= high <= 1.0
    assert low - 1e-9 <= (b - c) / n <= high + 1e-9
    if -0.999 < high < 0.999:
        assert paired.tango_z(b, c, n, high + 1e-6) <= paired.tango_z(b, c, n, high - 1e-6)
        tail = normal_cdf(paired.tango_z(b, c, n, high))
        assert tail == pytest.approx(alpha, rel=1e-3)


@given(table=tables, limit=limits)
@settings(max_examples=60)
def test_swapping_harm_and_gain_swaps_the_directions(table: tuple[int, int, int], limit: float) -> None:
    b, c, n = table
    assert paired.p_at_least(b, c, n, limit) == paired.p_at_most(c, b, n, -limit)
    assert paired.p_at_least(b, c, n, 0.0) == paired.p_at_most(c, b, n, 0.0)


@given(table=tables, limit=st.floats(0.0, 0.95))
@settings(max_examples=60)
def test_one_more_harm_never_helps(table: tuple[int, int, int], limit: float) -> None:
    b, c, n = table
    assume(b + c < n)
    assert paired.p_at_most(b, c, n, limit) <= paired.p_at_most(b + 1, c, n, limit) + 1e-7


@given(table=tables, limit=st.floats(0.001, 0.95))
@settings(max_examples=60)
def test_the_two_directions_cannot_both_be_proven(table: tuple[int, int, int], limit: float) -> None:
    """The two regions share the observed table, so under any nuisance value their probabilities exceed 1."""
    b, c, n = table
    assert paired.p_at_most(b, c, n, limit) + paired.p_at_least(b, c, n, limit) >= 1.0 - 1e-9


@pytest.mark.parametrize("limit", [-0.1, -0.02, 0.0, 0.02, 0.1])
def test_one_more_gain_never_hurts_where_a_verdict_is_near(limit: float) -> None:
    """The nuisance interval moves with the gains, so this is no theorem; it holds in every table below."""
    n = 44
    p = {(b, c): paired.p_at_most(b, c, n, limit) for b in range(12) for c in range(12)}
    near = [(b, c) for (b, c), value in p.items() if value < 0.2 and c < 11 and b < 11]
    assert len(near) > 5
    for b, c in near:
        assert p[b, c + 1] <= p[b, c] + 1e-7 and p[b, c] <= p[b + 1, c] + 1e-7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired.p_at_most(-1, 0, 10, 0.1), "b must be an integer of at least 0, got -1"),
        (lambda: paired.p_at_least(6, 5, 10, 0.1), r"b \+ c must not exceed n = 10, got 11"),
        (lambda: paired.p_at_most(0, 0, 0, 0.1), "n must be an integer of at least 1, got 0"),
        (lambda: paired.p_at_most(1, 1, 10, 1.0), "limit must lie strictly between -1.0 and 1.0, got 1.0"),
        (lambda: paired.p_at_least(1, 1, 10, float("nan")), "limit .* got nan"),
        (lambda: paired.p_at_least(1, 1, 10, 0.3, gamma=-1e-4), r"gamma must lie in \[0, 0.5\), got -0.0001"),
        (lambda: paired.p_at_most(1, 1, 10, 0.3, gamma=float("nan")), "gamma .* got nan"),
        (lambda: paired.tango_z(1, 1, 10, -1.0), "got -1.0"),
        (lambda: paired.tango_upper(1, 1, 10, 0.6), r"alpha must lie in \(0, 0.5\], got 0.6"),
        (lambda: paired.tango_lower(1, 1, 1, 0.05), r"c \+ b must not exceed n = 1|b \+ c must"),
    ],
)
def test_values_outside_their_domain_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
