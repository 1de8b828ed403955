"""Elements picked, placed, ordered and accumulated by their indices."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from audit.models.differentiable.node import Node, Operator

_COMBINED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _positive(indices: Tensor, size: int) -> Tensor:
    """Indices counted from the start; negative ones count from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def _gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.integer("axis", 0) % x.ndim
    shape = node.bounded([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])
    return x.index_select(axis, _positive(indices, x.shape[axis]).reshape(-1)).reshape(shape)


def _gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.integer("axis", 0)
    return torch.gather(x, axis, _positive(indices, x.shape[axis]))


def _gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    batch, depth = node.integer("batch_dims", 0), indices.shape[-1]
    shape = node.bounded([*indices.shape[:-1], *x.shape[batch + depth :]])
    if batch:
        lead = prod(x.shape[:batch])
        rows = torch.arange(lead, device=x.device).reshape(-1, *[1] * (indices.ndim - batch))
        x = x.reshape(lead, *x.shape[batch:])
        indices = indices.reshape(lead, *indices.shape[batch:])
        indices = torch.cat([rows.expand(*indices.shape[:-1], 1), indices], -1)
    places = tuple(_positive(part, size) for part, size in zip(indices.unbind(-1), x.shape, strict=False))
    return x[places].reshape(shape)


def _scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis, mode = node.integer("axis", 0), node.text("reduction", "none")
    places = _positive(indices, x.shape[axis])
    if mode == "none":
        return torch.scatter(x, axis, places, updates)
    if mode not in _COMBINED:
        raise node.refuse(f"reduction = {mode}")
    return torch.scatter_reduce(x, axis, places, updates, _COMBINED[mode])


def _scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    mode, depth = node.text("reduction", "none"), indices.shape[-1]
    sizes = x.shape[:depth]
    strides = [prod(sizes[i + 1 :]) for i in range(depth)]
    parts = [
        _positive(part, size) * stride
        for part, size, stride in zip(indices.unbind(-1), sizes, strides, strict=True)
    ]  # fmt: skip
    rows = torch.stack(parts).sum(0).reshape(-1) if parts else torch.zeros(1, dtype=torch.int64, device=x.device)
    inner = prod(x.shape[depth:])
    table = x.reshape(prod(sizes), inner)
    values, places = updates.reshape(-1, inner), rows[:, None].expand(-1, inner)
    if mode == "none":
        return torch.scatter(table, 0, places, values).reshape(x.shape)
    if mode not in _COMBINED:
        raise node.refuse(f"reduction = {mode}")
    return torch.scatter_reduce(table, 0, places, values, _COMBINED[mode]).reshape(x.shape)


def _extreme(function: Callable[..., Tensor]) -> Operator:
    """Where the largest or the smallest lies; the first of equal ones unless the last is asked for."""

    def operator(node: Node, x: Tensor) -> Tensor:
        axis, keep = node.integer("axis", 0), bool(node.integer("keepdims", 1))
        if not node.integer("select_last_index", 0):
            return function(x, axis, keepdim=keep)
        return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdim=keep)

    return operator


def _top(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    count = node.integer("k") if node.version < 10 else int(k.item()) if k is not None else 0
    axis, largest = node.integer("axis", -1), bool(node.integer("largest", 1))
    # Unlike torch.topk, a stable sort puts the lower index first among equals, as the specification does.
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def _one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    count = int(depth.reshape(-1)[0].item())
    axis = node.integer("axis", -1)
    node.bounded([*indices.shape, count])
    steps = torch.arange(count, device=indices.device)
    hot = _positive(indices, count)[..., None] == steps
    return torch.where(hot.movedim(-1, axis), values[1], values[0])


def _cumulative(function: Callable[[Tensor, int], Tensor], start: int) -> Operator:
    """Accumulated along an axis, from either end, with or without the element itself."""

    def operator(node: Node, x: Tensor, axis: Tensor) -> Tensor:
        along = int(axis.item())
        x = x.flip(along) if node.integer("reverse", 0) else x
        found = function(x, along).to(x.dtype)
        if node.integer("exclusive", 0):
            first = torch.full_like(found.narrow(along, 0, 1), start)
            found = torch.cat([first, found.narrow(along, 0, found.shape[along] - 1)], along)
        return found.flip(along) if node.integer("reverse", 0) else found

    return operator


def _compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    places = condition.nonzero()[:, 0]
    if not node.has("axis"):
        return x.reshape(-1).index_select(0, places)
    return x.index_select(node.integer("axis"), places)


OPERATORS: dict[str, Operator] = {
    "ArgMax": _extreme(torch.argmax),
    "ArgMin": _extreme(torch.argmin),
    "Compress": _compress,
    "CumProd": _cumulative(torch.cumprod, 1),
    "CumSum": _cumulative(torch.cumsum, 0),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": lambda node, x: x.nonzero().T,
    "OneHot": _one_hot,
    "Scatter": _scatter_elements,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top,
}
