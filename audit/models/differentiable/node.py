"""One node of an ONNX graph, and the refusal to carry it out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

MAX_ELEMENTS = 2**28
"""Elements of the largest tensor that a node may make: 1 GiB in float32, far beyond any image classifier.

A file of a hundred bytes can ask for terabytes, and memory that was asked for cannot be refused afterwards."""

Operator = Callable[..., Tensor | tuple[Tensor, ...]]
"""Takes its node, and one tensor per input, None for one left out; gives one tensor per output.

It raises Unsupported for whatever it does not carry out exactly, and changes no tensor that it is given."""

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Tensor


class Unsupported(Exception):  # noqa: N818 - a refusal is no error: the model is audited without its gradients
    """A node that would have to be approximated: which operator, of which opset, and why."""

    def __init__(self, operator: str, version: int, reason: str) -> None:
        super().__init__(f"{operator} (opset {version}): {reason}")
        self.operator = operator
        self.version = version
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Node:
    """An operator of the default domain as of opset `version`, between named values; "" is an input left out."""

    operator: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]

    def refuse(self, reason: str) -> Unsupported:
        """What to raise where the node cannot be carried out exactly."""
        return Unsupported(self.operator, self.version, reason)

    def has(self, name: str) -> bool:
        """Is the attribute given?"""
        return name in self.attributes

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute; Unsupported where it is missing and has no default."""
        value = self.attributes.get(name, default)
        if not isinstance(value, int):
            raise self.refuse(f"attribute {name} is missing or no integer")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A float attribute; Unsupported where it is missing and has no default."""
        value = self.attributes.get(name, default)
        if not isinstance(value, float):
            raise self.refuse(f"attribute {name} is missing or no number")
        return value

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise self.refuse(f"attribute {name} is no text")
        return value

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """An attribute of integers; Unsupported where it is missing and has no default."""
        value = self.attributes.get(name, default)
        if not isinstance(value, Sequence) or not all(isinstance(entry, int) for entry in value):
            raise self.refuse(f"attribute {name} is missing or no list of integers")
        return tuple(int(entry) for entry in value)

    def numbers(self, name: str) -> tuple[float, ...]:
        """An attribute of floats; Unsupported where it is missing."""
        value = self.attributes.get(name)
        if not isinstance(value, tuple):
            raise self.refuse(f"attribute {name} is missing or no list of numbers")
        return tuple(float(entry) for entry in value)

    def only(self, name: str, *known: int | str) -> None:
        """Raise Unsupported where the attribute is given and is none of `known`."""
        if name in self.attributes and self.attributes[name] not in known:
            raise self.refuse(f"{name} = {self.attributes[name]}")

    def precise(self, *values: Tensor) -> None:
        """Raise Unsupported on half precision, in which a sum of products depends on its order too much."""
        if any(value.dtype in (torch.float16, torch.bfloat16) for value in values):
            raise self.refuse("sums of products in half precision")

    def bounded(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a tensor that the node is about to make; Unsupported where it is too large or negative."""
        if any(size < 0 for size in shape) or prod(shape) > MAX_ELEMENTS:
            raise self.refuse(f"would make a tensor of shape {tuple(shape)}, more than {MAX_ELEMENTS:,} elements")
        return tuple(shape)

    def broadcast(self, *values: Tensor) -> tuple[int, ...]:
        """The shape of what comes of `values` element by element, bounded."""
        return self.bounded(broadcast_shape(*(value.shape for value in values)))


def broadcast_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that shapes have together, by the rules of numpy; torch itself raises where they have none."""
    rank = max(map(len, shapes))
    aligned = [(*[1] * (rank - len(shape)), *shape) for shape in shapes]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*aligned, strict=True))


def listed(value: Tensor) -> list[int]:
    """A tensor of sizes, axes or places as integers."""
    return [int(entry) for entry in value.reshape(-1).tolist()]
