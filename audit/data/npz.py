"""Labelled images in one `.npz` file: x, y and optionally classes; streamed, never loaded whole.

`x` is uint8, or float in [0, 1], of shape N×H×W×C or N×C×H×W; `y` holds integer labels 0 … classes - 1;
`classes` holds the class names. Object arrays, which numpy would unpickle, are refused unread.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audit import inputs
from audit.contracts import Batch, Manifest
from audit.data import archive, manifest
from audit.data.archive import EXPECTED, Array
from audit.errors import AuditError
from audit.types import DataRole

Layout = Literal["auto", "NHWC", "NCHW"]
_SCAN = 4096
_SCAN_BYTES = 2**28
"""Float32 bytes that the items of one step of the scan may take in memory."""
_CHANNELS = {1, 3, 4}
_CODECS = {"<": "utf-32-le", ">": "utf-32-be", "|": "utf-8"}
"""How class names are stored, by the byte order of their dtype: numpy's U is UTF-32, its S plain bytes."""


@dataclass(frozen=True)
class NpzSource:
    """A test set in an `.npz` file; construction reads headers and labels, `manifest` scans the items once."""

    path: Path
    layout: Layout = "auto"
    role: DataRole = DataRole.TEST

    def __post_init__(self) -> None:
        _ = self._opened, self._labels, self.shape

    @cached_property
    def _opened(self) -> tuple[int, ...]:
        return _state(self.path)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def _header(self) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        with archive.array(self.path, "x") as x:
            if len(x.shape) != 4 or x.dtype.name not in {"uint8", "float16", "float32", "float64"}:
                raise AuditError(f"{self.path}: {x.kind}", EXPECTED)
            if 0 in x.shape:
                raise AuditError(f"{self.path}: x is empty (shape {x.shape})", "An audit needs items.")
            return x.shape, x.dtype

    @property
    def stored(self) -> str:
        """Element type in the file."""
        return self._header[1].name

    @cached_property
    def _channels_last(self) -> bool:
        shape = self._header[0]
        first, last = shape[1] in _CHANNELS, shape[3] in _CHANNELS
        if self.layout == "auto" and first == last:
            raise AuditError(
                f"{self.path}: cannot tell where the channels are in x of shape {shape}",
                'Say so in the audit file: [data.test] layout = "NHWC" or "NCHW" (or --data-layout).',
            )
        return last if self.layout == "auto" else self.layout == "NHWC"

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
        if len(set(found)) < len(found):
            raise AuditError(f"{self.path}: a class name occurs twice", "Give every class its own name.")
        return found

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        items = self._header[0][0]
        with archive.array(self.path, "y") as y:
            if len(y.shape) != 1 or y.dtype.kind not in "iu":
                raise AuditError(f"{self.path}: {y.kind}", "Store one integer label per item.")
            if y.shape[0] != items:
                raise AuditError(f"{self.path}: {y.shape[0]} labels for {items} items", "Store one label per item.")
            labels = y.take(items).astype(np.int64)
            y.end()
        self._check_labels(labels, len(self.classes))
        return labels

    def _check_labels(self, labels: NDArray[np.int64], classes: int) -> None:
        bad = (labels < 0) | ((labels >= classes) if classes else False)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            known = f"0 … {classes - 1}" if classes else "0 and above"
            raise AuditError(f"{self.path}: label {labels[row]} of item {row} is not in {known}", "Correct the labels.")

    def class_names(self, outputs: int) -> tuple[str, ...]:
        """Names for the classes of models with this many outputs: the file's own, or their numbers.

        Raises AuditError where the file names another number of classes, or holds labels beyond the outputs.
        """
        if self.classes and len(self.classes) != outputs:
            raise AuditError(
                f"{self.path}: names {len(self.classes)} classes, but the models have {outputs} outputs",
                "Use the test set that belongs to these models.",
            )
        self._check_labels(self._labels, outputs)
        return self.classes or tuple(map(str, range(outputs)))

    def verify_unchanged(self) -> None:
        """Raise AuditError where the file was written to since it was opened; its items were checked when read."""
        if _state(self.path) != self._opened:
            raise AuditError(f"{self.path}: changed during the audit", "Run the audit again on a file at rest.")

    @cached_property
    def manifest(self) -> Manifest:
        """Ids, labels and digest; reads every item once and checks its values."""
        size = max(1, min(_SCAN, _SCAN_BYTES // (4 * math.prod(self.shape))))
        ids = np.concatenate([manifest.item_ids(x) for x in self._stored_chunks(size)])
        return manifest.build(ids, self._labels, str(self.path))

    def chunks(self, size: int) -> Iterator[Batch]:
        """The distinct items in stored order, `size` at a time, each checked against the manifest."""
        import torch

        kept, stored, done = self.manifest, 0, 0
        pending: list[NDArray[np.generic]] = []
        for x in self._stored_chunks(size):
            keep = kept.keep[stored : stored + len(x)]
            stored += len(x)
            pending.append(x[keep])
            while sum(map(len, pending)) >= size or (stored == len(kept.keep) and any(map(len, pending))):
                block = np.concatenate(pending)
                x, pending = block[:size], [block[size:]]
                rows = slice(done, done + len(x))
                done = rows.stop
                if not np.array_equal(manifest.item_ids(x), kept.ids[rows]):
                    raise AuditError(f"{self.path}: changed while it was being read", "Audit a file at rest.")
                yield Batch(kept.ids[rows], torch.from_numpy(_unit(x)), torch.from_numpy(kept.labels[rows]))

    def _stored_chunks(self, size: int) -> Iterator[NDArray[np.generic]]:
        """Arrays [≤ size, C, H, W] as stored (uint8) or as float32; raises on values outside the declared range."""
        with archive.array(self.path, "x") as stored:
            if (stored.shape, stored.dtype) != self._header:
                raise AuditError(f"{self.path}: changed while it was being read", "Audit a file at rest.")
            for start in range(0, stored.shape[0], size):
                block = stored.take(min(size, stored.shape[0] - start))
                x = np.ascontiguousarray(block.transpose(0, 3, 1, 2)) if self._channels_last else block
                yield x if stored.dtype == np.uint8 else self._checked(x.astype(np.float32), start)
            stored.end()

    def _checked(self, x: NDArray[np.float32], start: int) -> NDArray[np.float32]:
        flat = x.reshape(len(x), -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        good = (low >= 0) & (high <= 1)  # False for NaN as well
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise AuditError(
                f"{self.path}: item {start + row} has values from {low[row]:g} to {high[row]:g}, outside [0, 1]",
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


def _unit(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """float32 in [0, 1]."""
    return np.divide(x, np.float32(255), dtype=np.float32) if x.dtype == np.uint8 else x.astype(np.float32, copy=False)
