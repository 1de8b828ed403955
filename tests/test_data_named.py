"""Several data sets of one role: called by name in the audit file, in probes, in the plan, and on the certificate."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import audit
from audit import configuration, digest, sizes
from audit.contracts import Ask, Batch, Context, LedgerView, Perturbed, Rng
from audit.digest import Json
from audit.errors import AuditError
from audit.evidence import Evidence
from audit.findings import Finding, Kind, Metric, Missing
from audit.portion import Portion
from audit.rehearsal import rehearse
from audit.request import AuditFile, load
from audit.types import Claim, DataName, DataRole, Sense, Unit, data_name, label_of, role_of
from checks.accuracy import Accuracy
from checks.functional import Functional
from checks.integrity import Integrity
from checks.methods import differing, share
from checks.perturbations.clean import CLEAN
from checks.perturbations.noise import Noise
from tests.attempts import use
from tests.test_data_corrupted import darker
from tests.world import Items, World

HEAD = '[reference]\nmodel = "a.onnx"\n[candidate]\nmodel = "b.onnx"\n[data.test]\npath = "test.npz"\n'


def parsed(text: str) -> AuditFile:
    return configuration.parse(HEAD + text, "audit.toml", AuditFile)


# Names


def test_a_name_is_a_role_or_a_role_and_a_label() -> None:
    assert data_name(DataRole.SHIFTED, "night") == "shifted:night"
    assert data_name(DataRole.TEST) == DataRole.TEST == "test"
    for name in ("test", "shifted", "shifted:night", "out-of-distribution:svhn", "corrupted:fog:3"):
        assert data_name(role_of(name), label_of(name)) == name
    with pytest.raises(ValueError, match="'night' is not a valid DataRole"):
        role_of("night")


def test_probes_of_the_test_set_are_what_they_were() -> None:
    assert digest.of_json(CLEAN.canonical()) == "fc047310e00770712c087ea2a37451f3a186e6c93abc4c098baf8dff5bb71c5e"
    noise = digest.of_json(Noise("gaussian", 0.1).canonical())
    assert noise == "b3d1861427a08e28f35a6d32b62cdcc28c8b749a63c757d3b8e895cfc3207f43"


# The audit file

UNDERSTOOD = {
    "": ["test"],
    '[data.shifted]\npath = "s"': ["test", "shifted"],
    '[data.shifted.night]\npath = "s"\n[data.shifted."cifar10.1"]\npath = "x.npy"\nlabels = "y.npy"': [
        "test", "shifted:night", "shifted:cifar10.1",
    ],
    '[data.calibration]\npath = "c"\n[data.out_of_distribution.svhn]\npath = "s"': [
        "test", "out-of-distribution:svhn", "calibration",
    ],
    '[data.shifted.arguments]\nfactory = "a:b"': ["test", "shifted:arguments"],
    '[data.shifted]\nfactory = "a:b"\n[data.shifted.arguments]\nnight = true': ["test", "shifted"],
}  # fmt: skip


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_a_role_holds_one_data_set_or_several_by_name(text: str) -> None:
    found = parsed(text)
    assert list(found.data.entries()) == UNDERSTOOD[text]
    for content in (found.model_dump(mode="json"), found.model_dump(mode="json", exclude_unset=True)):
        assert configuration.validate(content, "again", AuditFile) == found


MISTAKEN = {
    '[data.shifted]\npath = "s"\n[data.shifted.night]\npath = "n"': "data.shifted: 'night' stands beside the keys of",
    '[data.shifted."night 1"]\npath = "s"': "audit.toml:7: data.shifted: 'night 1' is no name of a data set",
    '[data.shifted.""]\npath = "s"': "data.shifted: '' is no name of a data set",
    '[data.shifted.":"]\npath = "s"': "data.shifted: ':' is no name of a data set",
    '[data.shifted.night]\npaht = "s"': "audit.toml:8: unknown key 'data.shifted.night.paht'",
    '[data.shifted]\npaht = "s"': "audit.toml:8: unknown key 'data.shifted.paht'",
    "[data.shifted]": "data.shifted: give exactly one of path, torchvision and factory",
    "[data.shifted.night]": "data.shifted.night: give exactly one of path",
    '[data.shifted.night]\nlabels = "y.npy"\nfactory = "a:b"': "data.shifted.night: labels belong to a path",
    '[data.shifted.night]\npath = "s"\n[data.shifted.night]\npath = "t"': "not valid TOML",
    '[data.shifted.night]\npath = "s"\nlayout = "NWHC"': "audit.toml:9: data.shifted.night.layout: Input should be",
    '[data.calibration.night]\npath = "s"': "unknown key 'data.calibration.night'",
    "[data.corrupted]": "'data.corrupted.path' is missing",
    '[data.corrupted.fog]\npath = "s"': "unknown key 'data.corrupted.fog'",
    "[data]\nshifted = 3": "data.shifted: Input should be",
    '[data]\nshifted = "s"': "data.shifted: Input should be",
}


@pytest.mark.parametrize("text", MISTAKEN)
def test_tables_that_are_not_understood_are_refused_by_key(text: str) -> None:
    with pytest.raises(AuditError) as caught:
        parsed(text)
    assert MISTAKEN[text] in caught.value.what


TABLES = ("shifted", "shifted.night", "out_of_distribution", "out_of_distribution.svhn", "calibration")


@pytest.mark.parametrize("table", TABLES)
def test_every_data_set_may_have_bounds_by_feature(table: str) -> None:
    found = parsed(f'[data.{table}]\npath = "s.npz"\nlow = [0, -3.15]\nhigh = [1, 2.5]')
    entry = list(found.data.entries().values())[-1]
    assert (entry.low, entry.high) == ((0.0, -3.15), (1.0, 2.5))


@pytest.mark.parametrize("low", ["true", "[true]", '["0"]', "[nan]", "[[0.0]]"])
@pytest.mark.parametrize("table", TABLES)
def test_bounds_that_are_no_numbers_are_refused(table: str, low: str) -> None:
    with pytest.raises(AuditError, match=rf"data\.{table}\.low"):
        parsed(f'[data.{table}]\npath = "s.npz"\nlow = {low}\nhigh = 1')


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("shifted", "[data.shifted]"),
        ("out-of-distribution:svhn", "[data.out_of_distribution.svhn]"),
        ("shifted:cifar10.1", '[data.shifted."cifar10.1"]'),
        ("corrupted:fog:3", "[data.corrupted]"),
    ],
)
def test_data_that_a_check_needs_are_asked_for_by_their_key(name: DataName, key: str) -> None:
    with pytest.raises(AuditError, match=f"a check needs {name} data, and there are none") as caught:
        sizes.kept([Look(name)], {"test": 400}, 4, 1e9)
    assert caught.value.hint == f"Add {key}."


# Whole audits


@dataclass(frozen=True)
class Look:
    """The items of one data set as they are."""

    data: DataName
    draws: int = 1
    budget: None = None
    min_effect: float = 0.0

    @property
    def name(self) -> str:
        return f"look at {self.data}"

    def canonical(self) -> Mapping[str, Json]:
        return {"probe": "look", "data": str(self.data)}

    def stream(self) -> Mapping[str, Json]:
        return {}

    def describe(self) -> str:
        return self.name

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        return Perturbed(batch.x, {})


DIFFERENT = Metric(
    "seen.different", "Another decision", Unit.PERCENT, 0.0, 1.0, Sense.AT_MOST, Kind.PROPORTION, "as it says"
)


@dataclass
class Seen:
    """Looks at every data set that there is, and keeps what it sees."""

    name: ClassVar[str] = "seen"
    summary: ClassVar[str] = "Every data set as it is"
    metrics: ClassVar[tuple[Metric, ...]] = (DIFFERENT,)

    def __post_init__(self) -> None:
        self.items: dict[DataName, int] = {}
        self.order: dict[DataName, np.ndarray] = {}
        self.agree: dict[DataName, np.ndarray] = {}

    def ask(self, context: Context, /) -> Ask:
        claims = tuple(Claim(DIFFERENT.name, (("set", name),)) for name in context.data)
        return Ask(tuple(Look(name) for name in context.data), claims)

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for name in context.data:
            found = ledger.trace(Look(name))
            assert not isinstance(found, Missing)
            self.items[name], self.order[name], self.agree[name] = len(found), found.order, found.columns["agree"]
            yield Finding(Claim(DIFFERENT.name, (("set", name),)), share(found, differing(found)))


SETS = {
    "shifted:night": Items(n=60, errors=0, harm=6, seed=1),
    "shifted:cifar10.1": Items(n=50, errors=0, harm=5, seed=2),
    "out-of-distribution:svhn": Items(n=40, errors=0, harm=4, seed=3),
    "out-of-distribution:flat": Items(n=30, errors=0, harm=3, seed=4),
    "out-of-distribution:npz": Items(n=20, errors=0, harm=2, seed=5),
    "calibration": Items(n=10, errors=0, harm=1, seed=6),
}
TABLES = """
[data.shifted.night]
path = "night.npz"
[data.shifted."cifar10.1"]
path = "x.npy"
labels = "y.npy"
[data.out_of_distribution.svhn]
path = "svhn.npy"
[data.out_of_distribution.flat]
path = "flat"
[data.out_of_distribution.npz]
path = "bare.npz"
[data.corrupted]
path = "corrupted"
[data.calibration]
path = "calibration.npy"
"""
CORRUPTED = [f"corrupted:{name}:{severity}" for name in ("fog", "snow") for severity in range(1, 6)]


@pytest.fixture
def many(world: World) -> World:
    """A world with a data set in every form."""
    folder, x = world.folder, {name: items.arrays() for name, items in SETS.items()}
    SETS["shifted:night"].save(folder / "night.npz")
    np.save(folder / "x.npy", x["shifted:cifar10.1"][0])
    np.save(folder / "y.npy", x["shifted:cifar10.1"][1])
    np.save(folder / "svhn.npy", x["out-of-distribution:svhn"][0])
    np.savez(folder / "bare.npz", x=x["out-of-distribution:npz"][0])
    np.save(folder / "calibration.npy", x["calibration"][0])
    (folder / "flat").mkdir()
    for number, image in enumerate(x["out-of-distribution:flat"][0]):
        Image.fromarray(image).save(folder / "flat" / f"{number:03}.png")
    (folder / "corrupted").mkdir()
    test, labels = world.items.arrays()
    for seed, name in enumerate(("fog", "snow")):
        blocks = [darker(test, severity, seed) for severity in range(1, 6)]
        for severity, block in enumerate(blocks, 1):
            rows = np.arange(10, 10 + severity)  # so many the candidate breaks
            block[rows, 1, (labels[rows] + 1) % 4, 0] = 255
        np.save(folder / "corrupted" / f"{name}.npy", np.concatenate(blocks))
    np.save(folder / "corrupted" / "labels.npy", np.tile(labels, 5))
    world.audit.write_text(world.audit.read_text() + TABLES)
    return world


def looked(many: World, patch: pytest.MonkeyPatch) -> tuple[Seen, Evidence]:
    seen = Seen()
    use(patch, seen, Accuracy(), Functional(), Integrity())
    return seen, audit.run(many.audit, pdf=False).evidence


def test_every_set_is_observed_on_its_own(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, evidence = looked(many, monkeypatch)
    names = ["test", *list(SETS)[:-1], "calibration", *CORRUPTED]
    assert [record.role for record in evidence.body.data] == names
    assert seen.items == {"test": 400, **{name: SETS[name].n for name in SETS}, **dict.fromkeys(CORRUPTED, 400)}
    different = {name: int((~agree).sum()) for name, agree in seen.agree.items()}
    harmed = {name: items.harm for name, items in SETS.items()}
    assert different == {"test": 0, **harmed, **{name: int(name[-1]) for name in CORRUPTED}}
    assert {probe.data for probe in evidence.body.plan.probes} == set(names)
    assert {name: evidence.run.names[name] for name in ("shifted:night", "corrupted:snow:5")} == {
        "shifted:night": "night.npz",
        "corrupted:snow:5": "snow.npy, severity 5",
    }


def test_sets_of_the_same_images_are_brought_into_line(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, _ = looked(many, monkeypatch)
    for name in ("test", *CORRUPTED):
        stored = np.empty(400, np.bool_)
        stored[seen.order[name]] = seen.agree[name]
        assert np.array_equal(np.flatnonzero(~stored), np.arange(10, 10 + (0 if name == "test" else int(name[-1]))))
    assert not np.array_equal(seen.order["test"], seen.order["corrupted:fog:1"])
    with pytest.raises(ValueError, match="read-only"):
        seen.order["test"][0] = 1


def test_a_small_ledger_budget_changes_no_count_and_no_order(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = looked(many, monkeypatch)
    many.audit.write_text("ledger_budget = 0.00001\n" + many.audit.read_text().replace('"out"', '"small"'))
    small, evidence = looked(many, monkeypatch)
    assert {probe.kept for probe in evidence.body.plan.probes} == {"outputs", "comparisons"}
    for name, order in whole.order.items():
        assert np.array_equal(order, small.order[name])
        assert np.array_equal(whole.agree[name], small.agree[name])


def test_the_audit_is_judged_and_resumed_by_the_same_names(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, evidence = looked(many, monkeypatch)
    assert audit.judge(many.out, pdf=False).evidence.id == evidence.id
    assert audit.run(many.audit, pdf=False).evidence.run.passes == {"reference": 0, "candidate": 0}


def test_data_that_nobody_looks_at_are_named_by_role_or_by_set(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Accuracy(), Functional(), Integrity(), Only("shifted:night"))
    body = audit.run(many.audit, pdf=False).evidence.body
    unseen = [said.partition(" data")[0] for said in body.not_covered if "looked at by no check" in said]
    assert unseen == ["the shifted:cifar10.1", "the out-of-distribution", "the calibration", "the corrupted"]


class Only(Seen):
    """Looks at one data set."""

    def __init__(self, data: DataName) -> None:
        self._data = data
        super().__post_init__()

    def ask(self, context: Context, /) -> Ask:
        return Ask((Look(self._data),), ())

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        yield from ()


def test_page_and_plan_hold_a_hundred_sets(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := world.folder / "corrupted").mkdir()
    test, labels = world.items.arrays()
    for seed in range(19):
        blocks = [darker(test, severity, seed) for severity in range(1, 6)]
        np.save(folder / f"kind{seed}.npy", np.concatenate(blocks))
    np.save(folder / "labels.npy", labels)
    world.audit.write_text(world.audit.read_text() + '\n[data.corrupted]\npath = "corrupted"\n')
    use(monkeypatch, Seen(), Accuracy(), Functional(), Integrity())
    forecast = rehearse(load(world.audit), world.folder)
    assert (len(forecast.probes), forecast.cost.passes["candidate"]) == (97, 97 * 400)
    evidence = audit.run(world.audit, pdf=False).evidence
    assert (len(evidence.body.data), evidence.run.passes["candidate"]) == (96, 97 * 400)
    page = (world.out / "certificate.html").read_text(encoding="utf-8")
    assert "Corrupted:kind18:5 data" in page
    assert page.count(" data and their items") == 1
    assert "Classes of the test, corrupted data and their items" in page


def test_a_part_of_the_items_is_told_by_role(many: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Seen(), Accuracy(), Functional(), Integrity())
    found = audit.run(many.audit, pdf=False, portion=Portion(limit=100)).evidence.body.plan.partial
    assert found is not None
    assert found.left_out == ("300 of 400 items of the test data", "3,000 of 4,000 items of the corrupted data")


@pytest.mark.parametrize(
    "name", ["night", "test", "shifted:", "shifted:a b", "corrupted:fog", "corrupted:fog:6", "calibration:a"]
)
def test_data_in_memory_have_such_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    with pytest.raises(AuditError, match=f"'{name}' names no further data set"):
        audit.compare(model, model, Items(n=40).arrays(), further={name: Items(n=8).arrays()}, out=tmp_path, pdf=False)


def test_a_set_without_a_name_stands_beside_none_with_one(tmp_path: Path) -> None:
    """Else two sets would share one claim, and one of them would be measured by nobody."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    further = {"shifted": Items(n=8, seed=2).arrays(), "shifted:shifted": Items(n=8, seed=3).arrays()}
    with pytest.raises(AuditError, match="'shifted' stands beside 'shifted:shifted'"):
        audit.compare(model, model, Items(n=40).arrays(), further=further, out=tmp_path, pdf=False)


def test_data_in_memory_are_observed_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, seen := Seen(), Accuracy(), Functional(), Integrity())
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))
    further = {
        "shifted:night": Items(n=8, seed=2, errors=0).arrays(),
        "out-of-distribution": Items(n=9, seed=1, errors=0).arrays()[0],
    }
    policy_file = World(tmp_path / "w").policy
    audit.compare(
        model,
        model,
        Items(n=40).arrays(),
        further=further,
        policy_name=str(policy_file),
        out=tmp_path / "out",
        pdf=False,
    )
    assert seen.items == {"test": 40, "shifted:night": 8, "out-of-distribution": 9}
