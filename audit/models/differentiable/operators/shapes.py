"""Shapes, and what moves elements without changing them."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node, Operator, broadcast_shape, listed


def _shape(node: Node, x: Tensor) -> Tensor:
    whole = slice(node.integer("start", 0), node.integer("end") if node.has("end") else None)
    # Shapes stay on the host: what is computed of them is a handful of integers.
    return torch.tensor(x.shape[whole], dtype=torch.int64)


def _reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    sizes = listed(shape)
    if not node.integer("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.integer("axis", 1)
    return x.reshape(prod(x.shape[:axis]), prod(x.shape[axis:]))


def _axes(node: Node, axes: Tensor | None) -> list[int] | None:
    """Axes from the attribute, as before opset 13, or from the input."""
    if node.version < 13:
        return list(node.integers("axes")) if node.has("axes") else None
    return None if axes is None else listed(axes)


def _squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = _axes(node, axes)
    if found is None:
        return x.squeeze()
    if any(x.shape[axis] != 1 for axis in found):
        raise node.refuse(f"axes {found} of shape {tuple(x.shape)} are not all of size 1")
    return x.squeeze(tuple(found))


def _unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    found = _axes(node, axes) or []
    rank = x.ndim + len(found)
    for axis in sorted(axis % rank for axis in found):
        x = x.unsqueeze(axis)
    return x


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.integers("perm", range(x.ndim)[::-1]))


def _concat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, node.integer("axis"))


def _split(node: Node, x: Tensor, split: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = node.integer("axis", 0)
    if split is not None:
        sizes = listed(split)
    elif node.version < 13 and node.has("split"):
        sizes = list(node.integers("split"))
    else:
        sizes = _even(node, x.shape[axis])
    return torch.split(x, sizes, axis)


def _even(node: Node, size: int) -> list[int]:
    """Sizes of equal parts; from opset 18 on the last may be smaller."""
    parts = node.integer("num_outputs", len(node.outputs))
    part = -(-size // parts)
    sizes = [min(part, size - i * part) for i in range(parts)]
    if sizes[-1] < 0 or (node.version < 18 and sizes[-1] != part):
        raise node.refuse(f"{size} cannot be split into {parts}")
    return sizes


def _slice(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    if node.version < 10:
        first, last = list(node.integers("starts")), list(node.integers("ends"))
        found, stride = list(node.integers("axes", range(len(first)))), [1] * len(first)
    elif starts is None or ends is None:
        raise node.refuse("needs starts and ends")
    else:
        first, last = listed(starts), listed(ends)
        found = list(range(len(first))) if axes is None else listed(axes)
        stride = [1] * len(first) if steps is None else listed(steps)
    for axis, start, end, step in zip(found, first, last, stride, strict=True):
        x = _cut(x, axis, slice(start, end, step))
    return x


def _cut(x: Tensor, axis: int, part: slice) -> Tensor:
    """One axis cut as numpy would cut it, backwards too."""
    start, end, step = part.indices(x.shape[axis])
    if step == 1:
        return x.narrow(axis, start, max(end - start, 0))
    return x.index_select(axis, torch.tensor(range(start, end, step), dtype=torch.int64, device=x.device))


def _expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(node.bounded(broadcast_shape(x.shape, listed(shape))))


def _tile(node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    times = listed(repeats)
    if len(times) != x.ndim:
        raise node.refuse(f"{len(times)} repeats of {x.ndim} axes")
    node.bounded([size * count for size, count in zip(x.shape, times, strict=True)])
    return x.repeat(times)


def _pad(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    counts = list(node.integers("pads")) if node.version < 11 else listed(pads) if pads is not None else []
    found = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in listed(axes)]
    if len(counts) != 2 * len(found):
        raise node.refuse(f"{len(counts)} pads of {len(found)} axes")
    before, after = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(found):
        before[axis], after[axis] = counts[i], counts[i + len(found)]
    node.bounded([size + low + high for size, low, high in zip(x.shape, before, after, strict=True)])
    mode = node.text("mode", "constant")
    if mode == "constant":
        filled = node.number("value", 0.0) if node.version < 11 else 0 if value is None else value.item()
        return functional.pad(x, flat(before, after), value=filled)
    return _mirrored(node, x, mode, list(zip(before, after, strict=True)))


def flat(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Pads of every axis in torch's order: those of the last axis first."""
    return [count for pair in zip(reversed(before), reversed(after), strict=True) for count in pair]


def _mirrored(node: Node, x: Tensor, mode: str, pads: list[tuple[int, int]]) -> Tensor:
    """Pads with values of the tensor itself, which numpy picks as the specification does."""
    for axis, (before, after) in enumerate(pads):
        if before < 0 or after < 0:
            raise node.refuse(f"mode {mode} with negative pads")
        places = np.arange(x.shape[axis])
        match mode:
            case "reflect" | "edge" | "wrap":
                places = np.pad(places, (before, after), mode=mode)
            case _:
                raise node.refuse(f"mode {mode}")
        if before or after:
            x = x.index_select(axis, torch.from_numpy(places).to(x.device))
    return x


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    node.only("mode", "DCR", "CRD")
    n, c, h, w = x.shape
    b = node.integer("blocksize")
    if node.text("mode", "DCR") == "DCR":
        blocks = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, c // b**2, b, b, h, w).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    node.only("mode", "DCR")
    n, c, h, w = x.shape
    b = node.integer("blocksize")
    blocks = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * b**2, h // b, w // b)


def _triangle(node: Node, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    place = 0 if diagonal is None else int(diagonal.item())
    return torch.triu(x, place) if node.integer("upper", 1) else torch.tril(x, place)


OPERATORS: dict[str, Operator] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": lambda node, x: torch.tensor(x.numel(), dtype=torch.int64),
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _unsqueeze,
}
