"""Sums, extremes and norms over axes."""

from collections.abc import Callable

import torch
from torch import Tensor

from audit.models.differentiable.node import Node, Operator, listed

Reduce = Callable[[Tensor, list[int], bool], Tensor]


def _reduction(function: Reduce, since: int = 18) -> Operator:
    """A reduction whose axes are an attribute before opset `since` and an input from there on."""

    def operator(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        found = list(node.integers("axes", ())) if node.version < since else []
        if axes is not None:
            found = listed(axes)
        if not found and not node.integer("noop_with_empty_axes", 0):
            found = list(range(x.ndim))
        # torch takes an empty list of axes for all of them: one more axis, of size 1, is the same as none.
        if not found:
            return function(x.unsqueeze(-1), [-1], False)
        return function(x, found, bool(node.integer("keepdims", 1)))

    return operator


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep, dtype=x.dtype)
    return x


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep, dtype=x.dtype)


def _extreme(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    """The largest or smallest; of no elements at all it depends on the type, and no network asks for it."""
    reduce = _reduction(function)

    def operator(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        if not x.numel():
            raise node.refuse("an extreme of no elements")
        return reduce(node, x, axes)

    return operator


OPERATORS: dict[str, Operator] = {
    "ReduceL1": _reduction(lambda x, axes, keep: _sum(torch.abs(x), axes, keep)),
    "ReduceL2": _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceLogSum": _reduction(lambda x, axes, keep: torch.log(_sum(x, axes, keep))),
    "ReduceLogSumExp": _reduction(torch.logsumexp),
    "ReduceMax": _extreme(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _extreme(torch.amin),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(_sum, since=13),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: _sum(x * x, axes, keep)),
}
