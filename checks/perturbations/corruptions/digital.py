"""What cameras and transmission do: contrast, elastic warp, coarse pixels, JPEG, saturation."""

from functools import lru_cache
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from checks.perturbations.corruptions.colour import to_hsv, to_rgb
from checks.perturbations.corruptions.constants import LARGE_FROM, Constants
from checks.perturbations.corruptions.draws import Draws
from checks.perturbations.corruptions.exact import DIGITS, along_columns, along_rows, gaussian

_WHITE = 255
_STEPS = 32
"""Parts of a pixel to which OpenCV rounds where it looks."""


def contrast(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Every channel drawn towards its mean by the given factor."""
    (factor,) = constants
    levels = x.to(torch.float64) / _WHITE
    mean = x.sum((2, 3), keepdim=True, dtype=torch.int64).to(torch.float64) / (_WHITE * x.shape[2] * x.shape[3])
    return ((levels - mean) * factor + mean).mul_(_WHITE)


def saturate(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Saturation times a factor, plus a constant."""
    factor, more = constants
    hue, saturation, value = to_hsv(x.to(torch.float64) / _WHITE)
    return cut(to_rgb(hue, (saturation * factor + more).clamp_(0, 1), value))


def cut(rgb: Tensor) -> Tensor:
    """Shares of white, as doubles, cut to [0, 1] and down to whole levels, just as they come out."""
    return rgb.clamp_(0, 1).mul_(_WHITE).floor_()


def jpeg_compression(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Written as JPEG of the given quality and read again, by Pillow."""
    images = np.stack(list(x.cpu().numpy().transpose(1, 0, 2, 3)), 3)
    for image in images if x.shape[1] == 3 else images[..., 0]:
        file = BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=int(constants[0]))
        image[:] = np.asarray(Image.open(file))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(x.device)


def pixelate(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Made smaller by the given factor, each pixel the mean of its box, and large again without smoothing.

    A box is five pixels wide at most, so that a mean lies halfway between two levels where single precision tells it.
    """
    height, width = x.shape[2:]
    down, right = (int(size * constants[0]) for size in (height, width))
    small = along_rows(x.to(torch.float32), _boxes(width, right)).add_(0.5).floor_()
    small = along_columns(small, _boxes(height, down)).add_(0.5).floor_()
    wide = along_rows(small, np.eye(right)[_nearest(right, width)]).to(torch.uint8)
    return wide.index_select(2, torch.from_numpy(_nearest(down, height)).to(x.device))


@lru_cache(maxsize=64)
def _boxes(size: int, smaller: int) -> NDArray[np.float64]:
    """The matrix [smaller, size] of the means of boxes, as Pillow's BOX filter chooses their pixels."""
    scale = size / smaller
    found = np.zeros((smaller, size))
    for place in range(smaller):
        centre = (place + 0.5) * scale
        low, high = max(0, int(centre - 0.5 * scale + 0.5)), min(size, int(centre + 0.5 * scale + 0.5))
        inside = [i for i in range(low, high) if -0.5 < (i - centre + 0.5) / scale <= 0.5]
        found[place, inside] = 1 / len(inside)
    return found


@lru_cache(maxsize=64)
def _nearest(size: int, larger: int) -> NDArray[np.int64]:
    """For every pixel of a larger line the pixel that it shows."""
    return np.asarray([min(size - 1, int((place + 0.5) * (size / larger))) for place in range(larger)])


def elastic_transform(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """An affine warp by three moved points, then every pixel moved by a smooth random field.

    Strength, smoothness and distance of the points, in parts of the side of small images, in pixels of large ones. A
    field that is smoother than the image is wide is mirrored as often as need be.
    """
    height, width = x.shape[2:]
    unit = 1.0 if min(height, width) >= LARGE_FROM else float(min(height, width))
    strength, sigma, distance = (unit * each for each in constants)
    levels = _looked_up(x.to(torch.float64), *_affine(height, width, distance, draws), outermost=True)
    field = draws.uniform("field", 2, height, width).double() * 2 - 1
    if sigma > 0:
        field = along_columns(along_rows(field, _smoothing(width, sigma)), _smoothing(height, sigma))
    down, right = (field * strength).unbind(1)
    ys, xs = _grid(height, width, x.device)
    return _looked_up(levels, ys + down, xs + right, outermost=False)


def _affine(height: int, width: int, distance: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Where every pixel of a warped image lies in the image [N, H, W]: rows, columns."""
    moved = (draws.uniform("points", 3, 2).double() * 2 - 1) * distance
    middle, reach = torch.tensor([height // 2, width // 2], dtype=torch.float64), min(height, width) // 3
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
    points = (middle + reach * signs).to(moved.device)
    ones = torch.ones(len(moved), 3, 1, dtype=torch.float64, device=moved.device)
    # Points are (column, row) to OpenCV, which is handed (row, column): on a square image it is the same.
    back = torch.linalg.solve(torch.cat([points + moved, ones], 2), points.expand(len(moved), -1, -1))
    ys, xs = _grid(height, width, moved.device)
    first, second = ((back[:, 0, i, None, None] * xs + back[:, 1, i, None, None] * ys + back[:, 2, i, None, None])
                     for i in range(2))  # fmt: skip
    return (second * _STEPS).round_() / _STEPS, (first * _STEPS).round_() / _STEPS


def _grid(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    ys, xs = np.mgrid[:height, :width]
    return torch.from_numpy(ys).to(device, torch.float64), torch.from_numpy(xs).to(device, torch.float64)


def _looked_up(levels: Tensor, ys: Tensor, xs: Tensor, *, outermost: bool) -> Tensor:
    """Levels [N, C, H, W] at places [N, H, W], bilinear; mirrored about the outermost pixels, or about the edges."""
    n, c, height, width = levels.shape
    flat = levels.flatten(2)
    total = torch.zeros_like(levels)
    ys, xs = ((each * 2.0**DIGITS).round_() / 2.0**DIGITS for each in (ys, xs))
    top, left = ys.floor(), xs.floor()
    for down in (0, 1):
        rows = _folded((top + down).long(), height, outermost)
        weight_down = (ys - top) if down else 1 - (ys - top)
        for right in (0, 1):
            columns = _folded((left + right).long(), width, outermost)
            weight = weight_down * ((xs - left) if right else 1 - (xs - left))
            places = (rows * width + columns).reshape(n, 1, -1).expand(-1, c, -1)
            total += flat.gather(2, places).view_as(levels) * weight[:, None]
    return total


def _folded(places: Tensor, size: int, outermost: bool) -> Tensor:
    """Places mirrored into 0 … size − 1, about the outermost pixels, or about the edges, which repeats them."""
    period = 2 * (size - 1) if outermost else 2 * size
    folded = torch.remainder(places, max(1, period))
    return torch.minimum(folded, period - folded - (0 if outermost else 1))


@lru_cache(maxsize=32)
def _smoothing(size: int, sigma: float) -> NDArray[np.float64]:
    """The matrix [size, size] of a gaussian blur whose line is mirrored about its edges; three deviations far."""
    weights = gaussian(sigma, 3.0)
    reach = len(weights) // 2
    found = np.zeros((size, size))
    for step, weight in zip(range(-reach, reach + 1), weights, strict=True):
        folded = _folded(torch.arange(size) + step, size, outermost=False).numpy()
        np.add.at(found, (np.arange(size), folded), weight)
    return found
