"""The rim of drops: edges (Canny, PAMI 1986), how far every pixel lies from one, and that spread over all grey levels.

The chain of OpenCV operations of the published generator, on whole batches; distances are Euclidean, where OpenCV takes
steps of three lengths.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_LOW, _HIGH = 50, 150
_FAR = 20
"""Pixels beyond which all are alike."""
_TANGENT = 13573
"""tan 22.5° in 2⁻¹⁵."""
_RELIEF = ((-2, -1, 0), (-1, 1, 1), (0, 1, 2))


def rim(drops: Tensor) -> Tensor:
    """How thick water lies [N, H, W] in 0 … 255, from its height uint8 [N, H, W]."""
    far = _distance(_edges(drops.to(torch.int32)))
    even = _equalised(_mean(far).floor_().to(torch.int64))
    return _mean(_relief(even)).round_()


def _edges(x: Tensor) -> Tensor:
    """Canny's edges, bool [N, H, W]: ridges of the gradient that are strong, or hang together with strong ones."""
    rows = functional.pad(x[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0].to(torch.int32)
    smooth_down = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    smooth_right = rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]
    right = smooth_down[..., 2:] - smooth_down[..., :-2]
    down = smooth_right[:, 2:] - smooth_right[:, :-2]
    size = right.abs() + down.abs()
    ridge = _ridges(size, right, down)
    found, candidates = ridge & (size > _HIGH), ridge & (size > _LOW)
    while True:
        grown = _around_or(found) & candidates
        if torch.equal(grown, found):
            return found
        found = grown


def _around_or(x: Tensor) -> Tensor:
    """Whether any of the 3 × 3 pixels [N, H, W] is true."""
    rows = x.clone()
    rows[:, 1:] |= x[:, :-1]
    rows[:, :-1] |= x[:, 1:]
    found = rows.clone()
    found[..., 1:] |= rows[..., :-1]
    found[..., :-1] |= rows[..., 1:]
    return found


def _ridges(size: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Pixels whose gradient is the largest along its own direction, one of four; all int32."""
    around = functional.pad(size, (1, 1, 1, 1))
    height, width = size.shape[1:]

    def at(dy: int, dx: int) -> Tensor:
        return around[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    flat = right.abs() * _TANGENT
    steep = flat + (right.abs() << 16)
    rise = down.abs() << 15
    falling = (right ^ down) < 0
    level = (size > at(0, -1)) & (size >= at(0, 1))
    upright = (size > at(-1, 0)) & (size >= at(1, 0))
    slope = torch.where(falling, (size > at(-1, 1)) & (size > at(1, -1)), (size > at(-1, -1)) & (size > at(1, 1)))
    return torch.where(rise < flat, level, torch.where(rise > steep, upright, slope))


def _distance(edges: Tensor) -> Tensor:
    """Pixels to the nearest edge, `_FAR` at most: first along columns, then over rows; float64."""
    height, width = edges.shape[1:]
    along = torch.full(edges.shape, _FAR, dtype=torch.int16, device=edges.device).masked_fill_(edges, 0)
    for row in range(1, height):
        torch.minimum(along[:, row], along[:, row - 1] + 1, out=along[:, row])
    for row in range(height - 2, -1, -1):
        torch.minimum(along[:, row], along[:, row + 1] + 1, out=along[:, row])
    square = along.square_()
    nearest = square.clone()
    for step in range(1, min(_FAR, width)):
        farther = square + step * step
        for one, other in ((slice(step, None), slice(None, -step)), (slice(None, -step), slice(step, None))):
            torch.minimum(nearest[..., one], farther[..., other], out=nearest[..., one])
    return nearest.double().sqrt_().clamp_(max=_FAR)


def _mean(x: Tensor) -> Tensor:
    """Mean of 3 × 3 pixels."""
    around = _around(x)
    rows = around[:, :-2] + around[:, 1:-1] + around[:, 2:]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]).div_(9)


def _relief(x: Tensor) -> Tensor:
    """Light from one corner: levels float32 [N, H, W], cut to 0 … 255."""
    around, (height, width) = _around(x.to(torch.float32)), x.shape[1:]
    total = torch.zeros(x.shape, device=x.device)
    for dy, weights in enumerate(_RELIEF):
        for dx, weight in enumerate(weights):
            if weight:
                total.add_(around[:, dy : dy + height, dx : dx + width], alpha=weight)
    return total.clamp_(0, 255)


def _around(x: Tensor) -> Tensor:
    """With one more pixel on all sides, mirrored about the outermost ones."""
    return functional.pad(x[:, None], (1, 1, 1, 1), mode="reflect")[:, 0]


def _equalised(x: Tensor) -> Tensor:
    """Levels int64 [N, H, W] in 0 … 255, spread so that all are about as frequent; of one level as they are."""
    n, pixels = len(x), math.prod(x.shape[1:])
    counts = torch.zeros(n, 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(1, x.reshape(n, -1), torch.ones(1, dtype=torch.int64, device=x.device).expand(n, pixels))
    least = (counts > 0).to(torch.int8).argmax(1, keepdim=True)
    fewest = counts.gather(1, least)
    spread = (counts.cumsum(1) - fewest).double() * (255 / (pixels - fewest).clamp_(min=1))
    table = torch.where(fewest == pixels, least, spread.round_().clamp_(0, 255).long())
    return table.gather(1, x.reshape(n, -1)).view_as(x)
