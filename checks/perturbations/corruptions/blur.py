"""Blur: out of focus, through frosted glass, by motion, by zooming, and plainly gaussian."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from checks.perturbations.corruptions.constants import Constants
from checks.perturbations.corruptions.draws import Draws
from checks.perturbations.corruptions.exact import (
    DIGITS,
    along_columns,
    along_rows,
    blurred,
    filtered,
    fixed,
    gaussian,
    mirror,
)
from checks.perturbations.corruptions.motion import directional

_TRUNCATE = 4.0


def gaussian_blur(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """A gaussian of the given standard deviation, in pixels."""
    return blurred(x, fixed(gaussian(constants[0], _TRUNCATE)))


def defocus_blur(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """A disk of the given radius in pixels, its edge smoothed."""
    return filtered(x, _disk(*constants)).floor_()


def motion_blur(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Motion along an angle within ±45°: radius and standard deviation in pixels."""
    radius, sigma = constants
    return directional(x, radius, sigma, draws.uniform("angle").double() * 90 - 45)


def zoom_blur(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """The mean of the image and of its middle enlarged by 1, 1 + step, …, that many times."""
    step, times = constants
    levels = x.to(torch.float64)
    total = levels.clone()
    for factor in np.arange(times) * ((1 + step) - 1) + 1:  # as numpy.arange(1, …, step) comes to them
        total += zoomed(levels, float(factor))
    return total.div_(times + 1)


def glass_blur(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Blurred, every pixel replaced by one nearby, blurred again: standard deviation, distance, repetitions.

    The published generator means to swap two pixels; it copies one over the other, in the order of the loop.
    """
    sigma, reach, times = constants[0], int(constants[1]), int(constants[2])
    weights = fixed(gaussian(sigma, _TRUNCATE))
    n, _, h, w = x.shape
    places = torch.arange(h * w, device=x.device).repeat(n, 1)
    for turn in range(times):
        moved = draws.uniform(f"turn {turn}", 2, h * w).mul_(2 * reach).floor_().long().sub_(reach)
        nearby = moved[:, 0] * w + moved[:, 1]
        for wave in _waves(h, w, reach):
            at = wave.to(x.device)
            places[:, at] = places.gather(1, nearby[:, at] + at)
    once = blurred(x, weights).floor_().flatten(2)
    return blurred(once.gather(2, places[:, None].expand_as(once)).view_as(x), weights)


def zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of [N, C, H, W] enlarged to its size: bilinear between the centres of the outermost pixels.

    As scipy.ndimage.zoom of order 1 with the reference's crop and trim.
    """
    down, right = (_stretch(size, factor) for size in x.shape[2:])
    return along_columns(along_rows(x, right), down)


@lru_cache(maxsize=256)
def _stretch(size: int, factor: float) -> NDArray[np.float64]:
    """The matrix [size, size] that enlarges the middle of a line of pixels; weights have DIGITS binary digits."""
    middle = math.ceil(size / factor)
    top, enlarged = (size - middle) // 2, round(middle * factor)
    trim = (enlarged - size) // 2
    places = (np.arange(size) + trim) * ((middle - 1) / max(1, enlarged - 1)) + top
    places = np.rint(places * 2.0**DIGITS) / 2.0**DIGITS
    first = np.floor(places).astype(np.int64)
    found = np.zeros((size, size))
    found[np.arange(size), first] = 1 - (places - first)
    found[np.arange(size), np.minimum(first + 1, size - 1)] += places - first
    return found


@lru_cache(maxsize=16)
def _disk(radius: float, alias: float) -> NDArray[np.float64]:
    """A disk of the given radius, smoothed by a gaussian of 3 × 3 pixels (5 × 5 beyond a radius of 8); 32 digits.

    In single precision, as the published one: nine weights of a ninth then sum to a little more than 1.
    """
    large = radius > 8
    grid = np.arange(-int(radius) if large else -8, (int(radius) if large else 8) + 1)
    disk = (grid[:, None] ** 2 + grid[None] ** 2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    reach = 2 if large else 1
    smooth = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * alias**2))
    smooth = (smooth / smooth.sum()).astype(np.float32)
    rows = mirror(np.arange(-reach, len(grid) + reach), len(grid))
    for _ in range(2):
        disk = np.sum([weight * disk[rows[i : i + len(grid)]] for i, weight in enumerate(smooth)], axis=0).T
    found = np.rint(disk.astype(np.float64) * 2.0**32) / 2.0**32
    used = int(np.abs(grid[np.any(found > 0, axis=0)]).max())
    middle = len(grid) // 2
    return found[middle - used : middle + used + 1, middle - used : middle + used + 1]


@lru_cache(maxsize=32)
def _waves(height: int, width: int, reach: int) -> Sequence[Tensor]:
    """The pixels that glass moves, in groups that may be moved at once: as if one by one, from the last to the first.

    A pixel takes what lies up to `reach` before it, or less than `reach` behind it. What lies behind was moved already,
    so that it belongs to an earlier group: each row starts `reach` + 1 pixels after the row below it.
    """
    rows = np.arange(height - reach, reach, -1)
    columns = np.arange(width - reach, reach, -1)
    if not (len(rows) and len(columns)):
        return ()
    time = (width - columns)[None] + (reach + 1) * (height - rows)[:, None]
    places = rows[:, None] * width + columns[None]
    order = np.argsort(time.reshape(-1), kind="stable")
    starts = np.flatnonzero(np.diff(time.reshape(-1)[order])) + 1
    return tuple(torch.from_numpy(part) for part in np.split(places.reshape(-1)[order], starts))
