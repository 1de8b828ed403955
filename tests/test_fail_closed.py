"""Ways to an undeserved PASS that no other test tries, and the table of all of them kept honest."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import audit
from audit import evidence, plan
from audit.digest import of_json
from audit.errors import AuditError, ExitCode
from audit.ledger import Ledger
from audit.types import PAIR, Role
from checks.accuracy import Accuracy
from checks.integrity import Integrity
from tests.attempts import body, edit, reason, use, verdict
from tests.plugins import Dead, asking
from tests.world import CANDIDATE, CLASSES, REFERENCE, Scores, World, network

# Policies


@pytest.mark.parametrize("limit", ["inf", "nan", "1e400", "1e2"])
def test_a_limit_without_end_is_refused(broken: World, limit: str) -> None:
    edit(broken.policy, "at_most = 2.0", f"at_most = {limit}")
    with pytest.raises(AuditError, match=r"finite|cannot fail"):
        body(broken)


def test_a_large_limit_in_scientific_notation_is_the_number_that_it_is(broken: World) -> None:
    edit(broken.policy, "at_most = 2.0", "at_most = 0.2e1")
    assert verdict(body(broken)) == ("FAIL", "proven-beyond-limit")


def test_a_claim_that_only_looks_like_one_is_refused(broken: World) -> None:
    edit(broken.policy, "accuracy.drop", "accuracy.dr\N{CYRILLIC SMALL LETTER O}p")
    with pytest.raises(AuditError, match="names no claim"):
        body(broken)


@pytest.mark.parametrize("accept", ['["FAIL"]', '["PASS", "FAIL"]', '["PASS", "NOT EVALUATED"]', "[]", '["pass"]'])
def test_no_policy_accepts_what_is_no_pass(broken: World, accept: str) -> None:
    edit(broken.policy, 'accept = ["PASS"]', f"accept = {accept}")
    with pytest.raises(AuditError, match="accept"):
        body(broken)


def test_a_policy_that_leaves_out_the_accuracy_of_the_reference_is_refused(broken: World) -> None:
    edit(broken.policy, '"accuracy", "functional", "integrity"', '"integrity"')
    with pytest.raises(AuditError, match=r"no check that runs measures reference\.accuracy"):
        body(broken)


def test_noise_too_weak_to_change_a_pixel_is_no_evidence(world: World) -> None:
    edit(world.policy, '"integrity"]', '"integrity", "noise"]\n[settings.noise]\nuniform = [1e-300]\ngaussian = [4]')
    world.require("accuracy.drop@level=1e-300/255,noise=uniform", 2.0, "points")
    assert verdict(body(world)) == ("NOT EVALUATED", "dead-perturbation")


def test_a_policy_cannot_judge_by_a_probe_that_was_not_run(world: World) -> None:
    body(world)
    other = world.folder / "other.toml"
    other.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "noise"]'))
    with pytest.raises(AuditError, match="which this audit did not run"):
        audit.judge(world.out, policy_name=str(other), pdf=False)


# Data


@pytest.mark.parametrize(
    "stored",
    [
        lambda y: y.astype(bool),
        lambda y: y.astype(str),
        lambda y: y[:, None],
        lambda y: y.astype("timedelta64[s]"),
        lambda y: y.astype(np.uint64) + np.uint64(2**63),
    ],
    ids=["truth values", "text", "two axes", "times", "beyond 2^63"],
)
def test_labels_that_are_no_class_numbers_are_refused(world: World, stored: Callable[[np.ndarray], np.ndarray]) -> None:
    x, y = world.items.arrays()
    np.savez(world.data, x=x, y=stored(y))
    with pytest.raises(AuditError, match=r"y is|is not in"):
        body(world)


def test_labels_of_another_order_of_the_classes_decide_nothing(world: World) -> None:
    """Every candidate agrees with a reference that is wrong everywhere."""
    x, y = world.items.arrays()
    np.savez(world.data, x=x, y=(y + 1) % 4)
    assert body(world).verdict.overall == "FAIL"


# Networks


def ending(path: Path, *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, more: Sequence[object] = ()) -> None:
    """The candidate, whose logits go through these nodes before they are the output."""
    stored = [numpy_helper.from_array(np.asarray(value), f"constant{index}") for index, value in enumerate(more)]
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
            *nodes,
        ],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("out", kind, ["batch", "classes"])],
        [numpy_helper.from_array(CANDIDATE, "w"), *stored],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT16])
def test_scores_in_another_type_are_refused(world: World, kind: int) -> None:
    ending(world.candidate, helper.make_node("Cast", ["logits"], ["out"], to=kind), kind=kind)
    with pytest.raises(AuditError, match=r"not tensor\(float\)"):
        body(world)


def test_a_softmax_on_a_softmax_comes_no_closer(world: World) -> None:
    first, second = (helper.make_node("Softmax", [a], [b], axis=1) for a, b in (("logits", "p"), ("p", "out")))
    ending(world.candidate, first, second)
    world.require("functional.softmax_l2", 0.3, "distance")
    assert verdict(body(world)) == ("FAIL", "proven-beyond-limit")


def test_outputs_that_overflow_block(world: World) -> None:
    ending(world.candidate, helper.make_node("Mul", ["logits", "constant0"], ["out"]), more=[np.float32(1e38)])
    found = body(world)
    assert verdict(found) == ("FAIL", "proven-beyond-limit")
    assert reason(found) == "non-finite"


def test_a_network_whose_classes_depend_on_the_batch_is_refused(world: World) -> None:
    """Blank items have four scores each, the brightest pixel of an image takes two of them away."""
    ending(
        world.candidate,
        helper.make_node("ReduceMax", ["image"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["brightest", "constant0"], ["fewer"]),
        helper.make_node("Sub", ["constant1", "fewer"], ["left"]),
        helper.make_node("Cast", ["left"], ["count"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["count", "constant2"], ["end"]),
        helper.make_node("Slice", ["logits", "constant2", "end", "constant3"], ["out"]),
        more=[np.float32(2), np.float32(4), np.asarray([0]), np.asarray([1])],
    )
    with pytest.raises(AuditError, match="gave outputs of shape"):
        body(world)


def test_preprocessing_that_overflows_blocks(world: World) -> None:
    world.audit.write_text(world.audit.read_text() + "\n[candidate.preprocessing]\nstd = [1e-38, 1e-38, 1e-38]\n")
    network(world.candidate, CANDIDATE * 100)
    assert reason(body(world)) == "non-finite"


def test_many_ties_that_happen_to_be_right_fail(tmp_path: Path) -> None:
    n, ties = 400, 5
    labels, scores = np.arange(n) % CLASSES, np.zeros((n, CLASSES), np.int64)
    scores[np.arange(n), labels] = 255
    tied = scores.copy()
    tied[labels == 0, 1] = np.where(np.arange((labels == 0).sum()) < ties, 255, 0)
    found = body(World(tmp_path / "w", Scores(labels, scores, tied)))
    assert next(part.estimate for part in found.decisions if part.claim == "accuracy.drop") == 0
    assert reason(found, "integrity.near_ties@role=candidate") == "proven-beyond-limit"
    assert found.verdict.overall == "FAIL"


class Looking(nn.Module):
    """Looks at the values of its input, which no exporter can follow; else the network of a world."""

    def __init__(self, w: np.ndarray) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.from_numpy(w.copy()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x.flatten(1) @ self.w
        return out if x.sum() >= 0 else -out


def test_a_module_that_is_known_by_its_weights_alone_is_never_accepted(world: World) -> None:
    reference, candidate = Looking(REFERENCE), Looking(CANDIDATE)
    outcome = audit.compare(
        reference, candidate, world.items.arrays(), policy_name=str(world.policy), out=world.out, pdf=False
    )
    found = outcome.evidence.body
    assert (found.verdict.overall, found.verdict.accepted) == ("PASS", False)
    assert "identity of the candidate: weights only" in found.deviations
    assert outcome.exit_code is ExitCode.CONDITIONAL


# Files that an audit left


def test_a_failure_that_is_struck_out_of_the_ledger_is_missed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Accuracy(), asking(Dead()), Integrity())
    world.require("functional.negative_flips", 5.0, "%")
    assert verdict(body(world)) == ("NOT EVALUATED", "dead-perturbation")
    seals = world.out / "ledger" / "manifest.jsonl"
    lines = seals.read_text().splitlines()
    seals.write_text("".join(f"{line}\n" for line in lines if "failed" not in line))
    with pytest.raises(AuditError, match="not in the ledger"):
        audit.judge(world.out, pdf=False)


def test_an_audit_that_was_broken_off_is_not_judged(world: World) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        body(world, progress=stop)
    with pytest.raises(AuditError, match="not in the ledger"):
        audit.judge(world.out, pdf=False)


def test_what_a_lender_forged_is_found_where_it_is_measured_again(broken: World) -> None:
    edit(broken.policy, "alpha = 0.05", "alpha = 0.05\nrecheck_reused = 100.0")
    body(broken)
    fixed, ledger = plan.load(broken.out), Ledger(broken.out / "ledger")
    reference, candidate = (next(fixed.keys(role, fixed.plan.probes[0])) for role in PAIR)
    ledger.put({candidate: ledger.get(reference)})
    with pytest.raises(AuditError, match=f"{Role.CANDIDATE}, clean: what an earlier audit lent came out otherwise"):
        body(broken, out=broken.folder / "second", reuse=[broken.out])


Forge = Callable[[Any], object]


def failing_is_dropped(record: Any) -> None:
    record["decisions"] = [part for part in record["decisions"] if part["verdict"] == "PASS"]


def failing(record: Any) -> Any:
    return next(part for part in record["decisions"] if part["verdict"] == "FAIL")


FORGERIES: dict[str, Forge] = {
    "dropped": failing_is_dropped,
    "none left": lambda record: record.update(decisions=[]),
    "advisory": lambda record: failing(record).update(required=False),
    "waived": lambda record: failing(record).update(waiver="W-1"),
    "inapplicable": lambda record: failing(record).update(applicable=False, reason="reference-floor"),
    "standing and waived": lambda record: record["decisions"][0].update(waiver="W-1"),
    "standing and inapplicable": lambda record: record["decisions"][0].update(applicable=False),
    "accepted all the same": lambda record: record["verdict"].update(overall="FAIL"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_evidence_that_contradicts_itself_is_refused_whatever_its_id(broken: World, forgery: str) -> None:
    body(broken)
    path = broken.out / "evidence.json"
    content = json.loads(path.read_text())
    content["body"]["verdict"].update(overall="PASS", accepted=True, exit_code=0)
    FORGERIES[forgery](content["body"])
    content["id"] = of_json(content["body"])
    path.write_text(json.dumps(content))
    with pytest.raises(AuditError, match="not an evidence file"):
        evidence.load(path)
