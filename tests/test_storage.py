"""The lock on an output folder, and files that appear whole or not at all."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from audit import storage
from audit.errors import AuditError, ExitCode, StorageError

HOLDER = """
import sys
from pathlib import Path
from audit import storage
with storage.lock(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "locked\n"
    return process


def refused(folder: Path) -> AuditError:
    with pytest.raises(AuditError) as caught, storage.lock(folder):
        pass
    return caught.value


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        error = refused(tmp_path)
        assert error.what == f"{tmp_path}: another audit is writing to it"
        assert error.code == ExitCode.INPUT
        process.communicate("")
    with storage.lock(tmp_path):
        pass


def test_a_second_call_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with storage.lock(tmp_path):
        assert "another audit" in refused(tmp_path).what
        assert "another audit" in refused(tmp_path).what
    with storage.lock(tmp_path), storage.lock(tmp_path / "other"):
        pass


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert [path.name for path in tmp_path.iterdir()] == [".prune-audit.lock"]
    storage.require_free(tmp_path)
    with storage.lock(tmp_path):
        storage.require_free(tmp_path)
        assert "another audit" in refused(tmp_path).what
    assert not list(tmp_path.iterdir())


def test_a_lock_is_left_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), storage.lock(tmp_path):
        raise ZeroDivisionError
    with storage.lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_the_folder_is_made(tmp_path: Path) -> None:
    with storage.lock(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()


def test_a_lock_file_that_was_replaced_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = storage._locked

    def slow(path: Path) -> int:
        handle = locked(path)
        monkeypatch.setattr(storage, "_locked", locked)
        path.unlink()  # as the last holder does between our opening of the file and our lock on it
        return handle

    monkeypatch.setattr(storage, "_locked", slow)
    with storage.lock(tmp_path):
        assert "another audit" in refused(tmp_path).what


def test_a_lock_of_another_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / ".prune-audit.lock"
    with storage.lock(tmp_path):
        path.unlink()
        path.touch()
    assert path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    assert f"{tmp_path}: cannot be locked" in refused(tmp_path).what


def test_a_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    assert f"{tmp_path}: cannot be locked" in refused(tmp_path).what


def test_no_lock_is_followed_elsewhere(tmp_path: Path) -> None:
    (tmp_path / ".prune-audit.lock").symlink_to(tmp_path / "elsewhere")
    assert "cannot be written" in refused(tmp_path).what
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("work")
    assert str(tmp_path / "file") in refused(tmp_path / "file").what
    assert str(tmp_path / "file") in refused(tmp_path / "file" / "below").what
    assert "no usable path" in refused(tmp_path / "nul\0").what


def test_a_refused_lock_leaves_no_descriptor_open(tmp_path: Path) -> None:
    with storage.lock(tmp_path):
        before = set(Path("/proc/self/fd").iterdir())
        refused(tmp_path)
        assert set(Path("/proc/self/fd").iterdir()) <= before


def test_a_folder_with_somebodys_work_is_not_free(tmp_path: Path) -> None:
    storage.require_free(tmp_path)
    storage.require_free(tmp_path / "absent")
    (tmp_path / ".lock").touch()
    with pytest.raises(AuditError, match="not empty"):
        storage.require_free(tmp_path)


def interrupted(path: Path, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what a process leaves that is killed before its file gets its name."""
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(os, "fsync", lambda handle: os.kill(os.getpid(), signal.SIGKILL))
        storage.write_atomic(path, data)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_killed_writer_leaves_nothing_at_the_name_and_nothing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path / "below" / "plan.json", b"new", monkeypatch)
    assert not (tmp_path / "below" / "plan.json").exists()
    assert len(list((tmp_path / "below").iterdir())) == 1
    storage.require_free(tmp_path / "below")
    with pytest.raises(ZeroDivisionError), storage.lock(tmp_path):
        raise ZeroDivisionError
    assert len(list((tmp_path / "below").iterdir())) == 1
    with storage.lock(tmp_path):
        pass
    assert not list((tmp_path / "below").iterdir())


def test_sweeping_spares_everything_else(tmp_path: Path) -> None:
    names = [".hidden", ".prune-audit.toml", "prune-audit.new.x"]
    for name in names:
        (tmp_path / name).touch()
    with storage.lock(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_failed_write_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    storage.write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="file: cannot be written"):
        storage.write_atomic(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
