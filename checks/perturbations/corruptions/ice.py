"""Ice as it grows on a window: textures made by the project, because the published photographs have no licence.

Sums of ridged noise over scales, warped by other noise, so that crystals seem to branch; on a torus, so that a piece
may be cut anywhere. Brightness and contrast are set so that frost is as strong as that of the published generator
(docs/corruptions.md). Whole grey levels, from a fixed seed.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SEED = 20190501
_PIECES, _SIDE, _SHRINK = 4, 1000, 5
_MEAN, _SPREAD = 155.0, 46.0
_TINT = (0.94, 1.0, 1.06)
_SLOPE = 1.4
Field = NDArray[np.float64]


@cache
def textures(*, large: bool) -> Tensor:
    """Textures uint8 [pieces, 3, side, side]; small images see the same ice from five times as far."""
    found = np.stack([_texture(np.random.Generator(np.random.Philox(_SEED + piece))) for piece in range(_PIECES)])
    if not large:
        side = _SIDE // _SHRINK
        found = found.reshape(_PIECES, side, _SHRINK, side, _SHRINK).mean(axis=(2, 4))
    spread = (found - found.mean()) / found.std() * _SPREAD + _MEAN
    tinted = spread[:, None] * np.reshape(_TINT, (3, 1, 1))
    return torch.from_numpy(np.rint(tinted.clip(0, 255)).astype(np.uint8))


def _texture(rng: np.random.Generator) -> Field:
    """One texture [side, side]."""
    bend = [_noise(rng, 2.2, 4) * 40 for _ in range(2)]
    ridges = sum((0.6**octave * _ridged(rng, 4 * 2**octave) for octave in range(6)), start=np.zeros((_SIDE, _SIDE)))
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    warped = ridges[(rows + np.rint(bend[0]).astype(int)) % _SIDE, (columns + np.rint(bend[1]).astype(int)) % _SIDE]
    return np.asarray(warped + 0.8 * _noise(rng, _SLOPE, 2))


def _ridged(rng: np.random.Generator, waves: int) -> Field:
    """Sharp bright lines where noise of about so many waves across changes its sign."""
    return np.asarray(1 - np.abs(_noise(rng, 1.0, waves)).clip(max=1)) ** 2


def _noise(rng: np.random.Generator, slope: float, waves: int) -> Field:
    """Noise on a torus without waves longer than side / `waves`, falling by 1 / frequency^slope; of spread 1."""
    across = np.fft.fftfreq(_SIDE, 1 / _SIDE)
    frequency = np.hypot(across[:, None], across[None])
    weight = np.where(frequency >= waves, np.maximum(frequency, 1) ** -(slope + 1), 0)
    field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((_SIDE, _SIDE))) * weight).real
    return np.asarray(field / field.std())
