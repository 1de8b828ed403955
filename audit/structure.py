"""What the weights of a network really are: the values that its operators work with, whatever the file stores.

A mask, a threshold, a quantisation or a folded batch normalisation stands between the two: a file may store no zero at
all and run with nine in ten, or the other way round.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

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
    def channels(self) -> int:
        """Inputs, of all groups."""
        return self.shape[1] * self.groups

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
