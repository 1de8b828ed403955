"""Loss by pruning and loss by conversion told apart, where the network that was exported is given."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import audit
from audit import evidence as evidences
from audit import request
from audit.errors import AuditError
from audit.evidence import Body, DecisionRecord, FindingRecord
from audit.findings import Missing
from audit.ledger import Ledger
from audit.parity import Parity
from audit.pipeline import View
from audit.plan import load
from audit.rehearsal import rehearse
from audit.tasks.classification import Classification
from audit.traces import Trace
from audit.types import Role
from checks.perturbations.clean import CLEAN
from checks.perturbations.noise import Noise
from tests.attempts import body
from tests.test_noise import limit, noisy
from tests.world import CANDIDATE, INPUT, REFERENCE, Items, World, network

ORIGIN = '\n[origin]\nmodel = "origin.onnx"\n'
LIMITS = (("conversion.drop", 2.0, "points"), ("conversion.flips", 5.0, "%"), ("pruning.drop", 2.0, "points"))


def origin(world: World, w: NDArray[np.float32], limits: tuple[tuple[str, float, str], ...] = LIMITS) -> World:
    """Let this be what the candidate was exported from, and limit the losses."""
    network(world.folder / "origin.onnx", w)
    world.audit.write_text(world.audit.read_text() + ORIGIN)
    for claim in limits:
        world.require(*claim)
    return world


def view(world: World) -> View:
    return View(load(world.out), Ledger(world.out / "ledger"), Classification())


def found(body: Body, claim: str) -> FindingRecord:
    return next(each for each in body.findings if each.claim == claim)


def decided(body: Body, claim: str) -> DecisionRecord:
    return next(each for each in body.decisions if each.claim == claim)


def test_a_faithful_export_passes(world: World) -> None:
    made = body(origin(world, CANDIDATE))
    assert made.verdict.overall == "PASS"
    assert [model.role for model in made.models] == ["reference", "candidate", "origin"]
    assert found(made, "conversion.output_difference").estimate == 0
    assert found(made, "conversion.softmax_l2").estimate == 0
    assert found(made, "conversion.flips").statistic == {"kind": "proportion", "k": 0, "n": 400}
    assert found(made, "integrity.reload_difference@role=origin").estimate == 0


@pytest.mark.parametrize(
    ("w", "lossy", "faithful"), [(REFERENCE, "conversion", "pruning"), (CANDIDATE, "pruning", "conversion")]
)
def test_what_loses_is_named(tmp_path: Path, w: NDArray[np.float32], lossy: str, faithful: str) -> None:
    """Forty of 400 items break on the way, before or after the export."""
    made = body(origin(World(tmp_path / "w", Items(harm=40)), w))
    assert found(made, f"{lossy}.drop").statistic == {"kind": "paired-difference", "b": 40, "c": 0, "n": 400}
    assert found(made, f"{lossy}.flips").statistic == {"kind": "proportion", "k": 40, "n": 400}
    assert found(made, f"{faithful}.drop").statistic == {"kind": "paired-difference", "b": 0, "c": 0, "n": 400}
    assert (decided(made, f"{lossy}.drop").verdict, decided(made, f"{faithful}.drop").verdict) == ("FAIL", "PASS")
    assert decided(made, "accuracy.drop").verdict == "FAIL"
    difference = found(made, "conversion.output_difference").estimate
    assert difference is not None
    assert (difference > 0) is (lossy == "conversion")


def test_losses_add_up(tmp_path: Path) -> None:
    """The origin hears the second row as the first, and breaks half of the items: by the lower index."""
    w = REFERENCE + (CANDIDATE - REFERENCE) / 2
    made = body(origin(World(tmp_path / "w", Items(n=600, harm=60, gain=4)), w))
    pruning, conversion = (found(made, f"{step}.drop").statistic for step in ("pruning", "conversion"))
    whole = found(made, "accuracy.drop").statistic
    net = [int(each["b"]) - int(each["c"]) for each in (pruning, conversion, whole)]
    assert net[0] > 0 and net[1] > 0 and net[0] + net[1] == net[2]


def test_the_origin_sees_the_clean_items_alone(world: World) -> None:
    origin(world, CANDIDATE)
    made = noisy(world, policy=limit("accuracy.drop@level=*,noise=*"))
    assert made.verdict.overall == "PASS"
    passes = evidences.load(world.out / "evidence.json").run.passes
    assert passes == {"reference": 4 * 400, "candidate": 4 * 400, "origin": 400}
    assert rehearse(request.load(world.audit), world.folder).cost.passes == passes
    unseen = view(world).trace(Noise("uniform", 2.0), to=Role.ORIGIN)
    assert isinstance(unseen, Missing)
    assert unseen.reason == "not-shown"


def test_beyond_the_budget_it_still_sees_them(world: World) -> None:
    origin(world, CANDIDATE)
    world.audit.write_text("ledger_budget = 0\n" + world.audit.read_text())
    made = noisy(world, policy=limit("accuracy.drop@level=*,noise=*"))
    assert made.verdict.overall == "PASS"
    assert found(made, "conversion.flips").estimate == 0
    kept = view(world).trace(Noise("uniform", 2.0), Role.REFERENCE, to=Role.CANDIDATE)
    assert isinstance(kept, Missing)
    assert kept.reason == "not-kept"


def test_judging_again_gives_the_same(world: World) -> None:
    made = body(origin(world, CANDIDATE))
    assert audit.judge(world.out, pdf=False).evidence.body == made


def test_near_ties_between_origin_and_candidate_count_against_the_candidate(world: World) -> None:
    body(origin(world, CANDIDATE))
    plain = view(world)
    agreed = []
    for each in (plain, replace(plain, adverse=True)):
        each._parity = lambda role: Parity(noise=100.0)  # type: ignore[assignment]
        trace = each.trace(CLEAN, to=Role.ORIGIN)
        assert isinstance(trace, Trace)
        agreed.append(trace.columns["agree"].sum())
    assert agreed == [400, 0]


def test_an_origin_that_gives_no_numbers_blocks_what_concerns_it_and_is_shown(world: World) -> None:
    made = body(origin(world, np.full_like(CANDIDATE, np.nan)))
    assert found(made, "integrity.nonfinite@role=origin").estimate == 400
    for claim, _, _ in LIMITS:
        assert (decided(made, claim).verdict, decided(made, claim).reason) == ("NOT EVALUATED", "non-finite")
    assert decided(made, "accuracy.drop").verdict == "PASS"
    assert made.verdict.overall == "NOT EVALUATED"


def test_without_a_limit_on_it_such_an_origin_leaves_the_verdict_alone(world: World) -> None:
    made = body(origin(world, np.full_like(CANDIDATE, np.nan), ()))
    assert made.verdict.overall == "PASS"
    assert found(made, "conversion.drop").missing == "non-finite"


def test_nothing_is_lost_beside_an_origin_that_does_not_work(tmp_path: Path) -> None:
    """Origin and candidate are wrong alike on 40 % of the items."""
    made = body(origin(World(tmp_path / "w", Items(harm=160)), CANDIDATE))
    assert found(made, "conversion.drop").estimate == 0
    part = decided(made, "conversion.drop")
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "origin-floor")


def test_a_faithful_export_alone_lets_nothing_pass(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(harm=60))
    world.policy.write_text(world.policy.read_text().partition("[[criterion]]")[0])
    made = body(origin(world, CANDIDATE, LIMITS[:2]))
    assert {decided(made, claim).verdict for claim, _, _ in LIMITS[:2]} == {"PASS"}
    assert (made.verdict.overall, made.verdict.reason) == ("NOT EVALUATED", "no-required-criterion")


def test_a_claim_on_conversion_needs_an_origin(world: World) -> None:
    world.require(*LIMITS[0])
    with pytest.raises(AuditError, match="names no claim"):
        body(world)


def test_an_origin_of_other_classes_is_refused(world: World) -> None:
    origin(world, CANDIDATE[:, :3])
    with pytest.raises(AuditError, match="The origin must have the classes of its reference"):
        body(world)


def test_saturated_probabilities_tell_no_difference_of_outputs(world: World) -> None:
    origin(world, CANDIDATE, ())
    network(world.candidate, CANDIDATE * 100, softmax=True)
    made = body(world)
    assert found(made, "conversion.output_difference").missing == "saturated-outputs"
    assert found(made, "conversion.flips").estimate == 0


def linear(scale: float) -> nn.Module:
    """The reference of the world, with its logits scaled."""
    layer = nn.Linear(int(np.prod(INPUT)), 4)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.from_numpy(REFERENCE).T)
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)


def test_modules_in_memory_have_an_origin_too(tmp_path: Path) -> None:
    x, y = Items(n=300, errors=6).arrays()
    images = (x.astype(np.float32) / 255).transpose(0, 3, 1, 2)
    made = audit.compare(
        linear(1.0), linear(1.001), (images, y), origin=linear(1.0), policy_name="screening/1", out=tmp_path / "out",
        pdf=False,
    ).evidence.body  # fmt: skip
    assert found(made, "conversion.output_difference").estimate == pytest.approx(0.1, rel=0.05)
    assert found(made, "conversion.flips").estimate == 0
