"""The road signs: items depend on nothing but their index, and networks are what their names say."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy import stats

from sample_models.roadsigns import measure
from sample_models.roadsigns.generator import CLASSES, FREQUENCIES, MEAN, STD, generate
from sample_models.roadsigns.shapes import Disc, Polygon, Stroke
from sample_models.roadsigns.signs import SIGNS, SIZE, drawings

FILES = (measure.REFERENCE, *measure.CANDIDATES)
ITEMS = 3000


def test_shapes_and_types() -> None:
    images, labels = generate(17, 5)
    assert images.shape == (5, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.shape == (5,)
    assert labels.dtype == np.int64
    empty, none = generate(3, 0)
    assert empty.shape == (0, 32, 32, 3)
    assert none.shape == (0,)


@pytest.mark.parametrize("cuts", [(0, 1, 2, 300), (0, 127, 128, 129, 300), (0, 299, 300)])
def test_batching_changes_no_bit(cuts: tuple[int, ...]) -> None:
    images, labels = generate(1000, 300)
    parts = [generate(1000 + a, b - a) for a, b in pairwise(cuts)]
    assert np.array_equal(np.concatenate([part[0] for part in parts]), images)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), labels)


def test_the_bits_are_those_of_the_published_figures() -> None:
    images, labels = generate(0, 256)
    digest = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert digest == "07d581a5150e7cdfcc5047354af3c6deecbd0c042dd69de4678760591c67d5d9"


def test_streams_share_no_item() -> None:
    streams = [generate(0, 200, stream)[0].reshape(200, -1) for stream in ("train", "validation", "test")]
    assert len(np.unique(np.concatenate(streams), axis=0)) == 600


@pytest.mark.parametrize(
    ("start", "count", "stream"), [(-1, 1, "test"), (0, -1, "test"), (0, 1, "tests"), (2**48, 1, "test")]
)
def test_requests_outside_the_data_are_refused(start: int, count: int, stream: str) -> None:
    with pytest.raises(ValueError, match=r"outside|unknown stream"):
        generate(start, count, stream)


def test_classes_are_as_frequent_as_promised() -> None:
    _, labels = generate(50_000, 6000)
    counts = np.bincount(labels, minlength=len(CLASSES))
    assert stats.chisquare(counts, 6000 * np.array(FREQUENCIES)).pvalue > 0.001
    assert len(set(CLASSES)) == len(CLASSES) >= 12
    assert CLASSES[int(np.argmin(FREQUENCIES))] == "children"
    assert 0.015 <= min(FREQUENCIES) <= 0.02


def test_items_are_serially_independent() -> None:
    images, labels = generate(0, 4000)
    brightness = images.mean(axis=(1, 2, 3))
    for series in (brightness, labels.astype(float)):
        assert abs(np.corrcoef(series[:-1], series[1:])[0, 1]) < 4 / np.sqrt(4000)


def test_normalisation_fits_the_data() -> None:
    pixels = generate(0, 2000, "train")[0] / 255
    assert pixels.mean(axis=(0, 1, 2)) == pytest.approx(MEAN, abs=0.02)
    assert pixels.std(axis=(0, 1, 2)) == pytest.approx(STD, abs=0.02)


def test_distances_of_shapes() -> None:
    x, y = np.array([0.0, 3.0]), np.array([0.0, 4.0])
    assert Disc(0, 0, 1).distance(x, y) == pytest.approx([-1, 4])
    assert Polygon(((-1, -1), (1, -1), (1, 1), (-1, 1)), 0.25).distance(x, y) == pytest.approx([-0.75, 3.25])
    assert Stroke(((0, 0), (3, 0)), 0.5).distance(x, y) == pytest.approx([-0.5, 3.5])


def test_drawings_are_premultiplied_and_end_before_the_border() -> None:
    table = drawings()
    assert table.shape == (len(SIGNS), 3, 4, SIZE, SIZE)
    assert table.min() >= 0
    assert (table[:, :, :3] <= table[:, :, 3:] + 1e-6).all()
    assert table[:, :, 3, 0, 0].max() < 1e-3
    assert (table[:, :, 3, SIZE // 2, SIZE // 2] > 0.99).all()


def _without_weights(model: onnx.ModelProto) -> bytes:
    """All that is text in the file; the weights may hold any byte."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        tensor.ClearField("raw_data")
    return bytes(bare.SerializeToString())


@pytest.mark.parametrize("name", FILES)
def test_onnx_files_are_small_and_anonymous(name: str) -> None:
    path = measure.HERE / f"{name}.onnx"
    raw = path.read_bytes()
    model = onnx.load_from_string(raw)
    onnx.checker.check_model(model, full_check=True)
    assert len(raw) < 1_000_000
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert b"/" not in _without_weights(model)
    assert b".py" not in _without_weights(model)
    assert {node.op_type for node in model.graph.node} == {"Conv", "Relu", "ReduceMean", "Gemm"}


@pytest.mark.parametrize(("name", "low", "high"), [("reference", 0, 0.001), ("well-pruned", 0.59, 0.61)])
def test_pruned_weights_are_zeros_in_the_file(name: str, low: float, high: float) -> None:
    model = onnx.load(measure.HERE / f"{name}.onnx")
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    weights = np.concatenate([array.ravel() for array in arrays if array.ndim in (2, 4)])
    assert low <= np.mean(weights == 0) <= high


@pytest.fixture(scope="module")
def results() -> dict[str, measure.Comparison]:
    labels, seen = measure.observe(0, ITEMS)
    assert np.mean(seen["reference"].clean == labels) > 0.96
    return {name: measure.compare(labels, seen["reference"], seen[name]) for name in measure.CANDIDATES}


@pytest.mark.long
def test_well_pruned_changes_few_items(results: dict[str, measure.Comparison]) -> None:
    figures = results["well-pruned"]
    assert figures.changed < 1.3
    assert abs(figures.drop) < 0.5
    assert abs(figures.noisy_drop) < 0.7
    assert figures.excess < 0
    assert figures.distance < 0.05


@pytest.mark.long
def test_crude_loses_accuracy(results: dict[str, measure.Comparison]) -> None:
    assert results["crude"].drop > 2.5


@pytest.mark.long
def test_over_pruned_loses_under_noise_only(results: dict[str, measure.Comparison]) -> None:
    figures = results["over-pruned"]
    assert figures.drop < 1.0
    assert figures.noisy_drop > 4.0


@pytest.mark.long
def test_sabotaged_loses_one_rare_class_only(results: dict[str, measure.Comparison]) -> None:
    figures = results["sabotaged"]
    assert figures.drop < 0.9
    assert figures.recall_drop[CLASSES.index("children")] > 15
    others = [drop for name, drop in zip(CLASSES, figures.recall_drop, strict=True) if name != "children"]
    assert max(others) < 4


def test_comparison_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    uniform = np.full((4, 14), 1 / 14, np.float32)
    certain = np.eye(14, dtype=np.float32)[[0, 0, 1, 1]]
    reference = measure.Outputs(np.array([0, 0, 1, 0]), labels, certain)
    candidate = measure.Outputs(np.array([0, 1, 1, 1]), labels[::-1], uniform)
    figures = measure.compare(labels, reference, candidate)
    assert (figures.changed, figures.drop, figures.noisy_drop) == (50, 0, 100)
    assert (figures.agreement, figures.excess) == (50, 25)
    assert figures.distance == pytest.approx(np.sqrt(13 / 14), rel=1e-6)
    assert figures.recall_drop[:2] == (50, -50)
    assert np.isnan(figures.recall_drop[2])


def test_measuring_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 items"):
        measure.observe(0, 0)


def test_noise_depends_on_the_index_only() -> None:
    whole = measure.noise(40, 6)
    assert np.array_equal(whole[2:], measure.noise(42, 4))
    assert 0.99 * measure.NOISE < np.abs(whole).max() <= measure.NOISE


def test_readme_names_every_network() -> None:
    page = Path(measure.HERE / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}.onnx`" in page for name in FILES)
