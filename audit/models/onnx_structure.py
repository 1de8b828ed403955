"""The effective weights of an ONNX network: what arrives at its operators once all that is constant is computed.

onnxruntime itself computes it, so that masks, thresholds and quantisation mean here what they mean when the network
runs. What this module cannot follow is unknown, never nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.findings import Missing
from audit.models import counting, graph
from audit.models.graph import first_line
from audit.structure import UNKNOWN, Layer, Structure

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Array = NDArray[np.generic]
Run = Callable[[bytes, list[str]], list[Array]]
"""Runs a network on blank items: its bytes and the outputs that are wanted → their values."""

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LINEAR = ("Gemm", "MatMul")
_ADDED = ("Add", "Sub", "Concat", "Gather", "LayerNormalization", "RMSNormalization", "Expand", "Tile")
"""What may take a table of values that is no layer: embeddings, positions, normalisations."""
_RANDOM = (
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
)
_SAME = ("Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
"""Operators that show the same values in another form."""
_STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs that describe data, not the network."""
_SHAPE = ":shape"


class _Opaque(Exception):  # noqa: N818 (it is no error: it says what cannot be followed)
    """What a network holds that this module cannot follow."""


@dataclass(frozen=True, slots=True)
class _Use:
    """An operator that multiplies its input by a constant: which of its inputs that is, and its name."""

    node: "NodeProto"
    place: int
    weight: str


def of(content: bytes, path: Path, output: str, items: int, run: Run) -> Structure | Missing:
    """What the weights on the way to an output of a checked, self-contained file really are.

    `run` answers for `items` blank items.
    """
    try:
        return _structure(content, path, output, items, run)
    except AuditError:
        raise
    except _Opaque as what:
        return Missing(UNKNOWN, f"{path.name}: {what} cannot be looked into")
    except Exception as error:  # as in provider._session: onnxruntime raises from unrelated hierarchies
        return Missing(UNKNOWN, f"{path.name}: its weights could not be computed ({first_line(error)})")


def _structure(content: bytes, path: Path, output: str, items: int, run: Run) -> Structure:
    import onnx.inliner

    model = onnx.inliner.inline_local_functions(graph.parse(content, path))
    nodes = _needed(model, output)
    _require_plain(model, nodes)
    stored = {each.name: each for each in model.graph.initializer}
    origin = _origins(nodes, stored)
    taken = _taken(nodes, origin)
    uses = [use for node in nodes for use in _uses(node, origin)]
    computed, results = sorted(taken - stored.keys()), [use.node.output[0] for use in uses]
    wanted = [*computed, *(f"{name}{_SHAPE}" for name in results)]
    values = {name: onnx.numpy_helper.to_array(stored[name]) for name in taken & stored.keys()}
    if wanted:
        found = run(_instrumented(model, nodes, computed, results), wanted)
        values |= dict(zip(wanted, found, strict=True))
    _require_known(nodes, origin, values)
    seen: set[str] = set()
    layers = [_layer(use, values, items, origin[use.weight], seen) for use in uses if values[use.weight].size]
    distinct = {origin[name]: values[name] for name in sorted(taken, reverse=True) if _counts(values[name])}
    return counting.total(layers, distinct.values())


def _needed(model: "ModelProto", output: str) -> list["NodeProto"]:
    """The nodes that an output depends on: the others run for nobody."""
    wanted, found = {output}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]


def _require_plain(model: "ModelProto", nodes: list["NodeProto"]) -> None:
    """Refuse to look where weights could hide."""
    from onnx import AttributeProto

    if model.functions:
        raise _Opaque("a function of another opset")
    if model.graph.sparse_initializer:
        raise _Opaque("a sparse initialiser")
    for node in nodes:
        if any(each.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for each in node.attribute):
            raise _Opaque(f"what the branches of {node.op_type} hold")


def _origins(nodes: list["NodeProto"], stored: Mapping[str, Any]) -> dict[str, str]:
    """Every value that does not depend on the input, and the one that it shows in another form.

    The nodes of a checked graph stand in their order.
    """
    known = {name: name for name in stored}
    for node in nodes:
        if node.op_type not in _RANDOM and all(name in known for name in node.input if name):
            same = node.op_type in _SAME and node.input
            known |= {name: known[node.input[0]] if same else name for name in node.output}
    return known


def _inputs(nodes: list["NodeProto"], constant: Mapping[str, str]) -> Iterator[tuple["NodeProto", int, str]]:
    """Where operators on the way from the input take constants, statistics aside."""
    for node in nodes:
        if not constant.keys() >= set(node.output):
            for place, name in enumerate(node.input):
                if name in constant and place not in _STATISTICS.get(node.op_type, ()):
                    yield node, place, name


def _taken(nodes: list["NodeProto"], constant: Mapping[str, str]) -> set[str]:
    return {name for _, _, name in _inputs(nodes, constant)}


def _uses(node: "NodeProto", constant: Mapping[str, str]) -> Iterator[_Use]:
    """A node as a layer, where it is one."""
    if not _is_layer(node) or constant.keys() >= set(node.output):
        return
    places = (1,) if node.op_type in _CONVOLUTIONS else (1, 0)
    for place in places:
        if node.input[place] in constant:
            yield _Use(node, place, node.input[place])
            return


def _is_layer(node: "NodeProto") -> bool:
    return node.domain in ("", "ai.onnx") and node.op_type in (*_CONVOLUTIONS, *_LINEAR)


def _require_known(nodes: list["NodeProto"], constant: Mapping[str, str], values: Mapping[str, Array]) -> None:
    """Refuse to guess what an operator does with a table of values, or what stored integers mean."""
    for node, place, name in _inputs(nodes, constant):
        value = values[name]
        if value.size > 1 and (
            value.dtype.kind not in "fiub" or (value.dtype.kind in "iu" and value.dtype.itemsize <= 2)
        ):
            raise _Opaque(f"values of {value.dtype} that {node.op_type} takes")
        table = sum(size > 1 for size in value.shape) > 1 and value.dtype.kind == "f"
        if table and not (_is_layer(node) and place < 2) and node.op_type not in _ADDED:
            raise _Opaque(f"a table of weights that {node.op_type} takes")


def _instrumented(model: "ModelProto", nodes: list["NodeProto"], computed: list[str], results: list[str]) -> bytes:
    """The network with other outputs: values that it computes from constants, and the shapes of results."""
    from onnx import ValueInfoProto, helper

    kept = [*nodes, *(helper.make_node("Shape", [name], [f"{name}{_SHAPE}"]) for name in results)]
    del model.graph.node[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    outputs = [*computed, *(f"{name}{_SHAPE}" for name in results)]
    model.graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    return bytes(model.SerializeToString())


def _counts(values: Array) -> bool:
    return values.dtype.kind == "f" and values.size > 1


def _layer(use: _Use, values: Mapping[str, Array], items: int, origin: str, seen: set[str]) -> Layer:
    attributes = {each.name: each.i for each in use.node.attribute}
    weight, result = values[use.weight], tuple(map(int, values[f"{use.node.output[0]}{_SHAPE}"]))
    name, again = use.node.name or use.weight, origin in seen
    seen.add(origin)
    if use.node.op_type in _CONVOLUTIONS:
        groups = attributes.get("group", 1)
        if use.node.op_type == "ConvTranspose":
            weight = counting.as_convolution(weight, groups)
        positions = prod(result[2:])
        return counting.layer(name, "convolution", weight, groups=groups, positions=positions, again=again)
    rows = _rows(use, weight, attributes)
    return counting.layer(name, "linear", rows, positions=prod(result) // (rows.shape[0] * items), again=again)


def _rows(use: _Use, weight: Array, attributes: Mapping[str, int]) -> Array:
    """A matrix as [filters, inputs]."""
    transposed = attributes.get("transB" if use.place else "transA", 0)
    first_is_filter = (use.place == 1) is bool(transposed)
    if weight.ndim == 1:
        return weight[None]
    rows = weight if first_is_filter else weight.swapaxes(-1, -2)
    return rows.reshape(-1, rows.shape[-1])
