"""What a network gives, in the form that the task of the audit wants, and what a layer inside it gives."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from audit.models import arrays
from audit.models.adapter import Slot
from audit.types import TaskKind

_ADVICE = {
    TaskKind.CLASSIFICATION: "Export the classifier with one score per class.",
    TaskKind.CONTROL: "Export the network with one value per action.",
    TaskKind.REGRESSION: "Export the network with one row of values per item.",
    TaskKind.SEGMENTATION: "Export the network with one score per class and pixel, two classes at least.",
}


_WIDEST = 4096
"""Values of a watched layer for one item: how two layers compare takes the square of them in memory."""
_ROW = "Name a layer that gives one row of values per item, such as the last but one, behind any pooling."


class UnfitError(ValueError):
    """An output of another form than is wanted; `advice` says what to do."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


def fitted(out: NDArray[np.generic], items: int, slot: Slot) -> NDArray[np.float32]:
    """Outputs of `items` items as float32 [N, K]; of segmentation [N, K, H, W], of the height and width of the items.

    Axes of length 1 behind the first two are dropped. Of masks the axis of the classes is the second, or with the
    layout NHWC the last, and those of another size are interpolated bilinearly. Raises UnfitError for any other form.
    """
    kind = TaskKind(slot.task.kind)
    unfit = UnfitError(
        f"gives outputs of shape {out.shape} for {items} items, not {_wanted(items, slot)}", _ADVICE[kind]
    )
    if out.dtype.kind != "f" or not out.ndim or len(out) != items:
        raise unfit
    if kind is TaskKind.SEGMENTATION:
        return _masks(out, slot, unfit)
    if kind is TaskKind.REGRESSION and out.ndim == 1:
        out = out[:, None]
    if out.ndim < 2 or prod(out.shape[1:]) != out.shape[1] or not out.shape[1]:
        raise unfit
    if out.shape[1] < 2 and kind is not TaskKind.REGRESSION:
        raise UnfitError("gives one score for each item, not one per class", _ADVICE[kind])
    return out.reshape(items, -1).astype(np.float32, copy=False)


def watched(values: NDArray[np.generic], items: int, slot: Slot) -> NDArray[np.float32]:
    """What a watched layer gives for `items` items as float32 [N, D], a copy.

    Axes of length 1 behind the second are dropped. Raises UnfitError for any other form: which axes of maps or of
    tokens to average over, no shape tells; and for more than 4,096 values.
    """
    shape, layer = values.shape, f"the layer {slot.layer!r}"
    if values.dtype.kind != "f" or values.ndim < 2 or len(values) != items or not values.size:
        raise UnfitError(f"{layer} gives {values.dtype} of shape {shape} for {items} items", _ROW)
    if prod(values.shape[1:]) != values.shape[1] or values.shape[1] > _WIDEST:
        raise UnfitError(
            f"{layer} gives values of shape {shape} for {items} items, no row of {_WIDEST:,} at most", _ROW
        )
    return values.reshape(items, -1).astype(np.float32)


def _wanted(items: int, slot: Slot) -> str:
    match TaskKind(slot.task.kind):
        case TaskKind.SEGMENTATION:
            return f"({items}, classes, height, width)" if slot.preprocessing.layout == "NCHW" else (
                f"({items}, height, width, classes)"
            )  # fmt: skip
        case TaskKind.CLASSIFICATION:
            return f"({items}, classes)"
    return f"({items}, values)"


def _masks(out: NDArray[np.generic], slot: Slot, unfit: UnfitError) -> NDArray[np.float32]:
    if out.ndim != 4 or 0 in out.shape:
        raise unfit
    out = out if slot.preprocessing.layout == "NCHW" else np.moveaxis(out, -1, 1)
    if out.shape[1] < 2:
        raise UnfitError("gives one score for each pixel, not one per class", _ADVICE[TaskKind.SEGMENTATION])
    scores = np.ascontiguousarray(out, np.float32)
    return scores if scores.shape[2:] == slot.shape[1:] else arrays.resized(scores, slot.shape[1:])
