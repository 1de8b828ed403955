"""Weighted sums of grey levels that come out the same in any order: on every machine, in every batch, on CUDA.

Weights are rounded to a fixed number of binary digits, so that every product and every partial sum is a number that
the floating-point type holds exactly. So no result depends on which sum was taken first, as it otherwise would with the
size of the batch, and could fall on either side of a whole grey level.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

DIGITS = 20
"""Binary digits of a weight: a level of 8 bits, twice weighted, takes 48 of the 53 that float64 has."""
_BLOCK = 32


def fixed(weights: NDArray[np.float64], digits: int = DIGITS) -> NDArray[np.float64]:
    """Weights that sum to 1, as multiples of 1 / 2^digits that still do: the largest takes what rounding left."""
    found = np.rint(weights * 2.0**digits)
    found.flat[int(found.argmax())] += 2.0**digits - found.sum()
    return found / 2.0**digits


def gaussian(sigma: float, truncate: float) -> NDArray[np.float64]:
    """Samples of a normal density up to `truncate` standard deviations, as scipy's gaussian_filter takes them."""
    radius = int(truncate * sigma + 0.5)
    if not radius:
        return np.ones(1)
    found = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(found / found.sum())


def blurred(levels: Tensor, weights: NDArray[np.float64]) -> Tensor:
    """Levels [N, C, H, W] blurred along both axes by the same weights, edges repeated; float64, exact for 8 bits."""
    return _along(_along(levels.to(torch.float64), weights).transpose(2, 3), weights).transpose(2, 3)


def _along(x: Tensor, weights: NDArray[np.float64]) -> Tensor:
    """Blur along the last axis: a product with one small matrix per block of pixels, not one pass per weight."""
    reach, width = len(weights) // 2, x.shape[3]
    if not reach:
        return x
    blocks = math.ceil(width / _BLOCK)
    padded = functional.pad(x, (reach, reach + blocks * _BLOCK - width, 0, 0), mode="replicate")
    return padded.unfold(3, _BLOCK + 2 * reach, _BLOCK).matmul(_toeplitz(weights, x)).flatten(3)[..., :width]


def _toeplitz(weights: NDArray[np.float64], like: Tensor) -> Tensor:
    """The matrix [block + 2 · reach, block] that blurs a block."""
    found = np.zeros((_BLOCK + len(weights) - 1, _BLOCK))
    for column in range(_BLOCK):
        found[column : column + len(weights), column] = weights
    return torch.from_numpy(found).to(like)


def filtered(levels: Tensor, kernel: NDArray[np.float64]) -> Tensor:
    """8-bit levels [N, C, H, W] correlated with an odd square kernel of 32 digits, edges mirrored; exact, float64.

    Each image is a channel of a grouped convolution, which is fast in float32 alone: so the kernel comes in two halves
    of 16 digits.
    """
    n, c, h, w = levels.shape
    reach = len(kernel) // 2
    padded = mirrored(levels.to(torch.float32), reach).reshape(1, n * c, h + 2 * reach, w + 2 * reach)
    coarse = np.floor(kernel * 2.0**16) / 2.0**16
    total = torch.zeros(1, n * c, h, w, dtype=torch.float64, device=levels.device)
    for half in (coarse, kernel - coarse):
        weight = torch.from_numpy(half).to(padded).expand(n * c, 1, -1, -1).contiguous()
        total += functional.conv2d(padded, weight, groups=n * c)
    return total.reshape(n, c, h, w)


def mirrored(x: Tensor, reach: int) -> Tensor:
    """Padded by its mirror image about the outermost pixels, as often as need be (OpenCV's REFLECT_101)."""
    rows, columns = (mirror(np.arange(-reach, size + reach), size) for size in x.shape[2:])
    return x[:, :, torch.from_numpy(rows).to(x.device)][..., torch.from_numpy(columns).to(x.device)]


def mirror(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Places folded into 0 … size − 1 about the outermost ones.

    >>> mirror(np.array([-2, -1, 0, 3, 4]), 4).tolist()
    [2, 1, 0, 3, 2]
    """
    period = max(1, 2 * (size - 1))
    folded = np.mod(places, period)
    return np.asarray(np.minimum(folded, period - folded))


def shifted_sum(x: Tensor, offsets: Sequence[tuple[int, int]], weights: NDArray[np.float64]) -> Tensor:
    """Σ weight · x moved by (down, right) [C, H, W] float32, edges repeated; exact for 8 bits and 16 digits."""
    reach = max(max(abs(down), abs(right)) for down, right in offsets)
    height, width = x.shape[1:]
    padded = functional.pad(x[None], (reach, reach, reach, reach), mode="replicate")[0]
    total = torch.zeros_like(x)
    for (down, right), weight in zip(offsets, weights.tolist(), strict=True):
        top, left = reach + down, reach + right
        total.add_(padded[:, top : top + height, left : left + width], alpha=weight)
    return total
