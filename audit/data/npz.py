"""Labelled items in one `.npz` file: x, y and optionally classes; streamed, never loaded whole.

`x` is uint8, or float in [0, 1], of shape N×H×W×C or N×C×H×W; where the items have bounds, in arrays `low` and `high`
or in the audit file, they are numbers of any shape. `y` holds integer labels 0 … classes - 1, or what the task of the
audit wants; `classes` holds the class names. Calibration data may lack `y`; out-of-distribution data need none, and
theirs is not read. Object arrays, which numpy would unpickle, are refused unread.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from audit import inputs
from audit.contracts import Batch
from audit.data import ahead, archive, features, labels, manifest, values
from audit.data.archive import EXPECTED, Array, Rows
from audit.data.form import IMAGES, Form
from audit.data.spans import spans
from audit.data.targets import summed
from audit.dataset import Attribute, Ids, Labels, Manifest
from audit.errors import AuditError
from audit.models.adapter import Features
from audit.types import DataRole, TaskKind

_SCAN_BYTES = 2**22
"""Float32 bytes that the items of one step of the scan may take in memory: little more is not faster."""


@dataclass(frozen=True)
class NpzSource:
    """A test set in an `.npz` file; construction reads headers and labels, `manifest` scans the items once."""

    path: Path
    layout: values.Layout = "auto"
    role: DataRole = DataRole.TEST
    scanned: Manifest | None = field(default=None, compare=False, repr=False)
    form: Form = IMAGES
    attributes: tuple[Attribute, ...] = field(default=(), compare=False, repr=False, kw_only=True)
    """What is said of all stored items."""
    expected: ClassVar[str] = EXPECTED

    def __post_init__(self) -> None:
        _ = self._opened, self.shape, self._labels
        if self.scanned is not None:
            self._check_scan(self.scanned)

    @cached_property
    def _opened(self) -> tuple[int, ...]:
        return self._state()

    def _state(self) -> tuple[int, ...]:
        """What would be another if somebody wrote to what is read."""
        return state(self.path, EXPECTED)

    @property
    def size(self) -> int:
        """Stored items, copies included."""
        return self._header[0][0]

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the arrays that there are."""
        return archive.names(self.path)

    def _array(self, name: str) -> AbstractContextManager[Array]:
        return archive.array(self.path, name)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        with self._array("x") as x:
            if 0 in x.shape:
                raise AuditError(
                    f"{self.path}: {x.name} is empty (shape {x.shape})", "An audit needs items.", "empty-data"
                )
            image = len(x.shape) == 4 and x.dtype.name in values.TYPES
            if not (image or (self._limits and len(x.shape) > 1 and x.dtype.kind in "iuf")):
                bounds = " Items that are no images need bounds: low and high." if len(x.shape) == 2 else ""
                raise AuditError(f"{self.path}: {x.kind}", f"{self.expected}{bounds}")
            return x.shape, x.dtype

    @cached_property
    def _limits(self) -> tuple[NDArray[np.generic], NDArray[np.generic]] | None:
        """The bounds of items that are no images: those of the audit file, or of the file itself."""
        if self.form.low is not None and self.form.high is not None:
            return np.asarray(self.form.low), np.asarray(self.form.high)
        if not {"low", "high"} <= {*self._names}:
            return None
        return self._end("low"), self._end("high")

    def _end(self, name: str) -> NDArray[np.generic]:
        with self._array(name) as stored:
            if stored.dtype.kind not in "iuf" or stored.shape == ():
                raise AuditError(f"{self.path}: {stored.kind}", "Store one number per feature.")
            found = stored.take(stored.shape[0])
            stored.end()
        return found

    @cached_property
    def features(self) -> Features | None:
        """Shape and bounds of items that are no images."""
        if self._limits is None:
            return None
        return features.bounded(self._header[0][1:], *self._limits, str(self.path))

    @property
    def stored(self) -> str:
        """Element type in the file."""
        return self._header[1].name

    @cached_property
    def _channels_last(self) -> bool:
        shape = self._header[0]
        found = values.channels_last((shape[1], shape[3]), self.layout)
        if found is None:
            raise AuditError(
                f"{self.path}: cannot tell where the channels are in x of shape {shape}",
                'Say so in the audit file: [data.test] layout = "NHWC" or "NCHW" (or --data-layout).',
            )
        return found

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width), or (features, 1, 1)."""
        if self.features is not None:
            return len(self.features.low), 1, 1
        _, a, b, c = self._header[0]
        return (c, a, b) if self._channels_last else (a, b, c)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names; () where the file does not name them."""
        if "classes" not in self._names:
            return ()
        with self._array("classes") as stored:
            if len(stored.shape) != 1 or stored.dtype.kind not in "US" or not stored.dtype.itemsize:
                raise AuditError(f"{self.path}: {stored.kind}", "Store names as strings.")
            found = tuple(stored.text(f"the name of class {index}") for index in range(stored.shape[0]))
            stored.end()
        return labels.check_names(found, str(self.path))

    @cached_property
    def _masks(self) -> bool:
        """Whether targets are masks, which are read with the items."""
        return self.form.targets.kind is TaskKind.SEGMENTATION and bool((self._labels >= 0).all())

    @cached_property
    def _labels(self) -> Labels:
        """Targets of all stored items [N, …]; -1 where the role needs none and none are used, 0 in place of masks."""
        items = self._header[0][0]
        unused = self.role is DataRole.OUT_OF_DISTRIBUTION
        if unused or (self.role in labels.MAY_LACK and "y" not in self._names):
            return np.broadcast_to(np.int64(labels.UNLABELLED), (items,))  # no memory for what a header promises
        with self._array("y") as y:
            self.form.targets.check(y.shape, y.dtype, self.shape, f"{y.path}: {y.kind}")
            if y.shape[0] != items:
                raise AuditError(f"{y.path}: {y.shape[0]} labels for {items} items", "Store one label per item.")
            if self.form.targets.kind is TaskKind.SEGMENTATION:
                return np.broadcast_to(np.int64(0), (items,))
            found = self.form.targets.block(y.take(items), str(y.path))
            y.end()
        if self.form.targets.by_class:
            labels.check(found, len(self.classes), str(y.path))
        return found

    def class_names(self, outputs: int) -> tuple[str, ...]:
        """Names for the classes of models with this many outputs: the file's own, or their numbers.

        Raises AuditError where the file names another number of classes, or holds labels beyond the outputs.
        """
        own = () if self.role is DataRole.OUT_OF_DISTRIBUTION else self.classes
        return self.form.targets.class_names(outputs, own, self.manifest, self._labelled_by, self._decided)

    @property
    def _labelled_by(self) -> str:
        """The file that holds the labels, for errors."""
        return str(self.path)

    @cached_property
    def _decided(self) -> int:
        """Of how many values decisions are taken, 0 where targets are no such values."""
        if self.form.targets.kind is not TaskKind.CONTROL or not labels.labelled(self.manifest):
            return 0
        with self._array("y") as y:
            return y.shape[1] if len(y.shape) == 2 else 0

    def verify_unchanged(self) -> None:
        """Raise AuditError where the file was written to since it was opened; its items were checked when read."""
        if self._state() != self._opened:
            raise AuditError(f"{self.path}: changed during the audit", "Run the audit again on a file at rest.")

    @cached_property
    def manifest(self) -> Manifest:
        """Ids, labels and digest; reads every item once and checks its values, unless another process has."""
        if self.scanned is not None:
            return self.scanned
        items = self._header[0][0]
        size = max(1, min(items, _SCAN_BYTES // (4 * math.prod(self.shape))))

        def steps() -> Iterator[NDArray[np.intp]]:  # no list: a header may promise more than there is
            return (np.arange(start, min(start + size, items)) for start in range(0, items, size))

        ids: list[Ids] = []
        named: list[Labels] = []
        masked: list[Mapping[int, tuple[int, float]]] = []
        for x, masks in zip(self._read(steps()), self._targets(steps()), strict=True):
            ids.append(manifest.item_ids(x))
            if masks is not None:
                named.append(manifest.labels_of(masks))
                masked.append(self.form.targets.masked(masks))
        targets = np.concatenate(named) if named else self._labels
        return manifest.build(np.concatenate(ids), targets, str(self.path), summed(masked), self.attributes)

    def _check_scan(self, found: Manifest) -> None:
        same = self._masks or np.array_equal(found.labels, self._labels[found.keep[: len(self._labels)]])
        if len(found.keep) != len(self._labels) or not same:
            raise AuditError(f"{self.path}: changed after it was scanned", "Audit a file at rest.")

    def batches(self, size: int, wanted: NDArray[np.bool_]) -> Iterator[Batch]:
        """The distinct items marked in `wanted` bool [N], in stored order, each checked against the manifest.

        See `DataSource.batches`. Raises ValueError for a size or a mask that makes no sense.
        """
        return ahead.one_ahead(self._batches(spans(size, wanted, len(self.manifest.ids))))

    def _batches(self, parts: list[tuple[int, int]]) -> Iterator[Batch]:
        import torch

        found = self.manifest
        stored = np.flatnonzero(found.keep)
        named, rows = labels.labelled(found), [stored[a:b] for a, b in parts]
        for (start, stop), x, masks in zip(parts, self._read(rows), self._targets(rows), strict=True):
            ids, targets = found.ids[start:stop], found.labels[start:stop]
            same = masks is None or np.array_equal(manifest.labels_of(masks), targets)
            if not same or not np.array_equal(manifest.item_ids(x), ids):
                raise AuditError(f"{self.path}: changed while it was being read", "Audit a file at rest.")
            y = torch.from_numpy(targets.copy() if masks is None else masks) if named else None
            yield Batch(ids, values.tensor(x), y, start)

    def _targets(self, picks: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.int16] | None]:
        """Masks int16 [N, H, W] of the stored items that each pick names; None where targets are no masks."""
        if not self._masks:
            yield from (None for _ in picks)
            return
        with self._array("y") as stored:
            self.form.targets.check(stored.shape, stored.dtype, self.shape, f"{self.path}: {stored.kind}")
            rows = Rows(stored)
            for pick in picks:
                yield self.form.targets.block(rows.pick(pick), str(self.path), int(pick[0]))
            if rows.at == stored.shape[0]:
                stored.end()

    def _read(self, picks: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.generic]]:
        """Arrays [N, C, H, W], as stored (uint8) or as float32, of the stored items that each pick names, ascending.

        Raises AuditError for values outside [0, 1], and, where the last item is read, for bytes that follow it.
        """
        with self._array("x") as stored:
            if (stored.shape, stored.dtype) != self._header:
                raise AuditError(f"{self.path}: changed while it was being read", "Audit a file at rest.")
            rows = Rows(stored)
            for pick in picks:
                if self.features is not None:
                    yield features.shares(rows.pick(pick), self.features, self._namer(pick))
                    continue
                x = self._channels_first(rows.pick(pick))
                yield x if stored.dtype == np.uint8 else self._checked(values.unsigned(x.astype(np.float32)), pick)
            if rows.at == stored.shape[0]:
                stored.end()

    def _namer(self, rows: NDArray[np.intp]) -> Callable[[int], str]:
        return lambda row: f"{self.path}: item {rows[row]}"

    def _channels_first(self, block: NDArray[np.generic]) -> NDArray[np.generic]:
        """A writable copy [N, C, H, W] in C order; plane by plane, which is twice as fast as numpy's transposition."""
        if not self._channels_last:
            return block.copy()
        x = np.empty((len(block), *self.shape), block.dtype)
        for channel in range(self.shape[0]):
            x[:, channel] = block[..., channel]
        return x

    def _checked(self, x: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
        if bad := values.outside(x):
            row, low, high = bad
            raise AuditError(
                f"{self.path}: item {rows[row]} has values from {low:g} to {high:g}, outside [0, 1]",
                "Store uint8, or float scaled to [0, 1] without NaN; the mean and std belong in the audit file.",
            )
        return x


def state(path: Path, hint: str) -> tuple[int, ...]:
    """Inode, size and time of the last change of a regular file; raises AuditError for anything else."""
    found = inputs.regular(path, hint)
    return found.st_ino, found.st_size, found.st_mtime_ns
