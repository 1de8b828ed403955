"""Weighted sums of grey levels that come out the same in any order: on every machine, in every batch, on CUDA.

Weights are rounded to a fixed number of binary digits, so that every product and every partial sum is a number that
the floating-point type holds exactly. So no result depends on which sum was taken first, as it otherwise would with the
size of the batch, and could fall on either side of a whole grey level.
"""

from collections.abc import Iterator

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
    down, right = (_band(weights, size) for size in levels.shape[2:])
    return along_columns(along_rows(levels.to(torch.float64), right), down)


def _band(weights: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The matrix [size, size] that blurs a line of pixels."""
    reach, lines = len(weights) // 2, np.arange(size)
    found = np.zeros((size, size))
    for step, weight in enumerate(weights, -reach):
        np.add.at(found, (lines, np.clip(lines + step, 0, size - 1)), weight)
    return found


def along_rows(x: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    """Every row of pixels [N, C, H, W] times a matrix [W', W], most of which is 0."""
    rows = x.reshape(-1, x.shape[3])
    found = rows.new_empty(len(rows), len(matrix))
    for made, seen in _blocks(matrix):
        torch.mm(rows[:, seen], torch.from_numpy(matrix[made, seen].T).to(x), out=found[:, made])
    return found.view(*x.shape[:3], len(matrix))


def along_columns(x: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    """Every column of pixels [N, C, H, W] times a matrix [H', H], most of which is 0."""
    planes = x.reshape(-1, *x.shape[2:])
    found = planes.new_empty(len(planes), len(matrix), x.shape[3])
    for made, seen in _blocks(matrix):
        torch.matmul(torch.from_numpy(matrix[made, seen]).to(x), planes[:, seen], out=found[:, made])
    return found.view(*x.shape[:2], len(matrix), x.shape[3])


def _blocks(matrix: NDArray[np.float64]) -> Iterator[tuple[slice, slice]]:
    """Some rows of a matrix at a time, and the columns outside of which they are 0.

    So a filter of lines is a few products of matrices, not one pass over the pixels per weight, and little is wasted.
    """
    for start in range(0, len(matrix), _BLOCK):
        used = np.flatnonzero(matrix[start : start + _BLOCK].any(0))
        yield slice(start, min(start + _BLOCK, len(matrix))), slice(int(used[0]), int(used[-1]) + 1)


def filtered(levels: Tensor, kernel: NDArray[np.float64]) -> Tensor:
    """8-bit levels [N, C, H, W] correlated with an odd square kernel of 32 digits, edges mirrored; exact, float64.

    Each image is a channel of a grouped convolution, which is fast in float32 alone: so the kernel comes in two halves
    of 16 digits.
    """
    n, c, h, w = levels.shape
    reach = len(kernel) // 2
    padded = mirrored(levels, reach).to(torch.float32).reshape(1, n * c, h + 2 * reach, w + 2 * reach)
    coarse = np.floor(kernel * 2.0**16) / 2.0**16
    parts = (torch.from_numpy(half).to(padded).expand(n * c, 1, -1, -1) for half in (coarse, kernel - coarse))
    first, second = (functional.conv2d(padded, part.contiguous(), groups=n * c) for part in parts)
    return first.to(torch.float64).add_(second).reshape(n, c, h, w)


def mirrored(x: Tensor, reach: int) -> Tensor:
    """Padded by its mirror image about the outermost pixels, as often as need be (OpenCV's REFLECT_101)."""
    rows, columns = (torch.from_numpy(mirror(np.arange(-reach, size + reach), size)) for size in x.shape[2:])
    return x.index_select(3, columns.to(x.device)).index_select(2, rows.to(x.device))


def mirror(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Places folded into 0 … size − 1 about the outermost ones.

    >>> mirror(np.array([-2, -1, 0, 3, 4]), 4).tolist()
    [2, 1, 0, 3, 2]
    """
    period = max(1, 2 * (size - 1))
    folded = np.mod(places, period)
    return np.asarray(np.minimum(folded, period - folded))
