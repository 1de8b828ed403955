"""A probe and a chunk are a unit of work: any order, any number of times, and the ledger is the same."""

import random
from collections import Counter
from pathlib import Path

import pytest

import audit
from audit import pipeline, plan, preparation, request, sizes, subjects
from audit.contracts import Batch, Perturbed, Rng
from audit.digest import of_bytes
from audit.ledger import Ledger
from audit.observe import Observer
from audit.tasks.classification import Classification
from checks.perturbations.noise import Noise
from tests.test_noise import noisy
from tests.world import World


def observations(out: Path) -> dict[str, str]:
    return {path.name: of_bytes(path.read_bytes()) for path in (out / "ledger" / "observations").iterdir()}


@pytest.mark.parametrize("budget", ["", "ledger_budget = 0\n"], ids=["outputs", "comparisons"])
def test_units_in_any_order_and_twice_make_the_ledger_of_one_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    monkeypatch.setattr(sizes, "CHUNK", 256)
    world.audit.write_text(budget + world.audit.read_text())
    body = noisy(world)
    wanted = request.load(world.audit)
    agreed, out = preparation.agree(wanted.policy, world.folder), tmp_path / "units"
    opened = subjects.load(wanted, world.folder)
    asked, fixed = preparation.prepare(opened, subjects.terms_of(wanted), agreed)
    plan.fix(fixed, out)
    if budget:  # comparisons rest on what was observed of the clean items
        clean = [probe for probe in asked.probes if fixed.record_of(probe).kept == "outputs"]
        observer(opened, fixed, out).observe(clean)
    units = [(probe, chunk) for probe in asked.probes for chunk in range(2)] * 2
    random.Random(3).shuffle(units)
    for probe, chunk in units:
        observer(opened, fixed, out).run([probe], [chunk])
    last = audit.run(world.audit, out=out, pdf=False).evidence
    assert last.run.passes == {"reference": 0, "candidate": 0}
    assert last.body == body
    assert observations(out) == observations(world.out)


def observer(opened: subjects.Subjects, fixed: plan.PlanFile, out: Path) -> Observer:
    """A worker of its own, as on another machine that shares the folder."""
    ledger, task = Ledger(out / "ledger"), Classification()
    return Observer(
        fixed, opened.models, opened.data, task, ledger, lambda *told: None, opened.lanes,
        settle=lambda: pipeline.View(fixed, ledger, task).settled(),
    )  # fmt: skip


def test_a_perturbed_input_is_made_once_for_all_models(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "baseline.onnx").write_bytes(world.reference.read_bytes())
    world.audit.write_text(world.audit.read_text() + '\n[baseline]\nmodel = "baseline.onnx"\n')
    seen: Counter[tuple[str, int]] = Counter()
    original = Noise.perturb

    def counted(self: Noise, batch: Batch, rng: Rng, /) -> Perturbed:
        seen[self.name, batch.draw] += len(batch.ids)
        return original(self, batch, rng)

    monkeypatch.setattr(Noise, "perturb", counted)
    noisy(world, draws=2)
    assert set(seen.values()) == {400}
    assert len(seen) == 6  # three levels, two draws


def test_lists_of_chunks_leave_the_others_alone(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sizes, "CHUNK", 256)
    wanted = request.load(world.audit)
    opened = subjects.load(wanted, world.folder)
    agreed = preparation.agree(wanted.policy, world.folder)
    asked, fixed = preparation.prepare(opened, subjects.terms_of(wanted), agreed)
    worker = observer(opened, fixed, tmp_path / "out")
    worker.run(asked.probes, [1])
    assert worker.passes.total() == 2 * 200  # the second of two chunks of one batch each
