"""What a file may not do: be guessed at, grow without bound, or mean something else than it says."""

import tracemalloc
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from audit.models.differentiable.interpreter import translate
from audit.models.differentiable.node import Unsupported
from tests.graphs import Array, items, model, node

X = items(2, 4, 6, 6)
ROW = np.ones(4, np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def refusal(nodes: list[NodeProto], constants: Mapping[str, Array] | None = None, opset: int = 20) -> str:
    """What is said of a file that is refused when it is read or when it is run."""
    with pytest.raises(Unsupported) as caught:
        translate(model(nodes, constants, opset=opset))(X)
    assert str(caught.value) == f"{caught.value.operator} (opset {caught.value.version}): {caught.value.reason}"
    return str(caught.value)


def test_unknown_operators_are_named() -> None:
    assert refusal([node("DFT", "x", "y")]) == "DFT (opset 20): not among the operators that are carried"
    assert "another domain" in refusal([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")])
    # The name of the operator that stands in for QuantizeLinear is not for files to use.
    assert "not among" in refusal([node("QuantizeLinear, as floats", "x s", "y")], {"s": np.float32(1)})


@pytest.mark.parametrize("opset", [5, 29])
def test_opsets_that_nobody_has_read_are_refused(opset: int) -> None:
    assert "its opset is not between" in refusal([node("Relu", "x", "y")], opset=opset)


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([node("Dropout", "x r t", "y")], {"r": np.float32(0.5), "t": np.array(True)}, "training mode"),
        ([node("BatchNormalization", "x r r r r", "y", training_mode=1)], {"r": ROW}, "training mode"),
        ([node("Pad", "x p", "y", mode="other")], {"p": ints(*[0] * 8)}, "mode other"),
        ([node("Cast", "x", "y", to=TensorProto.FLOAT8E5M2)], {}, "element type 19"),
        ([node("Gelu", "x", "y", approximate="other")], {}, "approximate = other"),
        ([node("MaxPool", "x", "v y", kernel_shape=[2, 2], storage_order=1)], {}, "storage_order = 1"),
        ([node("AveragePool", "x", "y", kernel_shape=[9, 9])], {}, "larger than its padded input"),
        ([node("Conv", "x w", "y", pads=[-1, 0, 0, 0])], {"w": np.ones((2, 4, 1, 1), np.float32)}, "pads"),
        ([node("Resize", "x _ s", "y", coordinate_transformation_mode="tf_crop_and_resize")],
         {"s": np.array([1, 1, 2, 2], np.float32)}, "tf_crop_and_resize"),
        ([node("Cast", "x", "h", to=10), node("MatMul", "h h", "y")], {}, "half precision"),
        ([node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y", axis=0)],
         {"s": np.ones(4, np.float32), "z": np.zeros(4, np.int8)}, "a scale of shape (4,) on axis 0"),
    ],
)  # fmt: skip
def test_what_would_be_guessed_is_refused(nodes: list[NodeProto], constants: Mapping[str, Array], reason: str) -> None:
    assert reason in refusal(nodes, constants)


BIG = 2**16
BOMBS: dict[str, tuple[list[NodeProto], Mapping[str, Array]]] = {
    "a constant of any shape": ([node("ConstantOfShape", "s", "y")], {"s": ints(BIG, BIG)}),
    "expanded": ([node("Expand", "x s", "y")], {"s": ints(BIG, 64, 2, 4, 6, 6)}),
    "tiled": ([node("Tile", "x s", "y")], {"s": ints(1, 1, BIG, BIG)}),
    "a range": ([node("Range", "a b c", "y")], {"a": np.array(0), "b": np.array(2**40), "c": np.array(1)}),
    "padded": ([node("Pad", "x p", "y")], {"p": ints(0, 0, 0, 0, 0, 0, BIG, BIG)}),
    "reflected": ([node("Pad", "x p", "y", mode="wrap")], {"p": ints(0, 0, 0, 0, 0, 0, BIG, BIG)}),
    "padded by a convolution": (
        [node("Conv", "x w", "y", pads=[0, 0, BIG, BIG])], {"w": np.ones((2, 4, 1, 1), np.float32)},
    ),
    "padded by a pool": ([node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[0, 0, BIG, BIG])], {}),
    "a transposed convolution": (
        [node("ConvTranspose", "x w", "y", strides=[BIG, BIG])], {"w": np.ones((4, 2, 1, 1), np.float32)},
    ),
    "resized": ([node("Resize", "x _ _ s", "y")], {"s": ints(2, 4, BIG, BIG)}),
    "one-hot": (
        [node("OneHot", "i d v", "y")], {"i": ints(*range(64)), "d": np.array(2**40), "v": np.ones(2, np.float32)},
    ),
    "a sum of a row and a column": (
        [node("Add", "r c", "y")], {"r": np.ones((1, BIG), np.float32), "c": np.ones((BIG, 1), np.float32)},
    ),
    "a product of a column and a row": (
        [node("MatMul", "c r", "y")], {"r": np.ones((1, BIG), np.float32), "c": np.ones((BIG, 1), np.float32)},
    ),
    "an outer product": (
        [node("Einsum", "a a", "y", equation="i,j->ij")], {"a": np.ones(BIG, np.float32)},
    ),
    "gathered": (
        [node("Gather", "r i", "y")], {"r": np.ones((1, BIG), np.float32), "i": np.zeros(BIG, np.int64)},
    ),
    "doubled again and again": (
        [node("ConstantOfShape", "s", "v0"), *(node("Concat", f"v{i} v{i}", f"v{i + 1}", axis=0) for i in range(40))],
        {"s": ints(BIG)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_made(name: str) -> None:
    nodes, constants = BOMBS[name]
    assert "elements" in refusal(nodes, constants)


def test_constants_together_are_bounded() -> None:
    nodes = [node("ConstantOfShape", "s", f"v{i}") for i in range(9)]
    assert "constants of more than" in refusal(nodes, {"s": ints(2**25)})


def test_a_sparse_bomb_is_refused() -> None:
    import onnx

    content = onnx.load_model_from_string(model([node("Relu", "x", "y")]))
    sparse = content.graph.sparse_initializer.add(dims=[BIG, BIG])
    sparse.values.CopyFrom(numpy_helper.from_array(ROW, "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(ints(0, 1, 2, 3), "i"))
    with pytest.raises(Unsupported, match="sparse tensor"):
        translate(content.SerializeToString())


def test_functions_that_unfold_without_end_are_refused() -> None:
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("house", 1)]

    def function(name: str, inner: str) -> FunctionProto:
        calls = [helper.make_node(inner, ["a"], ["b"], domain="house"),
                 helper.make_node(inner, ["b"], ["c"], domain="house")]  # fmt: skip
        return helper.make_function("house", name, ["a"], ["c"], calls, opsets)

    last = helper.make_function("house", "F0", ["a"], ["c"], [helper.make_node("Relu", ["a"], ["c"])], opsets)
    tower = [last, *(function(f"F{i + 1}", f"F{i}") for i in range(30))]
    call = helper.make_node("F30", ["x"], ["y"], domain="house")
    with pytest.raises(Unsupported, match="more than 100,000 nodes"):
        translate(model([call], functions=tower))
    circle = [function("F0", "F1"), function("F1", "F0")]
    with pytest.raises(Unsupported, match="calls itself"):
        translate(model([helper.make_node("F0", ["x"], ["y"], domain="house")], functions=circle))


def test_a_condition_that_depends_on_the_input_is_refused() -> None:
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "branch", [],
                              [helper.make_tensor_value_info("z", 1, None)])  # fmt: skip
    nodes = [
        node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "c", to=9),
        node("If", "c", "y", then_branch=inner, else_branch=inner),
    ]  # fmt: skip
    assert "its condition depends on the input" in refusal(nodes)


def test_a_branch_may_not_hide_a_value() -> None:
    inner = helper.make_graph([helper.make_node("Neg", ["x"], ["a"])], "branch", [],
                              [helper.make_tensor_value_info("a", 1, None)])  # fmt: skip
    nodes = [node("Relu", "x", "a"), node("If", "c", "b", then_branch=inner, else_branch=inner),
             node("Add", "a b", "y")]  # fmt: skip
    assert "not the only ones of that name" in refusal(nodes, {"c": np.array(True)})


def test_refusing_allocates_next_to_nothing() -> None:
    content = model([node("Pad", "x p", "y", mode="edge")], {"p": ints(0, 0, 0, 0, 0, 0, BIG, BIG)})
    module = translate(content)
    tracemalloc.start()
    with pytest.raises(Unsupported):
        module(torch.ones(2, 4, 6, 6))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
