"""The values of images: what is allowed, and what the models get."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

TYPES = frozenset({"uint8", "float16", "float32", "float64"})
"""Element types of images, by name."""
Layout = Literal["auto", "NHWC", "NCHW"]
_CHANNELS = frozenset({1, 3, 4})


def channels_last(ends: tuple[int, int], layout: Layout) -> bool | None:
    """Whether channels are the last axis of an image array, from the sizes of its first and last axis.

    None where `layout` is "auto" and both or neither look like channels (1, 3 or 4).
    """
    if layout != "auto":
        return layout == "NHWC"
    first, last = (size in _CHANNELS for size in ends)
    return None if first == last else last


def outside(x: NDArray[np.floating]) -> tuple[int, float, float] | None:
    """The first item of [N, …] with values outside [0, 1], and its lowest and highest; None where there is none."""
    flat = x.reshape(len(x), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    bad = np.flatnonzero(~((low >= 0) & (high <= 1)))  # this way round, a NaN is bad as well
    return (int(bad[0]), float(low[bad[0]]), float(high[bad[0]])) if len(bad) else None


def tensor(x: NDArray[np.generic]) -> "Tensor":
    """float32 in [0, 1] from uint8 (divided by 255) or float32, in memory of its own or that of `x`."""
    import torch

    # numpy divides as torch does, and starts no threads of its own for whoever reads ahead.
    return torch.from_numpy(np.divide(x, np.float32(255), dtype=np.float32) if x.dtype == np.uint8 else x)


def unsigned(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same numbers without negative zeros: a zero with a sign would make a copy of an item look like another."""
    return x + np.float32(0)
