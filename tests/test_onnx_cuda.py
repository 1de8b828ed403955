"""ONNX files on a CUDA device: `pytest -m cuda`. What needs none is in test_provider.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

import audit
from audit import request
from audit.errors import AuditError
from audit.models import files, provider
from audit.models import onnx as models
from audit.models.adapter import Preprocessing, Slot
from audit.models.onnx import OnnxModel
from audit.models.provider import CPU, CUDA
from audit.types import Role
from benchmarks.differentiable import EXPORTERS
from tests import tinynets
from tests.test_alignment import ITEMS as INSIDE
from tests.test_alignment import hidden
from tests.test_interface import ITEMS, C, H, W, linear, write
from tests.test_interface import SLOT as IMAGES
from tests.test_provider import BATCH, in_pieces
from tests.world import CLASSES, INPUT, World

if CUDA not in onnxruntime.get_available_providers():
    pytest.skip("the installed onnxruntime has no CUDA", allow_module_level=True)
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)
pytestmark = pytest.mark.cuda


SLOT = replace(IMAGES, batch=BATCH)


def load(path: Path, slot: Slot = SLOT, device: str = "cuda") -> OnnxModel:
    return models.load(files.read(path, slot.role), replace(slot, device=device))


def assert_same(path: Path, slot: Slot = SLOT, items: Tensor = ITEMS, bound: float = 1e-4) -> OnnxModel:
    """Scores are those of the processor, the same in two runs, and the same of an item alone and among others."""
    there, here = load(path, slot), load(path, slot, "cpu")
    assert (there.runtime["provider"], here.runtime["provider"]) == (CUDA, CPU)
    found, expected = there(items), here(items)
    assert found.device == torch.device("cpu") and found.dtype == torch.float32
    assert float((found - expected).abs().max()) <= bound * float(expected.abs().max())
    assert torch.equal(found, there(items))
    for index in range(len(items)):
        assert torch.equal(there(items[index : index + 1])[0], found[index])
    return there


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", tinynets.NETWORKS)
def test_cuda_gives_what_the_processor_gives(name: str, exporter: str) -> None:
    items = torch.from_numpy(np.random.default_rng(0).random((2 * BATCH + 1, *tinynets.INPUT), np.float32))
    model = assert_same(tinynets.path(name, exporter), replace(SLOT, shape=tinynets.INPUT), items)
    assert model.runtime["device"] == torch.cuda.get_device_name(0)
    assert model.runtime["cuda"] == torch.version.cuda
    assert (model.runtime["use_tf32"], model.runtime["cudnn_conv_algo_search"]) == ("0", "DEFAULT")
    model.verify_unchanged()


@pytest.mark.parametrize(
    ("kind", "high", "bound"),
    [(TensorProto.FLOAT16, 1.0, 1e-2), (TensorProto.DOUBLE, 1.0, 1e-6), (TensorProto.UINT8, 255.0, 1e-6)],
)
def test_element_types(tmp_path: Path, kind: int, high: float, bound: float) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT), *linear("wide")]
    path = write(tmp_path / "a.onnx", nodes, taken=("image", kind, ("batch", C, H, W)))
    assert_same(path, replace(SLOT, preprocessing=Preprocessing(range=(0.0, high))), bound=bound)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_a_fixed_batch(tmp_path: Path, size: int) -> None:
    for name, nodes, batch in (("freed", linear(), f"any, in the file {size}"), ("pieces", in_pieces(size), size)):
        path = write(
            tmp_path / f"{name}.onnx",
            nodes,
            taken=("image", TensorProto.FLOAT, (size, C, H, W)),
            given=(("logits", TensorProto.FLOAT, (size, CLASSES)),),
        )
        assert assert_same(path).runtime["batch"] == batch


@pytest.mark.parametrize("batch", ["batch", 4])
def test_a_layer_is_watched_as_on_the_processor(tmp_path: Path, batch: int | str) -> None:
    slot = Slot(Role.CANDIDATE, INPUT, layer="hidden", batch=BATCH)
    there, here = (load(hidden(tmp_path / "a.onnx", batch=batch), slot, device) for device in ("cuda", "cpu"))
    (out, values), (_, expected) = there.watch(INSIDE), here.watch(INSIDE)
    assert torch.equal(out, there(INSIDE))
    assert float((values - expected).abs().max()) <= 1e-4 * float(expected.abs().max())


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_preprocessing_on_the_device(tmp_path: Path, layout: str) -> None:
    sizes = (4, 4, C) if layout == "NHWC" else (C, 4, 4)
    weights = np.random.default_rng(1).standard_normal((C * 16, CLASSES)).astype(np.float32)
    path = write(
        tmp_path / "a.onnx", linear(), taken=("image", TensorProto.FLOAT, ("n", *sizes)), constants={"w": weights}
    )
    scale = {"range": (0.0, 255.0), "mean": (120.0, 110.0, 100.0), "std": (60.0, 61.0, 62.0)}
    preprocessing = Preprocessing(layout=layout, resize=(4, 4), **scale)  # type: ignore[arg-type]
    assert_same(path, replace(SLOT, preprocessing=preprocessing))


WIDE, MANY = (64, 8, 8), 256


def product(path: Path, weights: NDArray[np.float32], operator: str) -> Path:
    """A file of one large product: of each item with a matrix, or with the filters of a convolution as large as it."""
    shape = weights.shape if operator == "Conv" else (int(np.prod(WIDE)), len(weights))
    values = weights if operator == "Conv" else np.ascontiguousarray(weights.reshape(len(weights), -1).T)
    assert values.shape == shape
    nodes = [helper.make_node(operator, ["image" if operator == "Conv" else "flat", "w"], ["product"])]
    if operator == "MatMul":
        nodes.insert(0, helper.make_node("Flatten", ["image"], ["flat"]))
    graph = helper.make_graph(
        [*nodes, helper.make_node("Flatten", ["product"], ["logits"])],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *WIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", None])],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("operator", ["MatMul", "Conv"])
def test_products_are_not_rounded_to_tf32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: str) -> None:
    rng = np.random.default_rng(0)
    kernel = 3 if operator == "Conv" else WIDE[1]
    weights = rng.standard_normal((128, WIDE[0], kernel, kernel)).astype(np.float32)
    path = product(tmp_path / "a.onnx", weights, operator)
    x = torch.from_numpy(rng.standard_normal((MANY, *WIDE)).astype(np.float32))
    exact = torch.nn.functional.conv2d(x.double(), torch.from_numpy(weights).double()).flatten(1)

    def error() -> float:
        found = load(path, replace(SLOT, shape=WIDE, batch=MANY))(x)
        return float((found - exact).abs().max() / exact.abs().max())

    assert error() < 2e-5
    if operator == "MatMul" and torch.cuda.get_device_capability() >= (8, 0):  # where there is TF32, it would be seen
        monkeypatch.setitem(provider.SETTINGS, "use_tf32", "1")
        assert error() > 5e-5


def test_an_operator_without_a_kernel_for_cuda_is_refused(tmp_path: Path) -> None:
    nodes = [
        *linear(given="raw"),
        helper.make_node("Reshape", ["raw", "squares"], ["square"]),
        helper.make_node("Det", ["square"], ["determinant"]),
        helper.make_node("Reshape", ["determinant", "column"], ["added"]),
        helper.make_node("Add", ["raw", "added"], ["logits"]),
    ]
    shapes = {"squares": np.array([-1, 2, CLASSES // 2]), "column": np.array([-1, 1])}
    path = write(tmp_path / "a.onnx", nodes, constants=shapes)
    load(path, device="cpu")
    with pytest.raises(AuditError, match=r"does not run all of it on CUDA; on the processor run .*Det"):
        load(path)


@pytest.mark.quarantined
def test_an_audit_on_cuda_names_the_provider(world: World) -> None:
    asked, base = request.combine(world.audit, request.Flags(device="cuda"))
    body = audit.run(asked, base=base, out=world.out, pdf=False).evidence.body
    assert body.verdict.overall == "PASS"
    assert {model.runtime["provider"] for model in body.models} == {CUDA}
    assert {model.runtime["device"] for model in body.models} == {torch.cuda.get_device_name(0)}
    again = audit.run(asked, base=base, out=world.folder / "again", pdf=False).evidence
    assert again.body == body
