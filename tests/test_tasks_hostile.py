"""What data and networks of any task may try, and what a review found that they could: each ends by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import audit
from audit import api, plan
from audit.data.form import Form
from audit.data.npz import NpzSource
from audit.data.sources import of_object, open_source
from audit.data.targets import Targets
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.evidence import Evidence
from audit.findings import Missing
from audit.models.adapter import Preprocessing
from audit.records import TaskRecord
from audit.tasks.regression import Regression, Tolerance
from audit.tasks.segmentation import Segmentation
from audit.traces import Side, Trace
from audit.types import DataRole, OutputKind, Role
from checks import functional
from tests.graphs import node
from tests.test_tasks import (
    CLASSES,
    COSTS,
    HIGH,
    IGNORED,
    ITEMS,
    LOW,
    RNG,
    SIDE,
    Case,
    control,
    estimates,
    linear,
    network,
    painted,
    pixelwise,
    regression,
    segmentation,
)

MASKED = Form(Targets(TaskRecord(kind="segmentation")))
VALUED = Form(Targets(TaskRecord(kind="regression", absolute=0.1)), 0.0, 1.0)


def folder(root: Path, bits: int) -> Path:
    """Images with masks of so many bits a pixel."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    x, _ = painted()
    for number in range(4):
        Image.fromarray(x[number]).save(root / "images" / f"{number}.png")
        mask = Image.fromarray((np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 4).astype(np.uint8))
        mask.putpalette([level for level in range(256) for _ in range(3)]) if bits < 8 else None
        mask.save(root / "masks" / f"{number}.png", bits=bits)
    return root


@pytest.mark.parametrize("bits", [2, 4])
def test_masks_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    """Of 0 … 3 Pillow makes 0, 85, 170 and 255, and 255 counts for nothing."""
    with pytest.raises(AuditError, match=r"masks/0\.png: is a PNG of mode . and 0. bits, no mask of labels"):
        _ = open_source(
            DataEntry(path=folder(tmp_path, bits)), Path(), DataRole.TEST, None, MASKED.targets.task
        ).manifest


def test_items_from_elsewhere_are_the_images_without_their_masks(tmp_path: Path) -> None:
    entry = DataEntry(path=folder(tmp_path, 8))
    found = open_source(entry, Path(), DataRole.OUT_OF_DISTRIBUTION, None, MASKED.targets.task)
    assert len(found.manifest.ids) == 4


class Maite:
    """Images with one value per action, as scores."""

    metadata = {"id": "mine", "index2label": {0: "left", 1: "right"}}  # noqa: RUF012 (the protocol has it so)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> object:
        return np.zeros((3, 8, 8), np.uint8) + np.uint8(index), np.array([0.25, 0.75]), {"id": index}


@pytest.mark.parametrize("kind", ["control", "regression", "segmentation"])
def test_targets_of_maite_are_classes_alone(kind: str) -> None:
    with pytest.raises(AuditError, match=f"is a MAITE data set of images and classes, not for {kind}"):
        of_object(Maite(), DataRole.TEST, "mine", Form(Targets(TaskRecord(kind=kind, absolute=0.1))))


def test_whole_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    """Else a network that rounds down, or looks a code up, gets another number than the one that is stored."""
    x = RNG.integers(-20, -2, (300, 1)).astype(np.float64)
    floor = network(2, {}, node("Floor", "x", "y"))
    case = Case(
        tmp_path, 'kind = "regression"\nabsolute = 0.5', x, x.copy(), floor, floor,
        {"low": np.array([-20.0]), "high": np.array([-2.0])},
    )  # fmt: skip
    assert estimates(case.run())["reference.accuracy"] == 100


@pytest.mark.parametrize(("low", "high"), [(-20, 130), (0, 60760), (-7, 1), (-100_000, 3)])
def test_every_whole_number_of_a_range_comes_back(tmp_path: Path, low: int, high: int) -> None:
    x = np.arange(low, high + 1, max(1, (high - low) // 5000), dtype=np.int64)[:, None]
    np.savez(tmp_path / "x.npz", x=x, y=x.astype(np.float64), low=np.array([low]), high=np.array([high]))
    source = NpzSource(tmp_path / "x.npz", form=Form(VALUED.targets))
    assert source.features is not None
    shares = next(source.batches(len(x), np.ones(len(x), np.bool_))).x
    preprocessing = Preprocessing(features=source.features)
    np.testing.assert_array_equal(preprocessing.apply(shares.numpy()), x.astype(np.float32))


def test_decisions_are_taken_from_values_as_they_are_stored(tmp_path: Path) -> None:
    targets = Targets(TaskRecord(kind="control", rule="argmin", absolute=1.0))
    assert targets.block(np.array([[1000000.01, 1000000.0]]), "y").tolist() == [1]


def test_decisions_from_another_number_of_values_are_refused(tmp_path: Path) -> None:
    case = control(tmp_path, COSTS)
    case.y = (case.x @ COSTS)[:, :2]
    with pytest.raises(AuditError, match="has 2 values per item, but the models give 3"):
        case.run()
    rows = [(row.astype(np.float32), target) for row, target in zip(case.x, case.y, strict=True)]
    task = TaskRecord(kind="control", absolute=1.0)
    source = of_object(rows, DataRole.TEST, "mine", Form(Targets(task), tuple(LOW), tuple(HIGH)))
    with pytest.raises(AuditError, match="mine: has 2 values per item, but the models give 3"):
        source.class_names(3)


@pytest.mark.parametrize("make", [segmentation, lambda folder: control(folder, COSTS)])
def test_one_label_beyond_all_bounds_is_named(tmp_path: Path, make: Callable[[Path], Case]) -> None:
    case = make(tmp_path)
    case.y = case.y.astype(np.int64)
    case.y.reshape(-1)[0] = 2**40
    with pytest.raises(AuditError, match=r"labels from|label 1099511627776"):
        case.run()


TARGETS = {
    "ragged": lambda: [[1.0, [2.0]]],
    "text": lambda: "text",
    "nothing": lambda: object(),
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_that_are_no_numbers_are_named(name: str) -> None:
    data = [(np.zeros(3, np.float32), TARGETS[name]()) for _ in range(3)]
    with pytest.raises(AuditError, match=r"mine: item 0: its target is"):
        _ = of_object(data, DataRole.TEST, "mine", VALUED).manifest


def test_targets_may_be_tensors_with_a_gradient() -> None:
    data = [(torch.full((3,), i / 4), torch.ones(2, requires_grad=True) * i) for i in range(3)]
    assert of_object(data, DataRole.TEST, "mine", VALUED).manifest.labels.shape == (3, 2)


def test_features_without_a_first_item_are_named() -> None:
    with pytest.raises(AuditError, match="mine: has no first item"):
        of_object([], DataRole.TEST, "mine", VALUED)


@pytest.mark.parametrize("bounds", [(0.0,), (0.0, None), (0.0, 1.0, 2.0)])
def test_bounds_that_are_no_pair_are_refused(tmp_path: Path, bounds: tuple[float, ...]) -> None:
    module = torch.nn.Linear(3, 2)
    with pytest.raises(AuditError, match=r"bounds are not \(low, high\)"):
        audit.compare(
            module, module, (np.zeros((4, 3), np.float32), np.zeros((4, 2))), out=tmp_path,
            task={"kind": "regression", "absolute": 0.1}, bounds=bounds,  # type: ignore[arg-type]
        )  # fmt: skip


def test_bounds_wider_than_a_number_reaches_are_refused(tmp_path: Path) -> None:
    case = regression(tmp_path)
    case.extra = {"low": np.full(3, -1.7e308), "high": np.full(3, 1.7e308)}
    with pytest.raises(AuditError, match="its bounds are not low < high"):
        case.run()


def test_all_data_need_the_same_bounds(tmp_path: Path) -> None:
    case = regression(tmp_path)
    np.savez(tmp_path / "shifted.npz", x=case.x, y=case.y, low=LOW - 1, high=HIGH)
    case.audit = '[data.test]\npath = "test.npz"\n[data.shifted]\npath = "shifted.npz"\n'
    with pytest.raises(AuditError, match="its features have other shapes or bounds"):
        case.run()


@pytest.mark.parametrize("what", ["x", "y"])
def test_masks_and_images_are_compared_whenever_they_are_read(tmp_path: Path, what: str) -> None:
    x, y = painted()
    np.savez(tmp_path / "a.npz", x=x, y=y)
    scanned = NpzSource(tmp_path / "a.npz", form=MASKED).manifest
    changed = {"x": x.copy(), "y": y.copy()}
    changed[what][7, 5, 5] ^= 1
    np.savez(tmp_path / "a.npz", **changed)
    source = NpzSource(tmp_path / "a.npz", form=MASKED, scanned=scanned)
    with pytest.raises(AuditError, match="changed while it was being read"):
        list(source.batches(16, np.ones(ITEMS, np.bool_)))


def reasons(evidence: Evidence) -> dict[str, tuple[str, str]]:
    return {each.claim: (each.verdict, each.reason) for each in evidence.body.decisions}


def test_a_pass_of_any_task_that_hangs_on_near_ties_is_conditional(tmp_path: Path) -> None:
    """Right, and so close to being wrong that another machine could say so."""
    x = RNG.uniform(0, 1, (400, 1))
    same = linear(np.eye(1))
    near = network(2, {"off": np.full((1, 1), 0.1)}, node("Add", "x off", "y"))
    ends = {"low": np.zeros(1), "high": np.ones(1)}
    valued = Case(
        tmp_path / "values", 'kind = "regression"\nabsolute = 0.1000002', x, x.copy(), same, near, ends,
        (("accuracy.drop", 5.0, "points"),),
    )  # fmt: skip
    plain = valued.run()
    assert estimates(plain)["candidate.accuracy"] == 100
    assert reasons(plain)["accuracy.drop"] == ("CONDITIONAL PASS", "near-ties")
    tied = np.array([[1.0, 1.0]])
    tied_control = Case(
        tmp_path / "control", 'kind = "control"\nrule = "argmin"\nabsolute = 0.1', x, np.zeros(400, np.int64),
        linear(np.array([[1.0, 2.0]])), linear(tied), ends,
    )  # fmt: skip
    tied_control.y[:40] = 1
    found = reasons(tied_control.run())
    assert found["integrity.near_ties@role=candidate"][0] == "FAIL"
    assert found["accuracy.drop"][0] != "PASS"


def test_ties_are_counted_by_pixels_that_count(tmp_path: Path) -> None:
    """A border where all scores are equal, and that nobody labelled, decides nothing."""
    out = RNG.normal(size=(2, CLASSES, 4, 4)).astype(np.float32)
    out[:, :, 0] = 0
    labels = np.zeros((2, 4, 4), np.int16)
    labels[0, 0] = IGNORED
    shares, turning = Segmentation(IGNORED).near_ties(out, 1e-6, labels)
    assert shares.tolist() == [0.0, 0.25] and turning.tolist() == [False, True]
    case = segmentation(tmp_path, pixelwise(np.eye(CLASSES) * 5))
    case.x[:, 0, :2] = 0
    case.y[:, :2, :2] = IGNORED
    assert estimates(case.run())["integrity.near_ties@role=candidate"] == 0


def test_a_comparison_belongs_to_its_tolerance(tmp_path: Path) -> None:
    case = regression(tmp_path)
    case.run()
    fixed = plan.load(tmp_path / "out")
    other = fixed.model_copy(
        update={"plan": fixed.plan.model_copy(update={"task": TaskRecord(kind="regression", absolute=0.2)})}
    )
    settled = {role: plan.Settled(OutputKind.VALUES, 0.0) for role in (Role.REFERENCE, Role.CANDIDATE)}
    probe = fixed.plan.probes[0]
    assert set(fixed.pair_keys(Role.CANDIDATE, probe, settled)).isdisjoint(
        other.pair_keys(Role.CANDIDATE, probe, settled)
    )


def test_the_floor_that_guessing_sets_holds_when_judged_again(tmp_path: Path) -> None:
    x = RNG.uniform(LOW, HIGH, (500, 3))
    case = Case(
        tmp_path, 'kind = "regression"\nabsolute = 0.1', x, np.where(np.arange(500) % 10 == 0, 50.0, 0.0),
        linear(np.zeros((3, 1))), linear(np.zeros((3, 1))), {"low": LOW, "high": HIGH},
    )  # fmt: skip
    case.run()
    policy = tmp_path / "other.toml"
    policy.write_text((tmp_path / "policy.toml").read_text().replace("tasks/1", "tasks/2"))
    again = api.judge(tmp_path / "out", policy_name=str(policy), pdf=False).evidence.body
    assert again.policy.reference_floor == pytest.approx(90)


def test_a_deviation_without_end_has_no_quantile() -> None:
    trace = Trace({"deviation": np.array([0.5, np.inf])})
    found = functional._farthest(trace, "deviation", functional.DEVIATION_Q99)
    assert isinstance(found.statistic, Missing) and found.statistic.reason == "no-tolerance"


def test_outputs_agree_only_where_they_would_on_any_machine() -> None:
    f, g = np.array([[0.0]], np.float32), np.array([[0.0999]], np.float32)
    sides = [Side({"output": out}, OutputKind.VALUES, 1e-3) for out in (f, g)]
    task, y = Regression(Tolerance(0.1, 0.0)), np.zeros((1, 1), np.float32)
    assert [bool(task.compare(y, *sides, adverse=each)["agree"][0]) for each in (False, True)] == [True, False]


def test_a_constant_must_be_right_in_every_value() -> None:
    """Three of four items have the first value in common, two of them the second."""
    y = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 5.0], [1.0, 9.0]])
    source = of_object((np.linspace(0, 1, 12).reshape(4, 3), y), DataRole.TEST, "mine", VALUED)
    assert Regression(Tolerance(0.1, 0.0)).chance(source.manifest) == pytest.approx(0.5)
