"""An ONNX file as nodes and tensors; what a graph says is read, and nothing of it is executed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from audit.models import unfolding
from audit.models.differentiable.dtypes import SUPPORTED
from audit.models.differentiable.node import MAX_ELEMENTS, Attribute, Node, Unsupported
from audit.models.unfolding import MAX_NODES

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto

OLDEST, NEWEST = 6, 28
"""The opsets whose operators have been read. An operator of a later one may mean something else by the same name."""


@dataclass(frozen=True, slots=True)
class Branching:
    """An If whose condition must turn out constant; its branches are read when it has."""

    node: Node
    branches: Mapping[bool, "GraphProto"]


@dataclass(slots=True)
class Reader:
    """Reads the graphs of one model; raises Unsupported for what it does not know."""

    version: int
    count: int = field(default=0)

    def nodes(self, graph: "GraphProto") -> Iterator[Node | Branching]:
        """The nodes of a graph in its order, which is that of computation."""
        for proto in graph.node:
            self.count += 1
            if self.count > MAX_NODES:
                raise Unsupported(proto.op_type, self.version, f"more than {MAX_NODES:,} nodes")
            yield self._node(proto)

    def _node(self, proto: "NodeProto") -> Node | Branching:
        if proto.domain not in ("", "ai.onnx"):
            raise Unsupported(f"{proto.domain}.{proto.op_type}", self.version, "an operator of another domain")
        names = tuple(proto.input), tuple(proto.output)
        if proto.op_type == "If":
            branches = {attribute.name == "then_branch": attribute.g for attribute in proto.attribute}
            return Branching(Node("If", self.version, *names, {}), branches)
        attributes = {attribute.name: self._attribute(proto.op_type, attribute) for attribute in proto.attribute}
        return Node(proto.op_type, self.version, *names, attributes)

    def _attribute(self, operator: str, attribute: "AttributeProto") -> Attribute:
        from onnx import AttributeProto

        match attribute.type:
            case AttributeProto.FLOAT:
                return float(attribute.f)
            case AttributeProto.INT:
                return int(attribute.i)
            case AttributeProto.STRING:
                return attribute.s.decode("utf-8", "replace")
            case AttributeProto.FLOATS:
                return tuple(float(entry) for entry in attribute.floats)
            case AttributeProto.INTS:
                return tuple(int(entry) for entry in attribute.ints)
            case AttributeProto.TENSOR:
                return self.tensor(attribute.t)
            case _:
                raise Unsupported(operator, self.version, f"attribute {attribute.name} of type {attribute.type}")

    def tensors(self, graph: "GraphProto") -> dict[str, Tensor]:
        """The tensors stored in a graph, by name."""
        dense = {proto.name: self.tensor(proto) for proto in graph.initializer}
        return dense | {proto.values.name: self._sparse(proto) for proto in graph.sparse_initializer}

    def tensor(self, proto: "TensorProto") -> Tensor:
        """A stored tensor in its own type."""
        from onnx import numpy_helper

        if proto.data_type not in SUPPORTED:
            raise Unsupported("tensor", self.version, f"{proto.name} of element type {proto.data_type}")
        values = numpy_helper.to_array(proto)
        kind = SUPPORTED[proto.data_type]
        if kind == torch.bfloat16:
            return torch.from_numpy(values.view(np.int16).copy()).view(kind)
        return torch.from_numpy(np.array(values))

    def _sparse(self, proto: "SparseTensorProto") -> Tensor:
        """A sparse tensor, filled up with zeros; its indices count along the flat tensor or are one row per value."""
        shape, values = tuple(proto.dims), self.tensor(proto.values)
        if min(shape, default=1) < 0 or np.prod([float(size) for size in shape]) > MAX_ELEMENTS:
            raise Unsupported("sparse tensor", self.version, f"shape {shape}")
        places = self.tensor(proto.indices).numpy()
        flat = np.ravel_multi_index(tuple(places.T), shape) if places.ndim == 2 else places
        dense = torch.zeros(shape, dtype=values.dtype)
        dense.reshape(-1)[torch.from_numpy(np.asarray(flat))] = values
        return dense


def read(content: bytes) -> tuple["GraphProto", Reader]:
    """The graph of a model, its local functions put in place of their calls; raises Unsupported, or whatever parsing
    raises."""
    import onnx
    from onnx import inliner

    model = onnx.load_model_from_string(content)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    version = opsets.get("", opsets.get("ai.onnx", 0))
    if not OLDEST <= version <= NEWEST:
        raise Unsupported("model", version, f"its opset is not between {OLDEST} and {NEWEST}")
    if model.functions:
        try:
            unfolding.require_bounded(model)
        except ValueError as error:
            raise Unsupported("model", version, str(error)) from error
        model = inliner.inline_local_functions(model)
    return model.graph, Reader(version)
