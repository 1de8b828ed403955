"""What numpy and torch write differently, for code that takes either: a batch stays on its device."""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Pixels = TypeVar("Pixels", NDArray[np.float32], "Tensor")
"""A batch of images, float32 [N, C, H, W], on the processor as an array or wherever a tensor is."""


_RESOLUTION = 2.0**-25
"""Of a range: how far a share in float32 lies from what it stands for, at most."""


def copied(x: Pixels) -> Pixels:
    """The same values in memory of their own."""
    return x.copy() if isinstance(x, np.ndarray) else x.clone()


def per_channel(values: tuple[float, ...], x: Pixels) -> Pixels:
    """One value for each channel of `x`, float32 [C, 1, 1]."""
    column = np.asarray(values, np.float32)[:, None, None]
    return column if isinstance(x, np.ndarray) else x.new_tensor(column)


def between(x: Pixels, low: tuple[float, ...], high: tuple[float, ...]) -> Pixels:
    """Shares of the range of each channel in its own units; moved by 2⁻²⁴ of a range at most.

    What is so near to a whole number is that number: else a code such as 7 would come back as 7.0000005.
    """
    least, most = (np.asarray(end, np.float64)[:, None, None] for end in (low, high))
    span = most - least
    if isinstance(x, np.ndarray):
        values = least + x * span
        whole = np.rint(values)
        return np.where(np.abs(values - whole) <= _RESOLUTION * span, whole, values).astype(np.float32)
    import torch

    start, length = (x.new_tensor(end, dtype=torch.float64) for end in (least, span))
    found = start + x.double() * length
    rounded = found.round()
    return torch.where((found - rounded).abs() <= _RESOLUTION * length, rounded, found).float()


def channels_last(x: Pixels) -> Pixels:
    """[N, C, H, W] → [N, H, W, C], contiguous."""
    return (
        np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        if isinstance(x, np.ndarray)
        else x.permute(0, 2, 3, 1).contiguous()
    )


def typed(x: Any, dtype: str) -> Any:
    """Pixels in another element type; whole numbers are rounded to, half to even, and kept in 0 … 255."""
    if isinstance(x, np.ndarray):
        return np.rint(x).clip(0, 255).astype(np.uint8) if dtype == "uint8" else x.astype(dtype)
    import torch

    return x.round().clamp(0, 255).to(torch.uint8) if dtype == "uint8" else x.to(getattr(torch, dtype))


def resized(x: Pixels, size: tuple[int, int]) -> Pixels:
    """Bilinear, smoothed where it shrinks."""
    import torch
    from torch.nn import functional

    tensor = torch.from_numpy(np.ascontiguousarray(x)) if isinstance(x, np.ndarray) else x
    smaller = size[0] < x.shape[2] or size[1] < x.shape[3]
    found = functional.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=smaller)
    return found.numpy() if isinstance(x, np.ndarray) else found
