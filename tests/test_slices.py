"""What an average hides: items in the rain, at one site, or both, told apart by what the user says of them."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

import audit
from audit import digest, plan, preparation
from audit.contracts import Condition, Context, Probe
from audit.dataset import Attribute
from audit.errors import AuditError
from audit.evidence import Body, DecisionRecord, FindingRecord
from audit.findings import BoundedMean, Missing, PairedDifference
from audit.portion import Portion
from audit.traces import Trace
from audit.types import Claim, DataRole, Scope
from checks.perturbations.clean import CLEAN, Clean
from checks.slices import Slices
from tests.conftest import Command
from tests.world import CRITERION, SIDE, Items, World, network, weights

RAIN, DRY = ("attribute=weather,value=rain", "attribute=weather,value=dry")
DROP = "slices.accuracy_drop@{}"
ITEMS = Items(n=1000, errors=20, harm=20)
WET = slice(20, 60)
"""Items in the rain: on the first half of them the candidate of `ITEMS` is wrong, and on no other."""


def weather(n: int = 1000, wet: slice = WET) -> list[str]:
    found = np.full(n, "dry ")
    found[wet] = "rain"
    return [str(each).strip() for each in found]


def described(world: World, order: Sequence[int] | None = None, **attributes: Sequence[object]) -> World:
    """Write a CSV that says these things of the items, its rows in this order, and name it in the audit file."""
    count = len(next(iter(attributes.values())))
    rows = [",".join(map(str, (item, *(each[item] for each in attributes.values())))) for item in range(count)]
    text = "\n".join([",".join(["item", *attributes]), *(rows[item] for item in order or range(count))])
    (world.folder / "attributes.csv").write_text(text + "\n")
    if "attributes" not in world.audit.read_text():
        world.audit.write_text(world.audit.read_text() + 'attributes = "attributes.csv"\n')
    return world


def looking(world: World, more: str = "", settings: str = "", policy: str = "") -> World:
    """With the check, and further ones, among those of the policy."""
    text = world.policy.read_text().replace('"integrity"]', f'"integrity", "slices"{more}]')
    rules, at, criteria = text.partition("\n[[criterion]]")
    world.policy.write_text(rules + settings + at + criteria + policy)
    return world


def audited(world: World, **options: object) -> Body:
    return audit.run(world.audit, pdf=False, **options).evidence.body  # type: ignore[arg-type]


def found(body: Body, claim: str) -> FindingRecord:
    return next(finding for finding in body.findings if finding.claim == claim)


def decided(body: Body, claim: str) -> DecisionRecord:
    return next(decision for decision in body.decisions if decision.claim == claim)


def sliced(body: Body) -> dict[str, FindingRecord]:
    return {finding.claim: finding for finding in body.findings if finding.claim.startswith("slices.")}


def limit(claim: str, at_most: float = 10.0, unit: str = "points", more: str = "") -> str:
    return CRITERION.format(claim=claim, limit=at_most, unit=unit) + more


@pytest.fixture
def rainy(tmp_path: Path) -> World:
    """A candidate that fails in the rain alone."""
    return described(World(tmp_path / "rainy", ITEMS, limit=4.0), weather=weather())


def test_a_candidate_that_fails_in_the_rain_alone_fails_by_that_name(rainy: World) -> None:
    body = audited(looking(rainy, policy=limit(DROP.format(RAIN)) + limit(DROP.format(DRY))))
    verdicts = {part.claim: part.verdict for part in body.decisions if part.claim.endswith(("drop", "rain", "dry"))}
    assert verdicts == {"accuracy.drop": "PASS", DROP.format(RAIN): "FAIL", DROP.format(DRY): "PASS"}
    assert found(body, DROP.format(RAIN)).statistic == {"kind": "paired-difference", "b": 20, "c": 0, "n": 40}
    assert found(body, DROP.format(DRY)).statistic == {"kind": "paired-difference", "b": 0, "c": 0, "n": 960}
    assert found(body, f"slices.negative_flips@{RAIN}").statistic == {"kind": "proportion", "k": 20, "n": 40}
    assert found(body, f"slices.positive_flips@{RAIN}").statistic == {"kind": "proportion", "k": 0, "n": 40}
    role = "slices.accuracy@attribute=weather,role={},value=rain"
    assert [found(body, role.format(each)).estimate for each in ("reference", "candidate")] == [100, 50]
    worst = found(body, "slices.worst_drop")
    assert (worst.estimate, worst.n, worst.statistic["kind"]) == (50, 1000, "exact")


def test_a_copy_of_the_reference_loses_nothing_anywhere(rainy: World) -> None:
    rainy.candidate.write_bytes(rainy.reference.read_bytes())
    described(rainy, weather=weather(), site=["north", "south"] * 500)
    body = audited(looking(rainy, ', "noise"', policy=limit(DROP.format("attribute=*,value=*"), 20.0)))
    changes = {claim: each.estimate for claim, each in sliced(body).items() if "drop" in claim or "flips" in claim}
    assert len(changes) == 6 * 3 + 1 + 4 * 8
    assert set(changes.values()) == {0}
    assert body.verdict.overall == "PASS"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A finished audit with attributes; what alters it copies it."""
    world = World(tmp_path_factory.mktemp("finished") / "world", ITEMS, limit=4.0)
    described(world, weather=weather(), site=["north", "south"] * 500)
    looking(world, ', "noise"', policy=limit(DROP.format(RAIN)))
    audited(world)
    return world


def evidence(folder: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((folder / "evidence.json").read_text())
    return loaded


def test_the_evidence_says_what_was_said_of_the_items(finished: World, command: Command) -> None:
    content = evidence(finished.out)
    test = Body.model_validate(content["body"]).data[0]
    assert [(each.name, each.values, each.items) for each in test.attributes] == [
        ("site", ("north", "south"), (500, 500)),
        ("weather", ("dry", "rain"), (960, 40)),
    ]
    jsonschema.validate(content, json.loads(command("schema", "evidence").stdout))


def test_the_folder_of_an_audit_is_judged_without_its_data(finished: World, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished.out, tmp_path / "copy"))
    assert not list(copy.rglob("*.csv")) and not list(copy.rglob("*.npz"))
    assert audit.judge(copy, pdf=False).evidence.id == evidence(finished.out)["id"]


def test_the_certificate_names_the_slice_that_lost_most(finished: World) -> None:
    page = (finished.out / "certificate.html").read_text()
    section = page[page.index('<h2 id="slices">') :].partition("</section>")[0]
    clean, _, elsewhere = section.partition('<h3 id="slice-conditions">')
    first = clean[clean.index("<tbody>") :].partition("</tr>")[0]
    assert re.findall(r"<bdi>(\w+)</bdi>", first) == ["weather", "rain"]
    assert "100.00 → 50.00" in first and "FAIL" in first
    assert "<bdi>weather = rain</bdi>" in elsewhere
    assert "<bdi>north</bdi> + <bdi>rain</bdi>" not in clean, "a pair of 20 items"
    assert "slices.accuracy" not in page[page.index('<h2 id="others">') :].partition("</section>")[0]


def altered(folder: Path, change: str, *, sealed: bool) -> Path:
    """A copy of an audit whose plan says something else of the items."""
    path = folder / "plan.json"
    content = json.loads(path.read_text())
    fixed = content["plan"]
    site, rain = fixed["data"][0]["attributes"]
    match change:
        case "codes":
            text = Attribute.of_text("weather", tuple(rain["values"]), fixed["attributes"]["weather"])
            codes = text.codes.copy()
            codes[WET] = 0
            fixed["attributes"]["weather"] = Attribute("weather", text.values, codes).text
        case "swapped":
            fixed["attributes"]["weather"] = fixed["attributes"]["site"]
        case "values":
            rain["values"] = ["rain", "dry"]
        case "gone":
            del fixed["attributes"]["weather"]
        case "beyond":
            site["values"] = site["values"][:1]
    content["sha256"] = digest.of_json(fixed) if sealed else content["sha256"]
    path.write_bytes(digest.canonical(content))
    return folder


@pytest.mark.parametrize("change", ["codes", "swapped", "values", "gone", "beyond"])
@pytest.mark.parametrize("sealed", [False, True])
def test_whoever_changes_the_rain_afterwards_is_refused(
    finished: World, tmp_path: Path, change: str, sealed: bool
) -> None:
    copy = Path(shutil.copytree(finished.out, tmp_path / "copy"))
    with pytest.raises(AuditError, match=r"was altered|codes beyond 1 values") as caught:
        audit.judge(altered(copy, change, sealed=sealed), pdf=False)
    assert caught.value.code == 2


def test_a_run_that_goes_on_says_the_same_and_another_description_is_another_audit(
    finished: World, tmp_path: Path
) -> None:
    world = World(tmp_path / "w", ITEMS, limit=4.0)
    shutil.copytree(finished.folder, world.folder, dirs_exist_ok=True)
    rows = np.random.default_rng(0).permutation(1000).tolist()
    described(world, rows, site=["north", "south"] * 500, weather=weather())
    again = audit.run(world.audit, pdf=False).evidence
    assert again.id == evidence(finished.out)["id"]
    assert again.run.passes == {"reference": 0, "candidate": 0}
    described(world, site=["north", "south"] * 500, weather=weather(wet=slice(20, 61)))
    with pytest.raises(AuditError, match=r"holds another audit \(its attributes\.weather differs\)"):
        audit.run(world.audit, pdf=False)
    other = audit.run(world.audit, pdf=False, out=tmp_path / "other", reuse=[world.out]).evidence
    assert other.run.passes == {"reference": 0, "candidate": 0}
    assert found(other.body, DROP.format(RAIN)).n == 41


def test_a_closer_look_costs_no_pass(finished: World, tmp_path: Path) -> None:
    world = World(tmp_path / "w", ITEMS, limit=4.0)
    world.policy.write_text(world.policy.read_text().replace('"integrity"]', '"integrity", "noise"]'))
    plain = audit.run(world.audit, pdf=False).evidence
    closer = evidence(finished.out)
    assert closer["run"]["passes"] == plain.run.passes  # type: ignore[index]
    assert Body.model_validate(closer["body"]).plan.probes == plain.body.plan.probes


def test_an_audit_says_the_same_before_and_after(finished: World) -> None:
    """What checks are asked with does not hang on whether the data are there."""
    again = preparation.context_of(plan.load(finished.out)).attributes
    assert [(each.name, each.values) for each in again] == [("site", ("north", "south")), ("weather", ("dry", "rain"))]
    assert again[1].codes.tolist() == [int(each == "rain") for each in weather()]


def test_crossings_of_two_are_looked_at_where_they_have_items(tmp_path: Path) -> None:
    world = World(tmp_path / "w", ITEMS, limit=4.0)
    site = ["north"] * 30 + ["south"] * 970
    described(world, weather=weather(), site=site, rig=["a"] * 999 + ["b"])
    body = audited(looking(world, settings="\n[settings.slices]\nleast = 10\n"))
    crossed = {claim for claim in sliced(body) if claim.startswith("slices.accuracy_drop") and "+" in claim}
    assert crossed == {
        DROP.format(f"attribute={names},value={values}")
        for names, values in [
            ("rig+site", "a+north"), ("rig+site", "a+south"), ("rig+weather", "a+dry"), ("rig+weather", "a+rain"),
            ("site+weather", "north+dry"), ("site+weather", "north+rain"), ("site+weather", "south+dry"),
            ("site+weather", "south+rain"),
        ]
    }  # fmt: skip
    statistic = found(body, DROP.format("attribute=site+weather,value=north+rain")).statistic
    assert statistic == {"kind": "paired-difference", "b": 10, "c": 0, "n": 10}
    assert found(body, DROP.format("attribute=rig,value=b")).n == 1
    small = {claim: each.estimate for claim, each in sliced(body).items() if "small_crossings" in claim}
    name = "slices.small_crossings@attribute={}"
    assert small == {name.format("rig+site"): 1, name.format("rig+weather"): 1, name.format("site+weather"): 0}


def test_the_settings_say_which_attributes_and_whether_they_are_crossed(tmp_path: Path) -> None:
    world = World(tmp_path / "w", ITEMS, limit=4.0)
    described(world, weather=weather(), site=["north", "south"] * 500, rig=["a", "b"] * 500)
    settings = '\n[settings.slices]\nattributes = ["weather", "rig"]\ncrossings = false\n'
    scopes = [dict(Claim.parse(claim).scope) for claim in sliced(audited(looking(world, settings=settings)))]
    assert {scope["attribute"] for scope in scopes if scope} == {"weather", "rig"}


CONDITIONS = "\n[settings.noise]\nuniform = [8]\ngaussian = [8]\ndraws = {}\n"


@pytest.mark.parametrize(("draws", "kind"), [(1, "paired-difference"), (2, "bounded-mean")])
def test_the_loss_is_looked_at_under_every_condition_of_the_test_items(rainy: World, draws: int, kind: str) -> None:
    Items(n=300, seed=7).save(rainy.folder / "night.npz")
    rainy.audit.write_text(rainy.audit.read_text() + '\n[data.shifted.night]\npath = "night.npz"\n')
    settings = CONDITIONS.format(draws) + '\n[settings.corruption]\ncorruptions = ["fog"]\nseverities = [1]\n'
    body = audited(looking(rainy, ', "noise", "corruption", "shift"', settings))
    conditions = {
        tuple((key, value) for key, value in Claim.parse(claim).scope if key not in ("attribute", "value"))
        for claim in sliced(body)
        if claim.startswith("slices.accuracy_drop")
    }
    noises = {(("level", "8/255"), ("noise", kind)) for kind in ("uniform", "gaussian")}
    assert conditions == {(), (("corruption", "fog"), ("severity", "1")), *noises}
    under = found(body, DROP.format("attribute=weather,level=8/255,noise=uniform,value=rain"))
    assert (under.n, under.statistic["kind"], under.estimate) == (40, kind, 50)


def test_ready_made_corrupted_items_are_those_that_something_is_said_of(rainy: World) -> None:
    """Each set is judged in an order of its own; the candidate breaks in the rain, and in the fog on other items."""
    x, y = Items(n=1000, errors=20).arrays()
    dry = np.arange(100, 130)
    blocks = []
    for severity in range(1, 6):
        foggy = x.copy()
        foggy[:, 5] = np.random.default_rng(severity).integers(0, 256, x[:, 5].shape)
        foggy[dry, 1, (y[dry] + 1) % 4, 0] = 255
        blocks.append(foggy)
    (rainy.folder / "corrupted").mkdir()
    np.save(rainy.folder / "corrupted" / "fog.npy", np.concatenate(blocks))
    np.save(rainy.folder / "corrupted" / "labels.npy", y)
    rainy.audit.write_text(rainy.audit.read_text() + '\n[data.corrupted]\npath = "corrupted"\n')
    body = audited(looking(rainy, ', "corruption"', '\n[settings.corruption]\ncorruptions = ["fog"]\n'))
    cell = DROP.format("attribute=weather,corruption=fog,severity=2,value={}")
    assert found(body, cell.format("rain")).statistic == {"kind": "paired-difference", "b": 0, "c": 0, "n": 40}
    assert found(body, cell.format("dry")).statistic == {"kind": "paired-difference", "b": 30, "c": 0, "n": 960}
    part = audited(rainy, portion=Portion(limit=500), out=rainy.folder / "part")
    assert found(part, cell.format("rain")).missing == "no-attributes"  # another sample than that of the test set


def test_a_reference_that_fails_in_a_slice_proves_nothing_there(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=1000, errors=50), limit=4.0)
    described(world, weather=weather(wet=slice(10, 60)))
    body = audited(looking(world, policy=limit(DROP.format(RAIN)) + limit(f"slices.negative_flips@{RAIN}", unit="%")))
    assert decided(body, "accuracy.drop").verdict == "PASS"
    for claim in (DROP.format(RAIN), f"slices.negative_flips@{RAIN}"):
        part = decided(body, claim)
        assert (part.verdict, part.reason) == ("NOT EVALUATED", "reference-floor")
        assert "the reference's own accuracy in that slice, 20.00 %" in part.detail


def test_networks_that_noise_drives_to_one_class_pass_in_no_slice_of_that_class(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=400, errors=0))
    x, y = world.items.arrays()
    x[:, -1, :, 2] = 0
    np.savez(world.data, x=x, y=y)
    described(world, kind=[f"class {label}" for label in y])
    drawn = np.zeros((3, SIDE, SIDE, 4), np.float32)
    drawn[2, -1, :, 1] = 2000.0  # pixels that are black but for noise
    for path in (world.reference, world.candidate):
        network(path, weights() + drawn.reshape(-1, 4))
    claim = DROP.format("attribute=kind,level=8/255,noise=uniform,value=class 1")
    body = audited(looking(world, ', "noise"', CONDITIONS.format(1), limit(claim, 20.0)))
    assert found(body, claim).estimate == 0
    assert decided(body, claim).reason == "reference-floor"


@pytest.mark.parametrize("said", [True, False])
def test_an_attribute_that_nobody_gave_is_refused(invoke: Command, world: World, said: bool) -> None:
    if said:
        described(world, site=["north", "south"] * 200)
    looking(world, settings='\n[settings.slices]\nattributes = ["weather"]\n')
    result = invoke("run", world.audit)
    assert (result.returncode, world.out.exists()) == (2, False)
    assert "nothing is said of the weather of the test items" in result.stderr
    assert ("There are site." if said else "Add attributes to [data.test].") in result.stderr


def test_where_nothing_is_said_of_the_items_nothing_is_promised(world: World) -> None:
    body = audited(looking(world))
    assert not sliced(body) and not body.data[0].attributes
    assert "attributes" not in (world.out / "evidence.json").read_text() + (world.out / "plan.json").read_text()


def test_a_limit_on_a_slice_that_is_none_is_refused(rainy: World) -> None:
    with pytest.raises(AuditError, match="names no claim of this audit"):
        audited(looking(rainy, policy=limit(DROP.format("attribute=weather,value=snow"))))


POSSIBLE = "where_possible = true\n"


def test_a_limit_where_possible_is_left_out_by_name_where_nothing_is_said(world: World) -> None:
    claim = DROP.format("attribute=*,value=*")
    body = audited(looking(world, policy=limit(claim, more=POSSIBLE)))
    assert body.policy.left_out == (claim,)
    assert f"{claim}: limited by the policy, and not possible with the data given" in body.not_covered


@pytest.mark.parametrize("scope", ["attribute=weather,value=Rain", "attribute=wether,value=rain"])
def test_a_slice_that_is_misspelt_is_no_slice_that_is_not_possible(rainy: World, scope: str) -> None:
    with pytest.raises(AuditError, match="names no claim of this audit"):
        audited(looking(rainy, policy=limit(DROP.format(scope), more=POSSIBLE)))


def test_of_a_slice_the_plan_counts_its_own_items(rainy: World, invoke: Command) -> None:
    described(rainy, weather=weather(), site=["north", "south"] * (len(weather()) // 2))
    looking(rainy, policy=limit(DROP.format(RAIN)) + limit(DROP.format("attribute=site+weather,value=north+dry")))
    result = invoke("plan", rainy.audit, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    counts = {each["claim"]: each["n"] for each in told["criteria"] if each["claim"].startswith("slices.")}
    assert counts == {
        DROP.format(RAIN): weather().count("rain"),
        DROP.format("attribute=site+weather,value=north+dry"): weather()[::2].count("dry"),
    }


def test_settings_on_attributes_take_no_excuse_from_other_checks(rainy: World) -> None:
    """What the other checks could promise elsewhere is known all the same."""
    settings = '\n[settings.slices]\nattributes = ["weather"]\n'
    policy = limit(DROP.format("attribute=*,value=*"), 60.0, more=POSSIBLE) + limit(
        "accuracy.drop@shift=*", more=POSSIBLE
    )
    body = audited(looking(rainy, ', "shift"', settings, policy))
    assert body.policy.left_out == ("accuracy.drop@shift=*",)
    assert {part.claim for part in body.decisions} >= {DROP.format(RAIN), DROP.format(DRY)}


def test_no_name_passes_for_another_claim(tmp_path: Path) -> None:
    world = World(tmp_path / "w", Items(n=400), limit=4.0)
    described(world, **{"a+b": ["x+y", "*"] * 200, "a": ["x", "role=reference"] * 200, "b": ["y"] * 399 + ["%2C"]})
    body = audited(looking(world, policy=limit(DROP.format("attribute=a%2Bb,value=x%2By"))))
    assert decided(body, DROP.format("attribute=a%2Bb,value=x%2By")).n == 200
    claims = [Claim.parse(claim) for claim in sliced(body)]
    assert len(set(claims)) == len(claims) and [claim.id for claim in claims] == list(sliced(body))
    values = {
        dict(claim.scope)["value"] for claim in claims if dict(claim.scope).get("attribute") in ("a", "b", "a%2Bb")
    }
    assert values == {"x%2By", "%2A", "x", "role%3Dreference", "y", "%252C"}
    assert found(body, DROP.format("attribute=a+b,value=x+y")).n == 200


def test_a_part_of_the_items_keeps_every_slice_and_says_which_are_empty(rainy: World) -> None:
    described(rainy, weather=weather(wet=slice(0, 2)))
    body = audited(looking(rainy, policy=limit(DROP.format(RAIN))), portion=Portion(limit=50))
    counts = dict(zip(*((body.data[0].attributes[0].values, body.data[0].attributes[0].items)), strict=True))
    assert counts == {"dry": 50, "rain": 0}
    assert found(body, DROP.format(RAIN)).missing == "empty-slice"
    assert found(body, DROP.format(RAIN)).detail == "no item of these has attribute=weather,value=rain"
    assert found(body, "slices.worst_drop").missing == "empty-slice"
    assert found(body, DROP.format(DRY)).n == 50


def test_what_a_left_out_check_shows_stays_promised(rainy: World) -> None:
    body = audited(looking(rainy, ', "noise"'), portion=Portion(skip=("noise",)))
    under = found(body, DROP.format("attribute=weather,level=8/255,noise=uniform,value=rain"))
    assert under.missing == "skipped"
    assert found(body, DROP.format(RAIN)).n == 40


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attributes": ["weather", "weather"]}, "names an attribute twice"),
        ({"least": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(rainy: World, settings: dict[str, object], said: str) -> None:
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    with pytest.raises(AuditError, match=said):
        audited(looking(rainy, settings=f"\n[settings.slices]\n{lines}"))


def coded(name: str, codes: Sequence[int], count: int) -> Attribute:
    return Attribute(name, tuple(f"v{code}" for code in range(count)), np.asarray(codes, np.uint16))


def test_there_is_a_limit_to_slices() -> None:
    context = Context(("a", "b"), attributes=(coded("one", range(400), 400), coded("two", range(400), 400)))
    with pytest.raises(AuditError, match=r"make \d+ claims, more than 20000"):
        Slices(least=1).ask(Context(("a", "b"), attributes=tuple(coded(n, range(1000), 1000) for n in "abcde")))
    assert len(Slices().ask(context).claims) == 2 * 400 * 5 + 2


@dataclass(frozen=True)
class Ledger:
    """What both models left, the same under every probe, and which values the items have in their order there."""

    trace_: Trace
    attributes: tuple[Attribute, ...]

    def trace(self, probe: Probe) -> Trace:
        return self.trace_

    def attribute(self, probe: Probe, name: str) -> NDArray[np.uint16] | Missing:
        return next(each.codes for each in self.attributes if each.name == name)


SHARES = st.floats(0, 1, width=32)


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=60),
    st.integers(1, 3),
    st.booleans(),
)
def test_the_slices_of_an_attribute_make_up_the_whole(
    rows: list[tuple[bool, bool, int, int]], draws: int, masks: bool
) -> None:
    """Whatever is lost is lost in some slice of each attribute, and in some crossing; over draws and pixels too."""
    dtype = np.float64 if masks else np.bool_
    right = [np.asarray([row[side] for row in rows for _ in range(draws)], dtype) for side in (0, 1)]
    lost, won = (np.asarray(one * (1 - other), dtype) for one, other in (right, right[::-1]))
    columns = {"right_reference": right[0], "right_candidate": right[1], "lost": lost, "won": won}
    given_ = coded("a", [row[2] for row in rows], 3), coded("b", [row[3] for row in rows], 2)
    noise = Condition((("noise", "n"),), Clean(DataRole.TEST))
    context = Context(("x", "y"), attributes=given_, conditions=(noise,))
    check = Slices(least=1)
    findings = {each.claim: each for each in check.measure(context, Ledger(Trace(columns, draws), given_))}  # type: ignore[arg-type]
    assert set(findings) == set(check.ask(context).claims)
    for names in ("a", "b", "a+b"):
        for more in ((), noise.scope) if "+" not in names else ((),):
            whole = sum(row[0] - row[1] for row in rows)
            assert whole == pytest.approx(sum(lost_of(findings, names, more)))


def lost_of(findings: dict[Claim, object], names: str, more: Scope) -> list[float]:
    """Items lost, net, in each slice of an attribute or of a pair."""
    totals = []
    for claim, finding in findings.items():
        scope = dict(claim.scope)
        if claim.metric == "slices.accuracy_drop" and scope["attribute"] == names and ("noise" in scope) is bool(more):
            statistic = finding.statistic  # type: ignore[attr-defined]
            assert isinstance(statistic, PairedDifference | BoundedMean | Missing)
            totals.append(0.0 if isinstance(statistic, Missing) else statistic.estimate * statistic.n)
    return totals


def test_the_check_asks_for_nothing_but_clean_items() -> None:
    noise = Condition((("noise", "n"),), Clean(DataRole.SHIFTED))
    asked = Slices().ask(Context(("x", "y"), attributes=(coded("a", [0, 1], 2),), conditions=(noise,)))
    assert asked.probes == (CLEAN,)
    assert not [claim for claim in asked.claims if "noise" in dict(claim.scope)]


def module(read: NDArray[np.float32]) -> nn.Module:
    """A network of the world in torch."""
    linear = nn.Linear(*read.shape, bias=False)
    linear.weight.data = torch.from_numpy(read.T.copy())
    return nn.Sequential(nn.Flatten(), linear)


def test_modules_in_memory_have_slices_too(tmp_path: Path) -> None:
    result = audit.compare(
        *map(module, ITEMS.networks()), ITEMS.arrays(), attributes={"weather": weather()}, policy_name="screening",
        out=tmp_path / "out", pdf=False,
    )  # fmt: skip
    assert found(result.evidence.body, DROP.format(RAIN)).estimate == 50.0
