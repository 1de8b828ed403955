"""Operators mean what the opset of the file says they mean, as onnxruntime carries them out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from onnx import NodeProto, helper, numpy_helper

from audit.models.differentiable.interpreter import translate
from audit.models.differentiable.node import Unsupported
from tests.graphs import Array, answers, items, model, node

X = items(2, 4, 6, 6)
ROW = np.linspace(0.5, 1.5, 4, dtype=np.float32)
SCALE = np.linspace(0.5, 1.5, 6, dtype=np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


BATCH_NORM = {"s": ROW, "b": ROW - 1, "m": ROW / 2, "v": ROW}
CASES: dict[str, tuple[int, list[NodeProto], Mapping[str, Array]]] = {
    "axes of a mean as attribute": (17, [node("ReduceMean", "x", "y", axes=[2, 3], keepdims=0)], {}),
    "axes of a mean as input": (18, [node("ReduceMean", "x a", "y", keepdims=0)], {"a": ints(-1, -2)}),
    "axes of a sum as input": (13, [node("ReduceSum", "x a", "y")], {"a": ints(1)}),
    "no axes are all axes": (18, [node("ReduceMax", "x", "y")], {}),
    "no axes are none": (18, [node("ReduceSumSquare", "x", "y", noop_with_empty_axes=1)], {}),
    "limits of a clip as attributes": (10, [node("Clip", "x", "y", min=-0.5, max=0.25)], {}),
    "limits of a clip as inputs": (13, [node("Clip", "x _ h", "y")], {"h": np.float32(0.25)}),
    "limits in the wrong order": (13, [node("Clip", "x l h", "y")], {"l": np.float32(1), "h": np.float32(-1)}),
    "a softmax of everything": (12, [node("Softmax", "x", "y", axis=1)], {}),
    "a softmax of an axis": (13, [node("Softmax", "x", "y", axis=1)], {}),
    "the default axis before 13": (12, [node("LogSoftmax", "x", "y")], {}),
    "the default axis since 13": (13, [node("LogSoftmax", "x", "y")], {}),
    "statistics of batches": (9, [node("BatchNormalization", "x s b m v", "y", epsilon=1e-3)], BATCH_NORM),
    "statistics of batches since 15": (15, [node("BatchNormalization", "x s b m v", "y")], BATCH_NORM),
    "statistics of layers": (17, [node("LayerNormalization", "x s b", "y")], {"s": SCALE, "b": SCALE}),
    "statistics of layers without bias": (17, [node("LayerNormalization", "x s", "y", axis=-1)], {"s": SCALE}),
    "statistics of groups, scaled by channel": (
        21, [node("GroupNormalization", "x s b", "y", num_groups=2)], {"s": ROW, "b": ROW},
    ),
    "statistics of instances": (6 + 1, [node("InstanceNormalization", "x s b", "y")], {"s": ROW, "b": ROW}),
    "dropout": (12, [node("Dropout", "x", "y")], {}),
    "a GELU of error functions": (20, [node("Gelu", "x", "y")], {}),
    "a GELU of tanh": (20, [node("Gelu", "x", "y", approximate="tanh")], {}),
    "a hard swish": (14, [node("HardSwish", "x", "y")], {}),
    "a hard sigmoid": (14, [node("HardSigmoid", "x", "y", alpha=1 / 6)], {}),
    "squeezed by attribute": (11, [node("ReduceMax", "x", "r", axes=[2]), node("Squeeze", "r", "y", axes=[2])], {}),
    "unsqueezed by input": (13, [node("Unsqueeze", "x a", "y")], {"a": ints(0, -1)}),
    "cut by attributes": (9, [node("Slice", "x", "y", starts=[1, -3], ends=[9, -1], axes=[1, 3])], {}),
    "cut backwards": (
        13, [node("Slice", "x s e a t", "y")], {"s": ints(-1), "e": ints(-99), "a": ints(2), "t": ints(-2)},
    ),
    "padded by attributes": (10, [node("Pad", "x", "y", pads=[0, 0, 1, 0, 0, 0, 2, 3], value=2.0)], {}),
    "padded by axes": (18, [node("Pad", "x p v a", "y")], {"p": ints(1, 2), "v": np.float32(3), "a": ints(-1)}),
    "reflected": (18, [node("Pad", "x p", "y", mode="reflect")], {"p": ints(0, 0, 2, 1, 0, 0, 3, 0)}),
    "split unevenly": (18, [node("Split", "x", "a b y", axis=2, num_outputs=3)], {}),
    "split by sizes": (13, [node("Split", "x s", "a y", axis=1)], {"s": ints(1, 3)}),
    "gathered from the end": (13, [node("Gather", "x i", "y", axis=2)], {"i": ints(-1, 0, 2)}),
    "upsampled": (9, [node("Upsample", "x s", "y", mode="linear")], {"s": floats(1, 1, 2, 1.5)}),
    "resized by the first version": (10, [node("Resize", "x s", "y", mode="nearest")], {"s": floats(1, 1, 2, 0.5)}),
    "resized to sizes": (
        13, [node("Resize", "x _ _ s", "y", mode="linear")], {"s": ints(2, 4, 9, 4)},
    ),
    "resized by a cubic": (
        19, [node("Resize", "x _ s", "y", mode="cubic", axes=[2, 3])], {"s": floats(1.5, 0.5)},
    ),
    "resized by corners": (
        13, [node("Resize", "x _ _ s", "y", mode="linear", coordinate_transformation_mode="align_corners")],
        {"s": ints(2, 4, 9, 4)},
    ),
    "pooled over the edge": (
        19, [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 0, 0], ceil_mode=1)], {},
    ),
    "averaged without pads": (19, [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 0])], {}),
    "averaged with pads": (
        19, [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 0], count_include_pad=1)], {},
    ),
    "an uneven convolution": (
        11, [node("Conv", "x w", "y", pads=[1, 0, 0, 2], strides=[2, 1], group=2)],
        {"w": np.ones((4, 2, 3, 3), np.float32)},
    ),
    "a convolution of the same size": (
        11, [node("Conv", "x w", "y", auto_pad="SAME_LOWER")], {"w": np.ones((2, 4, 2, 2), np.float32)},
    ),
    "a transposed convolution": (
        11, [node("ConvTranspose", "x w b", "y", strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 1])],
        {"w": np.ones((4, 2, 3, 3), np.float32), "b": floats(1, 2)},
    ),
    "integers divided towards zero": (
        14, [node("Div", "a b", "q"), node("Cast", "q", "c", to=1), node("Add", "x c", "y")],
        {"a": ints(-7), "b": ints(2)},
    ),
    "shapes in a chain": (
        14,
        [
            node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n axis", "u"),
            node("Concat", "u rest", "to", axis=0), node("Reshape", "x to", "y"),
        ],
        {"zero": np.array(0, np.int64), "axis": ints(0), "rest": ints(-1)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_means_what_its_opset_says(name: str) -> None:
    opset, nodes, constants = CASES[name]
    content = model(nodes, constants, opset=opset)
    torch.testing.assert_close(translate(content)(X), answers(content, X), rtol=1e-5, atol=1e-5)


def test_group_scales_before_opset_21_are_those_of_groups() -> None:
    found = translate(model([node("GroupNormalization", "x s b", "y", num_groups=2)],
                            {"s": floats(1, 3), "b": floats(0, 1)}, opset=18))(X)  # fmt: skip
    plain = torch.nn.functional.group_norm(X, 2)
    torch.testing.assert_close(found, torch.cat([plain[:, :2], plain[:, 2:] * 3 + 1], 1))


def quantised(x: str, y: str) -> list[NodeProto]:
    return [node("QuantizeLinear", f"{x} scale zero", f"{y}_q"), node("DequantizeLinear", f"{y}_q scale zero", y)]


QUANTISATION: dict[str, Array] = {"scale": np.float32(0.02), "zero": np.array(10, np.int8)}


def test_quantised_values_are_exact_and_their_gradients_go_straight_through() -> None:
    content = model(quantised("x", "y"), QUANTISATION)
    x = (X * 2).requires_grad_()
    found = translate(content)(x)
    assert torch.equal(found.detach(), answers(content, X * 2, optimised=False))
    found.sum().backward()
    within = (found > -138 * 0.02) & (found < 117 * 0.02)
    assert bool(within.any()) and bool((~within).any())
    assert x.grad is not None
    torch.testing.assert_close(x.grad[within], torch.ones_like(x)[within])
    assert not x.grad[(x.detach() > 3) | (x.detach() < -3.5)].any()


def test_rounding_lets_the_gradient_through() -> None:
    for operator in ("Round", "Floor", "Ceil"):
        x = X.clone().requires_grad_()
        translate(model([node(operator, "x", "y")]))(x).sum().backward()
        assert x.grad is not None
        assert bool((x.grad == 1).all())


def test_quantised_weights_become_numbers_once() -> None:
    stored = {"w": np.arange(-4, 4, dtype=np.int8).reshape(4, 2), "s": floats(0.5, 2), "z": np.zeros(2, np.int8)}
    nodes = [node("DequantizeLinear", "w s z", "f", axis=1), node("MatMul", "x f", "y")]
    module = translate(model(nodes, stored))
    assert [step.operator for step in module.nodes] == ["MatMul"]
    (weight,) = module.buffers()
    assert weight.tolist() == [[-2, -6], [-1, -2], [0, 2], [1, 6]]


def branch(value: float) -> Any:
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32(value)))
    nodes = [constant, helper.make_node("Mul", ["x", "c"], ["z"])]
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info("z", 1, None)])


@pytest.mark.parametrize(("condition", "factor"), [(True, 2), (False, 3)])
def test_the_branch_of_a_constant_condition_is_taken(condition: bool, factor: int) -> None:
    nodes = [node("If", "c0", "y", then_branch=branch(2), else_branch=branch(3))]
    assert torch.equal(translate(model(nodes, {"c0": np.array(condition)}))(X), X * factor)


def test_functions_of_the_file_are_put_in_place() -> None:
    opsets = [helper.make_opsetid("", 20)]
    twice = helper.make_function("house", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets)
    call = helper.make_node("Twice", ["x"], ["y"], domain="house")
    assert torch.equal(translate(model([call], functions=[twice]))(X), X * 2)


def test_values_are_let_go_after_their_last_use() -> None:
    nodes = [node("Relu", "x", "a"), node("Exp", "a", "b"), node("Add", "a b", "c"), node("Mul", "c c", "y")]
    module = translate(model(nodes))
    assert [step.done for step in module.steps] == [("x",), (), ("a", "b"), ("c",)]


def test_sparse_weights_are_filled_with_zeros() -> None:
    import onnx

    content = onnx.load_model_from_string(model([node("MatMul", "x w", "y")]))
    sparse = content.graph.sparse_initializer.add(dims=[6, 2])
    sparse.values.CopyFrom(numpy_helper.from_array(floats(2, 3), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(ints(0, 11), "i"))
    found = translate(content.SerializeToString())(X)
    torch.testing.assert_close(found, torch.stack([X[..., 0] * 2, X[..., 5] * 3], -1))


def test_a_cut_gradient_is_refused_and_not_zero() -> None:
    nodes = [node("Cast", "x", "i", to=6), node("Cast", "i", "y", to=1)]
    module = translate(model(nodes))
    assert torch.equal(module(X), X.trunc())
    with pytest.raises(Unsupported, match="the gradient would be cut unnoticed"):
        module(X.clone().requires_grad_())
    read_twice = [*quantised("x", "a"), node("Cast", "a_q", "b", to=1), node("Add", "a b", "y")]
    with pytest.raises(Unsupported, match="read by something else than DequantizeLinear"):
        translate(model(read_twice, QUANTISATION))(X.clone().requires_grad_())
