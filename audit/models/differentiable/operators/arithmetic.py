"""Functions of several tensors, element by element, with the broadcasting of numpy."""

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from audit.models.differentiable.node import Node, Operator

Pair = Callable[[Tensor, Tensor], Tensor]


def _pair(function: Pair) -> Operator:
    """A function of two tensors; before opset 7 the second was laid along an axis of the first where asked."""

    def operator(node: Node, a: Tensor, b: Tensor) -> Tensor:
        if node.version < 7 and node.integer("broadcast", 0) and node.has("axis"):
            b = b.reshape(*b.shape, *[1] * (a.ndim - node.integer("axis") % a.ndim - b.ndim))
        node.broadcast(a, b)
        return function(a, b)

    return operator


def _several(function: Pair) -> Operator:
    """A function of any number of tensors, taken in order."""

    def operator(node: Node, *values: Tensor) -> Tensor:
        node.broadcast(*values)
        return reduce(function, values)

    return operator


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _mean(node: Node, *values: Tensor) -> Tensor:
    node.broadcast(*values)
    return reduce(torch.add, values) / len(values)


def _modulo(node: Node, a: Tensor, b: Tensor) -> Tensor:
    node.broadcast(a, b)
    if node.integer("fmod", 0):
        return torch.fmod(a, b)
    if a.is_floating_point():
        raise node.refuse("fmod = 0 on floating-point numbers")
    return torch.remainder(a, b)


def _power(node: Node, a: Tensor, b: Tensor) -> Tensor:
    node.broadcast(a, b)
    if not a.is_floating_point() and not b.is_floating_point() and bool((b < 0).any()):
        raise node.refuse("a negative power of an integer")
    return torch.pow(a, b).to(a.dtype)


def _shift(node: Node, a: Tensor, b: Tensor) -> Tensor:
    node.broadcast(a, b)
    if node.text("direction", "") == "LEFT":
        return torch.bitwise_left_shift(a, b)
    return torch.bitwise_right_shift(a, b)


def _where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    node.broadcast(condition, a, b)
    return torch.where(condition, a, b)


OPERATORS: dict[str, Operator] = {
    "Add": _pair(torch.add),
    "And": _pair(torch.logical_and),
    "BitShift": _shift,
    "BitwiseAnd": _pair(torch.bitwise_and),
    "BitwiseOr": _pair(torch.bitwise_or),
    "BitwiseXor": _pair(torch.bitwise_xor),
    "Div": _pair(_divide),
    "Equal": _pair(torch.eq),
    "Greater": _pair(torch.gt),
    "GreaterOrEqual": _pair(torch.ge),
    "Less": _pair(torch.lt),
    "LessOrEqual": _pair(torch.le),
    "Max": _several(torch.maximum),
    "Mean": _mean,
    "Min": _several(torch.minimum),
    "Mod": _modulo,
    "Mul": _pair(torch.mul),
    "Or": _pair(torch.logical_or),
    "Pow": _power,
    "Sub": _pair(torch.sub),
    "Sum": _several(torch.add),
    "Where": _where,
    "Xor": _pair(torch.logical_xor),
}
