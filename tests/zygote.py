"""A process with the libraries loaded, which forks a reader for every file: hundreds are opened as a run opens one.

A forked child runs `quarantine.serve` and everything below it, with the limits that a call states. What it saves is
the start of an interpreter and the import of torch.
"""

import importlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from audit import quarantine

_NUMBER = struct.Struct("i")
WATCHED = frozenset({"pickle.find_class", "os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen"})
"""Audit events that tell of code from a file: what a pickle calls, and programs that are started."""
MARK = "watched: "


class _Kept(FileIO):
    """A pipe that keeps what was read from it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self.kept = bytearray()

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(-1 if size is None else size) or b""
        self.kept += found
        return found


class Forked:
    """What `quarantine` asks of a child process."""

    def __init__(self, channel: socket.socket) -> None:
        (theirs, mine), *heard = (os.pipe() for _ in range(3))
        self.stdin, (self.stdout, self.stderr) = FileIO(mine, "wb"), (_Kept(reading) for reading, _ in heard)
        given = [theirs, *(writing for _, writing in heard)]
        socket.send_fds(channel, [b"\0"], given)
        for each in given:
            os.close(each)
        self.channel = channel
        (self.pid,) = _NUMBER.unpack(channel.recv(_NUMBER.size))
        self.returncode: int | None = None

    @property
    def said(self) -> bytes:
        """All that it wrote on its standard error."""
        return bytes(self.stderr.kept)

    def wait(self) -> int:
        if self.returncode is None:
            (self.returncode,) = _NUMBER.unpack(self.channel.recv(_NUMBER.size))
        return self.returncode

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
        self.wait()


@contextmanager
def started(*libraries: str) -> Iterator[socket.socket]:
    """The channel of a new process that has these libraries; it ends when the channel is closed."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there, subprocess.Popen(
        [sys.executable, "-P", "-B", Path(__file__), str(there.fileno()), *libraries],
        pass_fds=[there.fileno()], env={**os.environ, **quarantine._ONE_THREAD},
    ):  # fmt: skip
        there.close()
        try:
            yield here
        finally:
            here.close()  # which ends the process


def _serve(channel: socket.socket) -> None:
    """Fork once per set of streams; one child at a time."""
    while streams := socket.recv_fds(channel, 1, 3)[1]:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            for place, stream in enumerate(streams):
                os.dup2(stream, place)
            os.closerange(3, 1 + max(channel.fileno(), *streams))
            sys.addaudithook(_Watch())
            quarantine.serve()
        with suppress(PermissionError, ProcessLookupError):  # it was there first, or is gone
            os.setpgid(child, child)
        channel.send(_NUMBER.pack(child))
        for stream in streams:
            os.close(stream)
        status = os.waitpid(child, 0)[1]
        with suppress(BrokenPipeError):
            channel.send(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


class _Watch:
    """Tells of events once the limits stand, which is when the child adds a hook of its own."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event in WATCHED:
            os.write(2, f"{MARK}{event} {arguments}\n".encode())
        self.on |= event == "sys.addaudithook"


if __name__ == "__main__":
    for library in sys.argv[2:]:
        importlib.import_module(library)
    with socket.socket(fileno=int(sys.argv[1])) as own:
        _serve(own)
