"""Labelled images in one `.npz` file: x, y and optionally classes; streamed, never loaded whole.

`x` is uint8, or float in [0, 1], of shape N×H×W×C or N×C×H×W; `y` holds integer labels 0 … classes - 1;
`classes` holds the class names. Object arrays, which numpy would unpickle, are refused unread.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from audit.contracts import Batch, Manifest
from audit.data import manifest
from audit.errors import AuditError
from audit.types import DataRole

Layout = Literal["auto", "NHWC", "NCHW"]
_EXPECTED = (
    "Expected an .npz with x (N×H×W×C or N×C×H×W, uint8 or float in [0, 1]), y (N labels) and optionally classes."
)
_SCAN = 4096
_CHANNELS = {1, 3, 4}


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
        with self._member("x") as (shape, dtype, _):
            if len(shape) != 4 or dtype.name not in {"uint8", "float16", "float32", "float64"}:
                raise AuditError(f"{self.path}: x is {dtype.name} of shape {shape}", _EXPECTED)
            if 0 in shape:
                raise AuditError(f"{self.path}: x is empty (shape {shape})", "An audit needs items.")
            return shape, dtype

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
        if "classes" not in self._names():
            return ()
        with self._member("classes") as (shape, dtype, stream):
            if len(shape) != 1 or dtype.kind not in "US":
                raise AuditError(f"{self.path}: classes is {dtype.name} of shape {shape}", "Store names as strings.")
            names = np.frombuffer(_take(stream, shape[0] * dtype.itemsize, self.path), dtype)
        found = tuple(n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names.tolist())
        if len(set(found)) < len(found):
            raise AuditError(f"{self.path}: a class name occurs twice", "Give every class its own name.")
        return found

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        items = self._header[0][0]
        with self._member("y") as (shape, dtype, stream):
            if len(shape) != 1 or dtype.kind not in "iu":
                raise AuditError(
                    f"{self.path}: y is {dtype.name} of shape {shape}", "Store one integer label per item."
                )
            if shape[0] != items:
                raise AuditError(f"{self.path}: {shape[0]} labels for {items} items", "Store one label per item.")
            labels = np.frombuffer(_take(stream, items * dtype.itemsize, self.path), dtype).astype(np.int64)
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
        ids = np.concatenate([manifest.item_ids(x) for x in self._stored_chunks(_SCAN)])
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
        shape, dtype = self._header
        per_item = int(np.prod(shape[1:])) * dtype.itemsize
        with self._member("x") as (_, _, stream):
            for start in range(0, shape[0], size):
                count = min(size, shape[0] - start)
                block = np.frombuffer(_take(stream, count * per_item, self.path), dtype).reshape(-1, *shape[1:])
                x = np.ascontiguousarray(block.transpose(0, 3, 1, 2)) if self._channels_last else block
                yield x if dtype == np.uint8 else self._checked(x.astype(np.float32), start)
            if stream.read(1):
                raise AuditError(f"{self.path}: x holds more bytes than its shape says", "Write the file again.")

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

    def _names(self) -> list[str]:
        with self._archive() as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (
            OSError,
            EOFError,
            zlib.error,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise AuditError(f"{self.path}: not a readable .npz file ({error})", _EXPECTED) from error

    @contextmanager
    def _member(self, name: str) -> Iterator[tuple[tuple[int, ...], np.dtype[np.generic], IO[bytes]]]:
        """(shape, dtype, stream of the values) of one array, header read and checked."""
        with self._archive() as archive:
            if f"{name}.npy" not in archive.namelist():
                raise AuditError(f"{self.path}: holds no array {name!r}", _EXPECTED)
            with archive.open(f"{name}.npy") as stream:
                yield (*self._read_header(name, stream), stream)

    def _read_header(self, name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        try:
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(stream)
        except ValueError as error:
            raise AuditError(f"{self.path}: array {name!r} has no valid header ({error})", _EXPECTED) from error
        if dtype.hasobject:
            raise AuditError(
                f"{self.path}: array {name!r} holds Python objects, which can run code when loaded",
                "Store plain numbers (and class names as strings).",
            )
        if fortran and len(shape) > 1:
            raise AuditError(f"{self.path}: array {name!r} is in Fortran order", "Use np.ascontiguousarray first.")
        return shape, dtype


def _state(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", _EXPECTED) from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _take(stream: IO[bytes], count: int, path: Path) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise AuditError(f"{path}: ends before its last item", "The file is truncated; write it again.")
    return data


def _unit(x: NDArray[np.generic]) -> NDArray[np.float32]:
    """float32 in [0, 1]."""
    return np.divide(x, np.float32(255), dtype=np.float32) if x.dtype == np.uint8 else x.astype(np.float32, copy=False)
