"""Telling foreign inputs by their scores, and the monitor that was set up for the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import audit
from audit.errors import AuditError
from audit.evidence import Body, DecisionRecord, FindingRecord
from checks import detection
from tests.world import CRITERION, SIDE, Items, World, network, weights

MISSES, ALARMS = "ood.miss_increase@score={},set=out-of-distribution", "ood.false_alarm_increase@score={}"


def foreign(n: int, strength: int, second: int = 0) -> NDArray[np.uint8]:
    """Items whose first class is shown this strongly, in the first row and in the second."""
    x = np.random.default_rng(5).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    x[:, :2] = 0
    x[:, 0, 0, 0], x[:, 1, 0, 0] = strength, second
    return x


def monitored(world: World, x: NDArray[np.uint8], policy: str = "", calibration: Items | None = None) -> Body:
    """The audit with these foreign items, and 200 calibration items that look like the test items."""
    np.savez(world.folder / "foreign.npz", x=x)
    (calibration or Items(n=200, seed=9)).save(world.folder / "calibration.npz")
    world.policy.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "ood"]') + policy)
    world.audit.write_text(
        world.audit.read_text() + '\n[data.out_of_distribution]\npath = "foreign.npz"\n'
        '\n[data.calibration]\npath = "calibration.npz"\n'
    )
    return audit.run(world.audit, pdf=False).evidence.body


def found(body: Body, claim: str) -> FindingRecord:
    return next(finding for finding in body.findings if finding.claim == claim)


def decided(body: Body, claim: str) -> DecisionRecord:
    return next(decision for decision in body.decisions if decision.claim == claim)


def limit(claim: str, at_most: float = 5.0) -> str:
    return CRITERION.format(claim=claim, limit=at_most, unit="points")


def test_a_candidate_that_is_sure_of_foreign_items_fails(world: World) -> None:
    """Foreign items show no class to the reference, and one to the candidate, which reads the second row."""
    body = monitored(world, foreign(300, 10, 255), limit(MISSES.format("max_softmax")))
    assert found(body, "ood.misses@role=reference,score=max_softmax,set=out-of-distribution").estimate == 0
    assert found(body, MISSES.format("max_softmax")).statistic == {
        "kind": "paired-difference", "b": 300, "c": 0, "n": 300,
    }  # fmt: skip
    assert decided(body, MISSES.format("max_softmax")).verdict == "FAIL"
    assert found(body, "ood.auroc@role=reference,score=energy,set=out-of-distribution").estimate == 100
    assert body.verdict.overall == "FAIL"


def test_a_candidate_like_its_reference_changes_no_monitor(world: World) -> None:
    world.candidate.write_bytes(world.reference.read_bytes())
    claims = [each.format(score) for score in ("max_softmax", "entropy") for each in (MISSES, ALARMS)]
    body = monitored(world, foreign(300, 10), "".join(map(limit, claims)))
    assert body.verdict.overall == "PASS"
    for finding in body.findings:
        if "_drop@" in finding.claim or "_rise@" in finding.claim or "_increase@" in finding.claim:
            assert finding.estimate == 0, finding.claim


def test_a_monitor_that_is_blind_on_the_reference_proves_nothing(world: World) -> None:
    """Foreign items that look like any other: the reference accepts them all, so no candidate can accept more."""
    world.candidate.write_bytes(world.reference.read_bytes())
    body = monitored(world, foreign(300, 255), limit(MISSES.format("max_softmax")))
    part = decided(body, MISSES.format("max_softmax"))
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "reference-floor")
    assert "share of foreign items found" in part.detail


def test_a_monitor_that_rejects_everything_proves_nothing(world: World) -> None:
    """Calibration items are shown stronger than test items, so that the threshold lies above all of those."""
    Items(n=200, seed=9).save(world.folder / "calibration.npz")
    stored = np.load(world.data)
    x = stored["x"].copy()
    x[:, 0] //= 8
    np.savez(world.data, **{**stored, "x": x})
    claims = ALARMS.format("max_softmax"), MISSES.format("max_softmax")
    body = monitored(world, foreign(300, 10), "".join(map(limit, claims)))
    assert found(body, "ood.false_alarms@role=reference,score=max_softmax").estimate == 100
    assert [decided(body, claim).reason for claim in claims] == ["reference-floor"] * 2


def test_an_unsure_candidate_raises_false_alarms(world: World) -> None:
    network(world.candidate, weights(2.0))
    body = monitored(world, foreign(300, 10), limit(ALARMS.format("max_softmax")))
    assert found(body, ALARMS.format("max_softmax")).estimate == pytest.approx(100, abs=3)
    assert decided(body, ALARMS.format("max_softmax")).verdict == "FAIL"


def test_probabilities_have_no_logits(world: World) -> None:
    network(world.reference, weights(), softmax=True)
    body = monitored(world, foreign(300, 10))
    assert found(body, MISSES.format("energy")).missing == "no-logits"
    assert found(body, MISSES.format("max_softmax")).missing is None


def test_a_few_calibration_items_set_no_threshold(world: World) -> None:
    body = monitored(world, foreign(300, 10), calibration=Items(n=99, seed=9))
    assert found(body, MISSES.format("entropy")).missing == "too-few-items"
    assert found(body, "ood.auroc_drop@score=entropy,set=out-of-distribution").missing is None


def test_calibration_items_may_not_be_test_items(world: World) -> None:
    with pytest.raises(AuditError, match="are items of the test set"):
        monitored(world, foreign(300, 10), calibration=Items(n=200))


def test_foreign_items_may_not_be_test_items(world: World) -> None:
    with pytest.raises(AuditError, match="are items of the test set"):
        monitored(world, np.load(world.data)["x"][:7])


def test_without_calibration_there_is_no_threshold(world: World) -> None:
    np.savez(world.folder / "foreign.npz", x=foreign(50, 10))
    world.policy.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "ood"]'))
    world.audit.write_text(world.audit.read_text() + '\n[data.out_of_distribution]\npath = "foreign.npz"\n')
    claims = [finding.claim for finding in audit.run(world.audit, pdf=False).evidence.body.findings]
    assert "ood.auroc_drop@score=energy,set=out-of-distribution" in claims
    assert not [claim for claim in claims if claim.startswith("ood.miss")]


_SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=12).map(np.array)


@given(_SCORES, _SCORES)
def test_auroc_is_the_share_of_pairs(own: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    pairs = np.sign(own[:, None] - other[None, :])
    assert detection.auroc(own, other) == pytest.approx(float(((pairs + 1) / 2).mean()))


@given(_SCORES, _SCORES)
def test_aupr_is_precision_summed_over_steps_of_recall(own: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    total, before = 0.0, 0.0
    for score in np.unique(np.concatenate([own, other])):
        hits, all_ = (other <= score).sum(), (other <= score).sum() + (own <= score).sum()
        total += (hits / len(other) - before) * hits / all_
        before = hits / len(other)
    assert detection.aupr(own, other) == pytest.approx(total)


@given(_SCORES, st.sampled_from([0.5, 0.9, 0.95]))
def test_a_threshold_accepts_its_share_and_no_higher_one_does(own: NDArray[np.float64], share: float) -> None:
    found = detection.threshold(own, share)
    assert (own >= found).mean() >= share - 1e-9
    higher = own[own > found]
    assert not len(higher) or (own >= higher.min()).mean() < share


@pytest.mark.parametrize(("own", "other"), [([], [1.0]), ([1.0], []), ([np.nan], [1.0]), ([1.0], [np.nan])])
@pytest.mark.parametrize("figure", [detection.auroc, detection.aupr, detection.fpr95])
def test_no_figure_without_numbers(figure: object, own: list[float], other: list[float]) -> None:
    assert callable(figure)
    with pytest.raises(ValueError, match="no figure"):
        figure(np.array(own), np.array(other))
