"""Segmentation, regression and control, from the files to the verdict, and their columns against plain loops."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from PIL import Image
from scipy.special import softmax

from audit import api, sizes
from audit.data import manifest
from audit.dataset import Manifest
from audit.errors import AuditError, ExitCode
from audit.evidence import Evidence
from audit.tasks.classification import Classification
from audit.tasks.control import Control
from audit.tasks.regression import Regression, Tolerance
from audit.tasks.segmentation import Segmentation
from audit.traces import Side
from audit.types import OutputKind
from checks.accuracy import mean_iou
from tests.graphs import node
from tests.world import CRITERION

RNG = np.random.default_rng(0)
ITEMS, CLASSES, SIDE, IGNORED = 40, 3, 8, 255
POLICY = """
format = "prune-audit/policy/1"
id = "tasks/1"
alpha = 0.05
checks = ["integrity", "accuracy", "functional", "noise"]

[settings.noise]
uniform = [8]
gaussian = [8]
"""


@dataclass
class Case:
    """A folder with an audit of one task; `settings` are the lines of [task]."""

    folder: Path
    settings: str
    x: NDArray[np.generic]
    y: NDArray[np.generic]
    reference: bytes
    candidate: bytes
    extra: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    limits: tuple[tuple[str, float, str], ...] = (("accuracy.drop", 20.0, "points"),)
    audit: str = ""

    def run(self) -> Evidence:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "reference.onnx").write_bytes(self.reference)
        (self.folder / "candidate.onnx").write_bytes(self.candidate)
        np.savez(self.folder / "test.npz", x=self.x, y=self.y, **self.extra)
        limits = "".join(CRITERION.format(claim=claim, limit=limit, unit=unit) for claim, limit, unit in self.limits)
        (self.folder / "policy.toml").write_text(POLICY + limits)
        text = self.audit or '[data.test]\npath = "test.npz"\n'
        (self.folder / "audit.toml").write_text(
            'policy = "policy.toml"\n[reference]\nmodel = "reference.onnx"\n[candidate]\nmodel = "candidate.onnx"\n'
            f"[task]\n{self.settings}\n{text}"
        )
        return api.run(self.folder / "audit.toml", out=self.folder / "out", pdf=False).evidence


def estimates(evidence: Evidence) -> dict[str, float | None]:
    return {finding.claim: finding.estimate for finding in evidence.body.findings}


def network(axes: int, constants: dict[str, NDArray[np.generic]], *nodes: NodeProto) -> bytes:
    """A file from `x` to `y`, float32 with sizes left open."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}{axis}" for axis in range(axes)])
        for name in ("x", "y")
    ]
    stored = [
        numpy_helper.from_array(value if value.dtype == np.int64 else value.astype(np.float32), name)
        for name, value in constants.items()
    ]
    graph = helper.make_graph([*nodes], "network", ports[:1], ports[1:], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def pixelwise(weights: NDArray[np.generic], stride: int = 1) -> bytes:
    """A network that names each pixel by its colours: weights [K, 3]."""
    return network(4, {"w": weights[:, :, None, None]}, node("Conv", "x w", "y", strides=[stride, stride]))


def linear(weights: NDArray[np.generic]) -> bytes:
    return network(2, {"w": weights}, node("MatMul", "x w", "y"))


def painted(errors: float = 0.1) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images whose pixels have the colour of their class, but for some; a corner is labelled as nothing."""
    y = RNG.integers(0, CLASSES, (ITEMS, SIDE, SIDE))
    shown = np.where(RNG.random(y.shape) < errors, (y + 1) % CLASSES, y)
    x = (np.eye(CLASSES)[shown] * 200 + RNG.integers(0, 40, (*y.shape, 3))).astype(np.uint8)
    y[:, :2, :2] = IGNORED
    return x, y


LEANING = np.eye(CLASSES) + np.array([[0, 0.9, 0], [0, 0, 0], [0, 0, 0]])
"""Takes some pixels of the second class for the first."""


def segmentation(folder: Path, candidate: bytes | None = None) -> Case:
    x, y = painted()
    return Case(folder, 'kind = "segmentation"', x, y, pixelwise(np.eye(CLASSES) * 5), candidate or pixelwise(LEANING))


def named(x: NDArray[np.generic], weights: NDArray[np.generic]) -> NDArray[np.generic]:
    return (x.astype(np.float32) / 255 @ weights.T.astype(np.float32)).argmax(axis=-1)


def iou(names: NDArray[np.generic], y: NDArray[np.generic]) -> float:
    """From one confusion matrix, cell by cell."""
    matrix = np.zeros((CLASSES, CLASSES), int)
    for name, label in zip(names.reshape(-1), y.reshape(-1), strict=True):
        if label != IGNORED:
            matrix[label, name] += 1
    return float(np.mean(np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))))


def test_segmentation_is_measured_pixel_by_pixel(tmp_path: Path) -> None:
    case = segmentation(tmp_path)
    found = estimates(case.run())
    first, second, counts = named(case.x, np.eye(CLASSES)), named(case.x, LEANING), case.y != IGNORED
    shares = {
        "reference.accuracy": (first == case.y),
        "candidate.accuracy": (second == case.y),
        "functional.agreement": (first == second),
        "functional.negative_flips": (first == case.y) & (second != case.y),
    }
    for claim, right in shares.items():
        expected = np.mean([right[i][counts[i]].mean() for i in range(ITEMS)])
        assert found[claim] == pytest.approx(100 * expected), claim
    assert found["accuracy.drop"] == pytest.approx(found["reference.accuracy"] - found["candidate.accuracy"])
    assert 0 < found["accuracy.drop"] < 50
    for role, names in (("reference", first), ("candidate", second)):
        assert found[f"accuracy.miou@role={role}"] == pytest.approx(100 * iou(names, case.y))
    scale, pixels = np.float64(1) / 255, case.x.astype(np.float64)
    p, q = (softmax(pixels * scale @ weights.T, axis=-1) for weights in (np.eye(CLASSES) * 5, LEANING))
    apart = np.linalg.norm(p - q, axis=-1)
    expected = np.mean([apart[i][counts[i]].mean() for i in range(ITEMS)])
    assert found["functional.softmax_l2"] == pytest.approx(expected, rel=1e-5)
    assert "accuracy.drop@level=8/255,noise=uniform" in found


def test_no_figure_of_segmentation_depends_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = []
    for batch in (7, 256):
        monkeypatch.setattr(sizes, "BATCH", batch)
        RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
        findings = segmentation(tmp_path / str(batch)).run().body.findings
        bodies.append([each.model_dump() for each in findings if "_difference" not in each.claim])
    assert bodies[0] == bodies[1]


def test_outputs_too_large_to_keep_are_compared_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
    whole = segmentation(tmp_path / "whole").run().body
    monkeypatch.setattr(sizes, "WHOLE", 1000)
    RNG.bit_generator.state = np.random.default_rng(1).bit_generator.state
    compared = segmentation(tmp_path / "compared").run().body
    assert {probe.kept for probe in whole.plan.probes} == {"outputs"}
    assert {probe.kept for probe in compared.plan.probes} == {"comparisons"}
    assert [f.model_dump() for f in whole.findings] == [f.model_dump() for f in compared.findings]
    assert [d.model_dump() for d in whole.decisions] == [d.model_dump() for d in compared.decisions]
    assert {model.adapter.outputs for model in compared.models} == {"logits"}


def test_outputs_that_change_their_kind_decide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probabilities of the items of the first batch, logits of those that bear a mark."""
    monkeypatch.setattr(sizes, "WHOLE", 0)
    case = segmentation(tmp_path)
    case.x = np.concatenate([case.x, *[painted()[0] for _ in range(7)]])
    case.y = np.concatenate([case.y] * 8)
    case.x[:, 0, 0, 0] = 0
    marked = case.x.copy()
    marked[256:, 0, 0, 0] = 255
    nodes = (
        node("Conv", "x w", "logits"), node("Softmax", "logits", "probabilities", axis=1),
        node("Slice", "x zero one axes", "mark"), node("Sub", "logits probabilities", "more"),
        node("Mul", "more mark", "added"), node("Add", "probabilities added", "y"),
    )  # fmt: skip
    kernel = {"w": (np.eye(CLASSES) * 5)[:, :, None, None]}
    places = {"zero": np.zeros(3, np.int64), "one": np.ones(3, np.int64), "axes": np.array([1, 2, 3])}
    case.candidate = network(4, kernel | places, *nodes)
    case.y[:, 0, 0] = IGNORED
    assert {d.claim: d.reason for d in case.run().body.decisions}["accuracy.drop"] != "mixed-outputs"
    case.x, case.folder = marked, tmp_path / "marked"
    assert {d.claim: d.reason for d in case.run().body.decisions}["accuracy.drop"] == "mixed-outputs"


def test_pixels_of_an_image_are_no_further_items(tmp_path: Path) -> None:
    body = segmentation(tmp_path).run().body
    found = next(finding for finding in body.findings if finding.claim == "accuracy.drop")
    assert (found.n, found.statistic["kind"]) == (ITEMS, "bounded-mean")


def test_scores_of_fewer_pixels_are_interpolated(tmp_path: Path) -> None:
    case = segmentation(tmp_path, pixelwise(np.eye(CLASSES) * 5, stride=2))
    found = estimates(case.run())
    assert 30 < found["candidate.accuracy"] < found["reference.accuracy"]


def test_masks_lie_beside_images(tmp_path: Path) -> None:
    x, y = painted()
    for name, arrays in (("images", x), ("masks", y.astype(np.uint8))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(tmp_path / "set" / name / f"{number:03}.png")
    case = segmentation(tmp_path)
    there = estimates(Case(tmp_path / "npz", case.settings, x, y, case.reference, case.candidate).run())
    here = Case(
        tmp_path / "folder", case.settings, x, y, case.reference, case.candidate,
        audit='[data.test]\npath = "../set"\n',
    )  # fmt: skip
    assert estimates(here.run()) == there
    (tmp_path / "set" / "masks" / "007.png").unlink()
    with pytest.raises(AuditError, match="007 is not one image and one mask"):
        here.run()


def test_a_mask_in_colours_is_refused(tmp_path: Path) -> None:
    x, _ = painted()
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.fromarray(x[0]).save(tmp_path / "set" / name / "1.png")
    case = segmentation(tmp_path / "case")
    case.audit = '[data.test]\npath = "../set"\n'
    with pytest.raises(AuditError, match=r"masks/1.png: is a PNG of mode RGB and 08 bits, no mask of labels"):
        case.run()


MASKS = {
    "a label of no class": (lambda y: np.where(y == 1, 7, y), "pixels labelled 7, but the models know 3 classes"),
    "a negative label": (lambda y: np.where(y == 1, -1, y), "the mask of item 0 has labels from -1"),
    "nothing labelled": (lambda y: np.where(np.arange(ITEMS)[:, None, None] == 5, IGNORED, y), "no pixel of item 5"),
    "another size": (lambda y: y[:, :4], "y is int64 of shape"),
    "one label per item": (lambda y: y[:, 5, 5], "y is int64 of shape"),
    "numbers that are no labels": (lambda y: y.astype(np.float32), "y is float32 of shape"),
    "fewer masks": (lambda y: y[:-1], "39 labels for 40 items"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    spoil, words = MASKS[name]
    case = segmentation(tmp_path)
    case.y = spoil(case.y)
    with pytest.raises(AuditError) as caught:
        case.run()
    assert words in caught.value.what and "test.npz" in caught.value.what


def test_a_class_that_no_pixel_has_blocks(tmp_path: Path) -> None:
    case = segmentation(tmp_path)
    case.y = np.where(case.y == 2, IGNORED, case.y)
    found = next(d for d in case.run().body.decisions if d.claim == "integrity.empty_classes")
    assert (found.verdict, found.reason) == ("NOT EVALUATED", "empty-class")


def test_an_image_with_two_masks_is_refused(tmp_path: Path) -> None:
    case = segmentation(tmp_path)
    case.x[3] = case.x[2]
    with pytest.raises(AuditError, match="items 2 and 3 are the same input with other masks"):
        case.run()


SCORES = {
    "one score per pixel": pixelwise(np.ones((1, 3))),
    "one row per item": network(4, {}, node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "y")),
}


@pytest.mark.parametrize("name", SCORES)
def test_what_names_no_pixels_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AuditError, match=r"candidate\.onnx: gives (one score for each pixel|outputs of shape)"):
        segmentation(tmp_path, SCORES[name]).run()


LOW, HIGH = np.array([-2.0, 0.0, 100.0]), np.array([2.0, 1.0, 500.0])
TRUE = np.array([[1.0, 0.0], [-2.0, 1.0], [0.01, 0.002]])


def regression(folder: Path, weights: NDArray[np.generic] = TRUE, noise: float = 0.0) -> Case:
    x = RNG.uniform(LOW, HIGH, (200, 3))
    y = x @ TRUE + RNG.normal(0, noise, (200, 2)) if noise else x @ TRUE
    return Case(
        folder, 'kind = "regression"\nabsolute = 0.1', x, y, linear(TRUE), linear(weights),
        {"low": LOW, "high": HIGH}, (("accuracy.drop", 5.0, "points"),),
    )  # fmt: skip


def test_regression_is_right_within_its_tolerance(tmp_path: Path) -> None:
    weights = TRUE + np.array([[0.05, 0.0], [0.1, 0.0], [0.0, 0.0]])
    case = regression(tmp_path, weights)
    evidence = case.run()
    found = estimates(evidence)
    moved = np.abs(case.x @ (weights - TRUE)).max(axis=1)
    assert found["reference.accuracy"] == 100
    assert found["candidate.accuracy"] == pytest.approx(100 * np.mean(moved <= 0.1))
    assert found["functional.agreement"] == found["candidate.accuracy"]
    assert found["functional.deviation"] == pytest.approx(np.mean(moved / 0.1), rel=1e-4)
    lengths = np.linalg.norm(case.x @ (weights - TRUE), axis=1) / np.linalg.norm(case.x @ TRUE, axis=1)
    assert found["functional.relative_error@epsilon=0.1"] == pytest.approx(100 * np.mean(lengths > 0.1))
    assert not {claim for claim in found if "softmax" in claim or "topk" in claim or "empty" in claim}
    assert {record.adapter.outputs for record in evidence.body.models} == {"values"}
    assert evidence.body.data[0].features.high == tuple(HIGH)


def test_a_regression_that_is_kept_passes(tmp_path: Path) -> None:
    evidence = regression(tmp_path).run()
    assert (evidence.body.verdict.overall, evidence.body.verdict.exit_code) == ("PASS", ExitCode.ACCEPTED)
    found = estimates(evidence)
    assert found["functional.deviation"] == found["accuracy.drop"] == 0
    assert found["functional.deviation_q99"] == 0


def test_noise_moves_features_by_parts_of_their_ranges(tmp_path: Path) -> None:
    """Every feature weighs 1 over its range, so that uniform noise of 8/255 moves an output by 8/255 at most each."""
    weights = np.diag(1 / (HIGH - LOW))
    case = Case(
        tmp_path, f'kind = "regression"\nabsolute = {8.01 / 255}', RNG.uniform(LOW, HIGH, (200, 3)), np.zeros(0),
        linear(weights), linear(weights), {"low": LOW, "high": HIGH},
    )  # fmt: skip
    case.y = case.x @ weights
    found = estimates(case.run())
    assert found["reference.accuracy@level=8/255,noise=uniform"] == 100
    case.settings, case.folder = f'kind = "regression"\nabsolute = {4 / 255}', tmp_path / "half"
    assert 1 < estimates(case.run())["reference.accuracy@level=8/255,noise=uniform"] < 60


def test_a_preprocessing_of_features_is_no_unit_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its std is in units of the data: noise in units of it would be as many times too strong as the range is wide."""
    case = regression(tmp_path)
    case.audit = '[data.test]\npath = "test.npz"\n[preprocessing]\nstd = [2.0, 2.0, 2.0]\n'
    monkeypatch.setattr("tests.test_tasks.POLICY", POLICY.replace("uniform = [8]", "normalised = [0.1]"))
    with pytest.raises(AuditError, match="the std of 3 channels is not known"):
        case.run()


def test_a_tolerance_that_everything_keeps_is_refused(tmp_path: Path) -> None:
    case = regression(tmp_path)
    case.settings = 'kind = "regression"\nabsolute = 1e6'
    with pytest.raises(AuditError, match="one and the same answer is right for every item"):
        case.run()


def test_a_reference_no_better_than_a_constant_proves_nothing(tmp_path: Path) -> None:
    """Nine of ten targets are 0: a network that always says 0 is right nine times of ten."""
    x = RNG.uniform(LOW, HIGH, (500, 3))
    y = np.where(np.arange(500) % 10 == 0, 50.0, 0.0)
    zero = linear(np.zeros((3, 1)))
    evidence = Case(
        tmp_path, 'kind = "regression"\nabsolute = 0.1', x, y, zero, zero, {"low": LOW, "high": HIGH}
    ).run()  # fmt: skip
    assert evidence.body.data[0].chance == pytest.approx(0.9)
    assert evidence.body.policy.reference_floor == pytest.approx(90)
    assert evidence.body.verdict.overall != "PASS"


VALUES = {
    "no bounds": (lambda c: c.extra.clear(), "x is float64 of shape"),
    "an item out of bounds": (lambda c: c.x.__setitem__((7, 1), 1.5), "item 7: feature 1 is 1.5, not in 0 … 1"),
    "NaN": (lambda c: c.x.__setitem__((7, 1), np.nan), "item 7: feature 1 is nan"),
    "bounds of another size": (lambda c: c.extra.update(low=LOW[:2]), "its bounds do not fit items of shape (3,)"),
    "a constant feature": (lambda c: c.extra.update(low=HIGH), "its bounds are not low < high"),
    "another number of targets": (
        lambda c: setattr(c, "y", c.y[:, :1]),
        "has 1 values per item, but the models give 2",
    ),
    "a target that is no number": (lambda c: c.y.__setitem__((3, 0), np.inf), "a target of item 3 is no finite number"),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    spoil, words = VALUES[name]
    case = regression(tmp_path)
    spoil(case)
    with pytest.raises(AuditError) as caught:
        case.run()
    assert words in caught.value.what


def test_bounds_stand_in_the_audit_file_too(tmp_path: Path) -> None:
    case = regression(tmp_path)
    there = case.run()
    here = Case(
        tmp_path / "file", case.settings, case.x, case.y, case.reference, case.candidate,
        audit=f'[data.test]\npath = "test.npz"\nlow = {LOW.tolist()}\nhigh = {HIGH.tolist()}\n',
        limits=case.limits,
    )  # fmt: skip
    assert here.run().id == there.id


def control(folder: Path, candidate: NDArray[np.generic]) -> Case:
    """Costs of three actions; the least decides, and which does is stated."""
    x = RNG.uniform(LOW, HIGH, (300, 3))
    return Case(
        folder, 'kind = "control"\nrule = "argmin"\nrelative = 0.05', x, (x @ COSTS).argmin(axis=1), linear(COSTS),
        linear(candidate), {"low": LOW, "high": HIGH},
    )  # fmt: skip


COSTS = np.array([[1.0, -1.0, 0.0], [0.0, 2.0, -2.0], [0.001, 0.0, 0.002]])


def test_of_control_the_decision_counts(tmp_path: Path) -> None:
    changed = COSTS + np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    case = control(tmp_path, changed)
    found = estimates(case.run())
    same = (case.x @ changed).argmin(axis=1) == (case.x @ COSTS).argmin(axis=1)
    assert found["reference.accuracy"] == 100
    assert found["candidate.accuracy"] == found["functional.agreement"] == pytest.approx(100 * same.mean())
    assert 0 < found["accuracy.drop"] < 60
    case.y, case.folder = case.x @ COSTS, tmp_path / "values"
    assert estimates(case.run()) == found


def test_a_candidate_that_decides_by_the_wrong_end_fails(tmp_path: Path) -> None:
    body = control(tmp_path, -COSTS).run().body
    assert body.verdict.overall == "FAIL"


TASKS = {
    "regression without a tolerance": 'kind = "regression"',
    "a tolerance of classes": 'kind = "classification"\nabsolute = 0.1',
    "control without a rule": 'kind = "control"\nabsolute = 0.1',
    "an ignored label of values": 'kind = "regression"\nabsolute = 0.1\nignore = 3',
    "no such task": 'kind = "detection"',
}


@pytest.mark.parametrize("name", TASKS)
def test_tasks_that_make_no_sense_are_refused(tmp_path: Path, name: str) -> None:
    case = regression(tmp_path)
    case.settings = TASKS[name]
    with pytest.raises(AuditError, match=r"audit\.toml"):
        case.run()


def test_the_tolerance_belongs_to_the_plan(tmp_path: Path) -> None:
    case = regression(tmp_path)
    case.run()
    case.settings = 'kind = "regression"\nabsolute = 0.2'
    with pytest.raises(AuditError, match="holds another audit"):
        case.run()


def sides(f: NDArray[np.generic], g: NDArray[np.generic], kind: OutputKind, noise: float = 0.0) -> tuple[Side, Side]:
    return tuple(Side({"output": out.astype(np.float32)}, kind, noise) for out in (f, g))


def test_what_noise_can_turn_counts_against_the_candidate() -> None:
    task, y = Regression(Tolerance(0.1, 0.0)), np.zeros((1, 1), np.float32)
    pair = sides(np.array([[0.1005]]), np.array([[0.0995]]), OutputKind.VALUES, noise=1e-3)
    plain, adverse = (task.compare(y, *pair, adverse=each) for each in (False, True))
    assert (plain["right_reference"], plain["right_candidate"]) == (False, True)
    assert (adverse["right_reference"], adverse["right_candidate"]) == (True, False)
    decide = Control("argmin", Tolerance(0.1, 0.0))
    pair = sides(np.array([[1.0, 1.0005]]), np.array([[1.0, 1.0005]]), OutputKind.VALUES, noise=1e-3)
    adverse = decide.compare(np.array([0]), *pair, adverse=True)
    assert (adverse["right_reference"], adverse["right_candidate"], adverse["agree"]) == (True, False, False)
    masks = np.zeros((1, 1, 2), np.int16)
    f = np.array([[[[1.0, 5.0]], [[1.0005, 0.0]]]])
    adverse = Segmentation(IGNORED).compare(masks, *sides(f, f, OutputKind.LOGITS, 1e-3), adverse=True)
    assert (adverse["right_reference"], adverse["right_candidate"], adverse["agree"]) == (1.0, 0.5, 0.5)


def test_one_pixel_is_a_classification() -> None:
    f, g = (RNG.normal(size=(30, CLASSES)).astype(np.float32) for _ in range(2))
    labels = RNG.integers(0, CLASSES, 30)
    flat = Classification().compare(labels, *sides(f, g, OutputKind.LOGITS))
    masks = labels.astype(np.int16).reshape(-1, 1, 1)
    deep = Segmentation(IGNORED).compare(masks, *sides(f[..., None, None], g[..., None, None], OutputKind.LOGITS))
    for name in ("right_reference", "right_candidate", "lost", "won", "agree", "softmax_l2", "jensen_shannon"):
        np.testing.assert_allclose(deep[name], flat[name].astype(float))


def test_the_mean_iou_leaves_out_classes_that_nobody_has() -> None:
    counts = {"hit": [[2, 0, 0]], "named": [[3, 1, 1]], "labelled": [[4, 1, 0]]}
    assert mean_iou(*(np.array(value) for value in counts.values())) == pytest.approx(np.mean([2 / 5, 0]))


def test_guessing_one_value_is_as_good_as_the_fullest_interval() -> None:
    def chance(*targets: float, absolute: float = 0.5, relative: float = 0.0) -> float:
        y = np.asarray(targets, np.float32)[:, None]
        found = Manifest(np.zeros((len(y), 32), np.uint8), y, np.ones(len(y), np.bool_), "")
        return Regression(Tolerance(absolute, relative)).chance(found)

    assert chance(0, 1, 2, 3, 10) == pytest.approx(2 / 5)
    assert chance(0, 1, 2, 3, 10, absolute=1.0) == pytest.approx(3 / 5)
    assert chance(1, 100, 110, absolute=0.0, relative=0.05) == pytest.approx(2 / 3)


def test_manifests_of_masks_and_values_pass_through_json() -> None:
    ids = RNG.integers(0, 256, (3, 32)).astype(np.uint8)
    for labels, masked in (
        (RNG.normal(size=(3, 2)).astype(np.float32), {}),
        (ids[::-1].copy(), {0: (2, 1.5), 4: (1, 0.25)}),
    ):
        found = manifest.build(ids, labels, "set", masked)
        again = manifest.from_json(manifest.to_json(found))
        assert again.digest == found.digest and again.masked == masked
        assert again.labels.dtype == labels.dtype and np.array_equal(again.labels, labels)
