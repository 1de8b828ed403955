"""Products of matrices."""

import re
from math import prod

import torch
from torch import Tensor

from audit.models.differentiable.node import Node, Operator, broadcast_shape


def _matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    node.precise(a, b)
    lead = broadcast_shape(a.shape[:-2], b.shape[:-2])
    node.bounded([*lead, a.shape[-2] if a.ndim > 1 else 1, b.shape[-1] if b.ndim > 1 else 1])
    return torch.matmul(a, b)


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    node.precise(a, b)
    a = a.T if node.integer("transA", 0) else a
    b = b.T if node.integer("transB", 0) else b
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    node.bounded([a.shape[0], b.shape[1]])
    if c is not None and alpha == 1 and beta == 1:
        return torch.addmm(c, a, b)
    found = torch.matmul(a, b)
    if not found.is_floating_point() and (alpha != 1 or beta != 1):
        raise node.refuse("integers scaled by a number")
    found = found if alpha == 1 else alpha * found
    return found if c is None else found + (c if beta == 1 else beta * c)


def _einsum(node: Node, *values: Tensor) -> Tensor:
    node.precise(*values)
    equation = node.text("equation", "").replace(" ", "")
    taken, arrow, given = equation.partition("->")
    if not arrow or not re.fullmatch(r"[A-Za-z,]*", taken) or len(taken.split(",")) != len(values):
        raise node.refuse(f"equation {equation!r}: only letters, and the output, are carried")
    sizes = {
        letter: size
        for letters, value in zip(taken.split(","), values, strict=True)
        for letter, size in zip(letters, value.shape, strict=True)
    }
    node.bounded([prod(sizes[letter] for letter in given)])
    return torch.einsum(equation, *values)


OPERATORS: dict[str, Operator] = {
    "Det": lambda node, x: torch.linalg.det(x),
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
