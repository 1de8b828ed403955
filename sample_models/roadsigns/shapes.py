"""Flat shapes with signed distances, and a stroke font: what the signs are drawn with.

Coordinates: x to the right, y downwards, the sign fills the square [-1, 1]². Distances are negative inside.
Formulas for discs, half-planes and segments: J. C. Hart, "Sphere tracing", The Visual Computer 12 (1996).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float64]
Point = tuple[float, float]
Colour = tuple[float, float, float]


class Shape(Protocol):
    """Anything with a signed distance (up to a Lipschitz factor of 1) to its border."""

    def distance(self, x: Grid, y: Grid) -> Grid: ...


@dataclass(frozen=True, slots=True)
class Disc:
    """A disc of `radius` about (x, y)."""

    x: float
    y: float
    radius: float

    def distance(self, x: Grid, y: Grid) -> Grid:
        return np.sqrt((x - self.x) ** 2 + (y - self.y) ** 2) - self.radius


@dataclass(frozen=True, slots=True)
class Polygon:
    """A convex polygon, corners clockwise on the screen (y points down); `inset` moves every edge inwards."""

    corners: tuple[Point, ...]
    inset: float = 0.0

    def distance(self, x: Grid, y: Grid) -> Grid:
        edges = zip(self.corners, self.corners[1:] + self.corners[:1], strict=True)
        outside: Grid = np.maximum.reduce([_left_of(x, y, a, b) for a, b in edges])
        return outside + self.inset


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line through `points`, drawn with a round pen of radius `pen`."""

    points: tuple[Point, ...]
    pen: float

    def distance(self, x: Grid, y: Grid) -> Grid:
        pieces = zip(self.points[:-1], self.points[1:], strict=True)
        nearest: Grid = np.minimum.reduce([_to_segment(x, y, a, b) for a, b in pieces])
        return nearest - self.pen


def _left_of(x: Grid, y: Grid, a: Point, b: Point) -> Grid:
    """Signed distance to the line from `a` to `b`, positive on its left, the outside."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    return (dy * (x - a[0]) - dx * (y - a[1])) / math.sqrt(dx * dx + dy * dy)


def _to_segment(x: Grid, y: Grid, a: Point, b: Point) -> Grid:
    dx, dy = b[0] - a[0], b[1] - a[1]
    along = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    return np.sqrt((x - a[0] - along * dx) ** 2 + (y - a[1] - along * dy) ** 2)


# Strokes of each character in the unit square, (0, 0) top left.
_FONT: dict[str, tuple[tuple[Point, ...], ...]] = {
    "0": (
        (
            (0.5, 0),
            (0.12, 0.18),
            (0, 0.5),
            (0.12, 0.82),
            (0.5, 1),
            (0.88, 0.82),
            (1, 0.5),
            (0.88, 0.18),
            (0.5, 0),
        ),
    ),
    "3": (((0, 0.12), (0.5, 0), (0.95, 0.22), (0.45, 0.47), (1, 0.73), (0.5, 1), (0, 0.88)),),
    "5": (((0.92, 0), (0.12, 0), (0.04, 0.48), (0.55, 0.38), (1, 0.68), (0.55, 1), (0, 0.9)),),
    "8": (
        ((0.5, 0), (0.06, 0.24), (0.5, 0.46), (0.94, 0.24), (0.5, 0)),
        ((0.5, 0.46), (0, 0.73), (0.5, 1), (1, 0.73), (0.5, 0.46)),
    ),
    "O": (((0.5, 0), (0, 0.25), (0, 0.75), (0.5, 1), (1, 0.75), (1, 0.25), (0.5, 0)),),
    "P": (((0, 1), (0, 0), (0.9, 0.06), (0.95, 0.45), (0, 0.52)),),
    "S": (((1, 0.12), (0.5, 0), (0, 0.22), (0.5, 0.5), (1, 0.76), (0.5, 1), (0, 0.88)),),
    "T": (((0, 0), (1, 0)), ((0.5, 0), (0.5, 1))),
}


def text(word: str, top: float, height: float, width: float, gap: float, pen: float) -> tuple[Stroke, ...]:
    """The strokes of `word`, centred on x = 0; `width` and `gap` are those of one character.

    KeyError for a character that the font lacks.
    """
    left = -(len(word) * width + (len(word) - 1) * gap) / 2
    origins = [left + i * (width + gap) for i in range(len(word))]
    return tuple(
        Stroke(tuple((x0 + width * x, top + height * y) for x, y in stroke), pen)
        for character, x0 in zip(word, origins, strict=True)
        for stroke in _FONT[character]
    )


def turned(points: Sequence[Point], thirds: int) -> tuple[Point, ...]:
    """`points` turned clockwise about the centre by `thirds` × 120°."""
    c, s = ((1.0, 0.0), (-0.5, math.sqrt(0.75)), (-0.5, -math.sqrt(0.75)))[thirds % 3]
    return tuple((c * x - s * y, s * x + c * y) for x, y in points)
