"""The check on corrupted inputs: cells, what adds up over them, conditions, and ready-made data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import audit
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import Body
from audit.types import DataRole, TaskKind
from checks.corruption import CorruptionRobustness
from checks.perturbations.corruptions.catalogue import KINDS
from tests.world import CLASSES, CRITERION, INPUT, World, network, weights

SETTINGS = '\n[settings.corruption]\ncorruptions = ["gaussian_noise", "contrast"]\nseverities = [1, 5]\n'
CELL = "{}@corruption={},severity={}"


def fragile() -> np.ndarray:
    """Weights that name the class for which the second row, black on clean items, is brightest."""
    return weights(second=2000.0)


def under(world: World, settings: str = SETTINGS, policy: str = "") -> Body:
    """The audit under corruption."""
    text = world.policy.read_text().replace('"integrity"]', '"integrity", "corruption"]')
    rules, at, criteria = text.partition("\n[[criterion]]")
    world.policy.write_text(rules + settings + at + criteria + policy)
    return audit.run(world.audit, pdf=False).evidence.body


def limit(claim: str, at_most: float = 5.0, more: str = "") -> str:
    return CRITERION.format(claim=claim, limit=at_most, unit="points") + more


def values(body: Body) -> dict[str, float | None]:
    return {finding.claim: finding.estimate for finding in body.findings}


def test_what_keeps_its_clean_accuracy_and_breaks_under_noise_fails(world: World) -> None:
    network(world.candidate, fragile())
    body = under(world, policy=limit("accuracy.drop@corruption=gaussian_noise,severity=*"))
    verdicts = {part.claim: part.verdict for part in body.decisions}
    assert verdicts["accuracy.drop"] == "PASS"
    assert verdicts[CELL.format("accuracy.drop", "gaussian_noise", 1)] == "FAIL"
    assert body.verdict.overall == "FAIL"


def test_what_adds_up_over_cells_is_the_mean_of_the_cells(world: World) -> None:
    network(world.candidate, fragile())
    found = values(under(world))
    cells = [(kind, severity) for kind in ("gaussian_noise", "contrast") for severity in (1, 5)]
    drops = [found[CELL.format("accuracy.drop", *cell)] or 0.0 for cell in cells]
    errors = {
        role: [100 - (found[CELL.format(f"{role}.accuracy", *cell)] or 0.0) for cell in cells]
        for role in ("reference", "candidate")
    }
    clean = found["accuracy.drop"] or 0.0
    assert found["corruption.mean_drop"] == pytest.approx(np.mean(drops))
    assert found["corruption.mean_excess_drop"] == pytest.approx(np.mean(drops) - clean)
    assert found["corruption.worst_drop"] == pytest.approx(max(drops))
    for cell, drop in zip(cells, drops, strict=True):
        assert found[CELL.format("corruption.excess_drop", *cell)] == pytest.approx(drop - clean)
    for role, own in errors.items():
        assert found[f"corruption.mean_error@role={role}"] == pytest.approx(np.mean(own))
    sums = [[sum(own[i : i + 2]) for i in (0, 2)] for own in errors.values()]
    assert found["corruption.mce"] == pytest.approx(100 * np.mean([b / a for a, b in zip(*sums, strict=True)]))


def test_cells_of_an_item_are_no_further_items(world: World) -> None:
    body = under(world, policy=limit("corruption.mean_drop"))
    mean = next(finding for finding in body.findings if finding.claim == "corruption.mean_drop")
    assert (mean.n, mean.statistic["kind"]) == (400, "bounded-mean")


def test_the_reference_against_itself_loses_nothing(world: World) -> None:
    world.candidate.write_bytes(world.reference.read_bytes())
    for claim, value in values(under(world, "\n[settings.corruption]\nseverities = [3]\n")).items():
        if "drop" in claim or "softmax" in claim:
            assert value == 0, claim


def test_a_reference_that_fails_in_the_cells_proves_nothing(world: World) -> None:
    """A mean over cells in which the reference is lost is small for any candidate."""
    for path in (world.reference, world.candidate):
        network(path, fragile())
    body = under(
        world, SETTINGS.replace('"gaussian_noise", "contrast"', '"gaussian_noise"'), limit("corruption.mean_drop")
    )
    part = next(part for part in body.decisions if part.claim == "corruption.mean_drop")
    assert (part.verdict, part.reason) == ("NOT EVALUATED", "reference-floor")


def test_a_condition_stands_for_its_cells(world: World) -> None:
    night = [(kind, severity) for kind in ("gaussian_noise", "shot_noise", "contrast") for severity in range(1, 6)]
    settings = '\n[settings.corruption]\nconditions = ["night", "low sun"]\n'
    claims = values(under(world, settings, limit("accuracy.drop@condition=night,corruption=*,severity=*", 20.0)))
    assert {claim for claim in claims if claim.startswith("accuracy.drop@condition=night")} == {
        f"accuracy.drop@condition=night,corruption={kind},severity={severity}" for kind, severity in night
    }
    drops = [claims[CELL.format("accuracy.drop", *cell)] or 0.0 for cell in night]
    assert claims["corruption.mean_drop@condition=night"] == pytest.approx(np.mean(drops))
    assert CELL.format("accuracy.drop", "fog", 3) not in claims


@pytest.mark.parametrize("settings", [{"corruptions": ("fogg",)}, {"conditions": ("hail",)}, {"severities": (1, 1)}])
def test_settings_that_mean_nothing_are_refused(settings: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(ValueError, match=r"there is no|names something twice"):
        CorruptionRobustness(**settings)  # type: ignore[arg-type]


def test_what_is_not_possible_is_refused_where_it_is_named_and_left_out_elsewhere() -> None:
    grey = Context(("a", "b"), shape=(1, 28, 28))
    with pytest.raises(AuditError, match="saturate needs images of 3 channels"):
        CorruptionRobustness(corruptions=("saturate",)).ask(grey)
    cells = CorruptionRobustness(severities=(3,)).cells(grey)
    assert len(cells) == 18
    assert "saturate" not in {cell.kind for cell in cells}


def test_items_that_are_no_images_have_no_corruptions() -> None:
    assert CorruptionRobustness().ask(Context(("a", "b"), images=False)).claims == ()


def given(world: World, x: np.ndarray, y: np.ndarray, severities: int = 5) -> None:
    """A folder like CIFAR-10-C beside the test set; every severity has a row of its own, which no network reads."""
    folder = world.folder / "corrupted"
    folder.mkdir()
    blocks = []
    for severity in range(1, severities + 1):
        blocks.append(x.copy())
        blocks[-1][:, 5] = np.random.default_rng(severity).integers(0, 256, x[:, 5].shape)
    np.save(folder / "fog.npy", np.concatenate(blocks))
    np.save(folder / "labels.npy", np.concatenate([y] * severities))
    world.audit.write_text(world.audit.read_text() + '\n[data.corrupted]\npath = "corrupted"\n')


def test_corrupted_data_take_the_place_of_made_ones(world: World) -> None:
    """Items whose second row shows a wrong class to the candidate, in 100 of 400; in line with the test items."""
    stored = np.load(world.data)
    x, y = stored["x"].copy(), stored["y"]
    x[100:200, 1] = 0
    x[np.arange(100, 200), 1, (y[100:200] + 1) % CLASSES, 0] = 255
    given(world, x, y)
    settings = '\n[settings.corruption]\ncorruptions = ["fog"]\nseverities = [1, 2]\n'
    body = under(world, settings, limit("corruption.mean_excess_drop"))
    found = {finding.claim: finding for finding in body.findings}
    assert found[CELL.format("accuracy.drop", "fog", 2)].statistic == {
        "kind": "paired-difference", "b": 100, "c": 0, "n": 400,
    }  # fmt: skip
    assert found["corruption.mean_excess_drop"].estimate == pytest.approx(25)
    assert {probe.data for probe in body.plan.probes} == {"test", "corrupted:fog:1", "corrupted:fog:2"}


def test_corrupted_items_must_be_the_test_items_in_their_order(world: World) -> None:
    stored = np.load(world.data)
    given(world, stored["x"][::-1], stored["y"][::-1])
    with pytest.raises(AuditError, match="not those of the test items in their order"):
        under(world, "\n[settings.corruption]\nseverities = [1]\n")


def test_what_was_not_given_is_made(world: World) -> None:
    """Else data of one corruption would excuse a candidate from all others."""
    stored = np.load(world.data)
    given(world, stored["x"], stored["y"])
    body = under(world, '\n[settings.corruption]\ncorruptions = ["snow", "fog"]\nseverities = [1]\n')
    assert {CELL.format("accuracy.drop", kind, 1) for kind in ("snow", "fog")} <= values(body).keys()
    assert {probe.data for probe in body.plan.probes} == {"test", "corrupted:fog:1"}


def test_clean_items_are_no_corrupted_ones(world: World) -> None:
    stored = np.load(world.data)
    given(world, stored["x"], stored["y"])
    np.save(world.folder / "corrupted" / "fog.npy", np.concatenate([stored["x"]] * 5))
    with pytest.raises(AuditError, match="400 of its 400 items are items of the test set as they are"):
        under(world)


def test_one_severity_is_not_given_twice(world: World) -> None:
    stored = np.load(world.data)
    given(world, stored["x"], stored["y"])
    path = world.folder / "corrupted" / "fog.npy"
    np.save(path, np.concatenate([np.load(path)[:400]] * 5))
    with pytest.raises(AuditError, match=r"fog.npy, severity 1 and .*fog.npy, severity 2 hold the same items"):
        under(world)


def test_items_that_come_twice_in_one_set_alone_are_refused(world: World) -> None:
    stored = np.load(world.data)
    given(world, stored["x"], stored["y"])
    path = world.folder / "corrupted" / "fog.npy"
    x, y = np.load(path), stored["y"]
    one, other = (int(row) for row in np.flatnonzero(y == y[0])[:2])
    x[other] = x[one]
    np.save(path, x)
    with pytest.raises(AuditError, match="items come twice in it that do not in the test set"):
        under(world)


def test_what_is_given_beside_the_nineteen_is_part_of_no_mean() -> None:
    context = Context(("a", "b"), data=(DataRole.TEST, "corrupted:mist:2"))
    check = CorruptionRobustness(severities=(2,))
    assert [cell.kind for cell in check.cells(context)] == [*KINDS, "mist"]
    only = replace(context, shape=(4, 32, 32))  # four channels: none of the nineteen is possible
    assert {claim.id for claim in check.ask(only).claims} >= {CELL.format("accuracy.drop", "mist", 2)}
    assert not [claim for claim in check.ask(only).claims if not claim.scope]


def test_masks_stay_where_they_are_and_so_must_pixels() -> None:
    context = Context(("a", "b"), task=TaskKind.SEGMENTATION)
    assert "elastic_transform" not in {cell.kind for cell in CorruptionRobustness().cells(context)}
    with pytest.raises(AuditError, match="the masks say that others are"):
        CorruptionRobustness(corruptions=("elastic_transform",)).cells(context)


def test_excess_is_paired_item_by_item_whatever_order_a_set_is_judged_in(world: World) -> None:
    """The candidate loses the same items clean and corrupted: the excess of every single item is 0."""
    w = np.zeros((*INPUT, CLASSES), np.float32)
    w[0, 0, np.arange(CLASSES), np.arange(CLASSES)] = 10
    w[2, -1, :, 0] = 2.7  # leans towards the first class by an item's last row
    network(world.candidate, w.reshape(-1, CLASSES))
    stored = np.load(world.data)
    x = stored["x"].copy()
    x[:, 3, 0, 0] ^= 1  # another item, and so another place in the judging order
    given(world, x, stored["y"])
    body = under(world, '\n[settings.corruption]\ncorruptions = ["fog"]\nseverities = [1]\n')
    found = {finding.claim: finding for finding in body.findings}
    excess = found[CELL.format("corruption.excess_drop", "fog", 1)]
    assert found["accuracy.drop"].estimate != 0
    assert (excess.estimate, excess.upper is not None and excess.upper < 5) == (0, True)


def test_a_set_with_other_items_cannot_be_paired(tmp_path: Path) -> None:
    world = World(tmp_path / "w")
    stored = np.load(world.data)
    given(world, stored["x"][:300], stored["y"][:300])
    with pytest.raises(AuditError, match="300 items, the test set has 400"):
        under(world)


def test_given_cells_are_named_by_role() -> None:
    cells = CorruptionRobustness().cells(Context(("a", "b"), data=(DataRole.TEST, "corrupted:mist:2")))
    found = [(cell.kind, cell.severity, cell.probe.data) for cell in cells]
    assert [each for each in found if each[2] != "test"] == [("mist", 2, "corrupted:mist:2")]
