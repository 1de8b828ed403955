"""What belongs to an item: one label, a mask of labels, or values, by the task of the audit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data import labels
from audit.dataset import Manifest
from audit.errors import AuditError
from audit.records import TaskRecord
from audit.types import TaskKind

_MOST = np.iinfo(np.int16).max
_FORMS = {
    TaskKind.CLASSIFICATION: "Store one integer label per item; masks, values and decisions need kind = … in [task].",
    TaskKind.SEGMENTATION: "Store one mask of integer labels per item, of the height and width of its image.",
    TaskKind.REGRESSION: "Store the values of each item in one row of numbers.",
    TaskKind.CONTROL: "Store the right decision of each item, 0 for the first output, or the values that decide.",
}


@dataclass(frozen=True, slots=True)
class Targets:
    """How the targets of items are read for a task: in the form of `Batch.y`, or not at all."""

    task: TaskRecord = field(default_factory=TaskRecord)

    @property
    def kind(self) -> TaskKind:
        return TaskKind(self.task.kind)

    @property
    def by_class(self) -> bool:
        """Whether each item has one label."""
        return self.kind in (TaskKind.CLASSIFICATION, TaskKind.CONTROL)

    def check(self, shape: tuple[int, ...], dtype: "np.dtype[Any]", image: tuple[int, ...], what: str) -> None:
        """Raise AuditError for an array of targets [N, …] of a wrong form; `image` is the shape of an item."""
        axes, integer = len(shape), dtype.kind in "iu"
        match self.kind:
            case TaskKind.CLASSIFICATION:
                fits = axes == 1 and integer
            case TaskKind.SEGMENTATION:
                fits = axes == 3 and integer and shape[1:] == image[1:]
            case TaskKind.REGRESSION:
                fits = axes in (1, 2) and dtype.kind in "iuf" and 0 not in shape
            case TaskKind.CONTROL:
                fits = (axes == 1 and integer) or (axes == 2 and dtype.kind == "f" and shape[1] > 1)
        if not fits:
            raise AuditError(what, _FORMS[self.kind])

    def block(self, y: NDArray[Any], name: str, first: int = 0) -> NDArray[Any]:
        """Targets as stored [n, …] in the form of `Batch.y`; raises AuditError, naming the item, for unsound ones.

        `first` is the number of the first of them.
        """
        match self.kind:
            case TaskKind.SEGMENTATION:
                return self._masks(y, name, first)
            case TaskKind.REGRESSION:
                return _values(y.reshape(len(y), -1), name, first)
            case TaskKind.CONTROL if y.ndim == 2:
                _values(y, name, first)
                return np.asarray(y.argmin(axis=1) if self.task.rule == "argmin" else y.argmax(axis=1), np.int64)
        return y.astype(np.int64)

    def of(self, value: object, image: tuple[int, ...], classes: int, where: str) -> NDArray[Any]:
        """The target of one item as a data set gives it, in the form of a row of `Batch.y`; else AuditError."""
        if self.kind is TaskKind.CLASSIFICATION:
            return np.asarray(self._label(labels.number(value, where), classes, where), np.int64)
        found = plain(value, where)
        if self.kind is TaskKind.SEGMENTATION and found.ndim == 3 and 1 in (found.shape[0], found.shape[2]):
            found = found.reshape(found.shape[:2] if found.shape[2] == 1 else found.shape[1:])
        what = f"{where}: its target is {found.dtype.name} of shape {found.shape}"
        self.check((1, *found.shape), found.dtype, image, what)
        target: NDArray[Any] = self.block(found[None], where)[0]
        if self.by_class:
            self._label(int(target), classes, where)
        return target

    def _label(self, label: int, classes: int, where: str) -> int:
        if label < 0 or (classes and label >= classes):
            raise AuditError(f"{where}: label {label} is not in 0 … {classes - 1}", "Correct the labels.")
        return label

    def _masks(self, y: NDArray[Any], name: str, first: int) -> NDArray[np.int16]:
        counted = y != self.task.ignore
        rows = y.reshape(len(y), -1)
        wrong = np.flatnonzero((counted & ((y < 0) | (y > _MOST))).reshape(len(y), -1).any(axis=1))
        if len(wrong):
            row = int(wrong[0])
            raise AuditError(
                f"{name}: the mask of item {first + row} has labels from {rows[row].min()} to {rows[row].max()}",
                f"Labels of pixels are 0 for the first class, 1 for the second, …, or {self.task.ignore} for none.",
            )
        empty = np.flatnonzero(~counted.reshape(len(y), -1).any(axis=1))
        if len(empty):
            raise AuditError(f"{name}: no pixel of item {first + int(empty[0])} counts", "Leave that item out.")
        return y.astype(np.int16)

    def masked(self, masks: NDArray[np.int16]) -> Mapping[int, tuple[int, float]]:
        """Of masks [N, H, W], by label: items that hold it, and on what share of the pixels that count, summed."""
        found: dict[int, tuple[int, float]] = {}
        for mask in masks.reshape(len(masks), -1):
            counted = mask[mask != self.task.ignore]
            for label, pixels in zip(*np.unique(counted, return_counts=True), strict=True):
                items, share = found.get(int(label), (0, 0.0))
                found[int(label)] = items + 1, share + int(pixels) / len(counted)
        return found

    def class_names(
        self, outputs: int, own: tuple[str, ...], found: Manifest, name: str, decided: int = 0
    ) -> tuple[str, ...]:
        """As of a data source, from its `own` class names and its manifest `found`.

        `decided` is the number of values that decisions were taken from, 0 where they are stated themselves.
        """
        if decided not in (0, outputs):
            raise AuditError(
                f"{name}: has {decided} values per item, but the models give {outputs}",
                "Use the data set that belongs to these models.",
            )
        if self.kind is TaskKind.REGRESSION:
            if found.labels.ndim == 2 and found.labels.shape[1] != outputs:
                raise AuditError(
                    f"{name}: has {found.labels.shape[1]} values per item, but the models give {outputs}",
                    "Use the data set that belongs to these models.",
                )
            return ()
        beyond = sorted(label for label in found.masked if label >= outputs)
        if beyond:
            raise AuditError(
                f"{name}: has pixels labelled {beyond[0]}, but the models know {outputs} classes",
                f"Correct the masks, or say which label counts for nothing: ignore = {beyond[-1]} in [task].",
            )
        return labels.names_for(outputs, own, found, name)


def plain(value: object, where: str) -> NDArray[Any]:
    """A target, whatever a data set gives it as, as an array; raises AuditError, naming the item, where it is none."""
    try:
        detached: Any = value.detach().cpu() if hasattr(value, "detach") else value
        return np.asarray(detached)
    except (ValueError, TypeError, RuntimeError) as error:
        raise AuditError(f"{where}: its target is no array of numbers ({error})", "Give targets as arrays.") from error


def summed(parts: Sequence[Mapping[int, tuple[int, float]]]) -> dict[int, tuple[int, float]]:
    """What `Targets.masked` gave of parts of a data set, together."""
    found: dict[int, tuple[int, float]] = {}
    for part in parts:
        for label, (items, share) in part.items():
            before = found.get(label, (0, 0.0))
            found[label] = before[0] + items, before[1] + share
    return found


def _values(y: NDArray[Any], name: str, first: int) -> NDArray[np.float32]:
    values = y.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise AuditError(
            f"{name}: a target of item {first + int(wrong[0])} is no finite number", "Correct the targets."
        )
    return values
