"""Images that a small network learns in seconds, for attacks on it."""

import torch
from torch import Tensor
from torch.nn import functional


def patterns(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images [count, 3, 32, 32] of ten soft patterns, shifted, faint and noisy, and their classes."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand((10, 3, 4, 4), generator=torch.Generator().manual_seed(99))
    soft = functional.interpolate(coarse, size=(32, 32), mode="bilinear") - 0.5
    labels = torch.arange(count) % 10
    shifts = torch.randint(-4, 5, (count, 2), generator=rng).tolist()
    shown = torch.stack([soft[label].roll(shift, (1, 2)) for label, shift in zip(labels, shifts, strict=True)])
    strength = 0.25 + 0.2 * torch.rand((count, 1, 1, 1), generator=rng)
    return (0.5 + shown * strength + 0.12 * torch.randn(shown.shape, generator=rng)).clamp(0, 1), labels
