"""A translated graph: a torch module that carries out one node after the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import Module

from audit.models.differentiable.node import MAX_ELEMENTS, Node, Operator
from audit.models.differentiable.operators import OPERATORS
from audit.models.differentiable.operators.quantisation import QUANTISED
from audit.models.differentiable.reading import Branching, Reader, read

if TYPE_CHECKING:
    from onnx import GraphProto


@dataclass(frozen=True, slots=True)
class Step:
    """A node, what carries it out, and the values that nothing reads after it."""

    node: Node
    operator: Operator
    done: tuple[str, ...]


class Interpreter(Module):
    """The network of an ONNX file in torch: float32 [N, …] → the file's first output, differentiable in its input.

    Weights are buffers, each held once, in the type in which the file stores it; integers stay on the host, where
    shapes are computed. Whatever depends on constants alone has been computed: `nodes` are what is left.
    Batches of any size pass if the file's own graph lets them.
    """

    def __init__(
        self, inputs: Sequence[str], outputs: Sequence[str], nodes: Iterable[Node], constants: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.nodes = tuple(_straightened(list(nodes), self.outputs))
        self.steps = _steps(self.nodes, self.outputs, constants)
        self._host: dict[str, Tensor] = {}
        self._buffer_names: dict[str, str] = {}
        used = {name for node in self.nodes for name in node.inputs} | set(self.outputs)
        for name in used & constants.keys():
            if constants[name].is_floating_point():
                self._buffer_names[name] = f"weight_{len(self._buffer_names)}"
                self.register_buffer(self._buffer_names[name], constants[name])
            else:
                self._host[name] = constants[name]

    @property
    def quantised(self) -> bool:
        """Whether it rounds activations to steps."""
        return any(node.operator == QUANTISED for node in self.nodes)

    def forward(self, x: Tensor) -> Tensor:
        """The first output; Unsupported where a node cannot be carried out exactly on this input."""
        return self.run(x)[0]

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """All outputs, from all inputs, in the order of the file."""
        values = dict(zip(self.inputs, inputs, strict=True)) | self._host
        values |= {name: self.get_buffer(buffer) for name, buffer in self._buffer_names.items()}
        for step in self.steps:
            values |= carried(step.node, step.operator, values)
            for name in step.done:
                del values[name]
        return tuple(values[name] for name in self.outputs)


def translate(content: bytes) -> Interpreter:
    """The interpreter of a checked ONNX file; raises Unsupported, or what torch raises on a graph without sense."""
    graph, reader = read(content)
    with torch.no_grad():
        folding = _Folding(reader)
        folding.add(graph)
    stored = {proto.name for proto in graph.initializer} | {proto.values.name for proto in graph.sparse_initializer}
    inputs = [entry.name for entry in graph.input if entry.name not in stored]
    return Interpreter(inputs, [entry.name for entry in graph.output], folding.nodes, folding.constants)


class _Folding:
    """Evaluates what depends on constants alone, and keeps the other nodes."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.constants: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.named: set[str] = set()
        self.room = MAX_ELEMENTS

    def add(self, graph: "GraphProto") -> None:
        """Add a graph whose outer values are known."""
        self.constants |= self.reader.tensors(graph)
        for node in self.reader.nodes(graph):
            if isinstance(node, Branching):
                self._branch(node)
                continue
            # Branches are put in place: a name in one of them must not hide another's value.
            if self.named & set(node.outputs):
                raise node.refuse(f"its outputs {node.outputs} are not the only ones of that name")
            self.named |= {name for name in node.outputs if name}
            if node.operator not in OPERATORS or node.operator == QUANTISED:
                raise node.refuse("not among the operators that are carried")
            if all(name in self.constants for name in node.inputs if name):
                self._fold(node)
            else:
                self.nodes.append(node)

    def _fold(self, node: Node) -> None:
        known = {self.constants[name].untyped_storage().data_ptr() for name in node.inputs if name}
        found = carried(node, OPERATORS[node.operator], self.constants)
        fresh = [value for value in found.values() if value.untyped_storage().data_ptr() not in known]
        self.room -= sum(value.numel() for value in fresh)
        if self.room < 0:
            raise node.refuse(f"constants of more than {MAX_ELEMENTS:,} elements")
        self.constants |= found

    def _branch(self, branching: Branching) -> None:
        """Put the branch that a constant condition chooses in place of the If."""
        node = branching.node
        condition = self.constants.get(node.inputs[0])
        if condition is None:
            raise node.refuse("its condition depends on the input")
        graph = branching.branches[bool(condition.item())]
        self.add(graph)
        for inner, outer in zip(graph.output, node.outputs, strict=True):
            same = Node("Identity", node.version, (inner.name,), (outer,), {})
            if inner.name in self.constants:
                self._fold(same)
            else:
                self.nodes.append(same)


def carried(node: Node, operator: Operator, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a node by name; Unsupported where it gives fewer than are asked for, or too large ones."""
    found = operator(node, *_together([values[name] if name else None for name in node.inputs]))
    results = found if isinstance(found, tuple) else (found,)
    if len(results) < len(node.outputs):
        raise node.refuse(f"only {len(results)} of its {len(node.outputs)} outputs")
    for value in results:
        node.bounded(value.shape)
    return {name: value for name, value in zip(node.outputs, results, strict=False) if name}


def _together(values: list[Tensor | None]) -> list[Tensor | None]:
    """Inputs on one device: shapes and indices come from the host, values may lie elsewhere."""
    elsewhere = [value.device for value in values if value is not None and value.device.type != "cpu"]
    return values if not elsewhere else [value if value is None else value.to(elsewhere[0]) for value in values]


def _steps(nodes: Sequence[Node], outputs: Sequence[str], constants: Mapping[str, Tensor]) -> tuple[Step, ...]:
    """Nodes with the values to let go after each; constants and outputs stay."""
    steps: list[Step] = []
    read_later = set(outputs) | set(constants)
    for node in reversed(nodes):
        names = {name for name in (*node.inputs, *node.outputs) if name}
        steps.append(Step(node, OPERATORS[node.operator], tuple(sorted(names - read_later))))
        read_later |= names
    return tuple(reversed(steps))


def _straightened(nodes: list[Node], outputs: Sequence[str]) -> Iterable[Node]:
    """Nodes in which QuantizeLinear keeps floats wherever only DequantizeLinear reads it."""
    others = set(outputs)
    for node in nodes:
        others |= set(node.inputs) if node.operator != "DequantizeLinear" else set(node.inputs[1:])
    for node in nodes:
        if node.operator == "QuantizeLinear" and node.outputs[0] not in others:
            yield Node(QUANTISED, node.version, node.inputs, node.outputs, node.attributes)
        else:
            yield node
