"""Blur along a direction, as ImageMagick's MotionBlurImage takes it."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from checks.perturbations.corruptions.exact import fixed, shifted_sum

_DIGITS = 16


def directional(levels: Tensor, radius: float, sigma: float, degrees: Tensor) -> Tensor:
    """8-bit levels [N, C, H, W] blurred by a half-sided gaussian, each along its angle [N]; whole levels.

    Weights are exp(−i²/2σ²) for i = 0 … 2 ceil(radius), at offsets rounded half down; edges are repeated.
    """
    width = 2 * math.ceil(radius) + 1
    density = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights = fixed(density / density.sum(), _DIGITS)
    x = levels.to(torch.float32)
    moved = [shifted_sum(one, _offsets(width, angle), weights) for one, angle in zip(x, degrees.tolist(), strict=True)]
    return torch.stack(moved).floor_()


def _offsets(width: int, degrees: float) -> Sequence[tuple[int, int]]:
    """(down, right) of each weight."""
    down, right = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    length = math.hypot(down, right)
    return [(math.ceil(i * down / length - 0.5), math.ceil(i * right / length - 0.5)) for i in range(width)]
