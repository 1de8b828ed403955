"""Hue, saturation and value, in the operations and the order of scikit-image: so results agree to the last bit."""

import torch
from torch import Tensor


def to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue, saturation and value [N, H, W] in [0, 1] of [N, 3, H, W] in [0, 1], float64 (Smith, SIGGRAPH 1978)."""
    red, green, blue = rgb.unbind(1)
    value, low = rgb.amax(1), rgb.amin(1)
    spread = value - low
    grey = spread == 0
    divisor = spread.masked_fill(grey, 1.0)
    hue = (green - blue) / divisor
    hue = torch.where(green == value, 2.0 + (blue - red) / divisor, hue)
    hue = torch.where(blue == value, 4.0 + (red - green) / divisor, hue)
    hue = torch.remainder(hue / 6.0, 1.0).masked_fill_(grey, 0.0)
    saturation = (spread / value.masked_fill(value == 0, 1.0)).masked_fill_(grey, 0.0)
    return hue, saturation, value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of `to_hsv` [N, 3, H, W]."""
    sector = torch.floor(hue * 6)
    part = hue * 6 - sector
    p = value * (1 - saturation)
    q = value * (1 - part * saturation)
    t = value * (1 - (1 - part) * saturation)
    which = (sector.long() % 6).unsqueeze(0)
    channels = ((value, q, p, p, t, value), (t, value, value, q, p, p), (p, p, t, value, value, q))
    return torch.stack([torch.stack(each).gather(0, which)[0] for each in channels], 1)
