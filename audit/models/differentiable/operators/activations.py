"""Activations, and the functions of a whole axis that stand beside them."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from audit.models.differentiable.node import Node, Operator


def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    if node.version < 11:
        limits = torch.finfo(torch.float32)
        return torch.clamp(x, node.number("min", limits.min), node.number("max", limits.max))
    # One at a time: where low > high, the specification gives high.
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _gelu(node: Node, x: Tensor) -> Tensor:
    node.only("approximate", "none", "tanh")
    return functional.gelu(x, approximate=node.text("approximate", "none"))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return torch.clamp(node.number("alpha", 0.2) * x + node.number("beta", 0.5), 0, 1)


def _hard_swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.clamp(x / 6 + 0.5, 0, 1)


def _swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.number("alpha", 1.0) * x)


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.number("alpha", 1.67326319217681884765625), node.number("gamma", 1.05070102214813232421875)
    return gamma * functional.elu(x, alpha)


def _parametric(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    if node.version < 7 and slope.ndim == 1 and slope.numel() > 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    node.broadcast(x, slope)
    return torch.where(x < 0, slope * x, x)


def _thresholded(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > node.number("alpha", 1.0), x, torch.zeros_like(x))


def _shrink(node: Node, x: Tensor) -> Tensor:
    edge, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, torch.zeros_like(x)))


def _along(function: Callable[[Tensor, int], Tensor]) -> Operator:
    """Along one axis; before opset 13 along all axes from one on, taken together."""

    def operator(node: Node, x: Tensor) -> Tensor:
        if node.version >= 13:
            return function(x, node.integer("axis", -1))
        axis = node.integer("axis", 1) % max(x.ndim, 1)
        return function(x.reshape(prod(x.shape[:axis]), -1), 1).reshape(x.shape)

    return operator


def _hardmax(x: Tensor, axis: int) -> Tensor:
    largest = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, largest, 1)


OPERATORS: dict[str, Operator] = {
    "Celu": lambda node, x: functional.celu(x, node.number("alpha", 1.0)),
    "Clip": _clip,
    "Elu": lambda node, x: functional.elu(x, node.number("alpha", 1.0)),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Hardmax": _along(_hardmax),
    "LeakyRelu": lambda node, x: functional.leaky_relu(x, node.number("alpha", 0.01)),
    "LogSoftmax": _along(torch.log_softmax),
    "Mish": lambda node, x: functional.mish(x),
    "PRelu": _parametric,
    "Relu": lambda node, x: torch.relu(x),
    "Selu": _selu,
    "Shrink": _shrink,
    "Softmax": _along(torch.softmax),
    "Swish": _swish,
    "ThresholdedRelu": _thresholded,
}
