"""Noise: gaussian, shot, impulse and speckle, on every value by itself."""

from functools import lru_cache

import numpy as np
import torch
from scipy.special import pdtr
from torch import Tensor

from checks.perturbations.corruptions.constants import Constants
from checks.perturbations.corruptions.draws import Draws

_WHITE = 255
_DIGITS, _MIDDLE = 24, 128
"""Binary digits of a random number, and what brings eight more before them into 32 bits with a sign."""


def gaussian_noise(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Normal noise of the given standard deviation, as a share of white."""
    (scale,) = constants
    return draws.normal("noise", *x.shape[1:]).mul_(_WHITE * scale).add_(x)


def speckle_noise(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Normal noise in proportion to the value."""
    (scale,) = constants
    return draws.normal("noise", *x.shape[1:]).mul_(scale).add_(1).mul_(x)


def impulse_noise(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """A share of the values, each channel by itself, turned black or white, each as likely."""
    (share,) = constants
    struck = draws.uniform("value", *x.shape[1:])
    return x.masked_fill(struck < share / 2, 0).masked_fill_((struck >= share / 2) & (struck < share), _WHITE)


def shot_noise(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Poisson noise of light: a white pixel receives the given number of photons on average.

    By inverting the distribution, of which there are as many as grey levels.
    """
    photons = int(constants[0])
    drawn = draws.uniform("photons", *x.shape[1:]).mul_(2**_DIGITS).to(torch.int32)
    level = x.to(torch.int32)
    placed = (level - _MIDDLE).mul_(2**_DIGITS).add_(drawn)
    place = torch.searchsorted(_poisson(photons).to(x.device), placed, right=True, out_int32=True)
    return (place - level * photons).to(torch.float32).mul_(_WHITE / photons)


@lru_cache(maxsize=16)
def _poisson(photons: int) -> Tensor:
    """For all levels, and k < `photons`, the probability of at most k photons, ascending [256 · photons].

    As whole numbers, with the level before the probability. As many photons as white has, or more, are white.
    """
    levels = np.arange(_WHITE + 1)[:, None]
    below = np.ceil(pdtr(np.arange(photons)[None], levels * photons / _WHITE) * 2**_DIGITS).astype(np.int64)
    found = (levels - _MIDDLE) * 2**_DIGITS + below
    return torch.from_numpy(np.minimum(found, 2**31 - 1).astype(np.int32).reshape(-1))
