"""What onnx2pytorch, which shares no line with us, makes of the same files: the same outputs and the same gradients."""

import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor
from torch.nn import Module

import sample_models
from audit.models.differentiable.interpreter import translate
from benchmarks.differentiable import EXPORTERS, gradient
from tests.conftest import unavailable
from tests.graphs import items
from tests.test_differentiable_networks import close
from tests.tinynets import NETWORKS, path, quantised

SAMPLES = Path(next(iter(sample_models.__path__)))
BEYOND = {path("densenet", "TorchScript"): "training_mode", quantised("resnet"): "Conv2d"}
"""What it cannot read: attributes of batch norms in opset 14, and weights behind a DequantizeLinear."""
FILES = [
    *(file for name in NETWORKS for exporter in EXPORTERS if (file := path(name, exporter)) not in BEYOND),
    *sorted(SAMPLES.rglob("*.onnx")),
]
Convert = Callable[[Path], Module]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of how it gathers and slices


@pytest.fixture(scope="module")
def convert() -> Convert:
    """Its conversion of a file; without `experimental` it takes one item at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from onnx2pytorch import ConvertModel
        except ImportError as error:
            unavailable(f"no second opinion: {error}; install the extra `test`")

    def converted(file: Path) -> Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own parts, and that it is experimental
            net: Module = ConvertModel(onnx.load(file), experimental=True).eval()
            return net

    return converted


def shown(file: Path) -> Tensor:
    """Items as a file takes them."""
    _, *sizes = onnx.load(file).graph.input[0].type.tensor_type.shape.dim
    return items(8, *(size.dim_value for size in sizes))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_outputs_and_gradients_are_those_of_another_conversion(convert: Convert, file: Path) -> None:
    x, ours, theirs = shown(file), translate(file.read_bytes()), convert(file)
    with torch.no_grad():
        assert close(ours(x), theirs(x))
    assert close(gradient(ours, x), gradient(theirs, x))


@pytest.mark.parametrize("file", BEYOND, ids=lambda file: file.stem)
def test_what_it_cannot_read_is_left_out_for_no_other_reason(convert: Convert, file: Path) -> None:
    with pytest.raises((NotImplementedError, TypeError), match=BEYOND[file]):
        convert(file)


def test_it_would_notice_other_weights(convert: Convert) -> None:
    file = path("resnet", "dynamo")
    x, ours, theirs = shown(file), translate(file.read_bytes()), convert(file)
    for weight in ours.buffers():
        weight *= 1.0001
    assert not close(gradient(ours, x), gradient(theirs, x))


def test_the_samples_are_there() -> None:
    assert len(FILES) >= 20
