"""Labelled images in one `.npz` file: x, y and optionally classes; streamed, never loaded whole.

`x` is uint8, or float in [0, 1], of shape N×H×W×C or N×C×H×W; `y` holds integer labels 0 … classes - 1;
`classes` holds the class names. Calibration data may lack `y`; out-of-distribution data need none, and theirs is
not read. Object arrays, which numpy would unpickle, are refused unread.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audit import inputs
from audit.contracts import Batch, Manifest
from audit.data import ahead, archive, labels, manifest, values
from audit.data.archive import EXPECTED, Array, Rows
from audit.data.spans import spans
from audit.errors import AuditError
from audit.types import DataRole

_SCAN_BYTES = 2**22
"""Float32 bytes that the items of one step of the scan may take in memory: little more is not faster."""
_CODECS = {"<": "utf-32-le", ">": "utf-32-be", "|": "utf-8"}
"""How class names are stored, by the byte order of their dtype: numpy's U is UTF-32, its S plain bytes."""


@dataclass(frozen=True)
class NpzSource:
    """A test set in an `.npz` file; construction reads headers and labels, `manifest` scans the items once."""

    path: Path
    layout: values.Layout = "auto"
    role: DataRole = DataRole.TEST
    scanned: Manifest | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _ = self._opened, self._labels, self.shape
        if self.scanned is not None:
            self._check_scan(self.scanned)

    @cached_property
    def _opened(self) -> tuple[int, ...]:
        return _state(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        with archive.array(self.path, "x") as x:
            if len(x.shape) != 4 or x.dtype.name not in values.TYPES:
                raise AuditError(f"{self.path}: {x.kind}", EXPECTED)
            if 0 in x.shape:
                raise AuditError(f"{self.path}: x is empty (shape {x.shape})", "An audit needs items.", "empty-data")
            return x.shape, x.dtype

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
        """(channels, height, width)."""
        _, a, b, c = self._header[0]
        return (c, a, b) if self._channels_last else (a, b, c)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names; () where the file does not name them."""
        if "classes" not in archive.names(self.path):
            return ()
        with archive.array(self.path, "classes") as stored:
            if len(stored.shape) != 1 or stored.dtype.kind not in "US" or not stored.dtype.itemsize:
                raise AuditError(f"{self.path}: {stored.kind}", "Store names as strings.")
            found = tuple(_text(stored, index) for index in range(stored.shape[0]))
            stored.end()
        return labels.check_names(found, str(self.path))

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        """Of all stored items [N]; -1 where the role is one that needs none and none are used."""
        items = self._header[0][0]
        unused = self.role is DataRole.OUT_OF_DISTRIBUTION
        if unused or (self.role in labels.MAY_LACK and "y" not in archive.names(self.path)):
            return np.broadcast_to(np.int64(labels.UNLABELLED), (items,))  # no memory for what a header promises
        with archive.array(self.path, "y") as y:
            if len(y.shape) != 1 or y.dtype.kind not in "iu":
                raise AuditError(f"{self.path}: {y.kind}", "Store one integer label per item.")
            if y.shape[0] != items:
                raise AuditError(f"{self.path}: {y.shape[0]} labels for {items} items", "Store one label per item.")
            found = y.take(items).astype(np.int64)
            y.end()
        labels.check(found, len(self.classes), str(self.path))
        return found

    def class_names(self, outputs: int) -> tuple[str, ...]:
        """Names for the classes of models with this many outputs: the file's own, or their numbers.

        Raises AuditError where the file names another number of classes, or holds labels beyond the outputs.
        """
        own = () if self.role is DataRole.OUT_OF_DISTRIBUTION else self.classes
        return labels.names_for(outputs, own, self.manifest, str(self.path))

    def verify_unchanged(self) -> None:
        """Raise AuditError where the file was written to since it was opened; its items were checked when read."""
        if _state(self.path) != self._opened:
            raise AuditError(f"{self.path}: changed during the audit", "Run the audit again on a file at rest.")

    @cached_property
    def manifest(self) -> Manifest:
        """Ids, labels and digest; reads every item once and checks its values, unless another process has."""
        if self.scanned is not None:
            return self.scanned
        items = self._header[0][0]
        size = max(1, min(items, _SCAN_BYTES // (4 * math.prod(self.shape))))
        rows = (np.arange(start, min(start + size, items)) for start in range(0, items, size))
        ids = np.concatenate([manifest.item_ids(x) for x in self._read(rows)])
        return manifest.build(ids, self._labels, str(self.path))

    def _check_scan(self, found: Manifest) -> None:
        if len(found.keep) != len(self._labels) or not np.array_equal(found.labels, self._labels[found.keep]):
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
        named = labels.labelled(found)
        for (start, stop), x in zip(parts, self._read(stored[a:b] for a, b in parts), strict=True):
            ids = found.ids[start:stop]
            if not np.array_equal(manifest.item_ids(x), ids):
                raise AuditError(f"{self.path}: changed while it was being read", "Audit a file at rest.")
            y = torch.from_numpy(found.labels[start:stop].copy()) if named else None
            yield Batch(ids, values.tensor(x), y, start)

    def _read(self, picks: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.generic]]:
        """Arrays [N, C, H, W], as stored (uint8) or as float32, of the stored items that each pick names, ascending.

        Raises AuditError for values outside [0, 1], and, where the last item is read, for bytes that follow it.
        """
        with archive.array(self.path, "x") as stored:
            if (stored.shape, stored.dtype) != self._header:
                raise AuditError(f"{self.path}: changed while it was being read", "Audit a file at rest.")
            rows = Rows(stored)
            for pick in picks:
                x = self._channels_first(rows.pick(pick))
                yield x if stored.dtype == np.uint8 else self._checked(values.unsigned(x.astype(np.float32)), pick)
            if rows.at == stored.shape[0]:
                stored.end()

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


def _state(path: Path) -> tuple[int, ...]:
    found = inputs.regular(path, EXPECTED)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _text(names: Array, index: int) -> str:
    """The next class name; decoded strictly, for numpy itself would hand on or crash at what is no text."""
    try:
        return names.bytes(1).decode(_CODECS[names.dtype.str[0]]).rstrip("\0")
    except UnicodeDecodeError as error:
        raise AuditError(
            f"{names.path}: the name of class {index} is not text ({error.reason})", "Store names as Unicode strings."
        ) from error
