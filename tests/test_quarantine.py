"""What a reader of hostile files may do to the audit: nothing but fail by name."""

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch

from audit import quarantine, resources
from audit.digest import Json
from audit.errors import AuditError, ExitCode, StorageError
from tests import trial as functions
from tests.world import REFERENCE, network


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of this program that has one module more."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "audit").mkdir()
    for path in (resources.HOME / "audit").iterdir():
        (folder / "audit" / path.name).symlink_to(path)
    (folder / "audit" / "trial.py").write_text(functions.SOURCE)
    return folder


@pytest.fixture(autouse=True)
def installed(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test runs that installation, and leaves neither a child nor an open file."""
    monkeypatch.setattr(resources, "HOME", home)
    files, children, threads = set(Path("/proc/self/fd").iterdir()), offspring(), threading.active_count()
    yield
    assert set(Path("/proc/self/fd").iterdir()) <= files
    assert offspring() <= children
    assert threading.active_count() <= threads


def offspring() -> set[str]:
    """Children of this process, dead ones that nobody waited for included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def trial(name: str, payload: Json = None, *, memory: int = 2 * 10**9, seconds: float = 60) -> Json:
    return quarantine.call(f"audit.trial:{name}", payload, subject="odd.npz", memory=memory, seconds=seconds)


def failure(name: str, payload: Json = None, **limits: float) -> AuditError:
    with pytest.raises(AuditError) as caught:
        trial(name, payload, **limits)  # type: ignore[arg-type]
    assert caught.value.what.startswith("odd.npz: ")
    assert caught.value.code == ExitCode.INPUT
    return caught.value


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 0.1, "é \udcff\0", [1, [2]], {"a": {"b": None}}, "x" * 300_000],
    ids=["null", "bool", "int", "float", "text", "list", "object", "long"],
)
def test_values_pass_both_ways(value: Json) -> None:
    assert trial("echo", value) == value


def test_an_error_for_the_user_arrives_as_it_was_raised() -> None:
    with pytest.raises(AuditError) as caught:
        trial("refuses")
    assert type(caught.value) is AuditError
    assert (caught.value.what, caught.value.hint) == ("the file is upside down", "Turn it.")


def test_an_error_keeps_its_class_and_exit_code() -> None:
    with pytest.raises(StorageError, match="no room") as caught:
        trial("full")
    assert caught.value.code == ExitCode.NOT_EVALUATED


@pytest.mark.parametrize(
    ("name", "said"),
    [("bug", "KeyError: 'planted'"), ("leaves", "SystemExit"), ("nan", "ValueError"), ("absent", "AttributeError")],
)
def test_a_bug_of_ours_is_no_error_of_the_user(name: str, said: str) -> None:
    with pytest.raises(RuntimeError, match=said) as caught:
        trial(name)
    assert "Traceback" in str(caught.value)
    assert "odd.npz" in str(caught.value)


@pytest.mark.parametrize("name", ["allocates", "maps"])
def test_memory_is_limited(name: str) -> None:
    assert trial(name, 10**6, memory=5 * 10**8) == 10**6
    assert "used more than 0.5 GB of memory" in failure(name, 10**9, memory=5 * 10**8).what


@pytest.mark.parametrize("name", ["starves", "aborts"])
def test_other_words_for_want_of_memory_are_understood(name: str) -> None:
    assert "used more than 2.0 GB of memory" in failure(name).what


@pytest.mark.parametrize("name", ["loops", "sleeps", "floods"])
def test_time_is_limited(name: str) -> None:
    assert "took longer than 1 s" in failure(name, seconds=1).what


def test_of_endless_complaints_the_last_are_kept() -> None:
    with quarantine.start("audit.trial:floods", None, subject="odd.npz", memory=10**9, seconds=1) as running:
        with pytest.raises(AuditError, match="took longer"):
            running.result()
        assert len(running._heard.result().errors) <= 2**16


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_dies_is_named(number: signal.Signals) -> None:
    assert f"crashed ({number.name})" in failure("dies", int(number)).what


def test_a_crash_in_native_code_is_named() -> None:
    assert "crashed (SIGSEGV)" in failure("crashes").what


def test_a_child_that_falls_silent_and_stays_is_ended() -> None:
    assert "crashed (SIGKILL)" in failure("closes").what


@pytest.mark.parametrize("status", [0, 3])
def test_a_child_that_ends_without_an_answer_is_named(status: int) -> None:
    assert f"without an answer (status {status})" in failure("ends", status).what


def test_what_is_printed_is_no_answer() -> None:
    assert trial("prints") == "true answer"


@pytest.mark.parametrize(
    "answer",
    ["garbage", "{}", "[]", '{"error": ["RuntimeError", "a", "b"]}', '{"error": ["AuditError", 1, 2]}', '{"bug": 1}'],
)
def test_nonsense_is_no_answer(answer: str) -> None:
    assert "without an answer" in failure("answers", answer).what


def test_nonsense_too_deep_to_read_is_no_answer() -> None:
    assert "without an answer" in failure("nested").what


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "_ANSWER", 100_000)
    assert trial("echo", "x" * 90_000)
    assert "more than 100000 bytes" in failure("echo", "x" * 300_000).what


def test_limits_stand_and_cannot_be_raised() -> None:
    limits = trial("about", ["RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_CORE", "RLIMIT_CPU"], seconds=30)["limits"]  # type: ignore[call-overload, index]
    assert limits["RLIMIT_DATA"] == [2 * 10**9] * 2
    assert limits["RLIMIT_FSIZE"] == limits["RLIMIT_CORE"] == [0, 0]
    assert limits["RLIMIT_CPU"] == [30 * (os.cpu_count() or 1)] * 2


def test_a_reader_writes_no_file(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("precious")
    for name in ("writes", "removes"):
        with pytest.raises(RuntimeError, match="PermissionError: a reader may"):
            trial(name, str(kept))
    with pytest.raises(RuntimeError, match="PermissionError: a reader may not write"):
        trial("writes", str(tmp_path / "new"))
    assert trial("writes_unseen", str(kept)) == [True, -1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "precious"


@pytest.mark.parametrize("name", ["connects", "resolves", "runs"])
def test_a_reader_opens_no_socket_and_starts_no_program(name: str) -> None:
    with pytest.raises(RuntimeError, match="PermissionError: a reader may do no"):
        trial(name)


def wait_for_the_end(process: int) -> None:
    """Return when a process is dead; fail where it lives on."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(process)
        dead, _, _ = select.select([handle], [], [], 60)
        os.close(handle)
        assert dead


def test_what_a_reader_started_ends_with_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with quarantine.start("audit.trial:spawns", str(fifo), subject="x", memory=10**9, seconds=60):
        handle = os.open(fifo, os.O_WRONLY)  # waits for the child of the child to open the other end
    alone = select.poll()
    alone.register(handle, select.POLLERR)
    assert alone.poll(60_000)
    os.close(handle)


def test_torch_and_onnxruntime_read_files_in_it(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "w.pt")
    network(tmp_path / "m.onnx", REFERENCE)
    weights = quarantine.call(
        "audit.trial:loads", str(tmp_path / "w.pt"), subject="x", memory=2 * 10**9, seconds=60, libraries=["torch"]
    )
    assert weights == 3.0
    assert trial("sessions", str(tmp_path / "m.onnx"), memory=10**9) == ["logits"]


def test_nothing_open_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as stream:
        os.set_inheritable(stream.fileno(), True)
        found = trial("descriptors")
    assert isinstance(found, list)
    assert not [name for name in found if str(tmp_path) in str(name)]


@pytest.fixture
def decoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds packages of our names and of the standard library's."""
    for name in ("audit", "json", "numpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('decoy')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_in_the_way_is_not_imported(decoy: Path, home: Path) -> None:
    found = trial("about", [])
    assert isinstance(found, dict)
    assert found["audit"] == str(home / "audit" / "__init__.py")
    assert trial("maps", 10) == 10


def test_our_audit_comes_first_and_the_users_path_is_kept(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "__init__.py").write_text("raise SystemExit('decoy')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = trial("about", [])
    assert isinstance(found, dict)
    assert found["audit"] == str(home / "audit" / "__init__.py")
    assert str(tmp_path) in found["path"]  # type: ignore[operator]
    assert str(home) not in found["path"]  # type: ignore[operator]


@pytest.mark.parametrize(
    "target", ["os:system", "audit:run", "audit.trial", "audit.trial:echo.x", "audit..os:system", "auditor.x:y", ""]
)
def test_only_functions_of_ours_are_called(target: str) -> None:
    with pytest.raises(ValueError, match="no function of this program"):
        quarantine.call(target, None, subject="x", memory=10**9, seconds=1)


@pytest.mark.parametrize(
    ("memory", "seconds"), [(0, 1), (-1, 1), (1, 0), (1, -1), (1, float("nan")), (1, float("inf"))]
)
def test_no_limits_are_no_limits(memory: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="no limits"):
        trial("echo", memory=memory, seconds=seconds)


def test_a_limit_below_the_libraries_is_said() -> None:
    assert failure("maps", 1, memory=10**6).what


def test_work_goes_on_meanwhile_and_leaving_kills_the_child() -> None:
    with (
        quarantine.start("audit.trial:sleeps", None, subject="a", memory=10**9, seconds=3600),
        quarantine.start("audit.trial:echo", [1], subject="b", memory=10**9, seconds=3600) as quick,
    ):
        assert quick.result() == [1]
        assert quick.result() == [1]


def test_an_exception_in_the_meantime_kills_the_child() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        quarantine.start("audit.trial:sleeps", None, subject="a", memory=10**9, seconds=3600),
    ):
        raise ZeroDivisionError


def test_a_system_without_limits_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert "cannot be opened safely" in failure("echo").what


WAITING = """
import sys
from pathlib import Path
from audit import quarantine, resources
resources.HOME = Path(sys.argv[1])
with quarantine.start("audit.trial:sleeps", None, subject="x", memory=10**9, seconds=3600) as running:
    print(running._process.pid, flush=True)
    running.result()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_child_ends_with_its_parent(home: Path, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, home], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    ) as parent:  # fmt: skip
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.wait(60) != 0
    wait_for_the_end(child)
