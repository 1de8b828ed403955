"""Sample sizes: published tables, enumeration of the tests themselves, and the laws of the designs."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit.stats import paired, proportions
from audit.stats.planning import FEW, PairedDesign, ProportionDesign, fewest_items, first

POWERS = (0.8, 0.9, 0.95)
PROPORTIONS = [  # limit, truth, items for a power of 80, 90 and 95 %
    (0.05, 0.01, (124, 153, 181)), (0.05, 0.02, (234, 311, 386)), (0.05, 0.03, (601, 832, 1036)),
    (0.05, 0.04, (2698, 3701, 4654)), (0.02, 0.002, (236, 236, 313)), (0.02, 0.005, (386, 456, 523)),
    (0.02, 0.01, (969, 1271, 1567)), (0.02, 0.015, (4318, 5895, 7402)), (0.01, 0.001, (473, 473, 628)),
    (0.01, 0.002, (628, 773, 913)), (0.01, 0.005, (1941, 2546, 3137)), (0.005, 0.0005, (947, 947, 1258)),
    (0.005, 0.001, (1258, 1549, 1829)), (0.005, 0.0025, (3885, 5096, 6279)), (0.001, 0.0001, (4742, 4742, 6294)),
    (0.001, 0.0002, (6294, 7752, 9151)), (0.001, 0.0005, (19_439, 25_495, 31_411)),
]  # fmt: skip
PAIRED = [  # limit, drop, share changed, items for the same by Tango's score, where at least five items change
    (0.005, 0.0, 0.005, (1631, 2159, 2668)), (0.005, 0.0, 0.02, (5076, 7028, 8877)),
    (0.005, 0.0, 0.05, (12_427, 17_206, 21_742)), (0.005, 0.0, 0.1, (24_840, 34_408, 43_475)),
    (0.005, 0.001, 0.02, (7926, 10_969, 13_862)), (0.005, 0.001, 0.05, (19_408, 26_878, 33_964)),
    (0.005, 0.0025, 0.02, (20_257, 28_059, 35_460)), (0.005, 0.0025, 0.05, (49_660, 68_784, 86_918)),
    (0.01, 0.0, 0.02, (1361, 1876, 2318)), (0.01, 0.0, 0.05, (3183, 4399, 5553)),
    (0.01, 0.0, 0.1, (6221, 8610, 10_880)), (0.01, 0.002, 0.02, (2115, 2861, 3611)),
    (0.01, 0.002, 0.05, (4959, 6860, 8665)), (0.02, 0.0, 0.02, (398, 535, 666)),
    (0.02, 0.0, 0.05, (822, 1133, 1425)), (0.02, 0.0, 0.1, (1565, 2204, 2729)),
    (0.02, 0.004, 0.02, (620, 835, 1029)), (0.02, 0.004, 0.05, (1272, 1756, 2216)),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "truth", "items"), PROPORTIONS)
def test_items_of_a_proportion(limit: float, truth: float, items: tuple[int, ...]) -> None:
    design = ProportionDesign(limit, truth)
    assert tuple(design.items(0.05, power) for power in POWERS) == items


@pytest.mark.parametrize(("limit", "drop", "changed", "items"), PAIRED)
def test_items_of_a_paired_difference(limit: float, drop: float, changed: float, items: tuple[int, ...]) -> None:
    design = PairedDesign(limit, drop, changed)
    for power, expected in zip(POWERS, items, strict=True):
        found = design.items(0.05, power)
        assert found == pytest.approx(expected, rel=0.02)
        assert found is not None and design.power(found, 0.05) >= power > design.power(found - 1, 0.05)


@pytest.mark.parametrize(("limit", "alpha"), [(0.05, 0.05), (0.02, 0.05), (0.01, 0.05), (0.02, 0.025), (0.3, 0.1)])
def test_fewest_items_are_those_without_a_failure(limit: float, alpha: float) -> None:
    n = fewest_items(ProportionDesign(limit, 0.0), alpha)
    assert n == proportions.smallest_n_at_most(limit, alpha)


@pytest.mark.parametrize(
    ("limit", "alpha", "expected"), [(0.02, 0.05, 149), (0.01, 0.05, 299), (0.02, 0.1, 115), (0.0, 0.05, 5)]
)
def test_fewest_items_of_a_paired_difference(limit: float, alpha: float, expected: int) -> None:
    design = PairedDesign(limit, 0.0, 0.06)
    reachable = [n for n in range(1, expected + 30) if design.reachable(n, alpha)]
    assert fewest_items(design, alpha) == expected
    assert reachable == list(range(expected, expected + 30))


def test_a_negative_limit_needs_wins_and_can_be_had() -> None:
    design = PairedDesign(-0.01, -0.03, 0.06)
    n = design.items(0.05, 0.8)
    assert paired.p_at_most(0, 0, 10_000, -0.01) > 0.05
    assert fewest_items(design, 0.05) == 5
    assert n is not None and PairedDesign(0.01, 0.03, 0.06).items(0.05, 0.8) is None
    assert design.power(300, 0.05) == pytest.approx(_enumerated(-0.01, -0.03, 0.06, 300, (0, 25), (0, 45)), abs=0.04)


def test_wins_at_best_make_a_limit_reachable() -> None:
    assert not PairedDesign(0.005, 0.0, 0.08).reachable(400, 0.05)
    assert PairedDesign(0.005, 0.0, 0.08, wins=0.07).reachable(400, 0.05)


@pytest.mark.parametrize(
    ("limit", "drop", "changed", "n", "tolerance"),
    [(0.02, 0.0, 0.005, 222, 2e-3), (0.02, 0.0, 0.005, 300, 2e-3), (0.05, 0.01, 0.06, 100, 2e-3),
     (0.02, 0.004, 0.06, 150, 2e-3), (0.02, 0.0, 0.01, 148, 2e-3), (0.02, 0.004, 0.02, 500, 2e-3)],
)  # fmt: skip
def test_paired_power_is_that_of_the_exact_test(
    limit: float, drop: float, changed: float, n: int, tolerance: float
) -> None:
    enumerated = _enumerated(limit, drop, changed, n, (0, 25), (0, 25))
    assert PairedDesign(limit, drop, changed).power(n, 0.05) == pytest.approx(enumerated, abs=tolerance)


def _enumerated(
    limit: float, drop: float, changed: float, n: int, harms: tuple[int, int], gains: tuple[int, int]
) -> float:
    """Probability of p ≤ 0.05, table by table; for each number of gains, up to the first harm too many."""
    p12, p21, total = (changed + drop) / 2, (changed - drop) / 2, 0.0
    for c in range(*gains):
        for b in range(*harms):
            log = math.lgamma(n + 1) - math.lgamma(b + 1) - math.lgamma(c + 1) - math.lgamma(n - b - c + 1)
            mass = math.exp(log + b * math.log(p12) + c * math.log(p21) + (n - b - c) * math.log(1 - changed))
            if mass > 1e-7 and paired.p_at_most(b, c, n, limit) <= 0.05:
                total += mass
    return total


@given(st.integers(1, 400), st.floats(0.01, 0.5), st.floats(0.0, 0.5), st.sampled_from([0.025, 0.05, 0.1]))
@settings(max_examples=100)
def test_power_of_a_proportion_by_summing_what_passes(n: int, limit: float, truth: float, alpha: float) -> None:
    log = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    passing = [k for k in range(n + 1) if proportions.p_at_most(k, n, limit) <= alpha]
    summed = sum(math.exp(log[k]) * truth**k * (1.0 - truth) ** (n - k) for k in passing)
    design = ProportionDesign(limit, truth)
    assert design.power(n, alpha) == pytest.approx(summed, abs=1e-9)
    assert design.reachable(n, alpha) == bool(passing)


@given(st.floats(0.02, 0.4), st.floats(0.1, 0.8), st.sampled_from(POWERS))
@example(0.32956327823556736, 0.78125, 0.8)
@settings(max_examples=30)
def test_fewest_items_for_a_power_of_a_proportion(limit: float, part: float, power: float) -> None:
    design = ProportionDesign(limit, limit * part)
    found = design.items(0.05, power)
    assert found is not None
    searched = range(1, found) if found < 500 else range(found - 500, found)
    assert all(design.power(n, 0.05) < power for n in searched)
    assert design.power(found, 0.05) >= power - 1e-12


def test_what_nothing_can_prove() -> None:
    assert ProportionDesign(0.02, 0.02).items(0.05, 0.8) is None
    assert ProportionDesign(0.0, 0.0).items(0.05, 0.8) is None
    assert fewest_items(ProportionDesign(0.0, 0.0), 0.05) is None
    assert PairedDesign(0.01, 0.01, 0.06).items(0.05, 0.8) is None
    assert fewest_items(PairedDesign(0.5, 0.0, 0.06), 1e-5) is None, "no p-value is below the Berger–Boos allowance"
    assert PairedDesign(1e-5, 0.0, 0.06).items(0.05, 0.8) is None, "more than a million"


def test_what_nothing_can_break() -> None:
    assert not ProportionDesign(1.0, 0.5).can_fail(10_000, 0.05)
    assert not ProportionDesign(0.999, 0.5).can_fail(100, 0.05)
    assert ProportionDesign(0.5, 0.2).can_fail(10, 0.05)
    assert not PairedDesign(0.99, 0.0, 0.06).can_fail(50, 0.05)
    assert PairedDesign(0.01, 0.0, 0.06).can_fail(50, 0.05)


@given(st.integers(-50, 150), st.integers(-200, 300), st.integers(-20, 20), st.integers(0, 120))
def test_first_finds_the_threshold_from_any_guess(threshold: int, guess: int, low: int, width: int) -> None:
    expected = max(threshold, low)
    found = first(lambda i: i >= threshold, guess, low, low + width)
    assert found == (expected if expected <= low + width else None)


@given(st.integers(1, 3000), st.integers(-200, 5000), st.integers(1, 20), st.sampled_from([0.01, 0.1]))
def test_first_may_be_told_how_closely_to_search(threshold: int, guess: int, low: int, within: float) -> None:
    expected = max(threshold, low)
    found = first(lambda i: i >= threshold, guess, low, 5000, within)
    assert found is not None and expected <= found <= max(expected + 1, expected / (1.0 - within))


@pytest.mark.parametrize(
    "design",
    [ProportionDesign(0.02, 0.01), PairedDesign(0.01, 0.002, 0.05), PairedDesign(0.02, 0.001, 0.002),
     PairedDesign(-0.01, -0.03, 0.06)],
)  # fmt: skip
def test_items_from_some_number_on(design: ProportionDesign | PairedDesign) -> None:
    found = design.items(0.05, 0.8)
    assert found is not None
    assert design.items(0.05, 0.8, found // 3) == found
    more = design.items(0.05, 0.8, 2 * found)
    assert more is not None and 2 * found <= more < 2.2 * found
    roughly = design.items(0.05, 0.8, within=0.02)
    assert roughly is not None and found <= roughly <= 1.02 * found + 1 and design.power(roughly, 0.05) >= 0.8


def test_where_few_items_change_power_sets_in_where_that_of_the_exact_test_does() -> None:
    design = PairedDesign(0.03, 0.0, 0.015)
    found = design.items(0.05, 0.8)
    assert found is not None and found * design.changed < FEW
    assert design.power(found, 0.05) >= 0.8 > design.power(found - 1, 0.05)


def test_impossible_designs_are_refused() -> None:
    with pytest.raises(ValueError, match="limit and truth"):
        ProportionDesign(0.1, float("nan"))
    with pytest.raises(ValueError, match="limit must lie strictly"):
        PairedDesign(1.0, 0.0, 0.06)
    with pytest.raises(ValueError, match="drop"):
        PairedDesign(0.1, 0.07, 0.06)
    with pytest.raises(ValueError, match="wins"):
        PairedDesign(0.1, 0.0, 0.06, wins=1.5)
    with pytest.raises(ValueError, match="n must be"):
        PairedDesign(0.1, 0.0, 0.06).power(0, 0.05)
    with pytest.raises(ValueError, match="power"):
        ProportionDesign(0.1, 0.05).items(0.05, 1.0)
    with pytest.raises(ValueError, match="alpha"):
        fewest_items(ProportionDesign(0.1, 0.05), 0.0)


def test_nothing_changes_at_all() -> None:
    design = PairedDesign(0.02, 0.0, 0.0)
    assert [design.power(n, 0.05) for n in (148, 149)] == [0.0, 1.0]
