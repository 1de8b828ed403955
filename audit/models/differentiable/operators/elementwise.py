"""Functions of one element."""

from collections.abc import Callable

import torch
from torch import Tensor

from audit.models.differentiable.node import Node, Operator
from audit.models.differentiable.operators.straight import straight


def _plain(function: Callable[[Tensor], Tensor]) -> Operator:
    """A function that no attribute changes."""
    return lambda node, x: function(x)


def _stepped(function: Callable[[Tensor], Tensor]) -> Operator:
    """A staircase: its derivative is zero wherever it exists, so the gradient goes straight through."""
    return lambda node, x: straight(x, function)


def _softplus(x: Tensor) -> Tensor:
    # torch's own softplus is linear beyond a threshold.
    return torch.logaddexp(x, torch.zeros_like(x))


def _infinite(node: Node, x: Tensor) -> Tensor:
    found = torch.zeros_like(x, dtype=torch.bool)
    if node.integer("detect_positive", 1):
        found |= torch.isposinf(x)
    if node.integer("detect_negative", 1):
        found |= torch.isneginf(x)
    return found


OPERATORS: dict[str, Operator] = {
    "Abs": _plain(torch.abs),
    "Acos": _plain(torch.acos),
    "Acosh": _plain(torch.acosh),
    "Asin": _plain(torch.asin),
    "Asinh": _plain(torch.asinh),
    "Atan": _plain(torch.atan),
    "Atanh": _plain(torch.atanh),
    "BitwiseNot": _plain(torch.bitwise_not),
    "Ceil": _stepped(torch.ceil),
    "Cos": _plain(torch.cos),
    "Cosh": _plain(torch.cosh),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Floor": _stepped(torch.floor),
    "Identity": _plain(lambda x: x),
    "IsInf": _infinite,
    "IsNaN": _plain(torch.isnan),
    "Log": _plain(torch.log),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Reciprocal": _plain(torch.reciprocal),
    "Round": _stepped(torch.round),
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Sinh": _plain(torch.sinh),
    "Softplus": _plain(_softplus),
    "Softsign": _plain(lambda x: x / (1 + torch.abs(x))),
    "Sqrt": _plain(torch.sqrt),
    "Tan": _plain(torch.tan),
    "Tanh": _plain(torch.tanh),
}
