"""The effective weights of an ONNX network: what arrives at its operators once all that is constant is computed.

onnxruntime itself computes it, so that masks, thresholds and quantisation mean here what they mean when it
runs.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audit import structure
from audit.findings import Missing
from audit.models import graph
from audit.models.graph import first_line
from audit.structure import UNKNOWN, Layer, Structure

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array = NDArray[np.generic]
Run = Callable[[bytes, list[str]], list[Array]]
"""Runs a network on blank items: its bytes and the outputs that are wanted → their values, one item after the other."""

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LINEAR = ("Gemm", "MatMul")
_OPAQUE = ("QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger")
"""Operators whose integer weights are zero where they equal a zero point."""
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
_STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that describe data, not the network."""


@dataclass(frozen=True, slots=True)
class _Use:
    """An operator that multiplies its input by a constant: which of its inputs that is, and its name."""

    node: "NodeProto"
    place: int
    weight: str


def of(content: bytes, path: Path, items: int, run: Run) -> Structure | Missing:
    """What the weights of a checked, self-contained file really are; `run` answers for `items` blank items."""
    import onnx.inliner

    model = onnx.inliner.inline_local_functions(graph.parse(content, path))
    nodes = model.graph.node
    if hidden := _hidden(nodes):
        return Missing(UNKNOWN, f"{path.name}: weights inside {hidden} are not looked into")
    stored = {each.name for each in model.graph.initializer}
    constant = _constant(nodes, stored)
    taken = _taken(nodes, constant)
    uses = [use for node in nodes for use in _uses(node, constant)]
    computed = sorted(taken - stored)
    results = [use.node.output[0] for use in uses]
    try:
        found = run(_instrumented(model, [*computed, *results]), [*computed, *results])
    except Exception as error:  # as in onnx._session: onnxruntime raises from unrelated hierarchies
        return Missing(UNKNOWN, f"{path.name}: its weights could not be computed ({first_line(error)})")
    values = dict(zip([*computed, *results], found, strict=True))
    values |= {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer if each.name in taken}
    layers = [_layer(use, values[use.weight], values[use.node.output[0]].shape, items) for use in uses]
    return structure.total(layers, (values[name] for name in sorted(taken) if _counts(values[name])))


def _hidden(nodes: Any) -> str:
    """What holds weights that this module cannot see; '' where nothing does."""
    from onnx import AttributeProto

    for node in nodes:
        if node.op_type in _OPAQUE:
            return str(node.op_type)
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) and any(graph.tensors(attribute)):
                return f"branches of {node.op_type}"
    return ""


def _constant(nodes: Any, stored: set[str]) -> set[str]:
    """Names of all values that do not depend on the input; the nodes of a checked graph stand in their order."""
    known = set(stored)
    for node in nodes:
        plain = not any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        if plain and node.op_type not in _RANDOM and all(name in known for name in node.input if name):
            known.update(node.output)
    return known


def _taken(nodes: Any, constant: set[str]) -> set[str]:
    """Names of the constants that operators on the way from the input take, statistics aside."""
    return {
        name
        for node in nodes
        if not constant.issuperset(node.output)
        for place, name in enumerate(node.input)
        if name in constant and place not in _STATISTICS.get(node.op_type, ())
    }


def _uses(node: "NodeProto", constant: set[str]) -> Iterator[_Use]:
    """A node as a layer, where it is one."""
    if node.op_type not in (*_CONVOLUTIONS, *_LINEAR) or constant.issuperset(node.output):
        return
    places = (1,) if node.op_type in _CONVOLUTIONS else (1, 0)
    for place in places:
        if node.input[place] in constant:
            yield _Use(node, place, node.input[place])
            return


def _instrumented(model: "ModelProto", outputs: list[str]) -> bytes:
    """The network with other outputs."""
    from onnx import ValueInfoProto

    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    return bytes(model.SerializeToString())


def _counts(values: Array) -> bool:
    return values.dtype.kind == "f" and values.size > 1


def _layer(use: _Use, weight: Array, result: tuple[int, ...], items: int) -> Layer:
    attributes = {each.name: each.i for each in use.node.attribute}
    name = use.node.name or use.weight
    if use.node.op_type in _CONVOLUTIONS:
        groups = attributes.get("group", 1)
        if use.node.op_type == "ConvTranspose":
            weight = structure.as_convolution(weight, groups)
        return structure.layer(name, "convolution", weight, groups=groups, positions=prod(result[2:]))
    rows = _rows(use, weight, attributes)
    return structure.layer(name, "linear", rows, positions=prod(result) // (rows.shape[0] * items))


def _rows(use: _Use, weight: Array, attributes: Mapping[str, int]) -> Array:
    """A matrix as [filters, inputs]."""
    transposed = attributes.get("transB" if use.place else "transA", 0)
    first_is_filter = (use.place == 1) is bool(transposed)
    if weight.ndim == 1:
        return weight[None]
    rows = weight if first_is_filter else weight.swapaxes(-1, -2)
    return rows.reshape(-1, rows.shape[-1])
