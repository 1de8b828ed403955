"""Parity comes before any other check: the same item, the same answer, whatever was asked before and beside it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import audit
from audit import plan
from audit.errors import AuditError, ExitCode
from audit.evidence import Body, FindingRecord
from audit.ledger import Ledger
from audit.observe import Observer
from audit.parity import TOLERANCE, Parity
from audit.repeatability import SOME
from audit.types import PAIR, Role
from tests.attempts import body
from tests.conftest import Command
from tests.restless import put
from tests.test_observe import write
from tests.world import CANDIDATE, Items, World, network

TWICE = "candidate: gives different outputs for the same items"
NEIGHBOURS = "candidate: its outputs for an item depend on the other items of the batch"
LOAD = "candidate: gives other outputs when it is loaded once more"
LATE = "candidate: gives other outputs after the audit than it was observed to"


def claim(found: Body, name: str, role: str = "candidate") -> FindingRecord:
    return next(each for each in found.findings if each.claim == f"integrity.{name}@role={role}")


@pytest.mark.parametrize(
    ("what", "after", "message"),
    [
        ("drift", 0, TWICE),
        ("dropout", 0, TWICE),
        ("recurrent", 0, TWICE),
        ("spiking", 0, TWICE),
        ("batch norm", 0, NEIGHBOURS),
        ("neighbours", 0, NEIGHBOURS),
        ("order", 0, NEIGHBOURS),
        ("random factory", 0, LOAD),
        ("drift", 20, LATE),
        ("fires", 20, LATE),
        ("recurrent", 20, LATE),
        ("dropout", 20, LATE),
    ],
)
def test_a_network_that_is_no_function_of_the_item_blocks(tmp_path: Path, what: str, after: int, message: str) -> None:
    world = put(World(tmp_path / "w", Items(n=5000, errors=100)), what, after)
    with pytest.raises(AuditError, match=message):
        body(world)
    assert not (world.out / "evidence.json").exists()


def test_the_same_network_without_that_is_audited(world: World) -> None:
    found = body(put(world, "nothing"))
    assert found.verdict.overall == "PASS"
    for role in PAIR:
        for name in ("batch_difference", "reload_difference"):
            assert (claim(found, name, role).estimate, claim(found, name, role).n) == (0.0, SOME)


def test_it_ends_with_exit_code_2_and_names_the_model(invoke: Command, world: World) -> None:
    noise = helper.make_node("RandomNormal", [], ["noise"], shape=[1, 4], scale=0.01, seed=1.0)
    write(world.candidate, noise, helper.make_node("Add", ["logits", "noise"], ["out"]))
    result = invoke("run", world.audit, "--no-pdf")
    assert result.returncode == ExitCode.INPUT
    assert TWICE in result.stderr


@pytest.mark.parametrize("what", ["fires", "drift"])
def test_a_state_that_took_effect_before_an_interruption_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The process that went on has a fresh network, which by itself is in order."""
    world = put(World(tmp_path / "w", Items(n=5000, errors=100)), what, 20)

    def killed(*_given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Observer, "_keep_parity", killed)
        body(world)
    ledger, fixed = Ledger(world.out / "ledger"), plan.load(world.out)
    assert all(ledger.has(key) for key in fixed.keys(Role.CANDIDATE, fixed.plan.probes[0]))
    with pytest.raises(AuditError, match=LATE):
        body(world)


def test_what_another_machine_lent_need_not_have_its_bits(world: World) -> None:
    """How far it is from what this one computes is told, and counts as noise."""
    body(world)
    ledger, fixed = Ledger(world.out / "ledger"), plan.load(world.out)
    key = next(fixed.keys(Role.CANDIDATE, fixed.plan.probes[0]))
    columns = {name: values.copy() for name, values in ledger.get(key).items()}
    columns["output"][0] += 1e-4
    ledger.put({key: columns})
    with pytest.raises(AuditError, match=LATE):
        body(world)
    second = audit.run(world.audit, out=world.folder / "second", reuse=[world.out], pdf=False).evidence.body
    assert claim(second, "reload_difference").estimate == pytest.approx(100 * 1e-4 / 10, rel=0.1)
    assert ledger_parity(world, "second").noise == pytest.approx(1e-4, rel=0.1)


def ledger_parity(world: World, out: str = "out") -> Parity:
    folder = world.folder / out
    stored = Ledger(folder / "ledger").get(plan.load(folder).parity_key(Role.CANDIDATE))
    return Parity(**{name: values[0] for name, values in stored.items() if name != "kind"})


def by_size(path: Path, factor: float) -> None:
    """The candidate, whose logits are a little larger in batches of more than 16 items."""
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"], start=0, end=1),
        helper.make_node("Greater", ["shape", "sixteen"], ["many"]),
        helper.make_node("Cast", ["many"], ["zero_or_one"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["zero_or_one", "little"], ["more"]),
        helper.make_node("Add", ["more", "one"], ["factor"]),
        helper.make_node("Mul", ["logits", "factor"], ["out"]),
    ]
    constants = {"sixteen": np.asarray([16]), "little": np.float32([factor]), "one": np.float32([1])}
    made = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(
            name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape, values.tolist()
        ))
        for name, values in constants.items()
    ]  # fmt: skip
    write(path, *made, *nodes)


def test_how_far_a_batch_moves_an_output_is_told_and_can_be_limited(world: World) -> None:
    by_size(world.candidate, 1e-5)
    world.require("integrity.batch_difference@role=candidate", 0.0, "%")
    found = body(world)
    assert claim(found, "batch_difference").estimate == pytest.approx(100 * 1e-5, rel=0.02)
    assert claim(found, "reload_difference").estimate == 0.0
    assert claim(found, "batch_difference", "reference").estimate == 0.0
    assert "beyond 0.1 % the audit ends without a certificate" in claim(found, "batch_difference").meaning
    made = next(part for part in found.decisions if part.claim == "integrity.batch_difference@role=candidate")
    assert (made.verdict, found.verdict.overall) == ("FAIL", "FAIL")


def test_beyond_the_tolerance_there_is_no_certificate(world: World) -> None:
    by_size(world.candidate, 2 * TOLERANCE)
    with pytest.raises(AuditError, match=NEIGHBOURS):
        body(world)


def test_a_limit_beyond_the_tolerance_cannot_be_set(world: World) -> None:
    world.require("integrity.batch_difference@role=candidate", 0.2, "%")
    with pytest.raises(AuditError, match="cannot fail"):
        body(world)


def test_parity_alone_lets_nothing_pass(world: World) -> None:
    world.policy.write_text(world.policy.read_text().partition("[[criterion]]")[0])
    world.require("integrity.batch_difference@role=candidate", 0.01, "%")
    assert body(world).verdict.reason == "no-required-criterion"


def test_where_nothing_is_a_number_no_parity_is_claimed(world: World) -> None:
    network(world.candidate, np.full_like(CANDIDATE, np.nan))
    found = body(world)
    for name in ("batch_difference", "reload_difference"):
        assert claim(found, name).missing == "non-finite"
    assert claim(found, "batch_difference", "reference").missing is None
    assert found.verdict.overall == "FAIL"


@pytest.mark.parametrize(
    "forge",
    [
        lambda parity: {**asdict(parity), "noise": float("nan")},
        lambda parity: {**asdict(parity), "batch": 2 * TOLERANCE},
        lambda parity: {**asdict(parity), "reload": -1.0},
        lambda parity: {"noise": 0.0},
    ],
)
def test_what_the_ledger_says_of_it_is_checked(world: World, forge: Callable[[Parity], dict[str, float]]) -> None:
    body(world)
    forged = {name: np.asarray([value]) for name, value in forge(ledger_parity(world)).items()}
    Ledger(world.out / "ledger").put({plan.load(world.out).parity_key(Role.CANDIDATE): forged})
    with pytest.raises(AuditError, match=r"parity in the ledger is|not in the ledger"):
        audit.judge(world.out, pdf=False)
