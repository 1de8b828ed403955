"""The preprocessing that belongs to a model, applied inside it so that every perturbation is in pixels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Preprocessing:
    """Pixels in [0, 1] → what the network was trained on: scale to `range`, subtract `mean`, divide by `std`.

    `mean` and `std` are per channel and in units of `range`; () leaves the values as they are.
    """

    layout: Literal["NCHW", "NHWC"] = "NCHW"
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def model_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(C, H, W) in the order of axes that the network takes."""
        c, h, w = shape
        return shape if self.layout == "NCHW" else (h, w, c)

    def apply(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, C, H, W] in [0, 1] → the network's input, contiguous; `x` is left as it is."""
        low, high = self.range
        scaled = (low, high) != (0.0, 1.0)
        if scaled or self.mean or self.std:
            x = x.copy()  # worked on in place from here: a large new array for every step costs more than the step
        if scaled:
            x *= np.float32(high - low)
            x += np.float32(low)
        if self.mean:
            x -= np.asarray(self.mean, np.float32)[:, None, None]
        if self.std:
            x /= np.asarray(self.std, np.float32)[:, None, None]
        return x if self.layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
