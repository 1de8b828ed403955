"""Power of the betting test against simulated audits, and the outlook after an open verdict."""

from collections.abc import Callable

import numpy as np
import pytest

from audit.stats import means, outlook, paired, proportions
from audit.stats.domain import Floats
from audit.stats.planning import PairedDesign, fewest_items
from audit.stats.planning_means import MeanDesign

REPEATS = 400


def drops(drop: float, changed: float) -> Callable[[np.random.Generator, int], Floats]:
    def draw(rng: np.random.Generator, n: int) -> Floats:
        return rng.choice([-1.0, 0.0, 1.0], n, p=[(changed - drop) / 2, 1 - changed, (changed + drop) / 2])

    return draw


def distances(rng: np.random.Generator, n: int) -> Floats:
    """Mostly small, some large: a share of 0.9 and of 0.1; mean 0.0375."""
    return np.where(rng.random(n) < 0.9, rng.beta(0.3, 30, n), rng.beta(2, 5, n))


@pytest.mark.parametrize(
    ("draw", "limit", "low", "n", "tolerance"),
    [
        (drops(0.002, 0.06), 0.01, -1.0, 10_000, 0.06),
        (drops(0.004, 0.06), 0.02, -1.0, 1000, 0.08),
        (drops(0.0, 0.01), 0.01, -1.0, 1000, 0.10),
        (distances, 0.045, 0.0, 1000, 0.08),
        (distances, 0.06, 0.0, 300, 0.08),
    ],
)
def test_power_of_the_betting_test(
    draw: Callable[[np.random.Generator, int], Floats], limit: float, low: float, n: int, tolerance: float
) -> None:
    rng = np.random.default_rng(20)
    design = MeanDesign.like(draw(rng, 1_000_000), limit, low, 1.0)
    passed = [means.p_at_most(draw(rng, n), limit, 0.05, low, 1.0) <= 0.05 for _ in range(REPEATS)]
    assert design.power(n, 0.05) == pytest.approx(np.mean(passed), abs=tolerance)


@pytest.mark.parametrize(("drop", "changed", "limit"), [(0.0, 0.02, 0.005), (0.002, 0.06, 0.01), (0.004, 0.05, 0.02)])
def test_betting_takes_more_items_than_the_normal_formula_for_the_mean(
    drop: float, changed: float, limit: float
) -> None:
    weights = (changed - drop) / 2, 1 - changed, (changed + drop) / 2
    normal = (1.6449 + 0.8416) ** 2 * changed / (limit - drop) ** 2
    found = MeanDesign(limit, (-1.0, 0.0, 1.0), weights, -1.0).items(0.05, 0.8)
    assert found is not None and 1.35 < found / normal < 1.7


def test_reachable_and_vacuous_are_those_of_the_test() -> None:
    design = MeanDesign(0.05, (0.0, 1.0), (0.975, 0.025))
    n = fewest_items(design, 0.05)
    assert n is not None
    assert means.p_at_most([0.0] * n, 0.05, 0.05) <= 0.05 < means.p_at_most([0.0] * (n - 1), 0.05, 0.05)
    assert design.can_fail(10, 0.05)
    assert not MeanDesign(0.9999, (0.0,), (1.0,)).can_fail(10, 0.05)
    assert MeanDesign(0.05, (0.05,), (1.0,)).items(0.05, 0.8) is None


def test_measured_values_keep_their_mean_in_bins() -> None:
    values = np.random.default_rng(3).beta(0.3, 30, 5000)
    assert MeanDesign.like(values, 0.5, 0.0, 1.0).mean == pytest.approx(values.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("points", "weights"),
    [((), ()), ((0.5,), (0.5,)), ((2.0,), (1.0,)), ((0.1, 0.2), (1.5, -0.5)), ((0.1,), (1.0, 0.0))],
)
def test_what_is_no_distribution_is_refused(points: tuple[float, ...], weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"point|weight"):
        MeanDesign(0.3, points, weights)


def test_outlook_of_the_worked_example() -> None:
    """A drop of 0.12 points, at most 0.61, against 0.5: about 8,000 items, plausible 2,500 to more than 100,000."""
    assert paired.tango_upper(28, 25, 2500, 0.05) == pytest.approx(0.0061, abs=5e-5)
    found = outlook.paired_difference(28, 25, 2500, 0.005, 0.05)
    assert found is not None and found.about == pytest.approx(8000, rel=0.25)
    assert found.low == pytest.approx(2500, rel=0.01)
    assert found.high is None or found.high > 100_000


def test_outlook_is_hopeless_at_the_limit_and_beyond() -> None:
    assert outlook.proportion(2, 100, 0.02, 0.05) is None
    assert outlook.paired_difference(12, 2, 1000, 0.01, 0.05) is None
    assert outlook.mean(np.full(10, 0.3), 0.3, 0.05, 0.0, 1.0) is None


def test_outlook_never_promises_fewer_items_than_the_limit_takes() -> None:
    assert outlook.proportion(0, 100, 0.02, 0.05) == outlook.Outlook(149, 149, None)
    found = outlook.paired_difference(0, 0, 100, 0.02, 0.05)
    assert found is not None and found.about == found.low == 149


@pytest.mark.parametrize(
    ("b", "c", "n", "limit"),
    [(120, 100, 10_000, 0.005), (300, 200, 10_000, 0.015), (15, 8, 500, 0.03), (5, 9, 500, 0.01), (2, 1, 100, 0.03),
     (1, 0, 500, 0.005), (4, 1, 500, 0.02), (10, 60, 10_000, -0.004), (0, 1, 200, 0.02)],
)  # fmt: skip
def test_outlook_names_items_that_do_and_hardly_fewer_would(b: int, c: int, n: int, limit: float) -> None:
    found = outlook.paired_difference(b, c, n, limit, 0.05)
    assert found is not None and found.about is not None
    design = PairedDesign(limit, (b - c) / n, (b + c) / n)
    least = max(n + 1, fewest_items(design, 0.05) or 0)
    assert found.about >= least and design.power(found.about, 0.05) >= outlook.CHANCE
    fewer = range(max(least, int(0.99 * found.about) - 1), found.about)
    assert found.about == least or any(design.power(items, 0.05) < outlook.CHANCE for items in fewer)


def test_outlook_caps_at_a_million() -> None:
    found = outlook.proportion(199, 10_000, 0.02, 0.05)
    assert found == outlook.Outlook(None, found.low if found else 0, None)


def test_range_of_the_outlook_holds_what_is_needed_four_times_in_five() -> None:
    """At a true share of 1 % against 2 %, 969 items are needed; forecasts from 400 items scatter round that."""
    rng, held, open_ = np.random.default_rng(5), 0, 0
    for k in rng.binomial(400, 0.01, 300).tolist():
        if proportions.p_at_most(k, 400, 0.02) > 0.05 and (found := outlook.proportion(k, 400, 0.02, 0.05)):
            open_ += 1
            held += (found.low or 0) <= 969 and (found.high is None or found.high >= 969)
    assert open_ > 100 and held / open_ >= 0.8
