"""Peak resident memory of an audit of a ResNet-18 pair over a folder of images, all its processes counted.

    python benchmarks/memory_images.py [--items 10000] [--size 224] [--runtimes onnx torch] [--keep FOLDER]

Needs Linux and the extra `export`. The folder holds generated JPEG and PNG files; the audit is the command
`prune-audit run`, with the policy's clean probe, and reads the folder twice: in the child process that opens files of
others, and to run the networks. Resident memory is sampled 50 times a second and summed over all its processes, pages
that they share counted each time; the kernel's own high-water mark of each process is printed beside it. What a program
takes anyway is that of a process that has imported the same libraries and loaded the same two networks: before its
first pass, and after one batch of each. Exits 1 where an audit takes more than the limit beyond the former.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import workload

LIMIT = 2e9
_PAUSE = 0.02
BARE = """
import sys
from audit import runtime
runtime.prepare()
import numpy as np, onnxruntime, torch
from audit import plan
name, size = sys.argv[1], int(sys.argv[2])
x = np.zeros((plan.batch_of([(3, size, size)]), 3, size, size), np.float32)
def resident():
    lines = open("/proc/self/status").read().splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024)
if name == "onnx":
    sessions = [onnxruntime.InferenceSession(f"{role}.onnx") for role in ("reference", "candidate")]
    resident()
    [session.run(None, {"image": x}) for session in sessions]
else:
    import resnet
    modules = [resnet.made().eval() for role in ("reference", "candidate")]
    [module.load_state_dict(torch.load(f"{role}.pt")) for module, role in zip(modules, ("reference", "candidate"))]
    resident()
    with torch.no_grad():
        [module(torch.from_numpy(x)) for module in modules]
resident()
"""


@dataclass
class Watch:
    """What a command and its children took: bytes resident at once, and each process's own high-water mark."""

    together: int = 0
    marks: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    def look(self, pid: int) -> None:
        """Take a sample."""
        now = 0
        for process in _tree(pid):
            resident, mark = _status(process)
            now += resident
            self.marks[process] = max(self.marks.get(process, 0), mark)
        self.together = max(self.together, now)


def main() -> int:
    arguments = _arguments()
    worst = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.keep or Path(temporary)
        place.mkdir(exist_ok=True)
        if not (place / "resnet.py").exists():
            workload.networks(place)
        name = f"{arguments.size}px-{arguments.items}"
        if not (place / name).exists():
            workload.folder_of(place / name, arguments.items, arguments.size)
        for runtime in arguments.runtimes:
            before, after = _bare(place, runtime, arguments.size)
            seen = _audited(workload.audit_file(place, runtime, name), temporary)
            beyond = seen.together - before
            worst = max(worst, beyond)
            marks = ", ".join(f"{mark / 1e6:,.0f}" for mark in sorted(seen.marks.values())[-2:][::-1])
            print(
                f"{runtime}: {arguments.items:,} images of {arguments.size} px, {seen.seconds:.0f} s: "
                f"{seen.together / 1e6:,.0f} MB together (the two largest processes {marks}); bare networks "
                f"{before / 1e6:,.0f} MB, after a batch {after / 1e6:,.0f} MB; beyond them {beyond / 1e6:,.0f} MB",
                flush=True,
            )
    print(f"limit {LIMIT / 1e6:,.0f} MB beyond the bare networks")
    return 0 if worst <= LIMIT else 1


def _bare(place: Path, runtime: str, size: int) -> tuple[int, int]:
    command = [sys.executable, "-c", BARE, runtime, str(size)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    return before, after


def _audited(file: Path, temporary: str) -> Watch:
    with tempfile.TemporaryDirectory(dir=temporary) as out:
        start, watch = time.perf_counter(), Watch()
        command = [Path(sys.executable).with_name("prune-audit"), "run", file, "--out", f"{out}/out", "--no-pdf"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None:
                watch.look(process.pid)
                time.sleep(_PAUSE)
        if not Path(out, "out", "evidence.json").exists():
            sys.exit(f"the audit ended with {process.returncode} and without evidence")
        watch.seconds = time.perf_counter() - start
        return watch


def _tree(pid: int) -> Iterator[int]:
    """A process and everything it started that still runs."""
    yield pid
    with suppress(OSError):  # it has just ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in _read(thread / "children").split():
                yield from _tree(int(child))


def _status(pid: int) -> tuple[int, int]:
    """Bytes that a process has resident, and had at most; 0 where it has just ended."""
    lines = dict(line.split(":", 1) for line in _read(Path(f"/proc/{pid}/status")).splitlines())
    resident, mark = (int(lines.get(name, "0").split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return resident, mark


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # as above
        return ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--runtimes", nargs="+", choices=workload.RUNTIMES, default=list(workload.RUNTIMES))
    parser.add_argument("--keep", type=Path, help="folder for networks and images, which are used again if there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
