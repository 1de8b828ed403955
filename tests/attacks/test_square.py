"""Square: its shapes are those of the paper, and no query is lost."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from victims import Linear, attacked, course, grey

from checks.attacks import square
from checks.attacks.ball import Ball
from checks.attacks.square import Square


def published(height: int, width: int) -> Tensor:
    """η before it is normalised: the sum of 1/(n + 1 − k)² over k from 0 to M(r, s) (Andriushchenko et al., eq. 3).

    Here n is half of the longer side, and M is n minus the distance to the middle, in rows or columns.
    """
    n = max(height, width) // 2
    found = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            most = n - max(abs(row - height // 2), abs(column - width // 2))
            found[row, column] = sum(1 / (n + 1 - k) ** 2 for k in range(most + 1))
    return found


@pytest.mark.parametrize("side", [1, 2, 3, 5, 6, 11, 29, 44])
def test_the_pyramids_are_those_of_the_paper(side: int) -> None:
    upper, lower = published(side // 2, side), published(side - side // 2, side)
    both = torch.cat([upper, -lower])
    assert torch.allclose(square._eta(side), both / both.norm(), atol=1e-6)
    assert (square._eta(side) != 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_no_query_asks_for_what_is_there_already(channels: int) -> None:
    """Among pixels that can go up and down, every square changes something."""
    x = grey(30, (channels, 8, 8))
    shown: list[Tensor] = []

    def keeps(x: Tensor) -> Tensor:
        """Every item is of class 0, less and less so: what was tried last is always the best."""
        shown.append(x)
        return torch.stack([torch.full((len(x),), -float(len(shown))), torch.full((len(x),), -1e6)], 1)

    begun = attacked(Square(100), course(keeps, x, torch.zeros(30, dtype=torch.int64), Ball("linf", 0.1)))
    assert (begun.forward == 101).all()
    for before, after in pairwise(shown):
        assert (before != after).flatten(1).any(1).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (1, 4, 4), (3, 9, 14), (3, 32, 64), (1, 7, 5), (1, 1, 28)])
@pytest.mark.parametrize("ball", [Ball("linf", 0.05), Ball("l2", 0.2)], ids=["linf", "l2"])
def test_items_of_any_size_are_attacked(ball: Ball, shape: tuple[int, int, int]) -> None:
    network, x = Linear(3, shape), grey(4, shape)
    begun = attacked(Square(30), course(network, x, network(x).argmax(1), ball, slack=1e9))
    assert (begun.forward == 31).all()
    assert (begun.margins > begun.first).any()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (14, 14), (9, 9), (30, 61)])
def test_tiles_cover_the_item_and_use_the_radius(height: int, width: int) -> None:
    shape, ball = (3, height, width), Ball("l2", 0.2)
    x = grey(4, shape)
    begun = course(Linear(2, shape), x, torch.zeros(4, dtype=torch.int64), ball)
    moved = square._tiles(begun, torch.arange(4)) - x
    assert torch.allclose(moved.flatten(1).norm(dim=1), torch.tensor(0.2), atol=1e-5)
    assert (moved.abs() > 0).float().mean() > 0.8


def test_a_square_of_l2_spends_what_the_other_square_frees() -> None:
    """Each proposal lies on the edge of the ball, unless it is cut to [0, 1]."""
    x, ball = grey(8, (3, 16, 16)), Ball("l2", 0.3)
    begun = course(Linear(2, (3, 16, 16)), x, torch.zeros(8, dtype=torch.int64), ball)
    rows = torch.arange(8)
    now = square._tiles(begun, rows)
    numbers = torch.rand((8, 10), generator=torch.Generator().manual_seed(0))
    made = square._pyramid(begun, rows, now, 5, numbers)
    assert torch.allclose((made - x).flatten(1).norm(dim=1), torch.tensor(0.3), atol=1e-5)
    into, _, _ = square._window(numbers[:, :2], 5, 16, 16)
    out_of, _, _ = square._window(numbers[:, 2:4], 5, 16, 16)
    kept = ~(into | out_of)
    assert ((made - now).abs() * into).flatten(1).amax(1).gt(0).all()
    assert ((made - x) * (out_of & ~into)).abs().max() < 1e-6
    # Elsewhere the direction stays as it was; only its length may be scaled.
    for item in range(8):
        old, new = (now - x)[item][kept[item].expand(3, 16, 16)], (made - x)[item][kept[item].expand(3, 16, 16)]
        assert torch.allclose(old / old.norm(), new / new.norm(), atol=1e-3)


@pytest.mark.parametrize("queries", [3, 100])
def test_the_first_square_is_the_largest_however_few_there_are(queries: int) -> None:
    """Of the stripes before, some column of it changes from top to bottom: four fifths of the pixels are 29 × 29."""
    shown: list[Tensor] = []
    network = Linear(2, (3, 32, 32))

    def spied(x: Tensor) -> Tensor:
        shown.append(x)
        return network(x)

    x = grey(4, (3, 32, 32))
    attacked(Square(queries), course(spied, x, network(x).argmax(1), Ball("linf", 0.01), slack=1e9))
    changed = (shown[1] != shown[2]).any(1)
    assert changed.any(2).sum(1).tolist() == [29] * 4
