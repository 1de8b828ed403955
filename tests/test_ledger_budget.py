"""Beyond the ledger's budget only comparisons are kept: every verdict comes out the same, and reuse is lost."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import audit
from audit import observe, plan, sizes
from audit.comparisons import Settled
from audit.contracts import Batch, Perturbed, Rng
from audit.errors import AuditError
from audit.evidence import Body
from audit.lanes import Lane, Shown, Wanted
from audit.ledger import Ledger
from audit.sizes import COMPARED, FLOAT, ROW
from audit.traces import Columns
from audit.types import DataRole, OutputKind, Role
from checks.perturbations.clean import CLEAN
from checks.perturbations.noise import Noise
from tests.conftest import Command
from tests.plugins import House
from tests.test_noise import FRAGILE, limit, noisy
from tests.world import CLASSES, Scores, World, network, weights

BUDGET = "ledger_budget = 0\n"
PROBES = (CLEAN, Noise("uniform", 2.0, 3), Noise("uniform", 8.0, 3))


def within_nothing(world: World) -> World:
    """The same world where nothing but the clean outputs is kept whole."""
    other = World(world.folder / "within", world.items, world.limit, world.accept)
    for name in ("reference", "candidate", "baseline"):
        path = world.folder / f"{name}.onnx"
        if path.exists():
            (other.folder / path.name).write_bytes(path.read_bytes())
    other.audit.write_text(BUDGET + world.audit.read_text())
    return other


def alike(one: Body, other: Body) -> None:
    """Nothing that was measured or decided differs."""
    assert one.findings == other.findings
    assert one.decisions == other.decisions
    assert one.verdict == other.verdict
    assert [probe.kept for probe in one.plan.probes] == ["outputs"] * len(one.plan.probes)
    assert [probe.kept for probe in other.plan.probes] == ["outputs"] + ["comparisons"] * (len(one.plan.probes) - 1)


def close(seed: int) -> Scores:
    """Outputs that often tie, and that noise turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(400) % CLASSES
    scores = rng.integers(0, 3, (2, 400, CLASSES)) * 100
    scores[:, np.arange(400), labels] = 255
    scores[1, :10] = 255
    return Scores(labels, *scores)


def overflowing() -> NDArray[np.float32]:
    """Weights that are finite on clean items, and infinite as soon as noise lights up what is black there."""
    w = weights()
    w[64:80] = 3e38  # green in the first two rows
    return w


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("kind", ["ordinary", "fragile", "close", "broken"])
def test_every_finding_and_verdict_comes_out_the_same(tmp_path: Path, kind: str, draws: int) -> None:
    world = World(tmp_path / "w", close(0)) if kind == "close" else World(tmp_path / "w")
    if kind == "fragile":
        network(world.candidate, FRAGILE)
    if kind == "broken":
        network(world.candidate, overflowing())
    baseline(world, weights(8.0, 200.0))
    policy = limit("accuracy.drop@level=*,noise=*") + limit("baseline.excess_distance@level=*,noise=*", 0.1, "distance")
    alike(*(noisy(each, levels="[2, 255]", draws=draws, policy=policy) for each in (world, within_nothing(world))))


def test_nan_under_noise_alone_blocks(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    network(world.candidate, overflowing())
    body = noisy(within_nothing(world), levels="[255]", policy=limit("accuracy.drop@level=*,noise=uniform"))
    by_claim = {part.claim: part for part in body.decisions}
    assert by_claim["integrity.nonfinite@role=candidate"].verdict == "FAIL"
    assert by_claim["accuracy.drop"].verdict == "PASS"
    assert by_claim["accuracy.drop@level=255/255,noise=uniform"].reason == "non-finite"


def baseline(world: World, w: NDArray[np.float32], **options: bool) -> None:
    network(world.folder / "baseline.onnx", w, **options)
    world.audit.write_text(world.audit.read_text() + '\n[baseline]\nmodel = "baseline.onnx"\n')


@pytest.mark.parametrize("kind", ["unclear", "broken"])
def test_an_unclear_baseline_hides_nothing(tmp_path: Path, kind: str) -> None:
    """Nothing can be compared with it, and the candidate that overflows under noise is found out all the same."""
    world = World(tmp_path / "w")
    network(world.candidate, overflowing())
    unclear = np.abs(weights(0.1, 0.1)) + 1e-3
    baseline(world, unclear if kind == "unclear" else np.full_like(unclear, np.nan))
    bodies = [noisy(each, levels="[255]") for each in (world, within_nothing(world))]
    alike(*bodies)
    by_claim = {part.claim: part.verdict for part in bodies[1].decisions}
    assert by_claim["integrity.nonfinite@role=candidate"] == "FAIL"


class StoppedError(Exception):
    """Somebody pulled the plug."""


@pytest.fixture(scope="module")
def in_chunks(tmp_path_factory: pytest.TempPathFactory) -> Body:
    """An audit in several chunks that keeps every output and was never stopped."""
    world = World(tmp_path_factory.mktemp("chunks") / "world")
    baseline(world, weights(8.0, 200.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "CHUNK", 256)
        return noisy(world, draws=2)


@pytest.mark.parametrize("steps", range(1, 12))
def test_an_audit_in_several_chunks_goes_on_wherever_it_was_stopped(
    world: World, in_chunks: Body, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    monkeypatch.setattr(sizes, "CHUNK", 256)
    baseline(world, weights(8.0, 200.0))
    other = within_nothing(world)
    store, left = Ledger.put, [steps]

    def put(self: Ledger, observations: Mapping[str, Columns]) -> None:
        left[0] -= 1
        if not left[0]:
            raise StoppedError
        store(self, observations)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "put", put)
        with suppress(StoppedError):
            noisy(other, draws=2)
    alike(in_chunks, audit.run(other.audit, pdf=False).evidence.body)


def test_a_probe_that_fails_fails_under_a_budget_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = within_nothing(world)
    monkeypatch.setattr(Noise, "perturb", lambda self, batch, rng: Perturbed(batch.x, {}))
    bodies = [noisy(each, policy=limit("accuracy.drop@level=8/255,noise=uniform")) for each in (world, other)]
    alike(*bodies)
    assert (bodies[1].verdict.overall, bodies[1].verdict.reason) == ("NOT EVALUATED", "dead-perturbation")


@pytest.mark.parametrize("within", [False, True], ids=["outputs", "comparisons"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["one level", "two levels"])
def test_a_probe_that_fails_does_not_hide_what_it_showed(
    world: World, monkeypatch: pytest.MonkeyPatch, within: bool, elsewhere: bool
) -> None:
    """The candidate overflows under noise, then the probe crashes; no criterion speaks of noise."""
    network(world.candidate, overflowing())
    perturb = Noise.perturb

    def crashing(self: Noise, batch: Batch, rng: Rng, /) -> Perturbed:
        if self.level == 255 and batch.start:
            raise ZeroDivisionError
        return perturb(self, batch, rng)

    monkeypatch.setattr(Noise, "perturb", crashing)
    body = noisy(within_nothing(world) if within else world, levels="[254, 255]" if elsewhere else "[255]")
    found = {part.claim: (part.verdict, part.reason) for part in body.decisions}["integrity.nonfinite@role=candidate"]
    assert found == (("FAIL", "proven-beyond-limit") if elsewhere else ("NOT EVALUATED", "probe-crashed"))
    assert not body.verdict.accepted


def test_another_policy_finds_the_same(world: World) -> None:
    other = within_nothing(world)
    body = noisy(other)
    stricter = other.folder / "stricter.toml"
    stricter.write_text(
        other.policy.read_text().replace("house/1", "house/2").replace("at_most = 2.0", "at_most = 1.9")
    )
    judged = audit.judge(other.out, policy_name=str(stricter), pdf=False).evidence.body
    assert (judged.findings, judged.verdict.exploratory) == (body.findings, True)


def test_whole_outputs_are_lent_to_an_audit_that_keeps_few(world: World, tmp_path: Path) -> None:
    body = noisy(world)
    other = within_nothing(world)
    other.policy.write_text(world.policy.read_text())
    lent = audit.run(other.audit, reuse=[world.out], pdf=False).evidence
    assert lent.run.passes == {"reference": 3 * 400, "candidate": 3 * 400}
    alike(body, lent.body)


def test_memory_does_not_grow_with_the_number_of_probes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "WAITING", 4 * sizes.row_bytes("outputs", (CLASSES,), 2) * 400)
    together: list[int] = []
    shown = observe.side_by_side

    def counted(lanes: Sequence[Lane], asked: Iterable[tuple[Batch, Wanted]]) -> Iterator[tuple[Batch, list[Shown]]]:
        for batch, wanted in asked:
            together.append(len(wanted))
            yield from shown(lanes, [(batch, wanted)])

    monkeypatch.setattr(observe, "side_by_side", counted)
    few = noisy(World(world.folder / "few"), levels="[1, 2]")
    many = noisy(World(world.folder / "many"), levels=str(list(range(1, 30))))
    assert max(together) == 4
    assert len(few.plan.probes) == 4 and len(many.plan.probes) == 31
    probe = "accuracy.drop@level=2/255,noise=uniform"
    assert [f for f in few.findings if f.claim == probe] == [f for f in many.findings if f.claim == probe]


def test_an_audit_goes_on_and_repeats_no_comparison(world: World) -> None:
    other = within_nothing(world)
    body = noisy(other)
    again = audit.run(other.audit, pdf=False)
    assert again.evidence.body == body
    assert again.evidence.run.passes == {"reference": 0, "candidate": 0}
    assert audit.judge(other.out, pdf=False).evidence.body == body
    fixed, ledger = plan.load(other.out), Ledger(other.out / "ledger")
    assert not any(
        ledger.holds(key)
        for probe in fixed.plan.probes[1:]
        for role in (Role.REFERENCE, Role.CANDIDATE)
        for key in fixed.keys(role, probe)
    )


def test_comparisons_are_lent_to_nobody(world: World, tmp_path: Path) -> None:
    other = within_nothing(world)
    noisy(other)
    lent = audit.run(other.audit, reuse=[other.out], out=tmp_path / "next", pdf=False).evidence.run
    assert lent.passes == {"reference": 3 * 400, "candidate": 3 * 400}
    assert len(lent.reused) == 2


def test_a_comparison_belongs_to_the_kinds_and_the_noise_it_was_made_with(world: World) -> None:
    noisy(within_nothing(world))
    fixed = plan.load(world.folder / "within" / "out")
    logits = Settled(OutputKind.LOGITS, 0.0)
    pairs = [
        {Role.REFERENCE: logits, Role.CANDIDATE: other}
        for other in (logits, Settled(OutputKind.LOGITS, 1e-6), Settled(OutputKind.PROBABILITIES, 0.0))
    ]
    keys = [next(fixed.pair_keys(Role.CANDIDATE, fixed.plan.probes[1], pair)) for pair in pairs]
    assert len(set(keys)) == 3


def test_a_comparison_that_was_altered_is_refused(world: World) -> None:
    other = within_nothing(world)
    noisy(other)
    largest = max((other.out / "ledger" / "observations").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(AuditError, match="does not match its seal"):
        audit.judge(other.out, pdf=False)


def test_the_budget_keeps_whole_what_fits() -> None:
    size = FLOAT * 10 * 1000
    items = {DataRole.TEST: 1000}
    for budget, whole in ((0, 1), (size, 1), (4 * size - 1, 1), (4 * size, 2), (7 * size, 3)):
        assert sizes.kept(PROBES, items, 10, budget).count("outputs") == whole
    noise, shifted = PROBES[1], House(data=DataRole.SHIFTED)
    untouched = House(draws=1000)
    assert sizes.kept([noise, CLEAN, untouched], items, 10, 0) == ("outputs", "outputs", "comparisons")
    with pytest.raises(AuditError, match="needs shifted data, and there are none"):
        sizes.kept([CLEAN, shifted], items, 10, 0)


def test_the_plan_says_what_reuse_is_lost_and_how_much_is_stored(invoke: Command, world: World) -> None:
    other = within_nothing(world)
    noisy(other)
    told = invoke("plan", other.audit, "--go-on").stdout
    assert "Under 3 of 4 probes it holds only how the models compare" in told
    said = invoke("run", other.audit, "--no-pdf", "--out", "elsewhere").stderr
    assert "another candidate has to run its reference again" in said
    assert "holds only how the models compare" in (other.out / "certificate.html").read_text()


def test_what_the_planner_counts_is_what_the_ledger_takes(tmp_path: Path) -> None:
    n = 4000
    world = World(tmp_path / "w", Scores(np.arange(n) % CLASSES, *np.zeros((2, n, CLASSES), np.int64)))
    other = within_nothing(world)
    noisy(other)
    fixed = plan.load(other.out)
    whole = next(fixed.keys(Role.CANDIDATE, fixed.plan.probes[0]))
    sizes = {path.stem: path.stat().st_size for path in (other.out / "ledger" / "observations").iterdir()}
    assert sizes[whole] == pytest.approx(n * (FLOAT * CLASSES + ROW), rel=0.05)
    assert max(sizes.values()) == pytest.approx(n * (COMPARED + ROW), rel=0.05)
