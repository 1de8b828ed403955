"""Functions inside an ONNX file, put in place of their calls: a few that call each other twice become any number."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MAX_NODES = 100_000
_DEEPEST = 50

_Key = tuple[str, str, str]


def require_bounded(model: "ModelProto") -> None:
    """Raise ValueError where functions call themselves, nest too deeply, or become more than MAX_NODES nodes.

    Whoever runs a network puts them in place first: without a bound that takes all time and memory there is.
    """
    functions = {(each.domain, each.name, each.overload): each for each in model.functions}
    sizes: dict[_Key, int] = {}

    def size(key: _Key, above: frozenset[_Key]) -> int:
        if key in above or len(above) > _DEEPEST:
            raise ValueError(f"{key[1]}: a function that calls itself, or is nested too deeply")
        if key not in sizes:
            sizes[key] = sum(called(node, above | {key}) for node in _within(functions[key].node))
        return sizes[key]

    def called(node: "NodeProto", above: frozenset[_Key]) -> int:
        key = (node.domain, node.op_type, node.overload)
        return 1 + (size(key, above) if key in functions else 0)

    if functions and sum(called(node, frozenset()) for node in _within(model.graph.node)) > MAX_NODES:
        raise ValueError(f"more than {MAX_NODES:,} nodes in its functions")


def _within(nodes: Any) -> Iterator["NodeProto"]:
    """Nodes, and those in their branches, at any depth."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _within(graph.node)
