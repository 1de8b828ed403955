"""Writing files so that a reader never sees half of one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from audit.errors import AuditError, StorageError

_OURS = ".prune-audit."
"""How the names of files begin that mean nothing once their writer is gone."""
_UNFINISHED = f"{_OURS}new."
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
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise AuditError(f"{str(path)!r}: is no usable path ({error})", "Choose another --out.") from error
    return True


def require_free(folder: Path) -> None:
    """Refuse a folder that holds anything: what is there may be somebody's work."""
    if exists(folder) and (not folder.is_dir() or any(not path.name.startswith(_OURS) for path in folder.iterdir())):
        raise AuditError(f"{folder}: is not empty and holds no audit", "Choose another --out, or an empty folder.")


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep every other audit out of `folder`, which is made if need be, until this process leaves or dies.

    What killed writers left unfinished in it is removed when all has gone well, so only from a folder that was ours.
    Raises AuditError where another holds the lock, and where the file system has none: never does this go on unlocked.
    """
    if not exists(folder):
        with guarded(folder):
            folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_OURS}lock"
    while not _is_at(path, handle := _locked(path)):
        os.close(handle)  # its last holder removed it meanwhile: a lock that others can make anew keeps nobody out
    try:
        yield
        _sweep(folder)
    finally:
        if _is_at(path, handle):
            with suppress(OSError):  # a file that stays does no harm
                path.unlink()
        os.close(handle)


def _locked(path: Path) -> int:
    """An open descriptor that holds the lock on a file."""
    with guarded(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        _flock(handle, path.parent)
    except BaseException:
        os.close(handle)
        raise
    return handle


def _is_at(path: Path, handle: int) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False


def _flock(handle: int, folder: Path) -> None:
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AuditError(
            f"{folder}: another audit is writing to it", "Wait for its end, or choose another --out."
        ) from error
    except (ImportError, OSError) as error:
        raise AuditError(f"{folder}: cannot be locked ({error})", "Choose an --out on a local disk.") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole or not at all: temporary file, sync, rename."""
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
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


def _sweep(folder: Path) -> None:
    for path in folder.rglob(f"{_UNFINISHED}*"):
        with guarded(path):
            path.unlink()


def append_line(path: Path, line: str) -> None:
    """Append one synced line; a torn last line is for the reader to discard."""
    with guarded(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with guarded(path), path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")
        stream.flush()
        os.fsync(stream.fileno())
