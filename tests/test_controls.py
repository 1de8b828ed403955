"""Controls and metamorphic laws of a whole audit, in process."""

from pathlib import Path

import numpy as np
import pytest

import audit
from audit import plan
from audit.api import Outcome
from audit.evidence import FindingRecord
from audit.ledger import Ledger
from audit.pipeline import View
from audit.stats import means
from audit.tasks.classification import Classification
from audit.traces import Trace
from checks.perturbations.clean import CLEAN
from tests.world import CANDIDATE, REFERENCE, Items, Scores, World, network, weights


def run(world: World, **options: object) -> Outcome:
    return audit.run(world.audit, pdf=False, **options)


def findings(outcome: Outcome) -> dict[str, FindingRecord]:
    return {finding.claim: finding for finding in outcome.evidence.body.findings}


def test_reference_against_itself_is_exactly_zero(world: World) -> None:
    world.candidate.write_bytes(world.reference.read_bytes())
    found = findings(run(world))
    for claim in (
        "accuracy.drop", "functional.negative_flips", "functional.positive_flips", "functional.softmax_l2",
        "functional.softmax_l2_q99", "functional.softmax_linf", "functional.jensen_shannon",
    ):  # fmt: skip
        assert found[claim].estimate == 0.0, claim
    assert found["functional.agreement"].estimate == 100.0


def test_every_count_is_the_one_that_was_planted(tmp_path: Path) -> None:
    found = findings(run(World(tmp_path / "w", Items(n=500, errors=20, harm=7, gain=3))))
    assert found["reference.accuracy"].statistic == {"kind": "proportion", "k": 480, "n": 500}
    assert found["candidate.accuracy"].statistic == {"kind": "proportion", "k": 476, "n": 500}
    assert found["accuracy.drop"].statistic == {"kind": "paired-difference", "b": 7, "c": 3, "n": 500}
    assert found["functional.agreement"].statistic == {"kind": "proportion", "k": 490, "n": 500}
    # b: differs although the reference is right (7 harms); c: agrees although it is wrong (17 shared errors)
    assert found["functional.excess_disagreement"].statistic == {
        "kind": "paired-difference", "b": 7, "c": 17, "n": 500,
    }  # fmt: skip
    assert found["functional.negative_flips"].statistic["k"] == 7
    assert found["functional.positive_flips"].statistic["k"] == 3


def test_a_nudge_of_one_weight_still_passes(world: World) -> None:
    nudged = CANDIDATE.copy()
    nudged[0, 0] += 1e-3
    network(world.candidate, nudged)
    assert run(world).evidence.body.verdict.overall == "PASS"


@pytest.mark.parametrize(
    "broken",
    [np.zeros_like(CANDIDATE), np.roll(CANDIDATE, 1, axis=1), -CANDIDATE],
    ids=["constant", "permuted classes", "negated"],
)
def test_a_broken_network_fails(world: World, broken: np.ndarray) -> None:
    network(world.candidate, broken)
    assert run(world).evidence.body.verdict.overall == "FAIL"


def test_body_does_not_depend_on_where_and_when(world: World, tmp_path: Path) -> None:
    first = run(world, out=tmp_path / "one").evidence
    second = run(world, out=tmp_path / "two", command=("something", "else")).evidence
    assert first.id == second.id
    assert first.body == second.body


def test_names_are_labels_only(world: World) -> None:
    before = findings(run(world))
    world.candidate.rename(world.folder / "renamed.onnx")
    world.audit.write_text(world.audit.read_text().replace("candidate.onnx", "renamed.onnx"))
    assert findings(run(world, out=world.folder / "again")) == before


def softening(n: int = 400, classes: int = 4) -> Scores:
    """Both networks always right, the candidate ever less sure down the file: distances grow with the row."""
    labels = np.arange(n) % classes
    reference = np.zeros((n, classes), np.int64)
    candidate = reference.copy()
    reference[np.arange(n), labels] = 255
    candidate[np.arange(n), labels] = np.linspace(255, 20, n).astype(np.int64)
    return Scores(labels, reference, candidate)


def test_order_in_the_file_changes_no_finding_and_no_decision(tmp_path: Path) -> None:
    world = World(tmp_path / "w", softening())
    world.require("functional.softmax_l2", 0.5, "distance")
    before = run(world)
    x, y = world.items.arrays()
    order = np.random.default_rng(1).permutation(len(x))
    np.savez(world.data, x=x[order], y=y[order])
    after = run(world, out=world.folder / "again")
    assert after.evidence.body.data != before.evidence.body.data
    assert findings(after) == findings(before)
    assert after.evidence.body.decisions == before.evidence.body.decisions


def test_items_are_judged_in_an_order_that_the_file_does_not_set(tmp_path: Path) -> None:
    world = World(tmp_path / "w", softening())
    found = findings(run(world))["functional.softmax_l2"]
    view = View(plan.load(world.out), Ledger(world.out / "ledger"), Classification())
    trace = view.trace(CLEAN)
    assert isinstance(trace, Trace)
    distances = trace.columns["softmax_l2"]
    as_stored = np.sort(distances)  # in this file they grow with the row
    alpha, high = 0.05, float(np.sqrt(2))
    assert found.upper == pytest.approx(means.upper(distances, alpha, 0.0, high), abs=1e-9)
    assert means.upper(as_stored, alpha, 0.0, high) != pytest.approx(found.upper, abs=1e-3)


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("stored", [np.float32, np.float64])
def test_storage_of_the_items_changes_no_count(world: World, channels_first: bool, stored: type) -> None:
    before = findings(run(world))
    x, y = world.items.arrays()
    x = (x / 255).astype(stored)
    np.savez_compressed(world.data, x=x.transpose(0, 3, 1, 2) if channels_first else x, y=y)
    after = findings(run(world, out=world.folder / "again"))
    for claim in ("accuracy.drop", "functional.agreement", "reference.accuracy"):
        assert after[claim].statistic == before[claim].statistic


def test_a_softmax_ended_candidate_is_compared_as_what_it_is(world: World) -> None:
    before = findings(run(world))
    network(world.candidate, CANDIDATE, softmax=True)
    outcome = run(world, out=world.folder / "again")
    adapters = {model.role: model.adapter.outputs for model in outcome.evidence.body.models}
    assert adapters == {"reference": "logits", "candidate": "probabilities"}
    after = findings(outcome)
    assert after["accuracy.drop"] == before["accuracy.drop"]
    estimate = before["functional.softmax_l2"].estimate
    assert estimate is not None
    assert after["functional.softmax_l2"].estimate == pytest.approx(estimate, abs=1e-6)


def test_a_wrong_declaration_of_outputs_decides_nothing(world: World) -> None:
    network(world.candidate, CANDIDATE, softmax=True)
    world.audit.write_text(world.audit.read_text().replace('"candidate.onnx"', '"candidate.onnx"\noutputs = "logits"'))
    outcome = run(world)
    assert outcome.evidence.body.verdict.overall == "NOT EVALUATED"
    assert outcome.evidence.body.verdict.reason == "wrong-output-declaration"


def test_preprocessing_is_applied_inside(world: World) -> None:
    before = findings(run(world))
    # The same function on inputs in [-1, 1]: w·(2x - 1) + Σw = 2·w·x, up to a shift that is common to all classes.
    for path, w in ((world.reference, REFERENCE), (world.candidate, CANDIDATE)):
        network(path, w / 2)
    world.audit.write_text(
        world.audit.read_text() + "\n[preprocessing]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n"
    )
    after = findings(run(world, out=world.folder / "again"))
    assert after["accuracy.drop"].statistic == before["accuracy.drop"].statistic


def test_a_second_candidate_costs_its_own_passes_only(world: World, tmp_path: Path) -> None:
    first = run(world, out=tmp_path / "one").evidence.run
    assert first.passes == {"reference": 400, "candidate": 400}
    network(world.candidate, weights(second=30.0))
    second = run(world, out=tmp_path / "two", reuse=[tmp_path / "one"]).evidence.run
    assert second.passes == {"reference": 0, "candidate": 400}
    assert len(second.reused) == 1


def test_running_again_runs_no_network(world: World) -> None:
    first = run(world).evidence
    again = run(world).evidence
    assert again.run.passes == {"reference": 0, "candidate": 0}
    assert again.body == first.body


def test_evidence_of_a_run_is_valid_by_its_published_schema(world: World) -> None:
    outcome = run(world)
    record = audit.render(world.out / "evidence.json", out=world.folder / "copy", pdf=False)
    assert record.evidence == outcome.evidence
