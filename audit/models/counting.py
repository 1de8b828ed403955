"""Weights as operators receive them, counted: the arrays behind a `Layer` and a `Structure`."""

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from audit.structure import PATTERNS, Kind, Layer, Structure


def layer(
    name: str,
    kind: Kind,
    weight: NDArray[np.generic],
    *,
    groups: int = 1,
    positions: int = 0,
    again: bool = False,
) -> Layer:
    """Describe one weight, [filters, inputs of a filter, *kernel]."""
    used = weight.reshape(weight.shape[0], weight.shape[1], -1) != 0
    per_group = used.reshape(groups, -1, *used.shape[1:])
    counts = [_conforming(used, n, m) for n, m in PATTERNS]
    return Layer(
        name=name,
        kind=kind,
        shape=tuple(weight.shape),
        groups=groups,
        positions=positions,
        nonzero=int(used.sum()),
        dead_filters=int((~used.any(axis=(1, 2))).sum()),
        dead_channels=int((~per_group.any(axis=(1, 3))).sum()),
        blocks=tuple(total for _, total in counts),
        conforming=tuple(kept for kept, _ in counts),
        again=again,
    )


def _conforming(used: NDArray[np.bool_], n: int, m: int) -> tuple[int, int]:
    """(blocks of m neighbouring inputs, at one place of the kernel, with at most n that are used, all such blocks)."""
    filters, inputs, places = used.shape
    if inputs % m:
        return 0, 0
    in_block = used.reshape(filters, inputs // m, m, places).sum(axis=2)
    return int((in_block <= n).sum()), in_block.size


def as_convolution(weight: NDArray[np.generic], groups: int) -> NDArray[np.generic]:
    """[inputs, filters of a group, *kernel] of a transposed convolution → [filters, inputs of a group, *kernel]."""
    inputs, filters, *kernel = weight.shape
    split = weight.reshape(groups, inputs // groups, filters, *kernel).swapaxes(1, 2)
    return split.reshape(groups * filters, inputs // groups, *kernel)


def total(layers: Sequence[Layer], values: Iterable[NDArray[np.generic]]) -> Structure:
    """A network of these layers; `values` are all its distinct values, the weights of the layers among them."""
    parameters = nonzero = compressed = 0
    packer = zlib.compressobj(1)
    for each in values:
        parameters += each.size
        nonzero += int(np.count_nonzero(each))
        with np.errstate(over="ignore"):
            compressed += len(packer.compress(np.ascontiguousarray(each.real, np.float32).tobytes()))
    return Structure(tuple(layers), parameters, nonzero, compressed + len(packer.flush()))
