"""The noise check on networks that say beforehand what they will do."""

from pathlib import Path

import numpy as np
import pytest
import torch

import audit
from audit import plan
from audit.contracts import Batch, Context
from audit.errors import AuditError
from audit.evidence import Body, DecisionRecord, FindingRecord
from audit.ledger import Ledger
from audit.perturbing import BrokenProbeError, Scratch, Verified
from audit.randomness import PhiloxRng
from audit.types import Role
from checks.noise import NoiseSimilarity
from checks.perturbations.noise import NormalisedNoise, SaltAndPepper
from tests.world import CLASSES, INPUT, Items, Scores, World, network, weights

FRAGILE = weights(second=2000.0)
"""Right on clean items, whose second row is black; there any noise drowns the first row."""
LEVELS = """
[settings.noise]
uniform = {levels}
gaussian = [4]
draws = {draws}
"""
LIMIT = """
[[criterion]]
claim = "{claim}"
at_most = {limit}
unit = "{unit}"
{more}
"""


def noisy(world: World, *, levels: str = "[2, 8]", draws: int = 1, policy: str = "") -> Body:
    """The audit under noise."""
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "noise"]')
    rules, at, criteria = text.partition("\n[[criterion]]")
    world.policy.write_text(rules + LEVELS.format(levels=levels, draws=draws) + at + criteria + policy)
    return audit.run(world.audit, pdf=False).evidence.body


def limit(claim: str, at_most: float = 2.0, unit: str = "points", more: str = "") -> str:
    return LIMIT.format(claim=claim, limit=at_most, unit=unit, more=more)


def found(body: Body, claim: str) -> FindingRecord:
    return next(finding for finding in body.findings if finding.claim == claim)


def decided(body: Body, claim: str) -> DecisionRecord:
    return next(decision for decision in body.decisions if decision.claim == claim)


def _of_noise(strength: float) -> np.ndarray:
    """Weights that name the first class as soon as the last row of an item is not black."""
    w = np.zeros((*INPUT, CLASSES), np.float32)
    w[2, -1, :, 0] = strength
    return w.reshape(-1, CLASSES)


DROP = "accuracy.drop@level={},noise=uniform"


def test_what_keeps_its_accuracy_and_breaks_under_noise_fails(world: World) -> None:
    network(world.candidate, FRAGILE)
    body = noisy(world, policy=limit(DROP.format("8/255")))
    assert decided(body, "accuracy.drop").verdict == "PASS"
    assert decided(body, DROP.format("8/255")).verdict == "FAIL"
    drop = found(body, DROP.format("8/255")).estimate
    assert drop is not None and drop > 40  # of four classes the drowned candidate names the right one by chance
    assert body.verdict.overall == "FAIL"


def test_what_is_robust_passes_at_every_level(world: World) -> None:
    body = noisy(world, policy=limit("accuracy.drop@level=*,noise=*"))
    noise = [decision for decision in body.decisions if "noise=" in decision.claim]
    assert [decision.claim for decision in noise] == [
        "accuracy.drop@level=2/255,noise=uniform", "accuracy.drop@level=8/255,noise=uniform",
        "accuracy.drop@level=4/255,noise=gaussian",
    ]  # fmt: skip
    assert {decision.verdict for decision in noise} == {"PASS"}


def test_the_reference_against_itself_is_exactly_nothing(world: World) -> None:
    world.candidate.write_bytes(world.reference.read_bytes())
    body = noisy(world, draws=2)
    for finding in body.findings:
        if "noise=" in finding.claim and finding.claim.startswith(
            ("accuracy.drop", "functional.softmax", "functional.jensen")
        ):
            assert finding.estimate == 0, finding.claim
    assert found(body, "functional.agreement@level=8/255,noise=uniform").estimate == 100


def test_draws_are_no_further_items(world: World) -> None:
    network(world.candidate, FRAGILE)
    body = noisy(world, draws=5, policy=limit(DROP.format("8/255")))
    drop = found(body, DROP.format("8/255"))
    assert (drop.n, drop.statistic["kind"]) == (400, "bounded-mean")
    assert "betting" in drop.method
    assert decided(body, DROP.format("8/255")).verdict == "FAIL"


def outputs(world: World, probe: str) -> np.ndarray:
    """What the candidate left under a probe."""
    fixed = plan.load(world.out)
    record = next(record for record in fixed.plan.probes if record.name == probe)
    columns = Ledger(world.out / "ledger").gather(fixed.keys(Role.CANDIDATE, record))
    return columns["output"][columns["draw"] == 0]


def test_more_draws_keep_the_numbers_of_the_earlier_ones(world: World) -> None:
    noisy(world)
    again = World(world.folder / "again")
    noisy(again, draws=3)
    assert np.array_equal(*(outputs(each, "uniform noise 8/255") for each in (world, again)))
    assert not np.array_equal(outputs(world, "uniform noise 8/255"), outputs(world, "clean"))


def test_the_order_and_the_choice_of_items_change_no_bit_of_the_noise(world: World) -> None:
    noisy(world)
    part = World(world.folder / "part")
    x, y = part.items.arrays()
    rows = np.random.default_rng(1).permutation(len(y))[:300]
    np.savez(part.data, x=x[rows], y=y[rows])
    noisy(part)
    assert np.array_equal(outputs(part, "uniform noise 8/255"), outputs(world, "uniform noise 8/255")[rows])


def test_a_reference_that_only_guesses_excuses_no_candidate(tmp_path: Path) -> None:
    """Nine in ten items are of one class, and under noise the reference names it always: far above half."""
    n = 1000
    labels = np.where(np.arange(n) < 900, 0, np.arange(n) % CLASSES)
    scores = np.zeros((n, CLASSES), np.int64)
    scores[np.arange(n), labels] = 200
    world = World(tmp_path / "w", Scores(labels, scores, scores))
    x, y = world.items.arrays()
    x[:, -1, :, 2] = 0
    np.savez(world.data, x=x, y=y)
    for path in (world.reference, world.candidate):
        network(path, weights() + _of_noise(2000.0))
    body = noisy(world, levels="[8]", policy=limit(DROP.format("8/255")))
    assert found(body, "reference.accuracy@level=8/255,noise=uniform").estimate == pytest.approx(92.5, abs=1)
    assert decided(body, DROP.format("8/255")).reason == "reference-floor"


def test_means_over_draws_stay_in_their_range(world: World) -> None:
    network(world.candidate, weights(-2000.0))  # always as far from the reference as can be
    body = noisy(world, draws=7, policy=limit("functional.softmax_l2@level=8/255,noise=uniform", 0.1, "distance"))
    assert decided(body, "functional.softmax_l2@level=8/255,noise=uniform").verdict == "FAIL"


def test_data_that_no_check_looks_at_are_named(world: World) -> None:
    Items(n=50, seed=5).save(world.folder / "night.npz")
    world.audit.write_text(world.audit.read_text() + '\n[data.shifted]\npath = "night.npz"\n')
    body = audit.run(world.audit, pdf=False).evidence.body
    assert "the shifted data: given, and looked at by no check" in body.not_covered


def test_near_ties_among_the_last_classes_count_too(tmp_path: Path) -> None:
    """The label is among the first five by its index alone: all but one output are equal."""
    n, classes = 400, 8
    labels = np.arange(n) % 4
    reference = np.zeros((n, classes), np.int64)
    reference[np.arange(n), labels] = 200
    candidate = np.zeros((n, classes), np.int64)
    candidate[:, 7] = 200
    world = World(tmp_path / "w", Scores(labels, reference, candidate))
    x, y = world.items.arrays()
    y[:4] = [4, 5, 6, 7]
    np.savez(world.data, x=x, y=y)
    text = world.policy.read_text().partition("[[criterion]]")[0]
    world.policy.write_text(text + limit("accuracy.topk_drop@k=5", 5.0))
    part = decided(audit.run(world.audit, pdf=False).evidence.body, "accuracy.topk_drop@k=5")
    assert part.p_pass_adverse is not None and part.verdict != "PASS"


def test_a_broken_reference_excuses_no_candidate(world: World) -> None:
    for path in (world.reference, world.candidate):
        network(path, FRAGILE)
    held = limit("accuracy.drop@level=*,noise=*", more="only_where_reference_holds = true")
    body = noisy(world, levels="[16]", policy=held)
    noise = [decision for decision in body.decisions if "noise=" in decision.claim]
    assert {(d.verdict, d.reason, d.applicable) for d in noise} == {("NOT EVALUATED", "reference-floor", True)}
    assert (body.verdict.overall, body.verdict.exit_code) == ("NOT EVALUATED", 4)


def test_a_level_where_the_reference_fails_itself_does_not_apply_if_another_remains(world: World) -> None:
    for path in (world.reference, world.candidate):
        network(path, weights(second=60.0))
    held = limit("accuracy.drop@level=*,noise=uniform", more="only_where_reference_holds = true")
    body = noisy(world, levels="[2, 255]", policy=held)
    weak, strong = (decided(body, DROP.format(level)) for level in ("2/255", "255/255"))
    assert (weak.verdict, weak.applicable) == ("PASS", True)
    assert (strong.reason, strong.applicable) == ("reference-floor", False)
    assert body.verdict.overall == "PASS"


def test_without_the_excuse_the_same_level_blocks(world: World) -> None:
    for path in (world.reference, world.candidate):
        network(path, weights(second=60.0))
    body = noisy(world, levels="[2, 255]", policy=limit("accuracy.drop@level=*,noise=uniform"))
    assert body.verdict.overall == "NOT EVALUATED"


@pytest.mark.parametrize(("candidate", "verdict"), [(weights(second=2.0), "PASS"), (FRAGILE, "FAIL")])
def test_closer_to_its_parent_than_a_separately_trained_network(
    world: World, candidate: np.ndarray, verdict: str
) -> None:
    network(world.candidate, candidate)
    network(world.folder / "baseline.onnx", weights(8.0, 200.0))
    world.audit.write_text(world.audit.read_text() + '\n[baseline]\nmodel = "baseline.onnx"\n')
    claim = "baseline.excess_distance@level=8/255,noise=uniform"
    body = noisy(world, policy=limit(claim, 0.0, "distance"))
    assert decided(body, claim).verdict == verdict
    assert {model.role for model in body.models} == {"reference", "candidate", "baseline"}
    assert found(body, "baseline.agreement").estimate is not None


def test_nothing_is_far_beside_a_yard_stick_that_does_not_work(world: World) -> None:
    network(world.candidate, FRAGILE)
    network(world.folder / "baseline.onnx", -weights(8.0, 200.0))
    world.audit.write_text(world.audit.read_text() + '\n[baseline]\nmodel = "baseline.onnx"\n')
    claim = "baseline.excess_distance@level=8/255,noise=uniform"
    body = noisy(world, policy=limit(claim, 0.0, "distance", "only_where_reference_holds = true"))
    part = decided(body, claim)
    assert (part.verdict, part.reason, part.applicable) == ("NOT EVALUATED", "baseline-floor", True)


def test_networks_that_noise_drives_to_one_class_are_not_called_alike(world: World) -> None:
    for path in (world.reference, world.candidate):
        network(path, weights() + _of_noise(2000.0))
    claim = "functional.agreement@level=16/255,noise=uniform"
    policy = limit(claim, 90.0, "%").replace("at_most", "at_least")
    body = noisy(world, levels="[16]", policy=policy)
    assert found(body, claim).estimate == 100
    assert decided(body, claim).reason == "reference-floor"


def test_a_baseline_claim_needs_a_baseline(world: World) -> None:
    with pytest.raises(AuditError, match="names no claim"):
        noisy(world, policy=limit("baseline.excess_distance@level=8/255,noise=uniform", 0.0, "distance"))


def test_near_ties_count_against_the_candidate(tmp_path: Path) -> None:
    """The candidate's second row repeats its first choice in another class, within the last bit."""
    n = 400
    labels = np.arange(n) % CLASSES
    scores = np.zeros((n, CLASSES), np.int64)
    scores[np.arange(n), labels] = 255
    tied = scores.copy()
    tied[:3, :] = 255
    world = World(tmp_path / "w", Scores(labels, scores, tied))
    body = audit.run(world.audit, pdf=False).evidence.body
    drop = decided(body, "accuracy.drop")
    assert drop.p_pass is not None and drop.p_pass_adverse is not None and drop.p_pass_adverse > drop.p_pass
    ties = found(body, "integrity.near_ties@role=candidate")
    assert ties.estimate == pytest.approx(100 * 3 / n)
    assert found(body, "integrity.near_ties@role=reference").estimate == 0


def test_a_pass_that_hangs_on_near_ties_is_conditional(tmp_path: Path) -> None:
    n, ties = 1000, 9
    labels = np.arange(n) * CLASSES // n
    scores = np.zeros((n, CLASSES), np.int64)
    scores[np.arange(n), labels] = 255
    tied = scores.copy()
    tied[:ties, 1] = 255  # equal: argmax names class 0, and another runtime could name class 1
    world = World(tmp_path / "w", Scores(labels, scores, tied), limit=1.0)
    body = audit.run(world.audit, pdf=False).evidence.body
    drop = decided(body, "accuracy.drop")
    assert (drop.estimate, drop.verdict, drop.reason) == (0, "CONDITIONAL PASS", "near-ties")
    assert (body.verdict.overall, body.verdict.exit_code) == ("CONDITIONAL PASS", 3)


def test_two_percent_against_none_is_no_small_drop(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=1000, errors=980, harm=20), limit=5.0)
    body = audit.run(world.audit, pdf=False).evidence.body
    assert decided(body, "accuracy.drop").reason == "reference-floor"
    assert body.verdict.accepted is False
    assert decided(body, "reference.accuracy").verdict == "FAIL"


def test_copies_of_a_test_set_are_no_evidence(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=100, errors=2))
    x, y = world.items.arrays()
    once = audit.run(world.audit, out=tmp_path / "once", pdf=False).evidence.body
    np.savez(world.data, x=np.tile(x, (10, 1, 1, 1)), y=np.tile(y, 10))
    body = audit.run(world.audit, out=tmp_path / "tenfold", pdf=False).evidence.body
    assert decided(body, "accuracy.drop").p_pass == decided(once, "accuracy.drop").p_pass
    assert decided(body, "accuracy.drop").n == 100
    assert decided(body, "integrity.duplicates").verdict == "FAIL"
    assert not body.verdict.accepted


PAPER = '\n[settings.noise]\npreset = "lost-in-pruning"\ndraws = 2\n'


def by_settings(world: World, settings: str, preprocessing: str = "") -> Body:
    """The audit with these settings of the check."""
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "noise"]')
    rules, at, criteria = text.partition("\n[[criterion]]")
    world.policy.write_text(rules + settings + at + criteria)
    world.audit.write_text(world.audit.read_text() + preprocessing)
    return audit.run(world.audit, pdf=False).evidence.body


def test_the_preset_is_the_protocol_of_the_paper(world: World) -> None:
    body = by_settings(world, PAPER, "\n[preprocessing]\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.25, 0.3]\n")
    levels = [finding.claim for finding in body.findings if finding.claim.startswith("functional.agreement@level=")]
    assert len(levels) == 14
    assert {f"functional.agreement@level={0.05 * step:g},noise=normalised" for step in range(1, 15)} == set(levels)
    assert {probe.draws for probe in body.plan.probes if "normalisation" in probe.name} == {2}
    assert [probe.draws for probe in body.plan.probes if probe.name == "clean"] == [1]  # level 0, once


def test_noise_after_normalisation_is_in_units_of_the_std_and_not_cut() -> None:
    """An item of black and white pixels leaves [0, 1] on both sides, by a spread that each channel has of its own."""
    probe = NormalisedNoise(0.5, (0.1, 0.2, 0.4))
    x = torch.cat([torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)])
    batch = Batch(np.arange(64, dtype=np.uint8).reshape(2, 32), x, None)
    made = Verified(probe, PhiloxRng.of({"family": dict(probe.stream())}), Scratch()).perturb(batch)
    moved = (made.x - x).abs().amax(dim=(0, 2, 3))
    assert moved.tolist() == pytest.approx([0.05, 0.1, 0.2], rel=0.01)
    assert made.x.min() == pytest.approx(-0.2, rel=0.01)
    assert made.x.max() == pytest.approx(1.2, rel=0.01)


def test_noise_after_normalisation_needs_a_unit(world: World) -> None:
    with pytest.raises(AuditError, match="std of 3 channels is not known"):
        by_settings(world, PAPER)


def test_the_unit_may_stand_in_the_policy(world: World) -> None:
    body = by_settings(world, PAPER.replace("draws = 2", "draws = 1\nnormalised = [0.1]\nstd = [0.25]"))
    assert found(body, "functional.agreement@level=0.1,noise=normalised").n == 400


def test_salt_and_pepper_strikes_its_share_of_the_pixels() -> None:
    probe = SaltAndPepper(0.1)
    x = torch.full((50, 3, 32, 32), 0.5)
    batch = Batch(np.random.default_rng(0).integers(0, 256, (50, 32), dtype=np.uint8), x, None)
    made = Verified(probe, PhiloxRng.of({"family": dict(probe.stream())}), Scratch()).perturb(batch).x
    black, white = (made == 0).float(), (made == 1).float()
    assert (black[:, 0] == black[:, 1]).all()
    assert float(black.mean()) == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 51200) ** 0.5)
    assert float(white.mean()) == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 51200) ** 0.5)
    assert ((made == 0.5) | (black == 1) | (white == 1)).all()


def test_noise_in_units_of_pixels_is_not_for_items_that_have_none() -> None:
    features = Context(("a", "b"), shape=(3, 1, 1), images=False)
    for check, said in (
        (NoiseSimilarity(salt_and_pepper=(0.1,)), "are no images"),
        (NoiseSimilarity(normalised=(0.1,)), "the std of 3 channels is not known"),
    ):
        with pytest.raises(AuditError, match=said):
            check.probes(features)


def test_the_candidate_is_compared_with_the_baseline_at_every_level(world: World) -> None:
    network(world.folder / "baseline.onnx", weights(5.0))
    body = by_settings(
        world, PAPER, '\n[preprocessing]\nstd = [0.2, 0.2, 0.2]\n\n[baseline]\nmodel = "baseline.onnx"\n'
    )
    claims = [f.claim for f in body.findings if f.claim.startswith("baseline.excess_distance")]
    assert len(claims) == 15
    assert "baseline.excess_distance" in claims


def test_a_probe_may_not_leave_its_own_bounds() -> None:
    class Wild(NormalisedNoise):
        bounds = (-0.01, 1.01)

    probe = Wild(0.5, (0.4, 0.4, 0.4))
    batch = Batch(np.zeros((1, 32), np.uint8), torch.zeros(1, 3, 8, 8), None)
    with pytest.raises(BrokenProbeError, match=r"outside \[-0.01, 1.01\]"):
        Verified(probe, PhiloxRng.of({"family": "x"}), Scratch()).perturb(batch)
