"""Poolings over one to three axes, and over all of them."""

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node, Operator
from audit.models.differentiable.operators.convolution import window_sums
from audit.models.differentiable.operators.windows import Windows, padded, windows

_LARGEST = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _largest(node: Node, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    found = windows(node, x, node.integers("kernel_shape"))
    lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
    filled = padded(x, found.before, found.after, lowest)
    pool = _LARGEST[len(found.kernel)]
    if len(node.outputs) < 2:
        if x.is_floating_point():
            return pool(filled, found.kernel, found.strides, 0, found.dilations)
        return _of_integers(node, filled, found)
    if not x.is_floating_point():
        raise node.refuse("places of the largest integers")
    values, places = pool(filled, found.kernel, found.strides, 0, found.dilations, return_indices=True)
    return values, _places(node, x, filled, places, found)


def _of_integers(node: Node, x: Tensor, found: Windows) -> Tensor:
    """torch pools no integers on all devices; those of at most 16 bits are exact as floats."""
    if torch.iinfo(x.dtype).bits > 16:
        raise node.refuse("pools wide integers")
    pool = _LARGEST[len(found.kernel)]
    return pool(x.float(), found.kernel, found.strides, 0, found.dilations).to(x.dtype)


def _places(node: Node, x: Tensor, filled: Tensor, places: Tensor, found: Windows) -> Tensor:
    """Indices into the whole of `x`, from those within a padded channel."""
    if node.integer("storage_order", 0):
        raise node.refuse("storage_order = 1")
    within, stride = torch.zeros_like(places), 1
    for axis in range(x.ndim - 1, 1, -1):
        within += (places % filled.shape[axis] - found.before[axis - 2]) * stride
        places = places // filled.shape[axis]
        stride *= x.shape[axis]
    channels = torch.arange(prod(x.shape[:2]), device=x.device).reshape(*x.shape[:2], *[1] * len(found.kernel))
    return within + channels * stride


def _average(node: Node, x: Tensor) -> Tensor:
    found = windows(node, x, node.integers("kernel_shape"))
    include = bool(node.integer("count_include_pad", 0))
    overhang = any(after > declared for after, declared in zip(found.after, found.declared, strict=True))
    filled = padded(x, found.before, found.after)
    plain = set(found.dilations) == {1} and not overhang
    if plain and (include or (not any(found.before) and not any(found.declared))):
        return _AVERAGE[len(found.kernel)](filled, found.kernel, found.strides)
    return _sums(filled, found) / _sums(_counted(x, found, include), found)


def _sums(x: Tensor, found: Windows) -> Tensor:
    return window_sums(x, found.kernel, found.strides, found.dilations)


def _counted(x: Tensor, found: Windows, include: bool) -> Tensor:
    """Ones where an element counts in an average, [1, 1, *spatial]; what lies beyond the declared pads never does."""
    ones = torch.ones(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    if not include:
        return padded(ones, found.before, found.after)
    declared = padded(ones, found.before, found.declared, 1)
    rest = tuple(after - pad for after, pad in zip(found.after, found.declared, strict=True))
    return padded(declared, (0,) * len(rest), rest)


def _norm(node: Node, x: Tensor) -> Tensor:
    found, p = windows(node, x, node.integers("kernel_shape")), node.integer("p", 2)
    sums = _sums(padded(torch.abs(x) ** p, found.before, found.after), found)
    return torch.pow(sums, 1 / p)


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


def _whole_norm(node: Node, x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, node.integer("p", 2), _spatial(x), keepdim=True)
    return norm


OPERATORS: dict[str, Operator] = {
    "AveragePool": _average,
    "GlobalAveragePool": lambda node, x: torch.mean(x, _spatial(x), keepdim=True),
    "GlobalLpPool": _whole_norm,
    "GlobalMaxPool": lambda node, x: torch.amax(x, _spatial(x), keepdim=True),
    "LpPool": _norm,
    "MaxPool": _largest,
}
