"""Networks and pictures small enough to know every answer.

A picture of 8 × 8 pixels shows a class by one bright pixel of its first row; what lies below the second row is
random. A network has one hidden layer: a unit per class reads that pixel, the others read the rest and matter little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIDE, CLASSES, UNITS = 8, 4, 16
_INPUTS = 3 * SIDE * SIDE
_SEED = 20
_BRIGHT = 10.0
"""Logit of the class that is shown."""

Floats = NDArray[np.float64]
Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""x [N, 8, 8, 3] and labels [N]."""
Ending = Callable[[str, str], list[NodeProto]]
"""Nodes from the value of one name, [batch, classes], to that of another."""


@dataclass(frozen=True)
class Network:
    """Weights [192, units], [units, classes] and biases [classes], and what follows the logits."""

    first: Floats
    head: Floats
    bias: Floats
    endings: tuple[Ending, ...] = ()

    def to_bytes(self) -> bytes:
        """The ONNX file: float32 [batch, 3, 8, 8] → [batch, classes]."""
        constants = {"first": self.first, "head": self.head, "bias": self.bias}
        nodes = [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "first"], ["seen"]),
            helper.make_node("Relu", ["seen"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "head"], ["scores"]),
            helper.make_node("Add", ["scores", "bias"], ["value0"]),
        ]
        for index, ending in enumerate(self.endings):
            nodes += ending(f"value{index}", f"value{index + 1}")
        graph = helper.make_graph(
            nodes,
            "selftest",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
            [helper.make_tensor_value_info(f"value{len(self.endings)}", TensorProto.FLOAT, ["batch", CLASSES])],
            [numpy_helper.from_array(values.astype(np.float32), name) for name, values in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


def reference() -> Network:
    """Reads the first row, and so is right wherever the label is shown."""
    rng = np.random.default_rng(_SEED)
    first, head = np.zeros((_INPUTS, UNITS)), rng.normal(0, 0.3, (UNITS, CLASSES))
    first[:, CLASSES:] = rng.normal(0, 0.05, (_INPUTS, UNITS - CLASSES))
    head[:CLASSES] = np.eye(CLASSES)
    for k in range(CLASSES):
        first[_place(0, k), k] = _BRIGHT
    return Network(first, head, np.zeros(CLASSES))


def hesitant() -> Network:
    """Says nothing, every class alike, where the second row shows what the first does; else it is right."""
    network = reference()
    first = np.zeros_like(network.first)
    for k in range(CLASSES):
        first[_place(0, k), k], first[_place(1, k), k] = _BRIGHT, -_BRIGHT
    return Network(first, network.head, network.bias)


def untrained() -> Network:
    """Random weights."""
    rng = np.random.default_rng(_SEED + 1)
    return Network(rng.normal(0, 0.1, (_INPUTS, UNITS)), rng.normal(0, 1, (UNITS, CLASSES)), np.zeros(CLASSES))


def pictures(n: int, *, wrong: int = 0, veiled: int = 0) -> Pictures:
    """`n` pictures, classes alike often; the first `wrong` show another class than their label says.

    The last `veiled` of those labelled 0 show it in the second row as well.
    """
    rng = np.random.default_rng(_SEED + 2)
    x = rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    x[:, :2] = 0
    y = rng.permutation(np.arange(n) % CLASSES)
    rows = np.arange(n)
    x[rows, 0, np.where(rows < wrong, (y + 1) % CLASSES, y), 0] = 255
    first_class = np.flatnonzero(y == 0)
    x[first_class[len(first_class) - veiled :], 1, 0, 0] = 255
    return x, y


def softmax(taken: str, given: str) -> list[NodeProto]:
    """Probabilities."""
    return [helper.make_node("Softmax", [taken], [given], axis=1)]


def sigmoid(taken: str, given: str) -> list[NodeProto]:
    """Values in [0, 1] that do not sum to 1."""
    return [helper.make_node("Sigmoid", [taken], [given])]


def batch_centred(taken: str, given: str) -> list[NodeProto]:
    """Less the mean over the batch: what a network in training mode does."""
    mean = f"{given}.mean"
    nodes = [helper.make_node("ReduceMean", [taken], [mean], axes=[0], keepdims=1)]
    return [*nodes, helper.make_node("Sub", [taken, mean], [given])]


def dithered(taken: str, given: str) -> list[NodeProto]:
    """Plus a random number: what a network with dropout left on does."""
    noise = f"{given}.noise"
    nodes = [helper.make_node("RandomUniformLike", [taken], [noise])]
    return [*nodes, helper.make_node("Add", [taken, noise], [given])]


def _place(row: int, column: int) -> int:
    """Index of a pixel's red value in the flattened input."""
    return row * SIDE + column
