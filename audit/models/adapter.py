"""How a model is fed: the preprocessing that belongs to it, and the slot of the audit that it is opened for."""

from dataclasses import dataclass, field
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.models import arrays
from audit.models.arrays import Pixels
from audit.records import TaskRecord
from audit.types import Role

Layout = Literal["NCHW", "NHWC"]
Dtype = Literal["auto", "float16", "float32", "float64", "uint8"]
Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Features:
    """What items are that are no images: their shape, and the bounds of each of their F values, in C order."""

    item: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Preprocessing:
    """Pixels in [0, 1] → what the network was trained on, applied inside it so that every perturbation is in pixels.

    Resized to `resize` (height, width; bilinear, smoothed where it shrinks), scaled to `range`, less `mean`, divided
    by `std` (per channel, in units of `range`; () leaves the values as they are), laid out as `layout`; then each item
    gets the shape `item` (() keeps it) and the element type `dtype` (auto: what the network itself declares).

    Items that are no images come as channels of one pixel, each a share of the range of its feature: these are
    brought to the units of the data first, and `mean` and `std` are in them.
    """

    layout: Layout = "NCHW"
    range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    resize: tuple[int, int] | None = None
    item: tuple[int, ...] = ()
    dtype: Dtype = "auto"
    features: Features | None = None

    def model_shape(self, shape: Shape) -> tuple[int, ...]:
        """The shape of one item as the network takes it, of items of `shape` (C, H, W).

        Raises ValueError where `item` has not as many values as they, or what belongs to images is said of others.
        """
        if self.features is not None:
            if (self.layout, self.range, self.resize) != ("NCHW", (0.0, 1.0), None):
                raise ValueError("the items are no images: they have no layout, range or size to bring them to")
            if self.item and prod(self.item) != shape[0]:
                raise ValueError(f"item is {list(self.item)}, but the data have {shape[0]} features")
            return self.item or self.features.item
        c, (h, w) = shape[0], self.resize or shape[1:]
        if self.item and prod(self.item) != c * h * w:
            raise ValueError(f"item is {list(self.item)}, but the data have {c} × {h} × {w} values")
        return self.item or ((c, h, w) if self.layout == "NCHW" else (h, w, c))

    def apply(self, x: Pixels) -> Pixels:
        """float32 [N, C, H, W] in [0, 1] → [N, *model_shape], contiguous; `x` is left as it is."""
        taken = x
        if self.resize is not None and self.resize != x.shape[2:]:
            x = arrays.resized(x, self.resize)
        low, high = self.range
        scaled = (low, high) != (0.0, 1.0)
        if self.features is not None:
            x = arrays.between(x, self.features.low, self.features.high)
        if x is taken and (scaled or self.mean or self.std):
            # Worked on in place from here: a large new array for every step costs more than the step.
            x = arrays.copied(x)
        if scaled:
            x *= high - low
            x += low
        if self.mean:
            x -= arrays.per_channel(self.mean, x)
        if self.std:
            x /= arrays.per_channel(self.std, x)
        x = x if self.layout == "NCHW" else arrays.channels_last(x)
        item = self.item or (self.features.item if self.features else ())
        return x.reshape(len(x), *item) if item else x

    def typed(self, x: NDArray[np.float32], dtype: str) -> NDArray[np.generic]:
        """What `apply` gave in the network's element type; whole numbers are rounded to, half to even."""
        return x if dtype == "float32" else arrays.typed(x, dtype)

    def check(self, dtype: str) -> None:
        """Raise ValueError where the network's element type is another than declared, or cannot hold the values."""
        if self.dtype not in ("auto", dtype):
            raise ValueError(f"dtype is declared {self.dtype}, but the network takes {dtype}")
        if dtype == "uint8" and (self.mean or self.std or self.range != (0.0, 255.0)):
            raise ValueError("the network takes uint8: range must be [0, 255], without mean and std")


@dataclass(frozen=True, slots=True)
class Watched:
    """A layer whose values are looked at beside the outputs: its name, and how many it gives for one item."""

    layer: str
    values: int


@dataclass(frozen=True)
class Slot:
    """What a model is opened for: its role, the items [C, H, W] that it will be given, and how it is to run.

    `output` names the one that counts where a network has several, `layer` one to be watched, if any; `classes` what
    its scores are of, `task` what they are for. `device` is as in the audit file. `batch` is the size of every forward
    pass of torch and on CUDA; on the processor ONNX files run in batches of any size. `trust_code` lets a file run code
    of its own.
    """

    role: Role
    shape: Shape
    preprocessing: Preprocessing = Preprocessing()
    output: str = ""
    classes: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int = 1
    batch: int = 256
    trust_code: bool = False
    task: TaskRecord = field(default_factory=TaskRecord)
    layer: str = ""

    def class_names(self, found: tuple[str, ...], classes: int, label: str) -> tuple[str, ...]:
        """Names of the classes of a network in the order of its scores, () where nobody knows them.

        `found` are those in its file. Raises AuditError where the audit file names others, or not as many as there are
        scores.
        """
        if self.classes and len(self.classes) != classes:
            raise AuditError(f"{label}: has {classes} classes, of which {len(self.classes)} are named", _NAMES)
        if found and len(found) != classes:
            raise AuditError(f"{label}: names {len(found)} classes in its metadata, but gives {classes} scores", _NAMES)
        if self.classes and found and found != self.classes:
            raise AuditError(f"{label}: {difference(found, self.classes)} in the file and in the audit file", _NAMES)
        return self.classes or found


_NAMES = "Name the classes of every network in the order of its outputs."


def difference(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    """How two lists of class names differ, beginning with the first place where they do."""
    place = next(index for index, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    how = "the classes stand in another order" if sorted(one) == sorted(other) else "the classes have other names"
    return f"{how}: number {place} is {one[place]!r} and {other[place]!r}"
