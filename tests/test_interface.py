"""Inputs and outputs as they come: the same network in every form gives the same scores, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from audit.errors import AuditError
from audit.models import files, interface, memory
from audit.models import onnx as models
from audit.models.adapter import Preprocessing, Slot
from audit.models.onnx import OnnxModel
from audit.types import Role
from tests.world import CLASSES, INPUT, NAMES, REFERENCE

C, H, W = INPUT
PIXELS = C * H * W
ITEMS = torch.from_numpy(np.random.default_rng(0).random((7, *INPUT), np.float32))
SLOT = Slot(Role.CANDIDATE, INPUT)
SCORES = (ITEMS.reshape(len(ITEMS), -1) @ torch.from_numpy(REFERENCE)).numpy()

Size = int | str | None


def write(
    path: Path,
    nodes: list[NodeProto],
    *,
    taken: tuple[str, int, tuple[Size, ...]] = ("image", TensorProto.FLOAT, ("batch", C, H, W)),
    given: tuple[tuple[str, int, tuple[Size, ...]], ...] = (("logits", TensorProto.FLOAT, ("batch", CLASSES)),),
    metadata: dict[str, str] | None = None,
    constants: dict[str, np.ndarray] | None = None,
) -> Path:
    """A file that multiplies what its nodes make of the input, `flat`, by the reference's weights."""
    ports = [helper.make_tensor_value_info(*port) for port in (taken, *given)]
    held = {"w": REFERENCE} | (constants or {})
    graph = helper.make_graph(
        [*nodes], "network", ports[:1], ports[1:], [numpy_helper.from_array(v, k) for k, v in held.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    for key, text in (metadata or {}).items():
        model.metadata_props.add(key=key, value=text)
    path.write_bytes(model.SerializeToString())
    return path


def linear(taken: str = "image", given: str = "logits") -> list[NodeProto]:
    return [helper.make_node("Flatten", [taken], ["flat"]), helper.make_node("MatMul", ["flat", "w"], [given])]


def load(path: Path, slot: Slot = SLOT) -> OnnxModel:
    return models.load(files.read(path, slot.role), slot)


def refusal(path: Path, slot: Slot = SLOT) -> str:
    with pytest.raises(AuditError) as caught:
        load(path, slot)
    assert str(path) in caught.value.what and caught.value.hint
    return caught.value.what


def assert_same(model: OnnxModel, tolerance: float = 1e-6) -> None:
    found = model(ITEMS)
    assert found.dtype == torch.float32 and found.shape == SCORES.shape
    np.testing.assert_allclose(found.numpy(), SCORES, rtol=0, atol=tolerance * np.abs(SCORES).max())


@pytest.mark.parametrize("name", ["0", "x:0", "input.1", "serving_default_x:0"])
def test_names_are_names(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.onnx", linear(name), taken=(name, TensorProto.FLOAT, ("batch", C, H, W)))
    assert_same(load(path))


@pytest.mark.parametrize("sizes", [("batch", C, H, W), (None, None, None, None), ("n", "c", H, "w")])
def test_open_sizes_fit_the_data(tmp_path: Path, sizes: tuple[Size, ...]) -> None:
    assert_same(load(write(tmp_path / "a.onnx", linear(), taken=("image", TensorProto.FLOAT, sizes))))


@pytest.mark.parametrize(
    "sizes", [(PIXELS,), (PIXELS, 1), (1, PIXELS), (C, H * W), (None,), (C, "rest"), (1, 1, 1, PIXELS)]
)
def test_items_in_one_row_are_laid_out_as_the_data(tmp_path: Path, sizes: tuple[Size, ...]) -> None:
    path = write(tmp_path / "a.onnx", linear(), taken=("image", TensorProto.FLOAT, ("batch", *sizes)))
    assert_same(load(path))


def test_items_in_one_row_can_have_their_channels_last(tmp_path: Path) -> None:
    last = REFERENCE.reshape(C, H, W, CLASSES).transpose(1, 2, 0, 3).reshape(-1, CLASSES)
    path = write(
        tmp_path / "a.onnx", linear(), taken=("image", TensorProto.FLOAT, ("n", PIXELS)), constants={"w": last}
    )
    assert_same(load(path, replace(SLOT, preprocessing=Preprocessing(layout="NHWC"))))


@pytest.mark.parametrize(
    "sizes", [(H, W, C), (W, H, C), (C, H, W + 1), (PIXELS + 1,), (C, H), (None, None), (), (0, H, W)]
)
def test_items_of_other_sizes_are_refused(tmp_path: Path, sizes: tuple[Size, ...]) -> None:
    nodes = [helper.make_node("Reshape", ["image", "rows"], ["flat"]), linear()[1]]
    rows = {"rows": np.array([-1, PIXELS])}
    path = write(tmp_path / "a.onnx", nodes, taken=("image", TensorProto.FLOAT, ("batch", *sizes)), constants=rows)
    assert "but the data are 3 × 8 × 8 (CHW)" in refusal(path)


def test_rows_fit_any_order_of_axes(tmp_path: Path) -> None:
    slot = replace(SLOT, shape=(5, 1, 1))
    weights = np.random.default_rng(1).random((5, CLASSES), np.float32)
    x = torch.rand(3, 5, 1, 1)
    for sizes in ((5, 1, 1), (1, 1, 5), (1, 5), (5,)):
        path = write(
            tmp_path / "a.onnx",
            linear(),
            taken=("image", TensorProto.FLOAT, ("batch", *sizes)),
            constants={"w": weights},
        )
        np.testing.assert_allclose(load(path, slot)(x).numpy(), x.reshape(3, 5).numpy() @ weights, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [(TensorProto.FLOAT16, 2e-3), (TensorProto.FLOAT, 1e-6), (TensorProto.DOUBLE, 1e-6)]
)
def test_element_types_of_inputs_and_outputs(tmp_path: Path, kind: int, tolerance: float) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    ends = TensorProto.FLOAT if kind == TensorProto.FLOAT16 else kind
    path = write(
        tmp_path / "a.onnx",
        [*linear(given="raw"), helper.make_node("Cast", ["raw"], ["logits"], to=ends)],
        taken=("image", kind, ("batch", C, H, W)),
        given=(("logits", ends, ("batch", CLASSES)),),
        constants={"w": REFERENCE.astype(dtype)},
    )
    assert_same(load(path), tolerance)
    assert load(path).runtime["output"] == "logits"
    other = replace(SLOT, preprocessing=Preprocessing(dtype="uint8"))
    assert "dtype is declared uint8, but the network takes" in refusal(path, other)


def test_bytes_are_pixels_of_256_steps(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT), *linear("wide")]
    path = write(tmp_path / "a.onnx", nodes, taken=("image", TensorProto.UINT8, ("batch", C, H, W)))
    bytes_ = replace(SLOT, preprocessing=Preprocessing(range=(0.0, 255.0)))
    found = load(path, bytes_)(ITEMS).numpy()
    expected = np.rint(ITEMS.numpy() * 255).reshape(len(ITEMS), -1) @ REFERENCE
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for wrong in (Preprocessing(), Preprocessing(range=(0.0, 255.0), mean=(1.0, 1.0, 1.0))):
        assert "takes uint8: range must be [0, 255]" in refusal(path, replace(SLOT, preprocessing=wrong))


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.BOOL, TensorProto.STRING])
def test_other_element_types_are_refused(tmp_path: Path, kind: int) -> None:
    nodes = [helper.make_node("Cast", ["image"], ["wide"], to=TensorProto.FLOAT), *linear("wide")]
    path = write(tmp_path / "a.onnx", nodes, taken=("image", kind, ("batch", C, H, W)))
    assert "its input is tensor(" in refusal(path)


def fixed(path: Path, size: int, nodes: list[NodeProto] | None = None) -> Path:
    return write(
        path,
        nodes or linear(),
        taken=("image", TensorProto.FLOAT, (size, C, H, W)),
        given=(("logits", TensorProto.FLOAT, (size, CLASSES)),),
    )


@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_a_fixed_batch_is_freed_where_the_graph_allows_it(tmp_path: Path, size: int) -> None:
    model = load(fixed(tmp_path / "a.onnx", size))
    assert model.runtime["batch"] == f"any, in the file {size}"
    assert_same(model)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
def test_a_batch_fixed_inside_the_graph_runs_in_pieces(tmp_path: Path, size: int) -> None:
    shape = numpy_helper.from_array(np.array([size, PIXELS]))
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["image", "shape"], ["flat"]),
        linear()[1],
    ]
    model = load(fixed(tmp_path / "a.onnx", size, nodes))
    assert model.runtime["batch"] == size
    assert_same(model)


def test_a_network_that_answers_otherwise_when_freed_stays_as_it_is(tmp_path: Path) -> None:
    # It subtracts the mean of its batch: of one item alone that is another network than of several.
    nodes = [
        linear()[0],
        helper.make_node("MatMul", ["flat", "w"], ["raw"]),
        helper.make_node("ReduceMean", ["raw"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["raw", "mean"], ["logits"]),
    ]
    assert load(fixed(tmp_path / "a.onnx", 1, nodes)).runtime["batch"] == 1


def test_a_network_that_looks_at_its_batch_is_not_freed(tmp_path: Path) -> None:
    nodes = [
        linear()[0],
        helper.make_node("Shape", ["image"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "zero"], ["items"]),
        helper.make_node("Equal", ["items", "large"], ["is_large"]),
        helper.make_node("Where", ["is_large", "other", "w"], ["chosen"]),
        helper.make_node("MatMul", ["flat", "chosen"], ["logits"]),
    ]
    path = write(
        tmp_path / "a.onnx",
        nodes,
        taken=("image", TensorProto.FLOAT, (1, C, H, W)),
        given=(("logits", TensorProto.FLOAT, (1, CLASSES)),),
        constants={"zero": np.array(0), "large": np.array(256), "other": -REFERENCE},
    )
    assert load(path).runtime["batch"] == 1


def test_a_batch_of_none_is_refused(tmp_path: Path) -> None:
    assert "its batch size is fixed at 0" in refusal(fixed(tmp_path / "a.onnx", 0))


def two_outputs(path: Path) -> Path:
    nodes = [*linear(), helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)]
    ports = tuple((name, TensorProto.FLOAT, ("batch", CLASSES)) for name in ("probabilities", "logits"))
    return write(path, nodes, given=ports)


def test_of_several_outputs_the_named_one_counts(tmp_path: Path) -> None:
    path = two_outputs(tmp_path / "a.onnx")
    assert "has 2 outputs: 'probabilities', 'logits'" in refusal(path)
    assert "has no output 'scores', but 'probabilities', 'logits'" in refusal(path, replace(SLOT, output="scores"))
    assert_same(load(path, replace(SLOT, output="logits")))
    other = load(path, replace(SLOT, output="probabilities"))
    assert other.runtime["output"] == "probabilities"
    assert not np.allclose(other(ITEMS), SCORES)


def test_several_inputs_are_listed(tmp_path: Path) -> None:
    model = onnx.load(write(tmp_path / "a.onnx", linear()))
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"]))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    assert "needs one input, has ['image', 'mask']" in refusal(tmp_path / "a.onnx")


@pytest.mark.parametrize("behind", [(1,), (1, 1)])
def test_axes_of_one_behind_the_classes_are_dropped(tmp_path: Path, behind: tuple[int, ...]) -> None:
    shape = numpy_helper.from_array(np.array([-1, CLASSES, *behind]))
    nodes = [
        *linear(given="flatter"),
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Reshape", ["flatter", "shape"], ["logits"]),
    ]
    given = (("logits", TensorProto.FLOAT, ("batch", CLASSES, *behind)),)
    assert_same(load(write(tmp_path / "a.onnx", nodes, given=given)))


@pytest.mark.parametrize("shape", [(3, 2, 2), (3,), (2, 4), (3, 1)])
def test_what_is_no_row_of_scores_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AuditError, match=r"a\.onnx: gives (outputs of shape|one score)"):
        interface.fitted([np.zeros(shape, np.float32)], 3, SLOT, Path("a.onnx"))


def test_whole_numbers_are_no_scores(tmp_path: Path) -> None:
    nodes = [*linear(given="raw"), helper.make_node("ArgMax", ["raw"], ["logits"], axis=1)]
    path = write(tmp_path / "a.onnx", nodes, given=(("logits", TensorProto.INT64, ("batch", 1)),))
    assert "its output 'logits' is tensor(int64), not tensor(float) or tensor(double)" in refusal(path)


@pytest.mark.parametrize("size", [(16, 16), (4, 4), (8, 12)])
def test_items_are_resized_inside(tmp_path: Path, size: tuple[int, int]) -> None:
    weights = np.random.default_rng(0).random((C * size[0] * size[1], CLASSES), np.float32)
    path = write(
        tmp_path / "a.onnx",
        linear(),
        taken=("image", TensorProto.FLOAT, ("batch", C, *size)),
        constants={"w": weights},
    )
    assert "takes inputs of" in refusal(path)
    before = ITEMS.clone()
    model = load(path, replace(SLOT, preprocessing=Preprocessing(resize=size, mean=(0.5, 0.5, 0.5))))
    resized = nn.functional.interpolate(ITEMS, size, mode="bilinear", antialias=min(size) < H)
    expected = (resized - 0.5).reshape(len(ITEMS), -1).numpy() @ weights
    np.testing.assert_allclose(model(ITEMS).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(ITEMS, before)
    flat = ITEMS[:, :, :1, :1].expand(-1, -1, H, W).contiguous()  # of one colour: so it stays at any size
    np.testing.assert_allclose(model.preprocessing.apply(flat.numpy())[0, 0], flat[0, 0, 0, 0] - 0.5, rtol=1e-5)


FORMS: dict[str, Callable[[tuple[str, ...]], str]] = {
    "python list": lambda names: repr(list(names)),
    "json list": lambda names: str(list(names)).replace("'", '"'),
    "mapping": lambda names: str(dict(enumerate(names))),
    "mapping of strings": lambda names: str({str(k): v for k, v in reversed([*enumerate(names)])}),
    "lines": "\n".join,
    "lines of another system": "\r\n".join,
    "class to index": lambda names: str({name: index for index, name in reversed([*enumerate(names)])}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["names", "classes", "class_names", "labels", "id2label"])
def test_class_names_in_a_file(tmp_path: Path, form: str, key: str) -> None:
    path = write(tmp_path / "a.onnx", linear(), metadata={key: FORMS[form](NAMES)})
    assert load(path).class_names == NAMES
    assert load(path, replace(SLOT, classes=NAMES)).class_names == NAMES
    swapped = (NAMES[1], NAMES[0], *NAMES[2:])
    assert "stand in another order: number 0 is 'stop' and 'yield'" in refusal(path, replace(SLOT, classes=swapped))
    renamed = (*NAMES[:-1], "else")
    assert "have other names: number 3 is 'other' and 'else'" in refusal(path, replace(SLOT, classes=renamed))


@pytest.mark.parametrize(
    "text", ["", "[", "__import__('os')", "{0: 'a', 2: 'b'}", "[1, 2, 3, 4]", "a,b,c,d", "7", "{[]: 1}", "{1: []}"]
)
def test_what_names_no_class_is_no_name(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.onnx", linear(), metadata={"names": text})
    assert load(path).class_names == ()
    assert load(path, replace(SLOT, classes=NAMES)).class_names == NAMES


def test_as_many_names_as_scores(tmp_path: Path) -> None:
    few = write(tmp_path / "few.onnx", linear(), metadata={"names": repr([*NAMES[:3]])})
    assert "names 3 classes in its metadata, but gives 4 scores" in refusal(few)
    path = write(tmp_path / "a.onnx", linear())
    assert "has 4 classes, of which 3 are named" in refusal(path, replace(SLOT, classes=NAMES[:3]))


class Wrapped(nn.Module):
    """The reference as a module that wants one row per item, in its own element type, and wraps what it gives."""

    def __init__(self, dtype: torch.dtype, wrap: Callable[[Tensor], Any] = lambda out: out) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(REFERENCE.copy()).to(dtype))
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        assert x.dtype == self.weight.dtype and x.shape[1:] == (PIXELS,)
        return self.wrap(x @ self.weight)


ROW = replace(SLOT, preprocessing=Preprocessing(item=(PIXELS,)), batch=4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.float32, 1e-6), (torch.float64, 1e-6)])
def test_torch_modules_are_fed_in_their_own_element_type(dtype: torch.dtype, tolerance: float) -> None:
    model = memory.of_module(Wrapped(dtype), ROW)
    assert model.runtime["dtype"] == str(dtype).removeprefix("torch.")
    np.testing.assert_allclose(model(ITEMS).numpy(), SCORES, rtol=0, atol=tolerance * np.abs(SCORES).max())
    assert model.deviations == ()


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda out: {"logits": out, "features": out[:, :1]}, "logits"),
        (lambda out: (out[:, :1], out), "1"),
        (lambda out: [out], ""),
        (lambda out: {"only": out}, ""),
    ],
)
def test_of_several_outputs_of_a_module_the_named_one_counts(wrap: Callable[[Tensor], Any], output: str) -> None:
    model = memory.of_module(Wrapped(torch.float32, wrap), replace(ROW, output=output))
    np.testing.assert_allclose(model(ITEMS).numpy(), SCORES, rtol=1e-5)
    with pytest.raises(AuditError, match=r"gives [12] outputs: '"):
        memory.of_module(Wrapped(torch.float32, wrap), replace(ROW, output="elsewhere"))


def test_an_output_without_a_name_is_chosen_by_nobody() -> None:
    def wrap(out: Tensor) -> dict[str, Tensor]:
        return {"": out.flip(1), "logits": out}

    with pytest.raises(AuditError, match="gives 2 outputs: '', 'logits'"):
        memory.of_module(Wrapped(torch.float32, wrap), ROW)


def test_an_output_named_where_there_is_one_alone_is_refused() -> None:
    with pytest.raises(AuditError, match="gives one output without a name, not 'logits'"):
        memory.of_module(Wrapped(torch.float32), replace(ROW, output="logits"))


def test_axes_of_one_behind_the_classes_are_dropped_from_torch_too() -> None:
    model = memory.of_module(Wrapped(torch.float32, lambda out: out[:, :, None, None]), ROW)
    np.testing.assert_allclose(model(ITEMS).numpy(), SCORES, rtol=1e-5)


def test_an_element_type_that_cannot_be_fed_is_named() -> None:
    with pytest.raises(AuditError, match="its weights are bfloat16: declare a dtype that it takes"):
        memory.of_module(Wrapped(torch.bfloat16), ROW)


def test_items_that_cannot_be_laid_out_so_are_refused() -> None:
    with pytest.raises(ValueError, match=r"item is \[100\], but the data have 3 × 8 × 8 values"):
        Preprocessing(item=(100,)).model_shape(INPUT)
