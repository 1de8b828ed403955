"""Writing files so that a reader never sees half of one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audit.errors import AuditError, StorageError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn what keeps a path from being written into an error that names it: a full medium, or a bad path."""
    try:
        yield
    except OSError as error:
        what = f"{path}: cannot be written ({error.strerror})"
        if error.errno in _NO_ROOM:
            hint = "Free some space or choose another --out; the same command then goes on where it stopped."
            raise StorageError(what, hint) from error
        raise AuditError(what, "Choose an --out that can be written to.") from error


def exists(path: Path) -> bool:
    """Whether something is there; raises AuditError for a path that cannot be one."""
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise AuditError(f"{str(path)!r}: is no usable path ({error})", "Choose another --out.") from error


def require_free(folder: Path) -> None:
    """Refuse a folder that holds anything: what is there may be somebody's work."""
    if exists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise AuditError(f"{folder}: is not empty and holds no audit", "Choose another --out, or an empty folder.")


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole or not at all: temporary file, sync, rename."""
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def append_line(path: Path, line: str) -> None:
    """Append one synced line; a torn last line is for the reader to discard."""
    with guarded(path), path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())
