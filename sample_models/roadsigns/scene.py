"""From uniform random numbers to pixels: background, sign, things in front of it, light, lens and sensor.

Images are planes, [N, 3, 32, 32] float32, red, green, blue; 1 is the sensor's white. Everything is vectorised
over the items; a number per item has the shape [N, 1, 1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_models.roadsigns.signs import SIZE, drawings

SIDE = 32
PARAMETERS = 80
"""Uniform numbers per item; the first one chooses the class."""
_GRID = 8
TEXTURE = 3 * _GRID * _GRID
"""Random bytes per item for the background's texture: a grid of 8 × 8 colours."""

Planes = NDArray[np.float32]

_AXIS = (np.arange(SIDE, dtype=np.float32) - np.float32(15.5)) / np.float32(16)
_X = _AXIS[None, None, None, :]
_Y = _AXIS[None, None, :, None]


@dataclass(frozen=True, slots=True)
class Draws:
    """What chance gives: uniforms in [0, 1) [N, PARAMETERS], bytes [N, TEXTURE] and [N, 4, 3, 32, 32]."""

    parameters: NDArray[np.float32]
    texture: NDArray[np.uint8]
    noise: NDArray[np.uint8]


class _Dice:
    """Hands out an item's uniforms one by one; the order of the calls is part of the data's definition."""

    def __init__(self, uniforms: NDArray[np.float32]) -> None:
        self._columns = iter(uniforms.T[1:, :, None, None, None])

    def unit(self) -> Planes:
        return next(self._columns)

    def between(self, low: float, high: float) -> Planes:
        return np.float32(low) + np.float32(high - low) * self.unit()

    def tint(self, spread: float) -> Planes:
        """Red, green and blue independently within ± spread, [N, 3, 1, 1]."""
        return np.concatenate([self.between(-spread, spread) for _ in range(3)], axis=1)

    def muted(self, low: float, high: float) -> Planes:
        """A grey between `low` and `high` with a moderate tint, as most of what stands beside a road has."""
        return self.between(low, high) + self.tint(0.18)


def render(labels: NDArray[np.int64], draws: Draws) -> NDArray[np.uint8]:
    """Pictures of the signs `labels` [N], as planes [N, 3, 32, 32] of 8 bits."""
    dice = _Dice(draws.parameters)
    product = dice.unit() * dice.unit()
    hardship = product * product  # most views are good, some are bad in several ways at once
    image = _background(dice, draws.texture)
    image = _with_sign(image, labels, dice, hardship)
    image = _with_occlusion(image, dice, hardship)
    image = _in_light(image, dice, hardship)
    image = _through_lens(image, dice, hardship)
    return _on_sensor(image, dice, draws.noise)


def _step(distance: Planes, width: float = 0.06) -> Planes:
    """1 where the distance is well above zero, 0 well below, a ramp of `width` in between."""
    ramp: Planes = np.clip(distance * np.float32(1 / width) + np.float32(0.5), 0, 1)
    return ramp


def _mix(below: Planes, above: Planes, opacity: Planes) -> Planes:
    return below + (above - below) * opacity


def _background(dice: _Dice, texture: NDArray[np.uint8]) -> Planes:
    """A gradient between two muted colours, an edge (roof, horizon), two blobs, a coarse texture, a pole."""
    image = dice.muted(0.15, 0.85) + dice.between(-0.2, 0.2) * _X + dice.between(-0.25, 0.25) * _Y
    edge = dice.between(-1, 1) * _X + dice.between(-1, 1) * _Y + dice.between(-0.7, 0.7)
    image = _mix(image, dice.muted(0.15, 0.9), _step(edge))
    for _ in range(2):
        x, y, radius = dice.between(-1.1, 1.1), dice.between(-1.1, 1.1), dice.between(0.1, 0.5)
        squared = (_X - x) * (_X - x) + (_Y - y) * (_Y - y)
        image = _mix(image, dice.muted(0.1, 0.95), 1 / (1 + squared / (radius * radius)) * dice.unit())
    coarse = texture.reshape(-1, 3, _GRID, _GRID).astype(np.float32) / np.float32(255) - np.float32(0.5)
    depth = dice.between(0, 0.35)
    image += (coarse * depth).repeat(SIDE // _GRID, axis=2).repeat(SIDE // _GRID, axis=3)
    pole = _step(dice.between(0.04, 0.1) - np.abs(_X - dice.between(-0.2, 0.2))) * (_Y > 0)
    return _mix(image, dice.between(0.3, 0.7), pole)


def _with_sign(image: Planes, labels: NDArray[np.int64], dice: _Dice, hardship: Planes) -> Planes:
    """Lays the drawing of each item's class over the background, in perspective, with faded paint."""
    radius = dice.between(0.55, 0.9) - np.float32(0.4) * hardship * dice.between(0.4, 1)  # of 16 pixels
    u, v = _pose(dice, radius)
    column = ((u + 1) * np.float32(SIZE / 2)).astype(np.int64)
    row = ((v + 1) * np.float32(SIZE / 2)).astype(np.int64)
    inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
    texels = np.where(inside, row * SIZE + column, 0)[:, 0]  # texel 0 is a corner: transparent in every drawing
    sharpness = (radius < 0.65).astype(np.int64) + (radius < 0.4)
    table = drawings()
    first = (labels[:, None, None] * table.shape[1] + sharpness[:, 0]) * (4 * SIZE * SIZE)
    planes = [np.take(table, first + channel * SIZE * SIZE + texels) for channel in range(4)]
    paint, opacity = np.stack(planes[:3], axis=1), planes[3][:, None]
    worn = dice.unit() * dice.between(0, 0.6)
    paint += (opacity * dice.between(0.4, 0.8) - paint) * worn
    paint *= dice.between(0.75, 1.1) + dice.between(-0.2, 0.2) * _X + dice.between(-0.2, 0.2) * _Y
    result: Planes = image * (1 - opacity) + paint
    return result


def _pose(dice: _Dice, radius: Planes) -> tuple[Planes, Planes]:
    """For each pixel the place on the drawing, in [-1, 1] where the drawing is: a projective map.

    The tangent of half the angle gives its sine and cosine without a transcendental function.
    """
    half = dice.between(-0.11, 0.11) + dice.between(-0.05, 0.05)  # up to 18°
    scale = 1 / (1 + half * half) / radius
    cosine, sine = (1 - half * half) * scale, 2 * half * scale
    x, y = _X - dice.between(-0.2, 0.2), _Y - dice.between(-0.2, 0.2)
    foreshortening, shear = 1 / dice.between(0.7, 1.05), dice.between(-0.12, 0.12)
    depth = 1 + dice.between(-0.15, 0.15) * x + dice.between(-0.1, 0.1) * y
    u = (cosine * x + sine * y) * foreshortening / depth
    v = (cosine * y - sine * x) / depth + shear * u
    return u, v


def _with_occlusion(image: Planes, dice: _Dice, hardship: Planes) -> Planes:
    """Something in front (foliage, another car) reaches into the picture from a random side."""
    x, y = dice.between(-1, 1), dice.between(-1, 1)
    norm = np.sqrt(x * x + y * y + np.float32(1e-3))
    reach = dice.between(0.75, 1.5) - np.float32(0.6) * hardship
    distance = np.divide(x * _X + y * _Y, norm) - reach
    return _mix(image, dice.muted(0.1, 0.5), _step(distance, 0.15))


def _in_light(image: Planes, dice: _Dice, hardship: Planes) -> Planes:
    """Cast shadow, colour of the light, exposure, haze, and the camera's tone curve (a parabola)."""
    shadow = _step(dice.between(-1, 1) * _X + dice.between(-1, 1) * _Y + dice.between(-1.2, 0.6), 0.2)
    image = image * (1 - shadow * dice.between(0.0, 0.6)) * (1 + dice.tint(0.15))
    exposure = dice.between(0.35, 1.1) - np.float32(0.25) * dice.unit() * hardship
    veil = dice.unit() * dice.between(0, 0.6) + np.float32(0.5) * dice.unit() * hardship
    image = _mix(image * exposure, dice.between(0.2, 0.8) * exposure, np.minimum(veil, np.float32(0.85)))
    image = np.clip(image, 0, 1)
    return image + dice.between(-0.35, 0.35) * image * (1 - image)


def _through_lens(image: Planes, dice: _Dice, hardship: Planes) -> Planes:
    """Blur along x and along y of different strength: out of focus, or motion."""
    for axis in (2, 3):
        strength = dice.unit() * dice.between(0, 0.2) + np.float32(0.5) * hardship * dice.unit()
        for stride in (1, 2, 3):
            image = _blurred(image, np.minimum(strength, np.float32(1 / 3)), axis, stride)
    return image


def _blurred(image: Planes, side: Planes, axis: int, stride: int) -> Planes:
    """The kernel (side, 1 − 2 side, side) with taps `stride` pixels apart; the border is repeated."""
    along = np.moveaxis(image, axis, 0)
    neighbours = np.empty_like(image)
    into = np.moveaxis(neighbours, axis, 0)
    np.add(along[: -2 * stride], along[2 * stride :], out=into[stride:-stride])
    np.add(along[:1], along[stride : 2 * stride], out=into[:stride])
    np.add(along[-2 * stride : -stride], along[-1:], out=into[-stride:])
    neighbours -= 2 * image
    neighbours *= side
    neighbours += image
    return neighbours


def _on_sensor(image: Planes, dice: _Dice, noise: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sensor noise (four bytes summed: variance 4 (256² − 1) / 12, nearly Gaussian), then 8 bits."""
    centred = noise.sum(axis=1, dtype=np.int16).astype(np.float32) - np.float32(510)
    deviation = dice.between(0.0, 1.5) / np.float32(147.8)  # in steps of 1/255
    level = image * np.float32(255) + centred * deviation + np.float32(0.5)
    pixels: NDArray[np.uint8] = np.clip(level, 0, 255).astype(np.uint8)
    return pixels
