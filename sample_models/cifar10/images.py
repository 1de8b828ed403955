"""CIFAR-10 images: reading, augmenting and normalising them, whole batches at a time."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import CIFAR10  # type: ignore[import-untyped]  # torchvision ships no types

from sample_models.cifar10.resnet import CLASSES

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
SIDE = 32
PADDING = 4


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Pixels, uint8 [N, 32, 32, 3] with values 0 to 255, and labels, int64 [N] with values 0 to 9.

    Raises ValueError for any other shape, type or label, and for an empty set.
    """

    pixels: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        count = len(self.pixels)
        if self.pixels.dtype != torch.uint8 or self.pixels.shape != (count, SIDE, SIDE, 3) or not count:
            raise ValueError(f"images must be uint8 [N, 32, 32, 3], N ≥ 1, not {tuple(self.pixels.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != (count,):
            raise ValueError(f"labels must be int64 [{count}], not {tuple(self.labels.shape)}")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= CLASSES:
            raise ValueError(f"labels must lie between 0 and {CLASSES - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 of the pixels followed by the labels, in hexadecimal digits."""
        state = hashlib.sha256(self.pixels.numpy().tobytes())
        state.update(self.labels.numpy().tobytes())
        return state.hexdigest()


def read_npz(path: Path) -> LabelledImages:
    """Reads the arrays `x` and `y` of a NumPy archive; anything else raises ValueError or OSError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            pixels, labels = archive["x"], archive["y"]
    except (KeyError, ValueError, zipfile.BadZipFile, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is no .npz archive with the arrays x and y: {error}") from error
    if pixels.dtype != np.uint8 or labels.dtype != np.int64:
        raise ValueError(f"{path.name}: x must be uint8 and y int64, not {pixels.dtype} and {labels.dtype}")
    return LabelledImages(torch.from_numpy(pixels), torch.from_numpy(labels))


def read_torchvision(root: Path, train: bool) -> LabelledImages:
    """Reads one split of torchvision's CIFAR-10 below `root`; raises RuntimeError if it is absent."""
    split = CIFAR10(str(root), train=train, download=False)
    return LabelledImages(torch.from_numpy(split.data), torch.tensor(split.targets, dtype=torch.int64))


def normalise(pixels: Tensor) -> Tensor:
    """(pixels / 255 − MEAN) / STD: uint8 [N, 32, 32, 3] to float32 [N, 3, 32, 32], stored channels last."""
    unit = pixels.float().div_(255)
    return unit.sub_(torch.tensor(MEAN)).div_(torch.tensor(STD)).permute(0, 3, 1, 2)


def augment(pixels: Tensor, generator: torch.Generator, side: int = SIDE) -> Tensor:
    """Cuts the middle `side` × `side` pixels, shifted by up to 4, black beyond the border, and mirrors half of them.

    uint8 [N, 32, 32, 3] to [N, side, side, 3], 1 ≤ side ≤ 32; one gather for the whole batch. He et al., arXiv
    1512.03385, section 4.2.
    """
    count = len(pixels)
    padded = pixels.new_zeros((count, SIDE + 2 * PADDING, SIDE + 2 * PADDING, 3))
    padded[:, PADDING:-PADDING, PADDING:-PADDING] = pixels
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count, 1), generator=generator) + (SIDE - side) // 2
    mirrored = torch.randint(0, 2, (count, 1), generator=generator, dtype=torch.bool)
    line = torch.arange(side)
    rows = top + line
    columns = left + torch.where(mirrored, line.flip(0), line)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
