"""What the weights of a network really are: the values that its operators work with, whatever the file stores.

A mask, a threshold, a quantisation or a folded batch normalisation stands between the two: a file may store no zero at
all and run with nine in ten, or the other way round.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "structure-unknown"
"""Reason code: what the weights are could not be told."""
PATTERNS = ((1, 4), (2, 4), (4, 8))
"""N:M: at most n of m neighbouring inputs of a filter are not zero. 2:4 is what sparse tensor cores take."""

Kind = Literal["convolution", "linear"]


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or linear map.

    `shape` is (filters, inputs of a filter, *kernel); `nonzero` counts the weights that are not zero, `dead_filters`
    the filters without any, `dead_channels` the inputs that no filter of their group uses. `positions` is the number
    of places where each weight is applied to one item, 0 where that is not known. `conforming` has, for each of
    PATTERNS, the number of blocks that keep it, of `blocks`: both are 0 where m does not divide the inputs. `again`
    says that an earlier layer has the same weights.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    groups: int
    positions: int
    nonzero: int
    dead_filters: int
    dead_channels: int
    blocks: tuple[int, ...]
    conforming: tuple[int, ...]
    again: bool = False

    @property
    def weights(self) -> int:
        return prod(self.shape)

    @property
    def collapsed(self) -> bool:
        """Whether nothing passes any more."""
        return self.nonzero == 0

    @property
    def operations(self) -> int:
        """Multiplications for one item that a weight other than zero takes part in."""
        return self.nonzero * self.positions


@dataclass(frozen=True, slots=True)
class Structure:
    """The layers of a network, and all its values: `parameters` in all, `nonzero` of them not zero.

    All values are the weights of the layers, biases, and the scales and shifts of normalisations, as operators receive
    them; statistics of batch normalisations and constants of one value do not count (Liebenwein et al., 2021).
    `compressed` is the number of bytes that zlib needs for them as float32.
    """

    layers: tuple[Layer, ...]
    parameters: int
    nonzero: int
    compressed: int


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
