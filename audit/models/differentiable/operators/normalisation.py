"""Normalisations in inference mode."""

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node, Operator


def _batch(node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    if node.integer("training_mode", 0) or not node.integer("spatial", 1):
        raise node.refuse("training mode, or statistics of every place")
    if node.version < 7 and not node.integer("is_test", 0):
        raise node.refuse("training mode")
    if len(node.outputs) > 1:
        raise node.refuse("statistics as outputs")
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, node.number("epsilon", 1e-5))


def _instance(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    axes = list(range(2, x.ndim))
    shape = (-1, *[1] * len(axes))
    return _standardised(node, x, axes)[0] * scale.reshape(shape) + bias.reshape(shape)


def _standardised(node: Node, x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """`x` minus its mean over the axes and divided by its deviation; the mean; one ÷ the deviation."""
    mean = torch.mean(x, axes, keepdim=True)
    centred = x - mean
    inverse = torch.rsqrt(torch.mean(centred * centred, axes, keepdim=True) + node.number("epsilon", 1e-5))
    return centred * inverse, mean, inverse


def _wide(node: Node, x: Tensor) -> Tensor:
    """`x` in the precision in which statistics are computed."""
    if node.integer("stash_type", 1) != 1:
        raise node.refuse("statistics in another precision than float32")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _layer(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
    axis, wide = node.integer("axis", -1) % x.ndim, _wide(node, x)
    axes = list(range(axis, x.ndim))
    if len(node.outputs) == 1 and scale.shape == x.shape[axis:] and x.dtype == wide.dtype:
        same = bias is None or bias.shape == scale.shape
        if same:
            return functional.layer_norm(x, scale.shape, scale, bias, node.number("epsilon", 1e-5))
    found, mean, inverse = _standardised(node, wide, axes)
    found = found.to(x.dtype) * scale
    found = found if bias is None else found + bias
    return (found, mean, inverse)[: len(node.outputs)]


def _group(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups = node.integer("num_groups")
    wide = _wide(node, x).reshape(x.shape[0], groups, -1)
    found = _standardised(node, wide, [2])[0].to(x.dtype)
    if node.version < 21:  # one scale per group, later one per channel
        return (found * scale[:, None] + bias[:, None]).reshape(x.shape)
    shape = (-1, *[1] * (x.ndim - 2))
    return found.reshape(x.shape) * scale.reshape(shape) + bias.reshape(shape)


def _root_mean_square(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    wide = _wide(node, x)
    axes = list(range(node.integer("axis", -1) % x.ndim, x.ndim))
    inverse = torch.rsqrt(torch.mean(wide * wide, axes, keepdim=True) + node.number("epsilon", 1e-5))
    return (wide * inverse).to(x.dtype) * scale


def _norm(node: Node, x: Tensor) -> Tensor:
    node.only("p", 1, 2)
    norm = torch.linalg.vector_norm(x, node.integer("p", 2), node.integer("axis", -1), keepdim=True)
    # The specification gives zeros where the norm is zero.
    return torch.where(norm == 0, torch.zeros_like(x), x / torch.where(norm == 0, torch.ones_like(norm), norm))


def _local(node: Node, x: Tensor) -> Tensor:
    size, alpha = node.integer("size"), node.number("alpha", 1e-4)
    below, above = (size - 1) // 2, size // 2
    squares = functional.pad((x * x).flatten(2), [0, 0, below, above])
    sums = torch.stack([squares.narrow(1, i, x.shape[1]) for i in range(size)]).sum(0).reshape(x.shape)
    return x / (node.number("bias", 1.0) + alpha / size * sums) ** node.number("beta", 0.75)


def _mean_variance(node: Node, x: Tensor) -> Tensor:
    axes = list(node.integers("axes", (0, 2, 3)))
    centred = x - torch.mean(x, axes, keepdim=True)
    # The specification adds its epsilon to the deviation, not to the variance.
    return centred / (torch.sqrt(torch.mean(centred * centred, axes, keepdim=True)) + 1e-9)


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _local,
    "LayerNormalization": _layer,
    "LpNormalization": _norm,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _root_mean_square,
}
