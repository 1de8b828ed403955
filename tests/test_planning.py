"""Forecasts per criterion, the items that an open verdict still takes, and what an audit costs."""

import subprocess
import sys
from dataclasses import replace

import pytest

from audit import randomness
from audit.findings import BoundedMean, Exact, Kind, Metric, OrderStatistic, PairedDifference, Proportion, Statistic
from audit.planning import FAMILY, Cost, Load, Typical, cost, forecast, impossible, more_items
from audit.rehearsal import Rehearsal
from audit.stats.means import p_at_most
from audit.stats.planning import PairedDesign
from audit.types import Claim, Criterion, Role, Sense, Unit


def metric(name: str, kind: Kind, low: float = 0.0, high: float = 1.0, better: Sense = Sense.AT_MOST) -> Metric:
    return Metric(name, name, Unit.POINTS, low, high, better, kind, "", q=0.99 if kind is Kind.QUANTILE else 0.0)


METRICS = {
    each.name: each
    for each in (
        metric("drop", Kind.PAIRED, -1.0),
        metric("share", Kind.PROPORTION),
        metric("agreement", Kind.PROPORTION, better=Sense.AT_LEAST),
        metric("distance", Kind.MEAN, 0.0, 1.5),
        metric("increase", Kind.MEAN, -1.0),
        metric("quantile", Kind.QUANTILE, 0.0, 1.5),
        metric("count", Kind.COUNTED, 0.0, 100.0),
    )
}


def criterion(name: str, limit: float, *, required: bool = True) -> Criterion:
    return Criterion(Claim.parse(name), METRICS[name.partition("@")[0]].better, limit, required)


def test_a_drop_of_one_point_as_the_policies_promise() -> None:
    """True drop 0.2 points, 6 % of items change: 10,000 items pass 95 % of the time at 1.0, 34 % at 0.5 points."""
    one, half = forecast([criterion("drop", 0.01), criterion("drop", 0.005)], METRICS, 10_000, 0.05)
    assert (one.truth, one.n_min, one.reachable, one.vacuous) == (0.002, 299, True, False)
    assert one.power == pytest.approx(0.95, abs=0.02)
    assert one.items == pytest.approx(8200, rel=0.02)
    assert half.truth == 0.001 and half.power == pytest.approx(0.49, abs=0.02)
    assert PairedDesign(0.005, 0.002, 0.06).power(10_000, 0.05) == pytest.approx(0.34, abs=0.01)


def test_at_least_is_the_mirror_image() -> None:
    share, agreement = forecast([criterion("share", 0.04), criterion("agreement", 0.96)], METRICS, 500, 0.05)
    assert (share.truth, agreement.truth) == (0.02, 0.98)
    assert share.n_min == agreement.n_min == 74
    assert share.power == pytest.approx(agreement.power, abs=1e-9)
    assert share.items == agreement.items


def test_one_class_has_the_items_of_the_class() -> None:
    criteria = [criterion("drop@class=a", 0.02), criterion("drop@class=b", 0.02)]
    few, many = forecast(criteria, METRICS, 10_000, 0.05, items={Claim.parse("drop@class=a"): 100})
    assert (few.n, few.reachable, few.n_min) == (100, False, 149)
    assert (many.n, many.reachable) == (10_000, True)
    assert impossible((few, many)) == (few,)


def test_only_criteria_that_count_are_impossible() -> None:
    waived = replace(criterion("share", 0.003), waived=True)
    rules = [criterion("share", 0.001, required=False), waived, criterion("share", 0.002)]
    found = forecast(rules, METRICS, 100, 0.05)
    assert [each.reachable for each in found] == [False, False, False]
    assert [each.criterion.limit for each in impossible(found)] == [0.002]


def test_several_draws_are_judged_as_a_mean() -> None:
    rule = criterion("drop", 0.02)
    once, often = (forecast([rule], METRICS, 2000, 0.05, draws={rule.claim: count})[0] for count in (1, 3))
    assert once.power is not None and often.power is not None and often.power < once.power
    assert often.n_min is not None and p_at_most([-1.0] * often.n_min, 0.02, 0.05, -1.0) <= 0.05


def test_a_distance_is_forecast_at_its_widest_spread() -> None:
    (found,) = forecast([criterion("distance", 0.15)], METRICS, 1000, 0.05)
    assert found.truth == 0.075 and found.reachable
    assert found.power is not None and found.power > 0.9 and found.items is not None and found.items < 1000


def test_what_is_not_forecast_says_nothing() -> None:
    (count,) = forecast([criterion("count", 0.0)], METRICS, 1000, 0.05)
    assert (count.reachable, count.vacuous, count.power) == (True, False, None)
    assert forecast([criterion("count", 100.0)], METRICS, 1000, 0.05)[0].vacuous


def test_a_quantile_is_forecast_by_the_share_beyond_it() -> None:
    few, many = (forecast([criterion("quantile", 0.15)], METRICS, n, 0.05)[0] for n in (298, 299))
    assert (few.reachable, many.reachable, many.n_min, many.vacuous) == (False, True, 299, False)  # 0.99²⁹⁹ < 0.05
    assert many.power == pytest.approx(0.995**299)
    assert impossible([few]) == (few,) and not impossible([many])


def test_no_loss_allowed_needs_a_better_candidate() -> None:
    (found,) = forecast([criterion("drop", 0.0)], METRICS, 10_000, 0.05)
    assert found.truth == -0.01 and found.reachable and found.power is not None and found.power > 0.9


def test_a_metric_that_credits_agreement_is_reachable_earlier() -> None:
    rules = [criterion("drop", 0.005)]
    assert impossible(forecast(rules, METRICS, 400, 0.05))
    assert not impossible(forecast(rules, METRICS, 400, 0.05, typical={"drop": Typical(0.08, wins=0.07)}))


def test_a_large_limit_changes_more_than_is_typical() -> None:
    (found,) = forecast([criterion("increase", 0.9)], METRICS, 100, 0.05)
    assert found.truth == pytest.approx(0.18) and found.power == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("name", "n"), [("unheard_of", 100), ("drop", 0)])
def test_no_forecast_without_metric_or_items(name: str, n: int) -> None:
    with pytest.raises(ValueError, match="no forecast"):
        forecast([Criterion(Claim(name), Sense.AT_MOST, 0.01)], METRICS, n, 0.05)


@pytest.mark.parametrize(
    ("statistic", "sense", "limit"),
    [
        (Proportion(8, 500), Sense.AT_MOST, 0.02),
        (Proportion(492, 500), Sense.AT_LEAST, 0.98),
        (PairedDifference(29, 26, 2500), Sense.AT_MOST, 0.005),
        (PairedDifference(26, 29, 2500), Sense.AT_LEAST, -0.005),
        (BoundedMean([0.0, 0.5, 0.1] * 30, 0.0, 1.0), Sense.AT_MOST, 0.22),
        (BoundedMean([1.0, 0.5, 0.9] * 30, 0.0, 1.0), Sense.AT_LEAST, 0.78),
        (OrderStatistic([0.1] * 200 + [0.9], 0.99), Sense.AT_MOST, 0.5),
        (OrderStatistic([0.9] * 200 + [0.1], 0.01), Sense.AT_LEAST, 0.5),
    ],
)
def test_more_items_of_every_statistic(statistic: Statistic, sense: Sense, limit: float) -> None:
    found = more_items(statistic, Criterion(Claim("c"), sense, limit), 0.05)
    assert found is not None and not found.hopeless
    assert found.low is not None and found.about is not None
    assert statistic.n < found.low <= found.about <= (found.high or 10**6)


def test_a_side_and_its_mirror_image_need_the_same_items() -> None:
    at_most = more_items(Proportion(8, 500), Criterion(Claim("c"), Sense.AT_MOST, 0.02), 0.05)
    at_least = more_items(Proportion(492, 500), Criterion(Claim("c"), Sense.AT_LEAST, 0.98), 0.05)
    assert at_most == at_least


def test_no_item_helps_beyond_the_limit_or_where_items_are_counted() -> None:
    rule = Criterion(Claim("c"), Sense.AT_MOST, 0.01)
    found = more_items(PairedDifference(20, 5, 1000), rule, 0.05)
    assert found is not None and found.hopeless and found.about is None
    assert more_items(Exact(0.5, 1000), rule, 0.05) is None


def test_cost_counts_what_is_stored_and_run() -> None:
    roles = (Role.REFERENCE, Role.CANDIDATE)
    seconds = {Role.REFERENCE: 0.002, Role.CANDIDATE: 0.001}
    sizes = {"outputs": (10,), "shape": (3, 32, 32), "chunk": 4096, "batch": 256, "lanes": 2}
    found = cost([Load(10_000), Load(10_000, draws=3)], roles, seconds, **sizes)
    assert found.passes == {Role.REFERENCE: 40_000, Role.CANDIDATE: 40_000}
    assert found.disk == 2 * 40_000 * (10 * 4 + 44)
    assert found.seconds == pytest.approx(60.0)
    assert found.memory == (2 * (4 + 2 * 3) + 1) * 256 * 3072 * 4 + 3 * 30_000 * 84 * 2
    assert cost([Load(10_000)], roles, {Role.REFERENCE: 0.002}, **sizes).seconds is None
    with pytest.raises(ValueError, match="seconds"):
        cost([], roles, {Role.REFERENCE: float("nan")}, **sizes)
    with pytest.raises(ValueError, match="no cost"):
        cost([Load(5, draws=0)], roles, seconds, **sizes)


def test_no_more_noise_is_counted_than_is_kept() -> None:
    assert FAMILY == randomness._ROOM
    sizes = {"outputs": (10,), "chunk": 4096, "batch": 256, "shape": (3, 224, 224), "lanes": 1}
    once, often = (cost([Load(1, draws)], (Role.REFERENCE,), {}, **sizes).memory for draws in (1, 2))
    assert once == (4 + 1) * 256 * 3 * 224 * 224 * 4 + 2 * FAMILY + 3 * 84 * 2
    assert often - once == 3 * 84 * 2


def test_the_table_tells_side_unit_and_what_counts() -> None:
    own = metric("share", Kind.PROPORTION)
    shares = {"share": own, "agreement": replace(METRICS["agreement"], unit=Unit.PERCENT)}
    shares["distance"] = replace(METRICS["distance"], unit=Unit.DISTANCE)
    rules = [
        criterion("share", 0.01),
        criterion("share", 0.025, required=False),
        replace(criterion("share", 0.02), waived=True),
        replace(criterion("agreement", 0.01), standing=True),
        criterion("distance", 1.0),
    ]
    found = Rehearsal(500, (), Cost({}, 0, 0, None), forecast(rules, shares, 500, 0.05))
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in found.lines()]
    head, *rows = lines[lines.index("") + 1 :]
    assert head.split()[-1] == "counts"
    told = [(" ".join(row.split()).partition(" yes ")[0], row[head.index("counts") :]) for row in rows]
    assert told == [
        ("share ≤ 1 point", "required"), ("share ≤ 2.5 points", "advisory"), ("share ≤ 2 points", "waived"),
        ("agreement ≥ 1 %", "every policy"), ("distance ≤ 1", "required"),
    ]  # fmt: skip


def test_planning_loads_no_runtime() -> None:
    code = "import sys, audit.planning; print(sorted({'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
