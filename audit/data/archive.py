"""The arrays in `.npz` and `.npy` files: headers checked before a value is read, values streamed, nothing unpickled."""

import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from audit import inputs
from audit.data.spans import runs
from audit.errors import AuditError

EXPECTED = (
    "Expected an .npz with x (N×H×W×C or N×C×H×W, uint8 or float in [0, 1]), y (N labels) and optionally classes."
)
EXPECTED_ALONE = "Expected an .npy with items N×H×W×C, N×C×H×W or N×H×W, uint8 or float in [0, 1]."
MAGIC = npy.MAGIC_PREFIX
"""How an `.npy` file begins."""
_ALONE = "the array"
"""What the one array of an `.npy` file is called in errors."""
_CODECS = {"<": "utf-32-le", ">": "utf-32-be", "|": "utf-8"}
"""How strings are stored, by the byte order of their dtype: numpy's U is UTF-32, its S plain bytes."""
_PASSED_BY = 2**20
"""Bytes that are read at once where their values do not matter."""
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
"""What `zipfile` raises on files that are damaged, encrypted, or compressed in a way it does not know."""


@dataclass(frozen=True, slots=True)
class Array:
    """One array whose header has been read: its values follow on `stream`, in C order.

    Of a `part` of an array, other values may follow the last one.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    stream: IO[bytes]
    part: bool = False

    @property
    def kind(self) -> str:
        """Type and shape in words."""
        return f"{self.name} is {self.dtype.name} of shape {self.shape}"

    def bytes(self, rows: int) -> bytes:
        """The bytes of the next `rows` entries of the first axis; raises AuditError where there are fewer."""
        count = rows * math.prod(self.shape[1:]) * self.dtype.itemsize
        data = self.stream.read(count)
        if len(data) != count:
            raise AuditError(f"{self.path}: ends before its last item", "The file is truncated; write it again.")
        return data

    def take(self, rows: int) -> NDArray[np.generic]:
        """The next `rows` entries of the first axis."""
        return np.frombuffer(self.bytes(rows), self.dtype).reshape(rows, *self.shape[1:])

    def text(self, what: str) -> str:
        """The next entry of an array of strings, which is `what`; raises AuditError where it is no text.

        Decoded strictly, for numpy itself would hand that on or crash at it.
        """
        try:
            return self.bytes(1).decode(_CODECS[self.dtype.str[0]]).rstrip("\0")
        except UnicodeDecodeError as error:
            raise AuditError(
                f"{self.path}: {what} is not text ({error.reason})", "Store names as Unicode strings."
            ) from error

    def skip(self, rows: int) -> int:
        """Pass by the next `rows` entries; returns how many those were."""
        self.bytes(rows)
        return rows

    def rows_of(self, size: int) -> int:
        """How many entries of the first axis take about `size` bytes; at least 1."""
        return max(1, size // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))

    def end(self) -> None:
        """Raise AuditError where values follow the last one; also makes `zipfile` compare its checksum."""
        if not self.part and self.stream.read(1):
            raise AuditError(f"{self.path}: {self.name} holds more bytes than its shape says", "Write the file again.")


@dataclass(slots=True)
class Rows:
    """The entries of an array's first axis, read forward: memory holds what is asked for, not what is passed by."""

    array: Array
    at: int = 0

    def pick(self, rows: NDArray[np.intp]) -> NDArray[np.generic]:
        """The given entries, ascending and not before the last ones; raises AuditError where the file ends early."""
        blocks = [self._read(start, stop) for start, stop in runs(rows, self.array.shape[0])]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _read(self, start: int, stop: int) -> NDArray[np.generic]:
        step = self.array.rows_of(_PASSED_BY)
        while self.at < start:
            self.at += self.array.skip(min(step, start - self.at))
        self.at = stop
        return self.array.take(stop - start)


def names(path: Path) -> tuple[str, ...]:
    """Names of the arrays, each held once."""
    with _opened(path) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


@contextmanager
def array(path: Path, name: str) -> Iterator[Array]:
    """One array, header read and checked; raises AuditError for a file or an array that is not sound."""
    with _opened(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise AuditError(f"{path}: holds no array {name!r}", EXPECTED)
        with archive.open(f"{name}.npy") as stream:
            yield Array(path, name, *_header(path, f"array {name!r}", stream, EXPECTED), stream)


@contextmanager
def alone(path: Path, rows: tuple[int, int] | None = None) -> Iterator[Array]:
    """The array in an `.npy` file, or the entries `rows` = (start, stop) of its first axis.

    Raises AuditError for a file that is not sound, or does not hold just as many bytes as its header says.
    """
    size = inputs.regular(path, EXPECTED_ALONE).st_size
    try:
        with path.open("rb") as stream:
            shape, dtype = _header(path, _ALONE, stream, EXPECTED_ALONE)
            count = math.prod(shape[1:]) * dtype.itemsize
            stored, said = size - stream.tell(), math.prod(shape) * dtype.itemsize
            if not shape or stored != said:
                raise AuditError(
                    f"{path}: holds {stored} bytes of values, but its header says {said} (shape {shape})",
                    "The file is damaged; write it again.",
                )
            start, stop = rows or (0, shape[0])
            stream.seek(start * count, os.SEEK_CUR)
            yield Array(path, _ALONE, (stop - start, *shape[1:]), dtype, stream, part=True)
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", EXPECTED_ALONE) from error


def begins(path: Path, hint: str) -> bytes:
    """The first bytes of a file, as many as tell an `.npz` from an `.npy`; raises AuditError where it has none to read.

    Its name does not matter.
    """
    inputs.regular(path, hint)
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC))
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.namelist()
            twice = next((name for name in found if found.count(name) > 1), None)
            if twice:
                raise AuditError(f"{path}: holds {twice!r} more than once", "Keep the one that counts.")
            yield archive
    except _UNREADABLE as error:
        raise AuditError(f"{path}: not a readable .npz file ({error})", EXPECTED) from error


def _header(path: Path, what: str, stream: IO[bytes], hint: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # a header is parsed as Python, which can fail as Python does: in any way
        raise AuditError(f"{path}: {what} has no valid header ({error})", hint) from error
    if dtype.hasobject:
        raise AuditError(
            f"{path}: {what} holds Python objects, which can run code when loaded",
            "Store plain numbers (and class names as strings).",
        )
    if any(size < 0 for size in shape):
        raise AuditError(f"{path}: {what} has no valid header (shape {shape})", hint)
    if fortran and len(shape) > 1:
        raise AuditError(f"{path}: {what} is in Fortran order", "Use np.ascontiguousarray first.")
    return shape, dtype
