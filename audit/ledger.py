"""The ledger: what every model left on every chunk of every probe, on disk, sealed and shareable.

`observations/<key>.parquet` holds one model's observation of one chunk, or beyond the ledger's budget how a model
compares with the reference there; `manifest.jsonl` gains one line per
observation *after* its file is in place, with the digest that seals it. A file without a line, or a line that
does not match its file, is no observation.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit import digest
from audit.errors import AuditError
from audit.findings import Missing
from audit.storage import append_line, write_atomic
from audit.traces import Columns

MANIFEST = "manifest.jsonl"
REFUTED = "reuse-refuted"
"""Why nothing more is lent by an audit that took over what it then measured otherwise."""


@dataclass
class Ledger:
    """Observations in `folder`, and read-only those of `lenders`, earlier ledgers whose results may be reused."""

    folder: Path
    lenders: Sequence[Path] = ()

    def __post_init__(self) -> None:
        found = _entries(self.folder)
        self._seals, self._failures, self.borrowed = found.seals, found.failures, found.lent
        self._lent = [(folder, _lendable(folder)) for folder in self.lenders]
        self._appending = Lock()

    def repair(self) -> None:
        """Remove what an interruption left of a last line, before another is appended to it."""
        path = self.folder / MANIFEST
        if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
            write_atomic(path, content[: content.rfind(b"\n") + 1])

    def holds(self, key: str) -> bool:
        """Whether the observation is here, and nobody lent it."""
        return key in self._seals and key not in self.borrowed

    def has(self, key: str) -> bool:
        """Whether the observation is here; takes it over from a lender that has it, whole and sealed."""
        if key not in self._seals:
            for folder, seals in self._lent:
                if key in seals:
                    self._store({key: _sealed_bytes(folder, key, seals[key])}, lent=True)
                    self.borrowed.append(key)
                    break
        return key in self._seals

    def put(self, observations: Mapping[str, Columns]) -> None:
        """Store observations by key: each in a temporary file, synced, renamed; then the seals of all."""
        self._store({key: _encoded(key, columns) for key, columns in observations.items()})

    def fail(self, key: str, why: Missing) -> None:
        """Keep that what belongs under `key` cannot be had, and why."""
        self._append(json.dumps({"key": key, "failed": why.reason, "detail": why.detail}))
        self._failures[key] = why

    def failure(self, key: str) -> Missing | None:
        """Why there is nothing under a key, if that is known."""
        return self._failures.get(key)

    def _store(self, contents: Mapping[str, bytes], *, lent: bool = False) -> None:
        if not contents:
            return
        for key, content in contents.items():
            write_atomic(_path(self.folder, key), content)
        seals = {key: digest.of_bytes(content) for key, content in contents.items()}
        # That it was lent is kept: another start must not take it for its own measurement.
        mark = {"lent": True} if lent else {}
        lines = [json.dumps({"key": key, "sha256": seal, **mark}) for key, seal in seals.items()]
        self._append("\n".join(lines))
        self._seals |= seals

    def _append(self, lines: str) -> None:
        with self._appending:  # chunks are stored while probes fail
            append_line(self.folder / MANIFEST, lines)

    def get(self, key: str, without: str = "") -> Columns:
        """An observation's columns, but for one; raises AuditError when it is missing, foreign or damaged."""
        if key not in self._seals:
            raise AuditError(f"{_path(self.folder, key)}: not in the ledger", "Run the audit again to measure it.")
        content = _sealed_bytes(self.folder, key, self._seals[key])
        try:
            file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
            wanted = [name for name in file.schema_arrow.names if name != without]
            table = file.read(columns=wanted, use_threads=False)
        except pa.ArrowException as error:
            raise AuditError(
                f"{_path(self.folder, key)}: is no observation", "Delete the ledger, run again."
            ) from error
        if (table.schema.metadata or {}).get(b"key") != key.encode():
            raise AuditError(f"{_path(self.folder, key)}: is another observation", "Delete it and run the audit again.")
        return {name: _to_numpy(table[name].combine_chunks()) for name in table.column_names}

    def gather(self, keys: Iterable[str], without: str = "") -> Columns:
        """Several chunks, joined in the given order, but for one column; raises AuditError where one is missing."""
        parts = [self.get(key, without) for key in keys]
        if (
            len({tuple((name, values.dtype.str, values.shape[1:]) for name, values in part.items()) for part in parts})
            > 1
        ):
            raise AuditError(f"{self.folder}: the columns of a probe differ", "Delete the ledger and run again.")
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _path(folder: Path, key: str) -> Path:
    return folder / "observations" / f"{key}.parquet"


def _encoded(key: str, columns: Columns) -> bytes:
    buffer = io.BytesIO()
    table = pa.table({name: _to_arrow(values) for name, values in columns.items()})
    # Outputs hardly ever repeat: dictionaries and compression cost time and gain nothing.
    table = table.replace_schema_metadata({"key": key})
    pq.write_table(table, buffer, compression="none", use_dictionary=False, write_statistics=False)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Entries:
    """What a manifest says: seals and failures by key, and the keys of what an earlier audit lent."""

    seals: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Missing] = field(default_factory=dict)
    lent: list[str] = field(default_factory=list)


def _entries(folder: Path) -> _Entries:
    """The manifest of a ledger. A torn last line, left by an interruption, is no entry."""
    path = folder / MANIFEST
    if not path.exists():
        return _Entries()
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        entries = [json.loads(line) for line in lines[:-1]]
        failures = {e["key"]: Missing(str(e["failed"]), str(e["detail"])) for e in entries if "failed" in e}
        seals = {e["key"]: e["sha256"] for e in entries if "failed" not in e}
        return _Entries(seals, failures, list(dict.fromkeys(e["key"] for e in entries if e.get("lent"))))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AuditError(f"{path}: is damaged ({error})", "Delete the ledger and run the audit again.") from error


def _lendable(folder: Path) -> dict[str, str]:
    """The seals of an earlier ledger; raises AuditError where what it had taken over itself was refuted."""
    found = _entries(folder)
    if any(why.reason == REFUTED for why in found.failures.values()):
        raise AuditError(
            f"{folder}: holds what came out otherwise when it was measured again", "Leave it out of --reuse."
        )
    return found.seals


def _sealed_bytes(folder: Path, key: str, seal: str) -> bytes:
    path = _path(folder, key)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", "Delete the ledger and run again.") from error
    if digest.of_bytes(content) != seal:
        raise AuditError(f"{path}: does not match its seal", "It was altered or damaged; delete the ledger, run again.")
    return content


def _to_arrow(values: NDArray[Any]) -> pa.Array:
    """One-dimensional arrays as they are, rows of bytes as such, further axes as fixed-size lists of lists."""
    if values.ndim == 1:
        return pa.array(values)
    rows, last = np.ascontiguousarray(values), values.ndim
    if rows.dtype == np.uint8:  # Parquet has no integers of one byte: a list of them takes four times the room
        last -= 1
        content = [None, pa.py_buffer(rows.tobytes())]
        column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[-1]), rows.size // rows.shape[-1], content)
    else:
        column = pa.array(rows.reshape(-1))
    for size in reversed(rows.shape[1:last]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def _to_numpy(column: pa.Array) -> NDArray[Any]:
    row: list[int] = []
    while pa.types.is_fixed_size_list(column.type):
        row.append(column.type.list_size)
        column = column.flatten()
    if pa.types.is_fixed_size_binary(column.type):
        row.append(column.type.byte_width)
        size = len(column) * row[-1]
        values: NDArray[Any] = np.frombuffer(column.buffers()[1], np.uint8, size, column.offset * row[-1])
    else:
        values = column.to_numpy(zero_copy_only=False)  # flags are stored as bits
    return values.reshape(-1, *row)
