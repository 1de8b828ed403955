"""Reading files of others: one function of ours in a child process that may neither grow, run on, nor write.

Whatever a hostile file does to the libraries that read it, it does to the child: a crash, a memory bomb and an
endless loop end as an error that names the file. The child is no sandbox against code that a file makes run; files
that run code are not opened at all.
"""

import importlib
import importlib.util
import json
import math
import os
import re
import select
import selectors
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from audit import resources
from audit.errors import AuditError

if TYPE_CHECKING:
    from audit.digest import Json

_TARGET = re.compile(r"audit(\.[a-z_]+)+:[a-z_]+")
_CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); import audit; del sys.path[0]; "
    "from audit import quarantine; quarantine.serve()"
)
"""Our own `audit` whatever lies in the working directory or on PYTHONPATH; then the path is as the user has it."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Every thread of a pool takes memory from the limit, and on a large machine there are many."""
_ANSWER = 2**28
"""Bytes of an answer that the parent takes; 64 digits for each of a million items fit several times over."""
_KEPT = 2**16
"""Bytes of what the child says on its standard error that are kept."""
_BLOCK = 2**16
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CHANGING = re.compile(
    r"socket\.(?!gethostname)|subprocess\.|os\.(system|exec|fork|posix_spawn|startfile)"
    r"|os\.(remove|rename|rmdir|mkdir|link|symlink|truncate|chmod|chown|utime|setxattr|removexattr)|shutil\."
)
"""Audit events of the interpreter: its documentation lists them all."""
_CODE = re.compile("[a-z-]*")
_STARVED = re.compile(r"bad_alloc|bad allocation|allocate memory")
_HINT = "The file is damaged or hostile, or needs a larger machine than this; write it again or use another."


@dataclass(frozen=True)
class _Heard:
    """What the child left: its answer, the end of its standard error, and why it was cut short ('' if it was not)."""

    answer: bytes
    errors: str
    cut: str = ""


@dataclass(frozen=True)
class Call:
    """A call under way in a child process."""

    target: str
    subject: str
    memory: int
    _process: "subprocess.Popen[bytes]"
    _heard: "Future[_Heard]"

    def result(self) -> "Json":
        """What the function returned; waits for it.

        Raises the AuditError that the function raised; an AuditError naming the subject where the child took too much
        memory or time, crashed or gave no answer; RuntimeError with the child's traceback for any other exception,
        which is a bug of ours.
        """
        heard = self._heard.result()
        status = self._process.wait()
        if heard.cut:
            raise AuditError(f"{self.subject}: {heard.cut}", _HINT)
        if status < 0:
            self._died(signal.Signals(-status).name, heard.errors)
        return self._value(heard, status)

    def _died(self, name: str, errors: str) -> NoReturn:
        if name == "SIGABRT" and _STARVED.search(errors):
            self._starved()
        raise AuditError(f"{self.subject}: its reader crashed ({name})", _HINT)

    def _starved(self) -> NoReturn:
        raise AuditError(f"{self.subject}: used more than {self.memory / 1e9:.1f} GB of memory", _HINT)

    def _value(self, heard: _Heard, status: int) -> "Json":
        try:
            reply = json.loads(heard.answer)
        except (ValueError, RecursionError):
            reply = None
        match reply:
            case {"value": value}:
                return cast("Json", value)
            case {"error": [str(kind), str(what), str(hint), str(reason)]} if kind in _kinds():
                raise _kinds()[kind](what, hint, reason if _CODE.fullmatch(reason) else "")
            case {"starved": True}:
                self._starved()
            case {"bug": str(text)}:
                raise RuntimeError(f"{self.target} failed on {self.subject}\n{text}")
        last = heard.errors.strip().rpartition("\n")[2]
        raise AuditError(f"{self.subject}: its reader ended without an answer (status {status}) {last}".rstrip(), _HINT)


def call(
    target: str, payload: "Json", *, subject: str, memory: int, seconds: float, libraries: Sequence[str] = ()
) -> "Json":
    """Call a function of ours in a child process and wait for what it returns; see `start` and `Call.result`."""
    with start(target, payload, subject=subject, memory=memory, seconds=seconds, libraries=libraries) as running:
        return running.result()


@contextmanager
def start(
    target: str, payload: "Json", *, subject: str, memory: int, seconds: float, libraries: Sequence[str] = ()
) -> Iterator[Call]:
    """Begin a call in a child process; leaving the context kills the child.

    `target` is `"audit.module:function"`, called with `payload`; both payload and result are JSON values. `subject`
    names the files in errors, `memory` limits the child's private writable bytes (libraries included: about 0.1 GB
    for numpy and onnxruntime, 0.8 GB for torch), `seconds` its wall time from now on, start-up included.

    The limits stand from when the target's module and `libraries` have been imported; torch belongs there, which
    starts programs and writes temporary files to find its parts. Raises ValueError for a target that is not ours or
    an empty limit, AuditError where the system has no such limits.
    """
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{target!r} is no function of this program")
    if memory <= 0 or not 0 < seconds < math.inf:
        raise ValueError(f"no limits: {memory} bytes, {seconds} s")
    if importlib.util.find_spec("resource") is None or not sys.executable:
        raise AuditError(f"{subject}: cannot be opened safely on this system", "Run the audit on Linux.")
    request = {"target": target, "payload": payload, "memory": memory, "seconds": seconds, "libraries": libraries}
    message = json.dumps(request, allow_nan=False).encode() + b"\n"
    with _spawn() as process, ThreadPoolExecutor(1) as listener:
        try:
            yield Call(target, subject, memory, process, listener.submit(_converse, process, message, seconds))
        finally:
            _kill(process)


def _spawn() -> "subprocess.Popen[bytes]":
    """The child, in a session of its own, so that the terminal's interrupt reaches this process alone."""
    return subprocess.Popen(
        [sys.executable, "-P", "-B", "-c", _CHILD, str(resources.HOME)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        env={**os.environ, **_ONE_THREAD}, start_new_session=True,
    )  # fmt: skip


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End the child and whatever it started; its number is its own until it has been waited for."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):  # macOS denies what Linux allows: a signal to the dead
            os.killpg(process.pid, signal.SIGKILL)


def _converse(process: "subprocess.Popen[bytes]", message: bytes, seconds: float) -> _Heard:
    """Send the request and take the answer, both in bounded memory and time; then the child is dead."""
    stdin, stdout, stderr = cast("tuple[IO[bytes], ...]", (process.stdin, process.stdout, process.stderr))
    unsent, answer, errors = bytearray(message), bytearray(), bytearray()
    deadline, cut = time.monotonic() + seconds, ""
    with selectors.DefaultSelector() as pipes:
        pipes.register(stdin, selectors.EVENT_WRITE, partial(_send, stdin, unsent))
        pipes.register(stdout, selectors.EVENT_READ, partial(_take, stdout, answer))
        pipes.register(stderr, selectors.EVENT_READ, partial(_take, stderr, errors))
        while pipes.get_map() and not cut:
            for key, _ in pipes.select(deadline - time.monotonic()):
                if not key.data():
                    pipes.unregister(key.fileobj)
            del errors[:-_KEPT]
            cut = _excess(len(answer), deadline, seconds) if pipes.get_map() else ""
    _kill(process)
    return _Heard(bytes(answer), errors.decode(errors="replace"), cut)


def _send(pipe: IO[bytes], unsent: bytearray) -> bool:
    """Send as much as surely fits; whether anything is left to send."""
    try:
        del unsent[: pipe.write(unsent[: select.PIPE_BUF])]
    except BrokenPipeError:
        unsent.clear()
    return bool(unsent)


def _take(pipe: IO[bytes], taken: bytearray) -> bool:
    """Take what there is; whether more can come."""
    block = pipe.read(_BLOCK)
    taken += block
    return bool(block)


def _excess(size: int, deadline: float, seconds: float) -> str:
    """Why the child must be stopped; '' while it need not."""
    if size > _ANSWER:
        return f"its reader found more than {_ANSWER} bytes to say"
    return f"took longer than {seconds:g} s to read" if time.monotonic() > deadline else ""


def _kinds() -> dict[str, type[AuditError]]:
    """The classes of error that a user may be told of, by name."""
    kinds: list[type[AuditError]] = [AuditError, *AuditError.__subclasses__()]
    return {kind.__name__: kind for kind in kinds}


def serve() -> NoReturn:
    """The whole life of the child: one request from standard input, one answer, the end.

    Nothing is torn down at the end: the answer is given, and libraries have been seen to crash on their way out.
    """
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    with open(answer, "wb") as pipe:  # noqa: PTH123 (a descriptor, not a path)
        pipe.write(_reply(request))
        pipe.flush()
        os._exit(0)


def _end_with_the_parent() -> None:
    """Standard input stays open while the parent lives, and the parent sends no more than the request."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _confine(memory: int, seconds: float) -> None:
    """Set the limits, which cannot be raised again.

    RLIMIT_DATA counts what the process could write to and nobody else sees. RLIMIT_AS would count what is merely
    reserved or mapped as well: importing torch maps 3 GB, of which 0.8 GB are data.
    """
    import resource

    limits = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: math.ceil(seconds) * (os.cpu_count() or 1),  # of all threads together
    }
    for which, wanted in limits.items():
        hard = resource.getrlimit(which)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Stop Python code of a library that would change files, start programs or use the network."""
    match event, arguments:
        case "open", (str() | bytes() as path, _, int(flags)) if flags & _WRITING and os.fsdecode(path) != os.devnull:
            raise PermissionError(f"a reader may not write {path!r}")
        case _ if _CHANGING.match(event):
            raise PermissionError(f"a reader may do no {event} {arguments}")


def _reply(request: dict[str, Any]) -> bytes:
    """The answer, or what happened instead of one, as JSON."""
    module, _, name = request["target"].partition(":")
    reply: dict[str, Any]
    try:
        for library in request["libraries"]:
            importlib.import_module(library)
        function = getattr(importlib.import_module(module), name)
        _confine(request["memory"], request["seconds"])
        reply = {"value": function(request["payload"])}
        return json.dumps(reply, allow_nan=False).encode()
    except AuditError as error:
        reply = {"error": [type(error).__name__, error.what, error.hint, error.reason]}
    except BaseException as error:
        starved = isinstance(error, MemoryError) or _STARVED.search(str(error))
        reply = {"starved": True} if starved else {"bug": traceback.format_exc()}
    return json.dumps(reply).encode()
