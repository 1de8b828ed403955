"""A data source over items that can be read one by one, in any order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, tee
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audit import runtime
from audit.contracts import Batch, Ids, Manifest
from audit.data import ahead, labels, manifest, values
from audit.data.spans import spans
from audit.errors import AuditError
from audit.types import DataRole

_TWICE = 16
"""Items, spread over the set, that are read a second time to see that they stay as they are."""
_THREADS = 4
"""That read at once: more would take cores and memory from the networks."""

_Item = tuple[NDArray[np.generic], int, Ids]
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

    def read(self, index: int, labelled: bool, /) -> tuple[NDArray[np.generic], int | None]:
        """Pixels [C, H, W] of an element type in `values.TYPES`; the label, None where none is asked for or there."""
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

    def __post_init__(self) -> None:
        if not self._stored:
            raise AuditError(f"{self.items.place}: has no items", "An audit needs items.", "empty-data")
        if self.scanned is not None and len(self.scanned.keep) != self._stored:
            raise AuditError(f"{self.items.place}: changed after it was scanned", self.items.on_change)
        _ = self._first

    @property
    def name(self) -> str:
        return self.items.name

    @cached_property
    def _stored(self) -> int:
        """Items, copies included."""
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
        """(channels, height, width)."""
        channels, height, width = self._first[0]
        return channels, height, width

    @property
    def stored(self) -> str:
        """Element type of the images."""
        return self._first[1].name

    @property
    def _labelled(self) -> bool:
        return self.role is not DataRole.OUT_OF_DISTRIBUTION

    def _read(self, index: int) -> tuple[NDArray[np.generic], int | None]:
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

    def _item(self, index: int) -> tuple[NDArray[np.generic], int]:
        """Pixels, uint8 or float32 [C, H, W], and label (-1 for none) of a stored item, all of it checked."""
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
        return x, self._label(label, index)

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

    def _label(self, label: int | None, index: int) -> int:
        if label is None and self.role not in labels.MAY_LACK:
            raise AuditError(f"{self.items.where(index)}: has no label", "Give items as (image, label).")
        if label is not None and self.items.classes and not 0 <= label < len(self.items.classes):
            raise AuditError(
                f"{self.items.where(index)}: label {label} is not in 0 … {len(self.items.classes) - 1}",
                "Correct the labels.",
            )
        return labels.UNLABELLED if label is None else label

    @cached_property
    def manifest(self) -> Manifest:
        """Ids, labels and digest; reads every item once and checks it, unless another process has."""
        if self.scanned is not None:
            return self.scanned
        self._check_repeatable()
        ids, named = np.empty((self._stored, 32), np.uint8), np.empty(self._stored, np.int64)
        for index, (_, label, digest) in enumerate(self._each(range(self._stored))):
            ids[index], named[index] = digest, label
        if len(np.unique(named < 0)) > 1:
            lacking = self.items.where(int(np.flatnonzero(named < 0)[0]))
            raise AuditError(f"{lacking}: has no label, but others have", "Label all items or none.")
        return manifest.build(ids, named, self.items.place)

    def _check_repeatable(self) -> None:
        for index in self._spread(self._stored):
            first, again = self._item(index), self._item(index)
            if first[1] != again[1] or first[0].tobytes() != again[0].tobytes():
                raise AuditError(f"{self.items.where(index)}: is another each time it is read", self.items.on_change)

    def _spread(self, count: int) -> list[int]:
        return [int(index) for index in np.unique(np.linspace(0, count - 1, _TWICE).astype(np.intp))]

    def class_names(self, outputs: int) -> tuple[str, ...]:
        """Names for the classes of models with this many outputs: the data set's own, or their numbers.

        Raises AuditError where it names another number of classes, or holds labels beyond the outputs.
        """
        own = self.items.classes if self._labelled else ()
        return labels.names_for(outputs, own, self.manifest, self.items.place)

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
            x = np.stack(list(islice(items, stop - start)))
            y = torch.from_numpy(found.labels[start:stop].copy()) if labels.labelled(found) else None
            yield Batch(found.ids[start:stop], values.tensor(x), y, start)

    def _verified(self, places: Iterable[int]) -> Iterator[NDArray[np.generic]]:
        """Pixels [C, H, W] of distinct items; raises AuditError where one is not what the manifest says."""
        found, stored = self.manifest, np.flatnonzero(self.manifest.keep)
        here, there = tee(places)
        for place, (x, label, digest) in zip(here, self._each(int(stored[each]) for each in there), strict=True):
            if label != found.labels[place] or not np.array_equal(digest, found.ids[place]):
                where = self.items.where(int(stored[place]))
                raise AuditError(f"{where}: is not what it was when it was first read", self.items.on_change)
            yield x

    def verify_unchanged(self) -> None:
        """Raise AuditError where files changed since they were opened, or items spread over the set since the scan."""
        self.items.verify_unchanged()
        for _ in self._verified(self._spread(len(self.manifest.ids))):
            pass
