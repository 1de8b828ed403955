"""Quantised values: exact forward, with gradients that go straight through the rounding.

Between QuantizeLinear and DequantizeLinear a value is an integer, which carries no gradient. Where all that
reads a quantised value is DequantizeLinear, the translation keeps the integers as floats: `QUANTISED`, an operator
of our own, in place of QuantizeLinear.
"""

import torch
from torch import Tensor

from audit.models.differentiable.dtypes import supported
from audit.models.differentiable.node import Node, Operator
from audit.models.differentiable.operators.straight import straight

QUANTISED = "QuantizeLinear, as floats"
_LIMITS = {torch.uint8, torch.int8, torch.int16}


def _laid(node: Node, x: Tensor, parameter: Tensor) -> Tensor:
    """A scale or zero point laid along `x`: one for all, one per index of an axis, or one per block."""
    if parameter.numel() == 1 and not node.integer("block_size", 0):
        return parameter.reshape(())
    axis = node.integer("axis", 1) % x.ndim
    if size := node.integer("block_size", 0):
        return parameter.repeat_interleave(size, axis).narrow(axis, 0, x.shape[axis])
    if parameter.shape != (x.shape[axis],):
        raise node.refuse(f"a scale of shape {tuple(parameter.shape)} on axis {axis} of {tuple(x.shape)}")
    return parameter.reshape(-1, *[1] * (x.ndim - axis - 1))


def _quantise(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Integers; Unsupported where that would cut a gradient."""
    if x.requires_grad:
        raise node.refuse("read by something else than DequantizeLinear: the gradient would be cut unnoticed")
    return _levels(node, x, scale, zero).to(_kind(node, zero))


def _levels(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Integers as floats; the gradient is that of x ÷ scale within the range, and zero beyond it."""
    kind = _kind(node, zero)
    if kind not in _LIMITS:
        raise node.refuse(f"to {kind}")
    if node.integer("precision", 0) not in (0, 1) or scale.dtype != torch.float32:
        raise node.refuse("in another precision than float32")
    limits = torch.iinfo(kind)
    levels = straight(x.to(scale.dtype) / _laid(node, x, scale), torch.round)
    if zero is not None:
        levels = levels + _laid(node, x, zero).to(levels.dtype)
    return torch.clamp(levels, limits.min, limits.max)


def _kind(node: Node, zero: Tensor | None) -> torch.dtype:
    if zero is not None:
        return zero.dtype
    return supported(node, node.integer("output_dtype")) if node.integer("output_dtype", 0) else torch.uint8


def _dequantise(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    if node.integer("output_dtype", 0) and supported(node, node.integer("output_dtype")) != scale.dtype:
        raise node.refuse("to another type than that of its scale")
    # Not in float: an int32 bias has more digits than a float32.
    wide = x if x.is_floating_point() else x.to(torch.int32)
    if zero is not None:
        wide = wide - _laid(node, x, zero).to(wide.dtype)
    return wide.to(scale.dtype) * _laid(node, x, scale)


OPERATORS: dict[str, Operator] = {
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
    QUANTISED: _levels,
}
