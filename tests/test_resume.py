"""Killed at any moment, and again while it resumes, an audit ends as if nothing had happened.

Every audit runs in a process of its own, forked by one helper that has imported everything once; the helper is
this file, run as a program.
"""

import importlib
import json
import mmap
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

import audit
from audit import digest, sizes
from audit.errors import ExitCode
from tests.conftest import Command
from tests.world import World

CHUNK, BATCH = 128, 64
AUDITS, KILLS = 3, 5  # so many audits are killed so often each
MOMENTS = 10
Sealed = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class End:
    """How one run of an audit ended: exit status (negative: signal), passes measured, steps taken, seconds."""

    status: int
    measured: int
    steps: int
    seconds: float


@dataclass
class Helper:
    """The process that forks audits."""

    process: "subprocess.Popen[str]"
    world: World

    def run(self, out: Path, **moment: float | str) -> End:
        """Audit into `out`; killed at a `step`, around the naming of a file `name`, or after `seconds`."""
        return End(**self._ask({"audit": str(self.world.audit), "out": str(out), **moment}))

    def go_on(self) -> End:
        """Let the stopped audit end."""
        return End(**self._ask({}))

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    world = World(tmp_path_factory.mktemp("resume") / "world")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.test_resume"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        cwd=Path(__file__).parent.parent,
    ) as process:  # fmt: skip
        yield Helper(process, world)


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run."""

    out: Path
    end: End
    body: bytes
    passes: int


@pytest.fixture(scope="module")
def whole(helper: Helper) -> Whole:
    out = helper.world.folder / "whole"
    end = helper.run(out)
    assert end.status == 0
    passes = passes_of(out)
    assert passes == end.measured == rows(out)
    assert passes >= 2 * 400
    return Whole(out, end, body(out), passes)


def body(out: Path) -> bytes:
    return digest.canonical(json.loads((out / "evidence.json").read_bytes())["body"])


def passes_of(out: Path) -> int:
    return sum(json.loads((out / "evidence.json").read_bytes())["run"]["passes"].values())


def observation(out: Path, key: str) -> Path:
    return out / "ledger" / "observations" / f"{key}.parquet"


def sealed(out: Path) -> list[str]:
    """Keys of the observations that count: those with a whole line in the manifest."""
    manifest = out / "ledger" / "manifest.jsonl"
    lines = manifest.read_text().split("\n")[:-1] if manifest.exists() else []
    return [json.loads(line)["key"] for line in lines]


def rows(out: Path) -> int:
    """Forward passes that sealed observations hold; what was found out about a model once holds none."""
    found = [parquet.read_metadata(observation(out, key)) for key in sealed(out)]
    return sum(each.num_rows for each in found if "label" in each.schema.names)


def states(out: Path) -> Sealed:
    """Which files lie where since when."""
    found = {key: observation(out, key).stat() for key in sealed(out)}
    return {key: (state.st_ino, state.st_mtime_ns, state.st_size) for key, state in found.items()}


def resumed(helper: Helper, whole: Whole, out: Path) -> None:
    """The run after interruptions ends as the uninterrupted one, measures what is lacking, and rewrites nothing."""
    before, lacking = states(out), whole.passes - rows(out)
    end = helper.run(out)
    assert end.status == 0
    assert body(out) == whole.body
    assert passes_of(out) == end.measured == lacking
    assert Counter(sealed(out)) == Counter(sealed(whole.out))
    after = states(out)
    assert {key: after[key] for key in before} == before
    assert {path.name for path in out.rglob("*")} == {path.name for path in whole.out.rglob("*")}


def killed(helper: Helper, whole: Whole, out: Path, **moment: float | str) -> End:
    """Kill an audit; what it had measured is sealed but for the chunk under way, and what was sealed is untouched."""
    before, had = states(out), rows(out)
    end = helper.run(out, **moment)
    after = states(out)
    assert {key: after[key] for key in before} == before
    # One chunk on its way to the disk, and the one under way.
    assert 0 <= had + end.measured - rows(out) <= 2 * CHUNK * (whole.passes // 400)
    return end


@pytest.mark.long
@pytest.mark.parametrize("seed", range(AUDITS))
def test_killed_before_or_after_any_step(helper: Helper, whole: Whole, seed: int) -> None:
    """The steps are syncs, renames and batches; and what goes on after a kill is killed again."""
    out, dice, left = helper.world.folder / f"step{seed}", random.Random(seed), whole.end.steps
    for _ in range(KILLS):
        step = dice.randrange(left)
        left -= step
        assert killed(helper, whole, out, step=step).status == -signal.SIGKILL
    resumed(helper, whole, out)


@pytest.mark.long
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_killed_at_any_time(helper: Helper, whole: Whole, moment: int) -> None:
    """Wherever it happens to be; if the machine has become faster meanwhile, it may have ended before."""
    out = helper.world.folder / f"time{moment}"
    seconds = whole.end.seconds * (moment + random.Random(moment).random()) / MOMENTS
    assert killed(helper, whole, out, seconds=seconds).status in {-signal.SIGKILL, 0}
    resumed(helper, whole, out)


@pytest.mark.long
def test_killed_around_every_kind_of_file(helper: Helper, whole: Whole) -> None:
    """Before a file has its name, after it, between an observation and its seal, and so on to the last page."""
    out = helper.world.folder / "files"
    for name in ("plan.json", ".parquet", "manifest.jsonl", "evidence.json", "certificate.html"):
        for after in (False, True):
            assert killed(helper, whole, out, name=name, after=after).status == -signal.SIGKILL
    resumed(helper, whole, out)


@pytest.mark.long
def test_a_torn_seal_costs_one_chunk_at_most(helper: Helper, whole: Whole) -> None:
    out = helper.world.folder / "torn"
    shutil.copytree(whole.out, out)
    manifest = out / "ledger" / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:-3]) + lines[-3][:-100])  # the last two hold the noise of the runtimes
    assert 0 < whole.passes - rows(out) <= 2 * CHUNK
    resumed(helper, whole, out)


@pytest.mark.long
def test_a_second_process_is_refused_and_the_first_goes_on(helper: Helper, whole: Whole, command: Command) -> None:
    out = helper.world.folder / "shared"
    assert helper.run(out, step=whole.end.steps // 2, stop=1).status == -signal.SIGSTOP
    second = command("run", helper.world.audit, "--out", out, "--no-pdf")
    assert second.returncode == ExitCode.INPUT
    assert f"{out}: another audit is writing to it" in second.stderr
    end = helper.go_on()
    assert (end.status, end.measured) == (0, whole.passes)
    assert body(out) == whole.body


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A finished audit of the installed command, with chunks of the usual size."""
    world = World(tmp_path_factory.mktemp("usual") / "world")
    audit.run(world.audit, pdf=False)
    return world


def observations(out: Path) -> list[Path]:
    """Of the models on the data, not of the models alone."""
    paths = sorted(observation(out, key) for key in sealed(out))
    return [path for path in paths if "label" in parquet.read_schema(path).names]


def foreign(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def truncated(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def bit_flipped(path: Path, other: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def sealed_anew(path: Path, other: Path) -> None:
    """Another observation, and the manifest says so."""
    manifest = path.parent.parent / "manifest.jsonl"
    seals = {path.stem: digest.of_file(path), other.stem: digest.of_file(other)}
    foreign(path, other)
    manifest.write_text(manifest.read_text().replace(seals[path.stem], seals[other.stem]))


@pytest.mark.long
@pytest.mark.parametrize("damage", [foreign, truncated, bit_flipped, sealed_anew])
def test_an_observation_that_is_not_what_was_stored_is_refused_by_name(
    usual: World, tmp_path: Path, invoke: Command, damage: Callable[[Path, Path], None]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(usual.out, out)
    path, other = observations(out)[:2]
    damage(path, other)
    result = invoke("run", usual.audit, "--out", out, "--no-pdf")
    assert result.returncode == ExitCode.INPUT, result.stderr
    assert path.name in result.stderr
    assert "Traceback" not in result.stderr


@dataclass
class _Steps:
    """Counts the steps of an audit, and ends it, or stops it, at the one that is wanted."""

    shared: mmap.mmap
    order: dict[str, Any]
    count: int = 0

    def __call__(self, name: str = "", *, after: bool = False) -> None:
        wanted = self.order.get("name")
        hit = name.endswith(wanted) and after == self.order["after"] if wanted else self.count == self.order.get("step")
        if hit:
            os.kill(os.getpid(), signal.SIGSTOP if "stop" in self.order else signal.SIGKILL)
        self.count += 1
        struct.pack_into("q", self.shared, 8, self.count)

    def around(self, call: Callable[..., None], name: Callable[..., str]) -> Callable[..., None]:
        def stepped(*arguments: Any) -> None:
            self(name(*arguments))
            call(*arguments)
            self(name(*arguments), after=True)

        return stepped

    def progress(self, what: str, done: int, total: int) -> None:
        struct.pack_into("q", self.shared, 0, max(done, *struct.unpack_from("q", self.shared, 0)))
        self()


def _audit(order: dict[str, Any], shared: mmap.mmap) -> None:
    """The whole life of a forked audit."""
    from audit import api

    steps = _Steps(shared, order)
    os.fsync = steps.around(os.fsync, lambda handle: str(Path(f"/proc/self/fd/{handle}").readlink()))
    os.replace = steps.around(os.replace, lambda source, target: str(target))
    try:
        api.run(order["audit"], out=order["out"], pdf=False, progress=steps.progress)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _wait(pid: int, seconds: float | None) -> int:
    """Its exit status once it has ended or stopped; it is killed after `seconds`."""
    if seconds is not None:
        handle = os.pidfd_open(pid)
        if not select.select([handle], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
        os.close(handle)
    status = os.waitpid(pid, os.WUNTRACED)[1]
    return -os.WSTOPSIG(status) if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)


def _serve() -> None:
    """Fork an audit for every line of input, or let the last go on; no session of a runtime lives in this process."""
    for library in ("audit.api", "onnx", "onnxruntime", "pyarrow.dataset", "torch"):
        importlib.import_module(library)
    from audit.report import html

    sizes.CHUNK, sizes.BATCH = CHUNK, BATCH
    # The page takes longer than all else together here, and is made of the evidence alone.
    html.render = lambda evidence, _: evidence.id
    shared = mmap.mmap(-1, 16)
    pid = 0
    for line in sys.stdin:
        order, start = json.loads(line), time.perf_counter()
        if order:
            shared[:] = bytes(16)
            pid = os.fork()
            if pid == 0:
                _audit(order, shared)
        else:
            os.kill(pid, signal.SIGCONT)
        status = _wait(pid, order.get("seconds"))
        measured, steps = struct.unpack("qq", shared[:])
        answer = {"status": status, "measured": measured, "steps": steps, "seconds": time.perf_counter() - start}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
