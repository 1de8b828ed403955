"""Weather: snow, frost, fog, bright light, and spatter on the lens."""

import torch
from torch import Tensor

from checks.perturbations.corruptions import edges
from checks.perturbations.corruptions.blur import zoomed
from checks.perturbations.corruptions.colour import to_hsv, to_rgb
from checks.perturbations.corruptions.constants import LARGE_FROM, Constants
from checks.perturbations.corruptions.digital import cut
from checks.perturbations.corruptions.draws import Draws
from checks.perturbations.corruptions.exact import blurred, fixed, gaussian
from checks.perturbations.corruptions.ice import textures
from checks.perturbations.corruptions.motion import directional

_WHITE = 255
_WATER = (175, 238, 238)
_MUD = (63, 42, 20)
_LUMA = (0.299, 0.587, 0.114)


def brightness(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """The value of every pixel raised, hue and saturation kept."""
    (more,) = constants
    levels = x.to(torch.float64) / _WHITE
    if x.shape[1] == 1:
        return cut(levels + more)
    hue, saturation, value = to_hsv(levels)
    return cut(to_rgb(hue, saturation, (value + more).clamp_(0, 1)))


def fog(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """A cloud of the given strength and decay of its roughness added, then scaled to the brightness there was."""
    strength, decay = constants
    levels = x.to(torch.float64) / _WHITE
    brightest = levels.amax((1, 2, 3), keepdim=True)
    cloud = _plasma(draws, decay, x.shape[2], x.shape[3])[:, None]
    return (levels + strength * cloud) * (brightest / (brightest + strength)) * _WHITE


def _plasma(draws: Draws, decay: float, height: int, width: int) -> Tensor:
    """Diamond-square noise (Fournier, Fussell & Carpenter, CACM 1982) in [0, 1], float64 [N, H, W].

    On a torus whose side is a power of two, at least 32 as in the published generator of small images.
    """
    side = max(32, 1 << (max(height, width) - 1).bit_length())
    n = len(draws.batch.ids)
    field = torch.zeros(n, side, side, dtype=torch.float64, device=draws.batch.x.device)
    step, wobble = side, 100.0
    while step >= 2:
        half, across = step // 2, side // step
        noise = (draws.uniform(f"step {step}", 3, across, across).double() * 2 - 1) * (wobble * wobble)
        corners = field[:, ::step, ::step]
        square = corners + corners.roll(-1, 1)
        field[:, half::step, half::step] = (square + square.roll(-1, 2)) / 4 + noise[:, 0]
        middle, corners = field[:, half::step, half::step], field[:, ::step, ::step]
        field[:, ::step, half::step] = (middle + middle.roll(1, 1) + corners + corners.roll(-1, 2)) / 4 + noise[:, 1]
        field[:, half::step, ::step] = (middle + middle.roll(1, 2) + corners + corners.roll(-1, 1)) / 4 + noise[:, 2]
        step, wobble = half, wobble / decay
    field -= field.amin((1, 2), keepdim=True)
    return (field / field.amax((1, 2), keepdim=True))[:, :height, :width]


def frost(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """The image and a piece of an ice texture, each with its share."""
    own, share = constants
    height, width = x.shape[2:]
    ice = textures(large=min(height, width) >= LARGE_FROM).to(x.device)
    chosen = draws.uniform("piece", 3).double()
    which = (chosen[:, 0] * len(ice)).long()
    tops, lefts = ((chosen[:, i + 1] * ice.shape[3 if i else 2]).long() for i in range(2))
    rows = (tops[:, None] + torch.arange(height, device=x.device)) % ice.shape[2]
    columns = (lefts[:, None] + torch.arange(width, device=x.device)) % ice.shape[3]
    piece = ice[which[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).double()
    return x.to(torch.float64) * own + (piece if x.shape[1] == 3 else _grey(piece)) * share


def snow(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Flakes, blurred by their fall, over an image paled by them.

    Mean and spread of the flakes' noise, its zoom, the threshold above which there is a flake, radius and spread of the
    motion, and the share of the image.
    """
    mean, spread, zoom, threshold, radius, sigma, own = constants
    layer = draws.normal("flake", 1, *x.shape[2:]).double() * spread + mean
    layer = zoomed(layer, zoom) if zoom != 1 else layer
    layer = layer.masked_fill(layer < threshold, 0).clamp_(0, 1).mul_(_WHITE).floor_()
    angle = draws.uniform("angle").double() * 90 - 135
    flakes = directional(layer, radius, sigma, angle).double() / _WHITE
    levels = x.to(torch.float64) / _WHITE
    paled = torch.maximum(levels, _grey(levels) * 1.5 + 0.5)
    return (own * levels + (1 - own) * paled + flakes + flakes.flip(2, 3)).mul_(_WHITE)


def _grey(levels: Tensor) -> Tensor:
    """Luma [N, 1, H, W] of a colour image; one of one channel as it is."""
    if levels.shape[1] == 1:
        return levels
    weights = torch.tensor(_LUMA, dtype=levels.dtype, device=levels.device)
    return (levels * weights[:, None, None]).sum(1, keepdim=True)


def spatter(x: Tensor, constants: Constants, draws: Draws) -> Tensor:
    """Drops on the lens: pale water, thicker at its rim, or brown mud.

    Mean and spread of the drops' noise, its smoothness, the threshold above which there is a drop, its strength or the
    smoothness of its rim, and whether it is mud.
    """
    mean, spread, smooth, threshold, strength, mud = constants
    layer = draws.normal("drop", 1, *x.shape[2:]).double() * spread + mean
    layer = blurred(layer, fixed(gaussian(smooth, 4.0)))
    layer = layer.masked_fill(layer < threshold, 0)
    if mud:
        cover = blurred((layer > threshold).double(), fixed(gaussian(strength, 4.0)))
        cover = cover.masked_fill(cover < 0.8, 0)
        return x * (1 - cover) + _colour(_MUD, x) * cover
    drops = layer.clamp_(0, 1).mul_(_WHITE).floor_()
    thick = drops * edges.rim(drops[:, 0].to(torch.uint8))[:, None]
    highest = thick.amax((1, 2, 3), keepdim=True)
    thick = thick / highest.masked_fill(highest == 0, 1) * strength
    return (thick * _colour(_WATER, x)).add_(x)


def _colour(rgb: tuple[int, int, int], x: Tensor) -> Tensor:
    """A colour [C, 1, 1]; of one channel its luma."""
    found = torch.tensor(rgb, dtype=torch.float64, device=x.device)[None, :, None, None]
    return (found if x.shape[1] == 3 else _grey(found))[0]
