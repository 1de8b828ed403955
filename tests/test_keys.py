"""Observation keys: whatever can change an output changes the key, and nothing is reused across such a change."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import audit
from audit import plan
from audit.errors import AuditError
from audit.evidence import ProbeRecord, Run
from audit.ledger import Ledger
from audit.plan import PlanFile
from audit.types import PAIR, Role
from tests.attempts import reason
from tests.world import Items, World

PROBE, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> PlanFile:
    """The plan of a real audit."""
    world = World(tmp_path_factory.mktemp("keys"))
    audit.run(world.audit, pdf=False)
    return plan.load(world.out)


def changed(fixed: PlanFile, path: tuple[str | int, ...], value: object) -> PlanFile:
    """The plan with one entry set to another value."""
    content: Any = fixed.model_dump(mode="json")
    inner = content
    for part in path[:-1]:
        inner = inner[part]
    assert inner[path[-1]] != value
    inner[path[-1]] = value
    return PlanFile.model_validate(content)


def keys(fixed: PlanFile, role: Role = Role.REFERENCE, probe: str = PROBE) -> set[str]:
    planned = ProbeRecord(name="probe", sha256=probe, description="")
    return {*fixed.keys(role, planned), fixed.parity_key(role)}


INGREDIENTS: list[tuple[tuple[str | int, ...], object]] = [
    (("models", 0, "sha256"), OTHER),
    (("models", 0, "adapter", "layout"), "NHWC"),
    (("models", 0, "adapter", "range"), [0.0, 255.0]),
    (("models", 0, "adapter", "mean"), [0.1, 0.1, 0.1]),
    (("models", 0, "adapter", "std"), [0.1, 0.1, 0.1]),
    (("data", 0, "sha256"), OTHER),
    (("plan", "chunk"), 2048),
    (("plan", "batch"), 128),
    (("tool", "sources_sha256"), OTHER),
]


@pytest.mark.parametrize(("path", "value"), INGREDIENTS, ids=[".".join(map(str, path)) for path, _ in INGREDIENTS])
def test_every_ingredient_changes_the_key(fixed: PlanFile, path: tuple[str | int, ...], value: object) -> None:
    assert fixed.models[0].role == Role.REFERENCE
    assert keys(fixed).isdisjoint(keys(changed(fixed, path, value)))


def test_every_library_and_every_setting_of_the_runtime_change_the_key(fixed: PlanFile) -> None:
    assert fixed.packages
    assert fixed.models[0].runtime
    for name in fixed.packages:
        assert keys(fixed).isdisjoint(keys(changed(fixed, ("packages", name), "0.0.0"))), name
    for name in fixed.models[0].runtime:
        assert keys(fixed).isdisjoint(keys(changed(fixed, ("models", 0, "runtime", name), "other"))), name


def test_the_probe_changes_the_key(fixed: PlanFile) -> None:
    assert keys(fixed) & keys(fixed, probe=OTHER) == {fixed.parity_key(Role.REFERENCE)}


def test_every_chunk_of_every_model_has_a_key_of_its_own(fixed: PlanFile) -> None:
    long = changed(fixed, ("data", 0, "items"), 3 * fixed.plan.chunk + 1)
    every = [key for role in PAIR for key in long.keys(role, long.plan.probes[0])]
    assert len(every) == len(set(every)) == 2 * 4


UNRELATED: list[tuple[tuple[str | int, ...], object]] = [
    (("names", "reference"), "renamed.onnx"),
    (("models", 0, "adapter", "outputs"), "logits"),
    (("models", 1, "sha256"), OTHER),
    (("models", 1, "adapter", "mean"), [0.1, 0.1, 0.1]),
    (("names", "test"), "renamed.npz"),
    (("declared_accuracy",), 90.0),
    (("policy", "alpha"), 0.01),
    (("parties", "organisation"), "another"),
]


@pytest.mark.parametrize(("path", "value"), UNRELATED, ids=[".".join(map(str, path)) for path, _ in UNRELATED])
def test_what_changes_no_output_keeps_the_key(fixed: PlanFile, path: tuple[str | int, ...], value: object) -> None:
    assert keys(fixed) == keys(changed(fixed, path, value))


def second(world: World) -> Run:
    """The run of the changed world, offered what the first run left."""
    return audit.run(world.audit, out=world.folder / "second", reuse=[world.out], pdf=False).evidence.run


@pytest.fixture
def audited(world: World) -> World:
    audit.run(world.audit, pdf=False)
    return world


def test_a_run_of_the_same_is_taken_over_whole(audited: World) -> None:
    run = second(audited)
    assert run.passes == {"reference": 0, "candidate": 0}
    assert len(run.reused) == 2


def nothing_reused(run: Run) -> bool:
    return run.passes == {"reference": 400, "candidate": 400} and run.reused == ()


def test_nothing_is_taken_over_from_other_data(audited: World) -> None:
    Items(seed=1).save(audited.data)
    assert nothing_reused(second(audited))


def test_nothing_is_taken_over_from_other_labels_of_the_same_images(audited: World) -> None:
    x, y = audited.items.arrays()
    y[0] = (y[0] + 2) % 4
    np.savez(audited.data, x=x, y=y)
    assert nothing_reused(second(audited))


def test_nothing_is_taken_over_from_another_order_of_the_same_items(audited: World) -> None:
    x, y = audited.items.arrays()
    np.savez(audited.data, x=x[::-1], y=y[::-1])
    assert nothing_reused(second(audited))


@pytest.mark.parametrize(
    "setting", ["mean = [0.1, 0.1, 0.1]", "std = [0.5, 0.5, 0.5]", "range = [-1.0, 1.0]"], ids=["mean", "std", "range"]
)
def test_nothing_is_taken_over_from_other_preprocessing(audited: World, setting: str) -> None:
    audited.audit.write_text(f"{audited.audit.read_text()}\n[preprocessing]\n{setting}\n")
    assert nothing_reused(second(audited))


def test_preprocessing_of_one_model_costs_its_own_passes_only(audited: World) -> None:
    text = audited.audit.read_text()
    audited.audit.write_text(f"{text}\n[candidate.preprocessing]\nmean = [0.1, 0.1, 0.1]\n")
    run = second(audited)
    assert run.passes == {"reference": 0, "candidate": 400}
    assert len(run.reused) == 1


def test_what_was_refuted_stays_refuted(audited: World) -> None:
    """The dice cannot be thrown again: neither by a second start, nor without the lender."""
    fixed = plan.load(audited.out)
    key = next(fixed.keys(Role.CANDIDATE, fixed.plan.probes[0]))
    ledger = Ledger(audited.out / "ledger")
    columns = {name: values.copy() for name, values in ledger.get(key).items()}
    columns["output"] += 0.5
    ledger.put({key: columns})
    audited.policy.write_text("recheck_reused = 100.0\n" + audited.policy.read_text())
    with pytest.raises(AuditError, match="came out otherwise"):
        second(audited)
    for reuse in ([audited.out], []):
        body = audit.run(audited.audit, out=audited.folder / "second", reuse=reuse, pdf=False).evidence.body
        assert body.verdict.overall == "NOT EVALUATED"
        assert reason(body) == "reuse-refuted"
    with pytest.raises(AuditError, match="came out otherwise when it was measured again"):
        audit.run(audited.audit, out=audited.folder / "third", reuse=[audited.folder / "second"], pdf=False)


def test_what_was_lent_is_measured_again_after_an_interruption_too(audited: World) -> None:
    audited.policy.write_text("recheck_reused = 100.0\n" + audited.policy.read_text())
    assert len(second(audited).reused) == 2
    again = audit.run(audited.audit, out=audited.folder / "second", pdf=False).evidence.run
    assert len(again.reused) == 2
    assert again.passes == {"reference": 400, "candidate": 400}


def test_a_share_of_what_was_lent_is_measured_again_and_one_batch_at_least(
    audited: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 %, as `strict` wants: of the two batches of each model it is one."""
    audited.policy.write_text("recheck_reused = 2.0\n" + audited.policy.read_text())
    run = second(audited)
    assert len(run.reused) == 2
    assert set(run.passes.values()) == {200}


def test_a_lender_is_an_audit(world: World, tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"plan\.json"):
        audit.run(world.audit, reuse=[tmp_path], pdf=False)
