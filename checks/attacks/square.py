"""Square: random squares that are kept where they help; no gradients (Andriushchenko et al., ECCV 2020)."""

from dataclasses import dataclass
from functools import cache
from math import sqrt
from typing import Final

import torch
from torch import Tensor

from checks.attacks.ball import lengths
from checks.attacks.course import Course

_SHARE: Final = 0.8
"""Of the pixels in the first squares, as in AutoAttack."""
_HALVINGS: Final = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, of ten thousand, after which squares have half as many pixels."""
_TILES: Final = 5
"""Of "l2": pyramids along the shorter side at the start."""
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Square:
    """At most `queries` forward passes an item; items leave as soon as they are fooled.

    Where a square lies and which way it goes is drawn for each item of its own.
    """

    queries: int

    def run(self, course: Course, rows: Tensor, *, random: bool = True) -> None:
        """Attack `rows`, as far as they stand; there is no attack that is not `random`."""
        rows = course.standing(rows)
        if not len(rows):
            return
        channels, height, width = course.x.shape[1:]
        linf = course.ball.norm == "linf"
        propose = _square if linf else _pyramid
        x = (_stripes if linf else _tiles)(course, rows)
        margins = course.try_out(rows, x)
        # Two places and two sets of signs for each query; "linf" needs the first of either.
        numbers = course.draws.uniform(rows, "squares", (self.queries, 4 + 2 * channels))
        places = torch.arange(len(rows), device=rows.device)
        for query in range(1, self.queries):
            standing = ~course.fooled(rows)
            if not standing.all():
                rows, x, margins, places = rows[standing], x[standing], margins[standing], places[standing]
            if not len(rows):
                return
            side = max(round(sqrt(_share(query - 1, self.queries) * height * width)), 1)
            side = min(side, height, width) if linf else _odd(max(side, 3), min(height, width))
            tried = propose(course, rows, x, side, numbers[places, query])
            found = course.try_out(rows, tried)
            better = found > margins
            x = torch.where(better.view(-1, 1, 1, 1), tried, x)
            margins = torch.maximum(found, margins)


def _share(query: int, queries: int) -> float:
    """Share of the pixels in the square of a query."""
    of_ten_thousand = query * 10_000 / queries
    return _SHARE * 0.5 ** sum(of_ten_thousand > each for each in _HALVINGS)


def _odd(side: int, most: int) -> int:
    return min(side + 1 - side % 2, most - 1 + most % 2)


def _signs(numbers: Tensor) -> Tensor:
    """−1 or 1, each as likely, by channel [N, C, 1, 1]."""
    return torch.where(numbers < 0.5, -1.0, 1.0)[:, :, None, None]


def _stripes(course: Course, rows: Tensor) -> Tensor:
    """Every column of every channel up or down by the radius."""
    channels, _, width = course.x.shape[1:]
    up = course.draws.uniform(rows, "stripes", (channels, width))
    moved = torch.where(up < 0.5, -course.ball.radius, course.ball.radius)[:, :, None, :]
    return course.ball.project(course.x[rows], course.x[rows] + moved)


def _square(course: Course, rows: Tensor, x: Tensor, side: int, numbers: Tensor) -> Tensor:
    """One square, of one colour, at one end of the ball: at the other, where it is of that colour already."""
    channels, height, width = x.shape[1:]
    inside, _, _ = _window(numbers[:, :2], side, height, width)
    origin, moved = course.x[rows], course.ball.radius * _signs(numbers[:, 4 : 4 + channels])
    made = torch.where(inside, course.ball.project(origin, origin + moved), x)
    idle = (made == x).flatten(1).all(1)
    if idle.any():  # a query that asks the same again is lost: a quarter of them on one channel
        made[idle] = torch.where(inside, course.ball.project(origin, origin - moved), x)[idle]
    return made


def _window(numbers: Tensor, side: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """A square at a random place of each item: where it is [N, 1, H, W], and for every pixel its row and column in it.

    `numbers` [N, 2] are uniform on [0, 1).
    """
    device = numbers.device
    top = (numbers[:, 0] * (height - side + 1)).floor().clamp(max=height - side).view(-1, 1, 1)
    left = (numbers[:, 1] * (width - side + 1)).floor().clamp(max=width - side).view(-1, 1, 1)
    down = torch.arange(height, device=device).view(1, -1, 1) - top
    right = torch.arange(width, device=device).view(1, 1, -1) - left
    inside = (down >= 0) & (down < side) & (right >= 0) & (right < side)
    last = side - 1
    return inside[:, None], down.clamp(0, last).long(), right.clamp(0, last).long()


def _profile(height: int, width: int) -> Tensor:
    """A pyramid of a rectangle: pixels nearer to the middle weigh more (the paper's η, before it is normalised)."""
    found = torch.zeros(height, width)
    middle, centre = height // 2, width // 2
    # As many rings as reach the ends of the longer side.
    for ring in range(max(middle, centre) + 1):
        rows = slice(max(middle - ring, 0), middle + ring + 1)
        found[rows, max(centre - ring, 0) : centre + ring + 1] += 1.0 / (ring + 1) ** 2
    return found


@cache
def _eta(side: int) -> Tensor:
    """Two pyramids side by side, one up and one down, of length 1 [side, side]."""
    half = side // 2
    found = torch.cat([_profile(half, side), -_profile(side - half, side)])
    length: Tensor = torch.linalg.vector_norm(found)
    return found / length.clamp(min=_TINY)


def _tiles(course: Course, rows: Tensor) -> Tensor:
    """Tiles of pyramids all over the item, up or down, as long as the radius."""
    channels, height, width = course.x.shape[1:]
    side = max(min(height, width) // _TILES, 1)
    high, wide = height // side, width // side
    signs = torch.where(course.draws.uniform(rows, "tiles", (channels, high, wide)) < 0.5, -1.0, 1.0)
    tiles = torch.kron(signs.reshape(-1, high, wide), _eta(side).to(course.x.device))
    origin = course.x[rows]
    moved = torch.zeros_like(origin)
    top, left = (height - high * side) // 2, (width - wide * side) // 2
    moved[:, :, top : top + high * side, left : left + wide * side] = tiles.view(*signs.shape[:2], *tiles.shape[1:])
    return course.ball.project(origin, origin + moved * course.ball.radius / lengths(moved).clamp(min=_TINY))


def _pyramid(course: Course, rows: Tensor, x: Tensor, side: int, numbers: Tensor) -> Tensor:
    """What one square moves, and what the radius leaves unused, moved into another square (algorithm 3)."""
    channels, height, width = x.shape[1:]
    into, down, right = _window(numbers[:, :2], side, height, width)
    out_of, _, _ = _window(numbers[:, 2:4], side, height, width)
    origin, radius = course.x[rows], course.ball.radius
    moved = x - origin
    squares = moved.square()
    unused = (radius**2 - squares.sum((1, 2, 3), keepdim=True)).clamp(min=0.0)
    freed = (squares * (into | out_of)).sum((2, 3), keepdim=True)
    upright = (numbers[:, 4] < 0.5).view(-1, 1, 1)
    pyramids = _eta(side).to(x.device).flatten()[torch.where(upright, down * side + right, right * side + down)]
    new = pyramids[:, None] * _signs(numbers[:, 4 + channels : 4 + 2 * channels])
    own = (squares * into).sum((2, 3), keepdim=True).sqrt()
    new = (new + moved / own.clamp(min=_TINY)) * into
    length = torch.linalg.vector_norm(new, dim=(2, 3), keepdim=True)
    new = new * ((freed + unused / channels).sqrt() / length.clamp(min=_TINY))
    moved = torch.where(into, new, moved.masked_fill_(out_of, 0.0))
    return moved.mul_(radius / lengths(moved).clamp(min=_TINY)).add_(origin).clamp_(0.0, 1.0)
