"""The signs: names, frequencies on the road, and drawings in layers."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_models.roadsigns.shapes import Colour, Disc, Point, Polygon, Shape, Stroke, text, turned

SIZE = 64
"""Side of a drawing in texels; the sign reaches to the inscribed circle of radius 0.94."""

_OVERSAMPLING = 4

RED: Colour = (0.74, 0.07, 0.10)
WHITE: Colour = (0.93, 0.93, 0.92)
BLUE: Colour = (0.04, 0.24, 0.60)
YELLOW: Colour = (0.96, 0.74, 0.06)
BLACK: Colour = (0.06, 0.06, 0.07)


@dataclass(frozen=True, slots=True)
class Layer:
    """Shapes painted in one colour over the layers before it."""

    colour: Colour
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """A class: its name, its share of all items, its drawing from back to front."""

    name: str
    frequency: float
    layers: tuple[Layer, ...]


_PLATE = Disc(0, 0, 0.94)
_UP: tuple[Point, ...] = ((0, -0.94), (0.94, 0.72), (-0.94, 0.72))
_DOWN: tuple[Point, ...] = ((-0.94, -0.72), (0.94, -0.72), (0, 0.94))
_DIAMOND: tuple[Point, ...] = ((0, -0.94), (0.94, 0), (0, 0.94), (-0.94, 0))
_SQUARE: tuple[Point, ...] = ((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8))
_OCTAGON: tuple[Point, ...] = (
    *((-0.39, -0.93), (0.39, -0.93), (0.93, -0.39), (0.93, 0.39)),
    *((0.39, 0.93), (-0.39, 0.93), (-0.93, 0.39), (-0.93, -0.39)),
)
_WARNING = (Layer(RED, (Polygon(_UP),)), Layer(WHITE, (Polygon(_UP, 0.15),)))
_PROHIBITION = (Layer(RED, (_PLATE,)), Layer(WHITE, (Disc(0, 0, 0.73),)))


def _speed_limit(value: str) -> tuple[Layer, ...]:
    return (*_PROHIBITION, Layer(BLACK, text(value, -0.36, 0.72, 0.36, 0.22, 0.085)))


def _walker(x: float, y: float, size: float, pen: float) -> tuple[Shape, ...]:
    """A person in mid-stride whose hip is at (x, y); `size` is the height of the legs."""

    def at(*points: Point) -> Stroke:
        return Stroke(tuple((x + size * u, y + size * v) for u, v in points), pen)

    return (
        Disc(x + 0.05 * size, y - 1.35 * size, 0.26 * size),
        at((0, 0), (0.02, -0.8)),
        at((-0.5, 0.95), (0, 0), (0.35, 0.45), (0.3, 1.0)),
        at((-0.5, -0.3), (0.02, -0.8), (0.5, -0.35)),
    )


def _car(x: float) -> tuple[Shape, ...]:
    """A car seen from behind: body, roof and wheels."""
    corners = ((x - 0.25, -0.05), (x + 0.25, -0.05), (x + 0.25, 0.22), (x - 0.25, 0.22))
    roof = ((x - 0.14, -0.26), (x + 0.14, -0.26), (x + 0.21, -0.03), (x - 0.21, -0.03))
    wheels = (Stroke(((x + side, 0.2), (x + side, 0.3)), 0.05) for side in (-0.17, 0.17))
    return (Polygon(corners), Polygon(roof), *wheels)


def _roundabout() -> tuple[Shape, ...]:
    """Three arrows that chase each other around a ring."""
    bow: tuple[Point, ...] = ((0.0, -0.52), (0.3, -0.43), (0.47, -0.22))
    head: tuple[Point, ...] = ((0.22, -0.24), (0.72, -0.3), (0.53, 0.08))
    bows = tuple(Stroke(turned(bow, turn), 0.09) for turn in range(3))
    return (*bows, *(Polygon(turned(head, turn)) for turn in range(3)))


_DIGGER: tuple[Shape, ...] = (
    Disc(-0.02, -0.2, 0.1),
    Stroke(((-0.42, 0.5), (-0.28, 0.2), (-0.12, -0.06)), 0.09),
    Stroke(((-0.28, 0.2), (-0.1, 0.5)), 0.07),
    Stroke(((-0.1, -0.02), (0.06, 0.22), (0.24, 0.44)), 0.05),
    Polygon(((0.36, 0.26), (0.6, 0.56), (0.1, 0.56))),
)
_ARROW: tuple[Shape, ...] = (
    Stroke(((-0.42, -0.42), (0.2, 0.2)), 0.12),
    Polygon(((0.52, -0.08), (0.52, 0.52), (-0.08, 0.52))),
)

SIGNS: tuple[Sign, ...] = (
    Sign("speed limit 30", 0.12, _speed_limit("30")),
    Sign("speed limit 50", 0.14, _speed_limit("50")),
    Sign("speed limit 80", 0.08, _speed_limit("80")),
    Sign(
        "stop",
        0.07,
        (
            Layer(WHITE, (Polygon(_OCTAGON),)),
            Layer(RED, (Polygon(_OCTAGON, 0.07),)),
            Layer(WHITE, text("STOP", -0.27, 0.54, 0.26, 0.14, 0.06)),
        ),
    ),
    Sign("yield", 0.11, (Layer(RED, (Polygon(_DOWN),)), Layer(WHITE, (Polygon(_DOWN, 0.2),)))),
    Sign(
        "no entry",
        0.06,
        (
            Layer(RED, (_PLATE,)),
            Layer(WHITE, (Polygon(((-0.68, -0.17), (0.68, -0.17), (0.68, 0.17), (-0.68, 0.17))),)),
        ),
    ),
    Sign(
        "priority road",
        0.132,
        (
            Layer(BLACK, (Polygon(_DIAMOND),)),
            Layer(WHITE, (Polygon(_DIAMOND, 0.04),)),
            Layer(YELLOW, (Polygon(_DIAMOND, 0.2),)),
        ),
    ),
    Sign(
        "pedestrian crossing",
        0.07,
        (
            Layer(WHITE, (Polygon(_SQUARE),)),
            Layer(BLUE, (Polygon(_SQUARE, 0.05),)),
            Layer(WHITE, (Polygon(((0, -0.66), (0.64, 0.52), (-0.64, 0.52))),)),
            Layer(BLACK, _walker(0, 0.1, 0.3, 0.06)),
        ),
    ),
    Sign(
        "children",
        0.016,
        (*_WARNING, Layer(BLACK, (*_walker(-0.2, 0.24, 0.26, 0.06), *_walker(0.2, 0.28, 0.22, 0.055)))),
    ),
    Sign("road works", 0.05, (*_WARNING, Layer(BLACK, _DIGGER))),
    Sign("keep right", 0.06, (Layer(BLUE, (_PLATE,)), Layer(WHITE, _ARROW))),
    Sign("roundabout", 0.032, (Layer(BLUE, (_PLATE,)), Layer(WHITE, _roundabout()))),
    Sign("no overtaking", 0.04, (*_PROHIBITION, Layer(RED, _car(-0.31)), Layer(BLACK, _car(0.31)))),
    Sign(
        "danger",
        0.02,
        (*_WARNING, Layer(BLACK, (Stroke(((0, -0.3), (0, 0.2)), 0.1), Disc(0, 0.46, 0.1)))),
    ),
)


def _box(image: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Means over side × side squares of the last two axes."""
    *lead, height, width = image.shape
    squares = image.reshape(*lead, height // side, side, width // side, side)
    means: NDArray[np.float64] = squares.mean(axis=(-3, -1))
    return means


def draw(sign: Sign) -> NDArray[np.float64]:
    """Red, green, blue (multiplied by the opacity) and opacity, [4, SIZE, SIZE], in [0, 1]."""
    fine = SIZE * _OVERSAMPLING
    axis = (np.arange(fine) + 0.5) * (2 / fine) - 1
    x, y = np.meshgrid(axis, axis)
    canvas = np.zeros((4, fine, fine))
    for layer in sign.layers:
        inside = np.minimum.reduce([shape.distance(x, y) for shape in layer.shapes]) < 0
        canvas[:, inside] = np.array((*layer.colour, 1.0))[:, None]
    return _box(canvas, _OVERSAMPLING)


def _soften(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """One pass of the binomial kernel (1, 2, 1)/4 along both of the last two axes; beyond the border is 0."""
    for axis in (-2, -1):
        wide = np.pad(image, [(1, 1) if i == image.ndim + axis else (0, 0) for i in range(image.ndim)])
        low, mid, high = (np.moveaxis(wide, axis, 0)[i : i + SIZE] for i in (0, 1, 2))
        image = np.moveaxis((low + 2 * mid + high) / 4, 0, axis)
    return image


@functools.cache
def drawings() -> NDArray[np.float32]:
    """All signs at three sharpnesses, [classes, 3, 4, SIZE, SIZE]: 1, 3 and 8 passes of a binomial kernel.

    Shrinking a drawing needs a softer one: the sharpest suits half its size, the softest a fifth.
    """
    levels = []
    image = np.stack([draw(sign) for sign in SIGNS])
    for passes in (1, 2, 5):
        for _ in range(passes):
            image = _soften(image)
        levels.append(image)
    return np.stack(levels, axis=1).astype(np.float32)
