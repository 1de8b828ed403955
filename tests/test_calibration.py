"""Confidence that can be trusted no longer, and what becomes of rejecting doubtful answers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import Body, DecisionRecord, FindingRecord
from audit.findings import Missing
from audit.types import DataRole, Role, TaskKind
from checks import calibration_errors
from checks.calibration import FARTHEST, Calibration
from tests.world import CLASSES, CRITERION, Items, Scores, World, network, weights

BRIER, LOG_LOSS = "calibration.brier_increase", "calibration.log_loss_increase"
LET_THROUGH = "calibration.accepted_errors_increase@coverage=90,threshold={}"
REJECTED = "calibration.rejection_increase@coverage=90"
CONFIDENT = "calibration.confident_errors_increase@confidence=90"
STRENGTH = 2.5
SURE = float(np.exp(STRENGTH) / (np.exp(STRENGTH) + CLASSES - 1))
"""How sure a network of that strength is of every item: 0.8025."""


def examined(world: World, policy: str = "", *, checks: str = '"calibration"', calibration: object = None) -> Body:
    """The audit with this check, and with calibration items where there are any."""
    text = world.policy.read_text().replace('"integrity"]', f'"integrity", {checks}]')
    rules, at, criteria = text.partition("\n[[criterion]]")
    head, _, more = policy.partition("\n[[criterion]]")
    world.policy.write_text(rules + head + at + criteria + ("\n[[criterion]]" + more) * bool(more))
    if isinstance(calibration, Items | Scores):
        calibration.save(world.folder / "calibration.npz")
        world.audit.write_text(world.audit.read_text() + '\n[data.calibration]\npath = "calibration.npz"\n')
    return audit.run(world.audit, pdf=False).evidence.body


def found(body: Body, claim: str) -> FindingRecord:
    return next(finding for finding in body.findings if finding.claim == claim)


def claims(body: Body) -> list[str]:
    return [finding.claim for finding in body.findings if finding.claim.startswith("calibration.")]


def estimate(body: Body, claim: str) -> float:
    value = found(body, f"calibration.{claim}").estimate
    assert value is not None, found(body, f"calibration.{claim}").detail
    return value


def decided(body: Body, claim: str) -> DecisionRecord:
    return next(decision for decision in body.decisions if decision.claim == claim)


def limit(claim: str, at_most: float = 5.0, unit: str = "points") -> str:
    return CRITERION.format(claim=claim, limit=at_most, unit=unit)


def softened(folder: Path, *, candidate: float = STRENGTH, errors: int = 80) -> World:
    """A reference that is sure of each item by 0.8025, and right on four in five of 400."""
    world = World(folder, Items(errors=errors))
    network(world.reference, weights(STRENGTH))
    network(world.candidate, weights(candidate))
    return world


def test_a_candidate_that_is_too_sure_fails_and_loses_no_accuracy(tmp_path: Path) -> None:
    world = softened(tmp_path / "w", candidate=10 * STRENGTH)
    body = examined(world, limit(BRIER, 0.0, "distance") + limit(LOG_LOSS, 0.0, "distance") + limit(CONFIDENT))
    assert found(body, "accuracy.drop").statistic == {"kind": "paired-difference", "b": 0, "c": 0, "n": 400}
    assert [decided(body, claim).verdict for claim in (BRIER, LOG_LOSS, CONFIDENT)] == ["FAIL"] * 3
    assert found(body, CONFIDENT).statistic == {"kind": "paired-difference", "b": 80, "c": 0, "n": 400}
    assert estimate(body, "confidence_when_wrong_increase") == pytest.approx(100 * (1 - SURE))
    assert estimate(body, "ece_increase@bins=width") == pytest.approx(20 - 100 * (SURE - 0.8), abs=1e-6)
    assert estimate(body, "ece_increase@bins=width") <= estimate(body, "ece_increase_bound")


def test_figures_of_a_network_of_one_confidence(tmp_path: Path) -> None:
    """All items lie in one bin and are equal: every figure can be told by hand."""
    body = examined(softened(tmp_path / "w"))
    other = (1 - SURE) / 3
    right, wrong = (1 - SURE) ** 2 + 3 * other**2, SURE**2 + (1 - other) ** 2 + 2 * other**2
    of_reference = {
        "brier": (0.8 * right + 0.2 * wrong) / 2,
        "log_loss": -0.8 * np.log(SURE) - 0.2 * np.log(other),
        "reliability": (SURE - 0.8) ** 2,
        "resolution": 0.0,
        "confidence_when_wrong": 100 * SURE,
        "aurc": 20.0,
        "bin_share@bin=13": 100.0,
        "bin_confidence@bin=13": 100 * SURE,
        "bin_accuracy@bin=13": 80.0,
        "bin_share@bin=12": 0.0,
        "ece@bins=width": 100 * (SURE - 0.8),
        "ece@bins=mass": 100 * (SURE - 0.8),
        **{f"risk@coverage={coverage}": 20.0 for coverage in range(5, 101, 5)},
    }
    for name, value in of_reference.items():
        claim = f"{name}{',' if '@' in name else '@'}role=reference"
        assert estimate(body, claim) == pytest.approx(value, abs=1e-5), name
    assert found(body, "calibration.bin_accuracy@bin=12,role=reference").missing == "empty-bin"


def test_scores_are_those_of_scikit_learn(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    labels, (reference, candidate) = rng.integers(0, 5, 300), rng.integers(0, 256, (2, 300, 5))
    body = examined(World(tmp_path / "w", Scores(labels, reference, candidate)))
    for role, scores in (("reference", reference), ("candidate", candidate)):
        logits = 10 * scores / 255
        told = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        brier = metrics.brier_score_loss(labels, told, labels=range(5), scale_by_half=True)
        cut = np.maximum(told[np.arange(300), labels], 1e-4)
        assert estimate(body, f"brier@role={role}") == pytest.approx(brier, abs=1e-5)
        assert estimate(body, f"log_loss@role={role}") == pytest.approx(-np.log(cut).mean(), abs=1e-5)
        assert metrics.log_loss(labels, told, labels=range(5)) >= estimate(body, f"log_loss@role={role}")


def test_no_loss_is_larger_than_the_largest(tmp_path: Path) -> None:
    body = examined(softened(tmp_path / "w", candidate=1000.0))
    losses = {role: estimate(body, f"log_loss@role={role}") for role in ("reference", "candidate")}
    assert losses["candidate"] == pytest.approx(0.2 * FARTHEST)
    assert estimate(body, "log_loss_increase") == pytest.approx(losses["candidate"] - losses["reference"])


def levels(of_reference: Mapping[int, int], of_candidate: Mapping[int, int], right: int) -> Scores:
    """Items whose answers are as sure as these scores, by number of items; the first so many are right."""
    columns = [[score for score, n in each.items() for _ in range(n)] for each in (of_reference, of_candidate)]
    n = len(columns[0])
    labels = np.arange(n) % CLASSES
    named = np.where(np.arange(n) < right, labels, (labels + 1) % CLASSES)
    both = np.zeros((2, n, CLASSES), np.int64)
    both[:, np.arange(n), named] = columns
    return Scores(labels, both[0], both[1])


TESTED = levels({200: 360, 100: 40}, {200: 340, 100: 20, 250: 30, 160: 10}, right=360)
"""The reference doubts its 40 errors; the candidate doubts 20 right answers, is sure of 30 errors and nearly of 10."""
CALIBRATED = levels({240: 20, 180: 160, 90: 20}, {240: 20, 150: 160, 90: 20}, right=180)
"""Nine in ten calibration items are accepted from a score of 180 of the reference on, or 150 of the candidate."""


def test_a_copy_is_no_worse_by_exactly_nothing(tmp_path: Path) -> None:
    mixed = {250: 100, 200: 200, 150: 60, 100: 40}
    world = World(tmp_path / "w", levels(mixed, mixed, right=360))
    rises = [LET_THROUGH.format("own"), LET_THROUGH.format("reference"), REJECTED, CONFIDENT]
    limits = [limit(BRIER, 0.1, "distance"), limit(LOG_LOSS, 0.5, "distance"), *map(limit, rises)]
    body = examined(world, "".join(limits), calibration=CALIBRATED)
    assert [decided(body, claim).verdict for claim in (BRIER, LOG_LOSS, *rises)] == ["PASS"] * 6
    told = {claim.removeprefix("calibration."): found(body, claim).estimate for claim in claims(body)}
    assert (told.pop("ece_increase_bound") or 0.0) >= 0
    assert [value for claim, value in told.items() if "_increase" in claim and "temperature=own" not in claim] == [
        0
    ] * 12


def test_errors_behind_a_threshold_are_those_that_were_planted(tmp_path: Path) -> None:
    world = World(tmp_path / "w", TESTED)
    passing = limit(REJECTED) + limit(LET_THROUGH.format("own"), 20.0)
    body = examined(world, limit(LET_THROUGH.format("reference"), 2.0) + passing, calibration=CALIBRATED)
    for threshold, harm in (("own", 40), ("reference", 30)):
        statistic = found(body, LET_THROUGH.format(threshold)).statistic
        assert statistic == {"kind": "paired-difference", "b": harm, "c": 0, "n": 400}
    assert found(body, REJECTED).statistic == {"kind": "paired-difference", "b": 20, "c": 30, "n": 400}
    assert decided(body, LET_THROUGH.format("reference")).verdict == "FAIL"
    assert [decided(body, each).verdict for each in (REJECTED, LET_THROUGH.format("own"))] == ["PASS"] * 2


def test_thresholds_of_their_own_are_of_calibration_items(tmp_path: Path) -> None:
    """Behind a threshold of 220 the candidate accepts 30 test items, all of them wrong: next to none."""
    own = replace(CALIBRATED, candidate=np.where(CALIBRATED.candidate == 150, 220, CALIBRATED.candidate))
    body = examined(World(tmp_path / "w", TESTED), limit(LET_THROUGH.format("own"), 20.0), calibration=own)
    assert found(body, LET_THROUGH.format("own")).statistic == {"kind": "paired-difference", "b": 30, "c": 0, "n": 400}
    part = decided(body, LET_THROUGH.format("own"))
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "candidate-floor")
    assert "share of test items accepted" in part.detail


def test_who_rejects_everything_proves_nothing(tmp_path: Path) -> None:
    """Calibration items of which both are surer than of any test item: no error is let through, and nothing else."""
    world = World(tmp_path / "w", levels({200: 360, 100: 40}, {200: 360, 100: 40}, right=360))
    sure = levels({220: 180, 90: 20}, {220: 180, 90: 20}, right=180)
    rises = [LET_THROUGH.format("own"), LET_THROUGH.format("reference"), REJECTED]
    body = examined(world, "".join(map(limit, rises)), calibration=sure)
    assert [found(body, each).estimate for each in rises] == [0, 0, 0]
    assert [decided(body, each).reason for each in rises] == ["reference-floor"] * 3


@pytest.mark.parametrize(("n", "coverage", "missing"), [(99, 90, True), (100, 90, False), (120, 96, True)])
def test_a_few_calibration_items_set_no_threshold(tmp_path: Path, n: int, coverage: int, missing: bool) -> None:
    settings = f"\n[settings.calibration]\ncoverage = [{coverage / 100}]\n"
    body = examined(softened(tmp_path / "w"), settings, calibration=Items(n=n, seed=9))
    claim = f"calibration.rejection_increase@coverage={coverage}"
    assert found(body, claim).missing == ("too-few-items" if missing else None)


def test_without_calibration_items_nothing_is_promised_of_a_threshold(tmp_path: Path) -> None:
    plain = claims(examined(softened(tmp_path / "a")))
    set_ = claims(examined(softened(tmp_path / "b"), calibration=Items(n=200, seed=9)))
    assert {claim for claim in set(set_) - set(plain) if "temperature" not in claim} == {
        LET_THROUGH.format("own"), LET_THROUGH.format("reference"), REJECTED,
    }  # fmt: skip


NOISE = "\n[settings.noise]\nuniform = [2]\ngaussian = []\ndraws = 2\n"


def test_under_a_condition_proper_scores_are_compared_and_nothing_else(tmp_path: Path) -> None:
    scope = "@level=2/255,noise=uniform"
    world = softened(tmp_path / "w")
    network(world.candidate, weights(STRENGTH, second=2000.0))  # the second row is black, but for noise
    body = examined(world, NOISE + limit(BRIER + scope, 0.1, "distance"), checks='"noise", "calibration"')
    assert {claim for claim in claims(body) if "noise" in claim} == {BRIER + scope, LOG_LOSS + scope}
    told = found(body, BRIER + scope)
    assert (told.n, told.statistic["kind"]) == (400, "bounded-mean")
    assert estimate(body, "brier_increase") == pytest.approx(0, abs=1e-9)
    assert decided(body, BRIER + scope).verdict == "FAIL"


def test_a_broken_reference_is_no_measure_of_confidence(tmp_path: Path) -> None:
    world = softened(tmp_path / "w", errors=392)
    scope = "@level=2/255,noise=uniform"
    limits = "".join(limit(each, 0.9, "distance") for each in (BRIER, BRIER + scope, LOG_LOSS)) + limit(CONFIDENT)
    body = examined(world, NOISE + limits, checks='"noise", "calibration"')
    assert {decided(body, each).reason for each in (BRIER, BRIER + scope, LOG_LOSS, CONFIDENT)} == {"reference-floor"}


def test_it_costs_no_pass_that_others_have_not_paid(tmp_path: Path) -> None:
    passes = []
    for folder, checks in (("a", '"noise", "ood"'), ("b", '"noise", "ood", "calibration"')):
        world = softened(tmp_path / folder)
        np.savez(world.folder / "foreign.npz", x=np.load(Items(n=9, seed=5).save(tmp_path / "foreign.npz"))["x"])
        world.audit.write_text(world.audit.read_text() + '\n[data.out_of_distribution]\npath = "foreign.npz"\n')
        examined(world, NOISE, checks=checks, calibration=Items(n=200, seed=9))
        again = audit.run(world.audit, out=world.folder / "again", pdf=False).evidence
        passes.append(again.run.passes)
    assert passes[0] == passes[1] == {"reference": 400 * 3 + 209, "candidate": 400 * 3 + 209}


def test_who_makes_no_error_has_no_confidence_in_one(tmp_path: Path) -> None:
    body = examined(World(tmp_path / "w", Items(errors=0, harm=4)))
    missing = [found(body, f"calibration.{name}").missing for name in (
        "confidence_when_wrong@role=reference", "confidence_when_wrong_increase",
    )]  # fmt: skip
    assert missing == ["no-errors"] * 2
    assert found(body, "calibration.confidence_when_wrong@role=candidate").n == 4


def test_outputs_that_are_no_numbers_have_no_figure(tmp_path: Path) -> None:
    world = softened(tmp_path / "w", candidate=float("nan"))
    body = examined(world, limit(BRIER, 0.9, "distance"))
    assert {found(body, claim).missing for claim in claims(body)} == {"non-finite"}
    assert body.verdict.overall != "PASS"


def test_a_few_items_have_no_asymptotic_bound(tmp_path: Path) -> None:
    body = examined(World(tmp_path / "w", Items(n=199)))
    assert found(body, "calibration.ece_increase_bound").missing == "too-few-items"
    assert found(body, "calibration.ece_increase@bins=width").missing is None


def test_classes_need_all_probabilities(tmp_path: Path) -> None:
    absent = Missing("not-kept", "of this probe nothing is kept but how the models compare")
    labels: NDArray[np.int32] = np.zeros(3, np.int32)
    assert calibration_errors.by_class(absent, labels, Role.CANDIDATE).statistic is absent
    assert estimate(examined(softened(tmp_path / "w")), "classwise_ece@role=candidate") >= 0


def test_no_estimate_and_no_bound_is_called_exact(tmp_path: Path) -> None:
    body = examined(World(tmp_path / "w", Items()))
    for claim in ("ece_increase_bound", "classwise_ece@role=candidate", "ece@bins=mass,role=candidate"):
        method = found(body, f"calibration.{claim}").method
        assert "exact" not in method and "counted" not in method
    assert method.endswith("no statement beyond them unless its definition makes one")


@pytest.mark.parametrize(("metric", "said"), [("ece_increase_bound", True), ("ece_increase@bins=width", False)])
def test_page_1_says_that_a_required_bound_is_asymptotic(tmp_path: Path, metric: str, said: bool) -> None:
    world = World(tmp_path / "w", Items())
    examined(world, limit(f"calibration.{metric}", 90.0))
    sentence = "1 required criterion rests on an asymptotic method, for which it holds approximately only."
    assert (sentence in (world.out / "certificate.html").read_text()) is said


@pytest.mark.parametrize("task", [TaskKind.REGRESSION, TaskKind.SEGMENTATION, TaskKind.CONTROL])
def test_other_tasks_are_asked_nothing(task: TaskKind) -> None:
    asked = Calibration().ask(Context(("a", "b"), data=(DataRole.TEST, DataRole.CALIBRATION), task=task))
    assert (asked.probes, asked.claims) == ((), ())


@pytest.mark.parametrize(
    "line",
    ["confident = [0.9, 0.9]", "confident = [1.5]", "coverage = [0.4]", "coverage = [1]", "coverage = [0.9, 0.9]"],
)
def test_shares_that_are_none_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(AuditError):
        examined(softened(tmp_path / "w"), f"\n[settings.calibration]\n{line}\n")


def test_a_share_is_what_it_is_called() -> None:
    with pytest.raises(ValueError, match="must differ, and have six digits"):
        Calibration(confident=(0.90000001,))
    named = Calibration(confident=(0.07, 0.29, 0.995, 0.999)).ask(Context(("a", "b"))).claims
    names = [dict(claim.scope)["confidence"] for claim in named if claim.metric.startswith("calibration.confident")]
    assert names == ["7", "29", "99.5", "99.9"]
