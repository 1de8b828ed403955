"""A data source over items that can be read one by one, in any order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, tee
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audit import runtime
from audit.contracts import Batch
from audit.data import ahead, labels, manifest, values
from audit.data.spans import spans
from audit.data.targets import Targets, plain, summed
from audit.dataset import Attribute, Manifest
from audit.errors import AuditError
from audit.models.adapter import Features
from audit.types import DataRole, TaskKind

_TWICE = 16
"""Items, spread over the set, that are read a second time to see that they stay as they are."""
_THREADS = 4
"""That read at once: more would take cores and memory from the networks."""

_Item = tuple[NDArray[np.generic], NDArray[Any], NDArray[np.uint8]]
"""Pixels, uint8 or float32 [C, H, W]; label, -1 for none; digest [32]."""


class Items(Protocol):
    """Images and labels by index; `on_change` is the advice where an item is not what it was when first read.

    `threadsafe` items are read in several threads at once, and while networks run. Code of others need not bear that.
    """

    @property
    def name(self) -> str: ...

    @property
    def place(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def on_change(self) -> str: ...

    @property
    def threadsafe(self) -> bool: ...

    def __len__(self) -> int: ...

    def where(self, index: int, /) -> str: ...

    def read(self, index: int, labelled: bool, /) -> tuple[NDArray[np.generic], object]:
        """Pixels [C, H, W] of an element type in `values.TYPES`; the target, None where none is asked for or there."""
        ...

    @property
    def features(self) -> Features | None:
        """Shape and bounds where they are no images; pixels are then shares of the ranges [F, 1, 1]."""
        ...

    def verify_unchanged(self) -> None: ...


@dataclass(frozen=True)
class IndexedSource:
    """A `DataSource` whose items are read one by one; `manifest` reads all of them once.

    All items have the shape and element type of the first. Raises AuditError, naming the item, for one that has not,
    that cannot be read, or whose values, label or repeated reading are not sound.
    """

    items: Items
    role: DataRole = DataRole.TEST
    scanned: Manifest | None = field(default=None, compare=False, repr=False)
    targets: Targets = field(default_factory=Targets)
    attributes: tuple[Attribute, ...] = field(default=(), compare=False, repr=False)
    """What is said of all stored items."""

    def __post_init__(self) -> None:
        if not self.size:
            raise AuditError(f"{self.items.place}: has no items", "An audit needs items.", "empty-data")
        if self.scanned is not None and len(self.scanned.keep) != self.size:
            raise AuditError(f"{self.items.place}: changed after it was scanned", self.items.on_change)
        _ = self._first

    @property
    def name(self) -> str:
        return self.items.name

    @cached_property
    def size(self) -> int:
        """Stored items, copies included."""
        try:
            return len(self.items)
        except (Exception, SystemExit) as error:  # the code of a data set, as in `_read`
            raise AuditError(
                f"{self.items.place}: has no length ({type(error).__name__}: {error})", "Correct the data set."
            ) from error

    @cached_property
    def _first(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        x, _ = self._read(0)
        return x.shape, x.dtype

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width), or (features, 1, 1)."""
        channels, height, width = self._first[0]
        return channels, height, width

    @property
    def stored(self) -> str:
        """Element type of the images."""
        return self._first[1].name

    @property
    def features(self) -> Features | None:
        """Shape and bounds of items that are no images."""
        return self.items.features

    @property
    def _labelled(self) -> bool:
        return self.role is not DataRole.OUT_OF_DISTRIBUTION

    def _read(self, index: int) -> tuple[NDArray[np.generic], object]:
        try:
            return self.items.read(index, self._labelled)
        except AuditError:
            raise
        except (Exception, SystemExit) as error:  # the code of a data set: whatever it does, the item must be named
            raise AuditError(
                f"{self.items.where(index)}: cannot be read ({type(error).__name__}: {error})",
                "Every item must be readable; correct the data set.",
                "unreadable-item",
            ) from error

    def _item(self, index: int) -> tuple[NDArray[np.generic], NDArray[Any]]:
        """Pixels, uint8 or float32 [C, H, W], and target (-1 for none) of a stored item, all of it checked."""
        found, label = self._read(index)
        shape, dtype = self._first
        if (found.shape, found.dtype) != (shape, dtype):
            raise AuditError(
                f"{self.items.where(index)}: is {found.dtype.name} of shape {found.shape}, "
                f"but {self.items.where(0)} is {dtype.name} of shape {shape}",
                "All items need one size and one type; resize them in the way the networks were trained.",
            )
        # A copy at once: what a data set gives may be memory that its next item takes.
        x = found.copy() if dtype == np.uint8 else self._unit(values.unsigned(found.astype(np.float32)), index)
        return x, self._target(label, index)

    def _each(self, rows: Iterable[int]) -> Iterator[_Item]:
        """The stored items at `rows`, in that order."""
        if not self.items.threadsafe:
            return map(self._digested, rows)
        return ahead.in_order(self._digested, rows, min(_THREADS, runtime.cores()))

    def _digested(self, index: int) -> _Item:
        x, label = self._item(index)
        return x, label, manifest.item_ids(x[None])[0]

    def _unit(self, x: NDArray[np.float32], index: int) -> NDArray[np.float32]:
        if bad := values.outside(x[None]):
            raise AuditError(
                f"{self.items.where(index)}: has values from {bad[1]:g} to {bad[2]:g}, outside [0, 1]",
                "Give uint8, or float scaled to [0, 1]. Remove Normalize: the mean and std belong in the audit file.",
            )
        return x

    def _target(self, target: object, index: int) -> NDArray[Any]:
        where = self.items.where(index)
        if target is None and self.role not in labels.MAY_LACK:
            raise AuditError(f"{where}: has no label", "Give items as (image, label).")
        if target is None:
            return np.asarray(labels.UNLABELLED, np.int64)
        return self.targets.of(target, self._first[0], len(self.items.classes), where)

    @cached_property
    def manifest(self) -> Manifest:
        """Ids, labels and digest; reads every item once and checks it, unless another process has."""
        if self.scanned is not None:
            return self.scanned
        self._check_repeatable()
        ids, named = np.empty((self.size, 32), np.uint8), np.empty(0)
        masked: dict[int, tuple[int, float]] = {}
        for index, (_, target, digest) in enumerate(self._each(range(self.size))):
            ids[index], label = digest, manifest.labels_of(target[None])[0]
            if not index:
                named = np.empty((self.size, *label.shape), label.dtype)
            self._require_alike(label, named, index)
            named[index] = label
            if target.ndim == 2:
                masked = summed([masked, self.targets.masked(target[None])])
        return manifest.build(ids, named, self.items.place, masked, self.attributes)

    def _require_alike(self, label: NDArray[Any], named: NDArray[Any], index: int) -> None:
        """Raise AuditError where an item has no label and the first has, or the other way round, or more values."""
        lacking = [each.ndim == 0 and bool(each < 0) for each in (label, named[0])] if index else [False, False]
        if label.shape != named.shape[1:] or lacking[0] is not lacking[1]:
            raise AuditError(
                f"{self.items.where(index)}: has {_described(label)}, but others have {_described(named[0])}",
                "Label all items or none, and with as many values.",
            )

    def _check_repeatable(self) -> None:
        for index in self._spread(self.size):
            first, again = self._item(index), self._item(index)
            if any(one.tobytes() != other.tobytes() for one, other in zip(first, again, strict=True)):
                raise AuditError(f"{self.items.where(index)}: is another each time it is read", self.items.on_change)

    def _spread(self, count: int) -> list[int]:
        return [int(index) for index in np.unique(np.linspace(0, count - 1, _TWICE).astype(np.intp))]

    def class_names(self, outputs: int) -> tuple[str, ...]:
        """Names for the classes of models with this many outputs: the data set's own, or their numbers.

        Raises AuditError where it names another number of classes, or holds labels beyond the outputs.
        """
        own = self.items.classes if self._labelled else ()
        return self.targets.class_names(outputs, own, self.manifest, self.items.place, self._decided)

    @cached_property
    def _decided(self) -> int:
        """Of how many values decisions are taken, 0 where targets are no such values."""
        target = self._read(0)[1] if self.targets.kind is TaskKind.CONTROL else None
        values = None if target is None else plain(target, self.items.where(0))
        return values.shape[0] if values is not None and values.ndim == 1 else 0

    def batches(self, size: int, wanted: NDArray[np.bool_]) -> Iterator[Batch]:
        """The distinct items marked in `wanted` bool [N], in stored order, each checked against the manifest.

        Others are not read. See `DataSource.batches`. Raises ValueError for a size or a mask that makes no sense.
        """
        batches = self._batches(spans(size, wanted, len(self.manifest.ids)))
        return ahead.one_ahead(batches) if self.items.threadsafe else batches

    def _batches(self, parts: list[tuple[int, int]]) -> Iterator[Batch]:
        import torch

        found = self.manifest
        items = self._verified(place for start, stop in parts for place in range(start, stop))
        for start, stop in parts:
            read = list(islice(items, stop - start))
            x, targets = np.stack([pixels for pixels, _ in read]), np.stack([target for _, target in read])
            y = torch.from_numpy(targets) if labels.labelled(found) else None
            yield Batch(found.ids[start:stop], values.tensor(x), y, start)

    def _verified(self, places: Iterable[int]) -> Iterator[tuple[NDArray[np.generic], NDArray[Any]]]:
        """Pixels [C, H, W] and targets of distinct items; raises AuditError where the manifest says otherwise."""
        found, stored = self.manifest, np.flatnonzero(self.manifest.keep)
        here, there = tee(places)
        for place, (x, target, digest) in zip(here, self._each(int(stored[each]) for each in there), strict=True):
            label = manifest.labels_of(target[None])[0]
            if not np.array_equal(label, found.labels[place]) or not np.array_equal(digest, found.ids[place]):
                where = self.items.where(int(stored[place]))
                raise AuditError(f"{where}: is not what it was when it was first read", self.items.on_change)
            yield x, target

    def verify_unchanged(self) -> None:
        """Raise AuditError where files changed since they were opened, or items spread over the set since the scan."""
        self.items.verify_unchanged()
        for _ in self._verified(self._spread(len(self.manifest.ids))):
            pass


def _described(label: NDArray[Any]) -> str:
    if label.ndim == 0:
        return "no label" if label < 0 else "a label"
    return f"a target of {len(label)} values"
