"""The benchmark of error rates: its shortcuts against judging everything, the other methods against libraries."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from audit import api
from audit.findings import OrderStatistic, PairedDifference, Proportion
from audit.types import Verdict
from benchmarks import error_rates
from benchmarks.error_rates import ALPHA, Pool
from checks.accuracy import CANDIDATE, DROP, REFERENCE
from checks.functional import AGREEMENT, EXCESS, SOFTMAX_L2, SOFTMAX_L2_Q99
from tests.world import Scores, World

ITEMS = 1000


@pytest.fixture
def pool() -> Pool:
    """A made-up pool: the candidate breaks 6 % and mends 2 % of the items."""
    rng = np.random.default_rng(1)
    cell = np.repeat(["both", "harm", "gain", "none"], [820, 60, 20, 100])
    agree = (cell == "both") | ((cell == "none") & (np.arange(ITEMS) % 2 == 0))
    distances = rng.beta(1, 8, ITEMS)
    quantile = OrderStatistic(tuple(distances.tolist()), 0.99).estimate
    right, still = np.isin(cell, ["both", "harm"]), np.isin(cell, ["both", "gain"])
    flags = {
        "right": right, "still": still, "agree": agree, "beyond": distances > quantile, "harm": cell == "harm",
        "gain": cell == "gain", "odd harm": ~agree & right, "odd gain": agree & ~right,
    }  # fmt: skip
    truths = {
        REFERENCE.name: 0.88, CANDIDATE.name: 0.84, DROP.name: 0.04, AGREEMENT.name: agree.mean(),
        EXCESS.name: (flags["odd harm"].sum() - flags["odd gain"].sum()) / ITEMS, SOFTMAX_L2.name: distances.mean(),
        SOFTMAX_L2_Q99.name: quantile,
    }  # fmt: skip
    return Pool("made-up.onnx", "0" * 64, flags, distances, truths)


@pytest.mark.parametrize("limit", [-0.2, 0.0, 0.2])
def test_few_tables_judged_are_all_tables_judged(pool: Pool, limit: float) -> None:
    rng = np.random.default_rng(0)
    b, c = rng.multinomial(30, [0.15, 0.15, 0.7], 100)[:, :2].T
    shifted = replace(pool, truths={**pool.truths, DROP.name: limit}).criterion(DROP)
    every = [error_rates.judge(shifted, PairedDifference(int(i), int(j), 30)) for i, j in zip(b, c, strict=True)]
    assert set(every) > {0}
    np.testing.assert_array_equal(error_rates.paired(shifted, b, c, 30), every)


def test_equal_counts_have_equal_verdicts(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice(pool.distances, (200, 400))
    criterion = pool.criterion(SOFTMAX_L2_Q99)
    beyond = (values > criterion.limit).sum(axis=1)

    def statistic(i: int) -> OrderStatistic:
        return OrderStatistic(tuple(values[i]), error_rates.Q)

    every = [error_rates.judge(criterion, statistic(i)) for i in range(200)]
    assert set(every) == {-1, 0, 1}
    np.testing.assert_array_equal(error_rates.judged(criterion, beyond, statistic), every)


def test_an_agreement_below_its_limit_fails(pool: Pool) -> None:
    k = np.array([600, 870, 1000, 600])
    found = error_rates.judged(pool.criterion(AGREEMENT), k, lambda i: Proportion(int(k[i]), 1000))
    assert found.tolist() == [1, 0, -1, 1]


def test_an_interval_around_the_limit_proves_nothing() -> None:
    lower, upper = [0.1, 0.2, 0.3, 0.31], [0.3, 0.4, 0.5, 0.51]
    assert error_rates.against(np.array([lower, upper]), 0.3).tolist() == [-1, 0, 0, 1]


@pytest.mark.parametrize(("b", "c"), [(0, 0), (9, 2), (2, 9), (15, 5), (14, 6)])
def test_mcnemar_is_that_of_statsmodels(b: int, c: int) -> None:
    significant = mcnemar([[50, b], [c, 50]], exact=True).pvalue <= ALPHA
    wrong = 1 if significant and b > c else -1
    assert error_rates.mcnemar(np.array([b]), np.array([c])).tolist() == [wrong]


@pytest.mark.parametrize(("k1", "k2"), [(80, 75), (100, 97), (10, 30), (50, 50)])
def test_newcombe_is_that_of_statsmodels(k1: int, k2: int) -> None:
    expected = confint_proportions_2indep(k1, 100, k2, 100, method="newcomb", compare="diff", alpha=2 * ALPHA)
    found = error_rates.newcombe(np.array([k1]), np.array([k2]), 100)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-9)


def test_bounds_of_a_mean_are_those_of_scipy(pool: Pool) -> None:
    rng = np.random.default_rng(0)
    values = rng.choice(pool.distances, (3, 300))
    level = 1 - 2 * ALPHA
    for row, t, percentile in zip(
        values, error_rates.t_interval(values).T, error_rates.mean_bootstrap(values, rng).T, strict=True
    ):
        np.testing.assert_allclose(t, stats.ttest_1samp(row, 0.0).confidence_interval(level), rtol=1e-9)
        expected = stats.bootstrap((row,), np.mean, confidence_level=level, method="percentile", rng=rng)
        np.testing.assert_allclose(percentile, expected.confidence_interval, atol=0.1 * stats.sem(row))


def test_bounds_of_a_drop_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    expected = stats.bootstrap(
        (np.repeat([1.0, -1.0, 0.0], [40, 20, 940]),), np.mean, confidence_level=1 - 2 * ALPHA, method="percentile",
        rng=rng,
    )  # fmt: skip
    found = error_rates.drop_bootstrap(np.array([40, 1000]), np.array([20, 0]), 1000, rng)
    np.testing.assert_allclose(found[:, 0], expected.confidence_interval, atol=0.0015)
    np.testing.assert_array_equal(found[:, 1], [1.0, 1.0])


def test_the_product_keeps_alpha_and_a_bare_comparison_does_not(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_rates, "RESAMPLES", 100)
    rates = list(error_rates.measure(pool, 200, 400, seed=0))
    marked = {(rate.row.method, rate.side) for rate in rates if rate.beyond}
    assert not any(rate.beyond for rate in rates if rate.row.ours)
    assert {("point estimate", Verdict.PASS), ("point estimate", Verdict.FAIL), ("McNemar", Verdict.FAIL)} <= marked
    assert any(rate.wrong for rate in rates if rate.row.ours)
    page = error_rates.page([pool], rates, seed=0)
    assert "Of 10 rates of ours 0 are marked" in page
    assert "`accuracy.drop`: 4 points" in page


def test_a_wrong_limit_is_noticed(pool: Pool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lax = replace(pool, truths={**pool.truths, DROP.name: 0.08})
    written = tmp_path / "page.md"
    monkeypatch.setattr(error_rates, "RESAMPLES", 100)
    for known, ending in ((pool, 0), (lax, 1)):
        monkeypatch.setattr(error_rates, "read", lambda folder, known=known: known)
        monkeypatch.setattr(sys, "argv", ["", "folder", "--audits", "200", "--items", "150", "--write", str(written)])
        assert error_rates.main() == ending
    assert written.read_text(encoding="utf-8").count("exact unconditional test | **") == 2


def test_a_pool_is_what_an_audit_stored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    reference = rng.integers(0, 256, (300, 4))
    reference[np.arange(300), labels] += 120
    candidate = np.clip(reference + rng.integers(-60, 60, (300, 4)), 0, 255)
    world = World(tmp_path / "w", Scores(labels, np.clip(reference, 0, 255), candidate))
    outcome = api.run(world.audit, out=world.out, pdf=False)
    found = error_rates.read(outcome.folder)
    stored = {part.claim: part.estimate for part in outcome.evidence.body.findings}
    for metric in (DROP, EXCESS, AGREEMENT, SOFTMAX_L2):
        assert metric.unit.scale * found.truths[metric.name] == pytest.approx(stored[metric.name])
    assert found.flags["agree"].mean() == found.truths[AGREEMENT.name]
    assert found.distances.mean() == pytest.approx(found.truths[SOFTMAX_L2.name])
    assert found.flags["beyond"].sum() == 3


def test_a_pool_with_ties_at_its_quantile_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = api.run(world.audit, out=world.out, pdf=False)
    monkeypatch.setattr(sys, "argv", ["", str(outcome.folder)])
    assert error_rates.main() == 2
    assert "99 % quantile" in capsys.readouterr().err
