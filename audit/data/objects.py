"""Data sets that are Python objects: torch data sets, MAITE data sets, arrays."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.data import features, labels, pixels
from audit.data.form import IMAGES, Form
from audit.data.values import Layout
from audit.errors import AuditError
from audit.models.adapter import Features
from audit.types import TaskKind

ACCEPTED = (
    "Accepted are a map-style torch Dataset whose items are (image, label), a MAITE image-classification data set, "
    "and arrays or tensors (x, y)."
)


@dataclass(frozen=True)
class Objects:
    """The items of anything that has a length and can be indexed; `data[i]` is asked for whenever item i is read.

    A MAITE data set (the protocol `maite.protocols.image_classification.Dataset`) is known by its `metadata`, a
    mapping with an id: its items are (C×H×W array, one-hot target or probabilities, mapping with an id). Items of
    any other data set are (image, label), or images where no label is needed.
    """

    data: Any
    place: str
    classes: tuple[str, ...] = ()
    layout: Layout = "auto"
    features: Features | None = None
    threadsafe = False
    on_change = "Remove random augmentation from the data set: an audit needs the same inputs each time they are read."

    @property
    def name(self) -> str:
        return self.place

    def __len__(self) -> int:
        return len(self.data)

    def where(self, index: int) -> str:
        """What an item is called in errors."""
        return f"{self.place}: item {index}"

    def read(self, index: int, labelled: bool) -> tuple[NDArray[np.generic], object]:
        """Pixels and target of an item; the target is None where none is asked for, or there is none."""
        item, where = self.data[index], self.where(index)
        if _is_maite(self.data):
            return self._of_maite(item, labelled, where)
        image, target = item if _is_pair(item, where) else (item, None)
        return self._pixels(image, where), target if labelled else None

    def _pixels(self, image: object, where: str) -> NDArray[np.generic]:
        if self.features is None:
            return pixels.of(image, self.layout, where)
        values = np.asarray(image.cpu() if hasattr(image, "cpu") else image)
        found: NDArray[np.generic] = features.shares(values[None], self.features, lambda _: where)[0]
        return found

    def _of_maite(self, item: object, labelled: bool, where: str) -> tuple[NDArray[np.generic], object]:
        match item:
            case (image, target, {"id": _}):
                label = labels.of_scores(_array(target), len(self.classes), where) if labelled else None
                return pixels.of(_array(image), "NCHW", where), label
        raise AuditError(
            f"{where}: is not (image, target, metadata with an id)",
            "A data set with MAITE metadata must give MAITE items.",
        )

    def verify_unchanged(self) -> None:
        """Nothing can be asked of an object as a whole; its items are digested whenever they are read."""


def of(data: Any, place: str, layout: Layout = "auto", form: Form = IMAGES) -> Objects:
    """The items of an object; raises AuditError, naming what is accepted, where it is none of them."""
    axes = 2 if form.low is not None else 3
    if isinstance(data, tuple) and len(data) == 2 and len(getattr(data[0], "shape", ())) >= axes:
        found = Objects(_paired(data[0], data[1], place), place, (), layout)
    elif isinstance(data, Sized) and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes, Mapping)):
        found = Objects(data, place, _names(data, place), layout)
    else:
        raise AuditError(f"{place}: is a {type(data).__name__}, which cannot be indexed", ACCEPTED)
    if _is_maite(data) and (form.low is not None or form.targets.kind is not TaskKind.CLASSIFICATION):
        raise AuditError(
            f"{place}: is a MAITE data set of images and classes, not for {form.targets.kind}",
            "Give a torch Dataset of (item, target), or arrays.",
        )
    return found if form.low is None or form.high is None else replace(found, features=_features(found, form))


def _features(found: Objects, form: Form) -> Features:
    """Shape and bounds of the items; the shape is that of the first."""
    try:
        item = found.data[0]
        first = item[0] if isinstance(item, (tuple, list)) else item
    except (Exception, SystemExit) as error:  # the code of a data set
        raise AuditError(
            f"{found.place}: has no first item ({type(error).__name__}: {error})", "An audit needs items.", "empty-data"
        ) from error
    return features.bounded(tuple(np.shape(first)), np.asarray(form.low), np.asarray(form.high), found.place)


@dataclass(frozen=True)
class _Pairs:
    x: Any
    y: Any

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.x[index], None if self.y is None else self.y[index]


def _paired(x: Any, y: Any, place: str) -> _Pairs:
    if y is not None and len(x) != len(y):
        raise AuditError(f"{place}: {len(y)} labels for {len(x)} items", "Give one label per item.")
    return _Pairs(x, y)


def _is_maite(data: object) -> bool:
    found = getattr(data, "metadata", None)
    return isinstance(found, Mapping) and "id" in found


def _is_pair(item: object, where: str) -> bool:
    if isinstance(item, (tuple, list)) and len(item) != 2:
        raise AuditError(f"{where}: has {len(item)} parts", "An item is (image, label).")
    return isinstance(item, (tuple, list))


def _array(value: object) -> object:
    """Sequences become arrays, as the protocol allows anything that numpy can take."""
    return np.asarray(value) if isinstance(value, (list, tuple)) else value


def _names(data: object, place: str) -> tuple[str, ...]:
    """The class names that a data set states: a list in `classes`, or MAITE's `index2label`."""
    if _is_maite(data):
        found = getattr(data, "metadata", {}).get("index2label", {})
        if set(found) != set(range(len(found))):
            raise AuditError(f"{place}: index2label does not number the classes from 0", "Name every class, 0 first.")
        return labels.check_names([str(found[index]) for index in range(len(found))], place)
    stated = getattr(data, "classes", None)
    if isinstance(stated, (list, tuple)) and all(isinstance(name, str) for name in stated):
        return labels.check_names(stated, place)
    return ()
