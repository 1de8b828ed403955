"""What the engine promises of attacks: made once, kept whole or compared, resumed, reused, planned and told."""

import json
from pathlib import Path

import pytest

from audit import api, digest, plan
from audit.evidence import Body, Evidence
from audit.findings import Finding, Missing, PairedDifference
from audit.types import Claim, Criterion, Policy, Role, Sense, Verdict
from audit.verdict import decide
from tests.conftest import Command
from tests.world import World, network, weights

SETTINGS = """
[settings.adversarial]
items = 300
levels = [2, 64]
queries = 6
steps = 2
targets = 2
"""
CLAIM = "adversarial.drop@level={}/255,norm=linf"


def attacked(folder: Path) -> World:
    """A world whose policy limits losses under attack."""
    world = World(folder)
    world.policy.write_text(
        world.policy.read_text().replace('"integrity"]', '"integrity", "adversarial"]').replace(
            "\n[[criterion]]", SETTINGS + "\n[[criterion]]", 1
        )
    )  # fmt: skip
    for level in (2, 64):
        world.require(CLAIM.format(level), 10.0, "points")
    return world


def run(world: World, out: str = "out", **options: object) -> Evidence:
    return api.run(world.audit, out=world.folder / out, pdf=False, **options).evidence  # type: ignore[arg-type]


def canonical(body: Body) -> bytes:
    return digest.canonical(body.model_dump(mode="json"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Evidence]:
    world = attacked(tmp_path_factory.mktemp("attacked") / "world")
    return world, run(world)


def test_attacks_are_made_on_the_first_items_and_told(whole: tuple[World, Evidence]) -> None:
    world, evidence = whole
    # The candidate also reads the second row, twice as strongly: what 64/255 can do there outweighs what is shown.
    decided = {each.claim: (each.verdict, each.estimate) for each in evidence.body.decisions}
    verdict, estimate = decided[CLAIM.format(64)]
    assert decided[CLAIM.format(2)] == ("PASS", 0.0)
    assert verdict == "FAIL" and estimate is not None and estimate > 95
    sample = next(data for data in evidence.body.data if data.role == "sample:300")
    assert sample.items == 300 and sample.sha256 != evidence.body.data[0].sha256
    made = [probe for probe in evidence.body.plan.probes if probe.target]
    assert {probe.data for probe in made} == {"sample:300"}
    assert {(probe.name.split(" on ")[0], probe.target) for probe in made} == {
        (f"{kind} attack", role)
        for kind in ("white-box", "black-box", "transfer")
        for role in ("reference", "candidate")
    }
    assert set(evidence.run.attacks) == {probe.name for probe in made}
    assert all(milliseconds > 0 for milliseconds in evidence.run.attacks.values())
    page = (world.out / "certificate.html").read_text(encoding="utf-8")
    assert 'id="attacks"' in page and "Signs of hidden gradients:</b> none." in page and "Test sample" in page


def test_what_is_only_compared_comes_out_the_same(whole: tuple[World, Evidence]) -> None:
    world, evidence = whole
    world.audit.write_text("ledger_budget = 0\n" + world.audit.read_text())
    try:
        other = run(world, "compared").body
    finally:
        world.audit.write_text(world.audit.read_text().removeprefix("ledger_budget = 0\n"))
    assert {probe.kept for probe in other.plan.probes if probe.target} == {"comparisons"}
    assert (other.findings, other.decisions) == (evidence.body.findings, evidence.body.decisions)


class StopError(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("after", [3, 9])
def test_a_resumed_run_is_the_same(whole: tuple[World, Evidence], tmp_path: Path, after: int) -> None:
    world, evidence = whole
    seen = 0

    def stop(what: str, done: int, total: int) -> None:
        nonlocal seen
        seen += " attack on " in what
        if seen > after:
            raise StopError

    with pytest.raises(StopError):
        api.run(world.audit, out=tmp_path / "out", pdf=False, progress=stop)
    again = api.run(world.audit, out=tmp_path / "out", pdf=False).evidence
    assert canonical(again.body) == canonical(evidence.body)
    assert sum(again.run.passes.values()) <= sum(evidence.run.passes.values())


def test_what_was_made_on_the_reference_is_lent_and_what_was_made_on_another_candidate_is_not(
    whole: tuple[World, Evidence], tmp_path: Path
) -> None:
    world, evidence = whole
    other = attacked(tmp_path / "other")
    network(other.candidate, weights(second=19.0))
    lent = run(other, reuse=[world.folder / "out"])
    probes, rows = evidence.body.plan.probes, 300
    made_on_reference = sum(probe.target == "reference" for probe in probes)
    # The whole test set, the sample as it is, and what was made on the reference: seen by the reference before.
    assert evidence.run.passes["reference"] - lent.run.passes["reference"] == 400 + rows * (1 + made_on_reference)
    assert lent.run.passes["candidate"] == evidence.run.passes["candidate"]
    assert not [name for name in lent.run.attacks if "on the candidate" not in name and "on the reference" not in name]


def test_how_outputs_are_declared_is_part_of_what_attacks_are_known_by(whole: tuple[World, Evidence]) -> None:
    """It decides whether an attack goes through logarithms."""
    world, _ = whole
    fixed = plan.load(world.out)
    other = fixed.model_copy(
        update={
            "models": tuple(
                model.model_copy(update={"adapter": model.adapter.model_copy(update={"outputs": "probabilities"})})
                for model in fixed.models
            )
        }
    )
    for probe in fixed.plan.probes:
        same = list(fixed.keys(Role.REFERENCE, probe)) == list(other.keys(Role.REFERENCE, probe))
        assert same is (probe.target is None)


def test_lanes_change_nothing(whole: tuple[World, Evidence], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, evidence = whole
    monkeypatch.setattr("audit.runtime.lanes", lambda **_: 3)
    monkeypatch.setattr("audit.runtime.threads", lambda lanes: evidence.body.models[0].runtime["threads"])
    assert canonical(run(world, str(tmp_path / "lanes")).body) == canonical(evidence.body)


def test_plan_says_what_attacks_cost(whole: tuple[World, Evidence], command: Command) -> None:
    world, evidence = whole
    told = json.loads(command("plan", world.audit, "--json", "--go-on").stdout)
    most = {"reference": 0, "candidate": 0}
    for probe in evidence.body.plan.probes:
        if probe.target:
            most[probe.target] += 300 * (probe.passes[0] + 2 * probe.passes[1])
    assert told["attack_passes"] == most
    drop = next(each for each in told["criteria"] if each["claim"] == CLAIM.format(2))
    assert drop["n"] == 300
    assert "attacks         at most as long as" in command("plan", world.audit, "--go-on").stdout


def test_no_item_costs_more_than_was_planned(whole: tuple[World, Evidence]) -> None:
    world, _ = whole
    from pyarrow import parquet

    fixed = plan.load(world.out)
    probes = [probe for probe in fixed.plan.probes if probe.target]
    for probe in probes:
        for key in fixed.keys(next(iter(fixed.shown(probe))), probe):
            table = parquet.read_table(next((world.out / "ledger").rglob(f"{key}*"))).to_pydict()
            assert max(table["forward"]) <= probe.passes[0] and max(table["backward"]) <= probe.passes[1]


def test_judging_again_needs_no_network(whole: tuple[World, Evidence], tmp_path: Path) -> None:
    world, evidence = whole
    assert canonical(api.judge(world.out, out=tmp_path / "judged", pdf=False).evidence.body) == canonical(evidence.body)


def test_a_partial_run_attacks_no_more_items_than_it_has(whole: tuple[World, Evidence], tmp_path: Path) -> None:
    from audit.portion import Portion

    world, _ = whole
    body = api.run(world.audit, out=tmp_path / "out", pdf=False, portion=Portion(limit=50)).evidence.body
    assert next(data for data in body.data if data.role == "sample:300").items == 50
    assert body.verdict.overall == "NOT EVALUATED"


def test_a_doubted_finding_can_fail_and_not_pass() -> None:
    claim, why = Claim("adversarial.drop"), Missing("gradient-masking", "it hides something")
    rule = Policy("p", 0.05, frozenset({Verdict.PASS}), 0.7, (Criterion(claim, Sense.AT_MOST, 0.05),))
    good, bad = PairedDifference(1, 1, 1000), PairedDifference(300, 1, 1000)
    doubted = decide(rule, {claim: Finding(claim, good, doubt=why)}).parts[0]
    assert (doubted.verdict, doubted.reason, doubted.detail) == (
        Verdict.NOT_EVALUATED, "gradient-masking", "it hides something",
    )  # fmt: skip
    assert doubted.p_pass is None
    assert decide(rule, {claim: Finding(claim, bad, doubt=why)}).overall is Verdict.FAIL
    assert decide(rule, {claim: Finding(claim, good)}).overall is Verdict.PASS
    adverse = {claim: Finding(claim, good, doubt=why)}
    assert decide(rule, {claim: Finding(claim, good)}, adverse).overall is Verdict.CONDITIONAL_PASS


def test_items_that_are_no_images_are_not_attacked() -> None:
    from audit.contracts import Context
    from audit.types import TaskKind
    from checks.adversarial import Adversarial

    assert Adversarial().ask(Context(("a", "b"), images=False)).claims == ()
    assert Adversarial().ask(Context(("a", "b"), task=TaskKind.SEGMENTATION)).claims == ()
    assert Adversarial().ask(Context(("a", "b"))).gradients
