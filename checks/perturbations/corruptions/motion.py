"""Blur along a direction, as ImageMagick's MotionBlurImage takes it."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from checks.perturbations.corruptions.exact import fixed

_DIGITS = 22
"""Binary digits of a weight: with the eight of a level they fill the whole numbers of 32 bits."""
_SHORT = round(2**_DIGITS / 514)
"""ImageMagick first rounds to one of 257 steps of a level: what falls short of a level by half a step reaches it."""


def directional(levels: Tensor, radius: float, sigma: float, degrees: Tensor) -> Tensor:
    """8-bit levels [N, C, H, W] blurred by a half-sided gaussian, each along its angle [N]; whole levels, int32.

    Weights are exp(−i²/2σ²) for i = 0 … 2 ceil(radius), at offsets rounded half down; edges are repeated.
    """
    width = 2 * math.ceil(radius) + 1
    density = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights = [int(each) for each in fixed(density / density.sum(), _DIGITS) * 2**_DIGITS]
    x = levels.to(torch.float32)
    moved = [_shifted_sum(one, _offsets(width, angle), weights) for one, angle in zip(x, degrees.tolist(), strict=True)]
    return torch.stack(moved).add_(_SHORT).bitwise_right_shift_(_DIGITS)


def _offsets(width: int, degrees: float) -> Sequence[tuple[int, int]]:
    """(down, right) of each weight."""
    down, right = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    length = math.hypot(down, right)
    return [(math.ceil(i * down / length - 0.5), math.ceil(i * right / length - 0.5)) for i in range(width)]


def _shifted_sum(x: Tensor, offsets: Sequence[tuple[int, int]], weights: Sequence[int]) -> Tensor:
    """Σ weight · x moved by (down, right) [C, H, W], edges repeated; int32."""
    reach = max(max(abs(down), abs(right)) for down, right in offsets)
    height, width = x.shape[1:]
    padded = functional.pad(x[None], (reach, reach, reach, reach), mode="replicate")[0].to(torch.int32)
    total = torch.zeros_like(x, dtype=torch.int32)
    for (down, right), weight in zip(offsets, weights, strict=True):
        top, left = reach + down, reach + right
        total.add_(padded[:, top : top + height, left : left + width], alpha=weight)
    return total
