"""Items per second of an audit's observing stage ÷ those of a bare loop over the same passes, in one process.

    python benchmarks/forward.py [--items 32:10000 224:512] [--runtimes onnx torch] [--rounds 5] [--device cpu]

Needs the extra `export`. A bare loop has the test set in memory as bytes; of each batch, of the audit's size, it makes
float32, normalises once, and runs both networks: onnxruntime's defaults on all cores, or a module under `no_grad`. The
observing stage is that of the product: it reads an .npz file, digests every item again, checks, runs both networks,
tries whether they are functions of the item, and stores. Its passes over the items are also timed alone, without those
trials, whose cost does not grow with the set; and once more over a folder of JPEG and PNG files, which the bare loop
need not decode. With ONNX there is a second loop, of as many sessions side by side as the audit has lanes: the
audit's advantage over the first is not its own merit alone.

All are run alternately. Wall time is that of the fastest round, for a shared machine can only add to it, and, in
brackets, of the median one; processor time, of all threads and of the fastest round, is hardly touched by others. No
figure is asserted.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import workload
from numpy.typing import NDArray

from audit import pipeline, preparation, repeatability, request, runtime, subjects
from audit.asking import Asked
from audit.ledger import Ledger
from audit.observe import Observer
from audit.parity import Parity
from audit.plan import PlanFile
from audit.repeatability import Beginning
from audit.subjects import Subjects
from audit.tasks.classification import Classification

Run = Callable[[NDArray[np.float32]], object]


@dataclass(frozen=True)
class Audit:
    """An audit that is ready to observe."""

    opened: Subjects
    asked: Asked
    fixed: PlanFile

    def observe(self, *, trials: bool) -> None:
        """The whole stage, or the passes over the items alone."""
        with tempfile.TemporaryDirectory() as folder:
            ledger, task = Ledger(Path(folder)), Classification()
            observer = Observer(
                self.fixed, self.opened.models, self.opened.data, task, ledger, lambda *told: None, self.opened.lanes,
                settle=lambda: pipeline.View(self.fixed, ledger, task).settled(),
            )  # fmt: skip
            if trials:
                observer.observe(self.asked.probes)
            else:
                untried = Beginning(np.empty(0, np.float32), Parity())
                with patch.object(repeatability, "require_function", lambda model, first: untried):
                    observer.run(self.asked.probes)


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.keep or Path(folder)
        place.mkdir(exist_ok=True)
        if not (place / "resnet.py").exists():
            workload.networks(place)
        print(f"{os.cpu_count()} cores; items per second; ratio to the first loop in wall time and in processor time")
        for size, items in arguments.items:
            _require_data(place, size, items)
            for name in arguments.runtimes:
                _measure(place, name, size, items, arguments)


def _measure(place: Path, name: str, size: int, items: int, arguments: argparse.Namespace) -> None:
    audit, pictures = (
        _opened(workload.audit_file(place, name, data, arguments.device)) for data in _names(size, items)
    )
    batch = audit.fixed.plan.batch
    x = np.load(place / _names(size, items)[0])["x"]
    runs = _bare(place, name, arguments.device)
    ways: dict[str, Callable[[], object]] = {"bare loop": partial(_loop, runs, x, batch)}
    if name == "onnx" and arguments.device == "cpu":
        beside = _bare(place, name, arguments.device, runtime.threads(audit.opened.lanes))
        ways["bare loop, side by side"] = partial(_side_by_side, beside, x, batch, audit.opened.lanes)
    ways["audit: passes over the items"] = partial(audit.observe, trials=False)
    ways["audit: whole stage"] = partial(audit.observe, trials=True)
    ways["audit: passes, from image files"] = partial(pictures.observe, trials=False)
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(arguments.rounds + 1):
        for way, call in ways.items():
            taken[way].append(_timed(call))
    print(f"{name}, {size} × {size}, {items} items, batch {batch}, {audit.opened.lanes} lanes")
    first = _figures(taken["bare loop"])
    for way in ways:
        figures = _figures(taken[way])
        wall, middle, cores = (before / now for before, now in zip(first, figures, strict=True))
        print(f"  {way:<32} {items / figures[0]:8.1f}   {wall:.3f} ({middle:.3f})   {cores:.3f}", flush=True)


def _opened(file: Path) -> Audit:
    wanted = request.load(file)
    agreed = preparation.agree(wanted.policy, file.parent)
    opened = subjects.load(wanted, file.parent)
    asked, fixed = preparation.prepare(opened, subjects.terms_of(wanted), agreed)
    return Audit(opened, asked, fixed)


def _bare(place: Path, name: str, device: str, threads: int = 0) -> list[Run]:
    """What runs each network, as anybody would write it; on the processor all cores share one pass."""
    return [_onnx(place / f"{role}.onnx", device, threads) if name == "onnx" else _torch(place / f"{role}.pt", device)
            for role in workload.ROLES]  # fmt: skip


def _onnx(path: Path, device: str, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or runtime.cores()
    providers = ["CPUExecutionProvider"] if device == "cpu" else ["CUDAExecutionProvider", "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(path, options, providers=providers)
    return lambda x: session.run(None, {"image": x})


def _torch(path: Path, device: str) -> Run:
    import torch
    import torchvision

    module = torchvision.models.resnet18(num_classes=workload.CLASSES)
    module.load_state_dict(torch.load(path, weights_only=True))
    module.eval().to(device)

    def run(x: NDArray[np.float32]) -> object:
        with torch.no_grad():
            return module(torch.from_numpy(x).to(device)).cpu()

    return run


def _loop(runs: list[Run], x: NDArray[np.uint8], size: int) -> None:
    for batch in _batches(x, size):
        for run in runs:
            run(batch)


def _side_by_side(runs: list[Run], x: NDArray[np.uint8], size: int, lanes: int) -> None:
    passes = ((run, x[start : start + size]) for start in range(0, len(x), size) for run in runs)
    with ThreadPoolExecutor(lanes) as threads:
        list(threads.map(lambda each: each[0](_normalised(each[1])), passes))


def _batches(x: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(x), size):
        yield _normalised(x[start : start + size])


def _normalised(x: NDArray[np.uint8]) -> NDArray[np.float32]:
    found = np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)
    found /= 255
    found -= np.asarray(workload.MEAN, np.float32)[:, None, None]
    found /= np.asarray(workload.STD, np.float32)[:, None, None]
    return found


def _require_data(place: Path, size: int, items: int) -> None:
    archive, folder = _names(size, items)
    if not (place / archive).exists():
        workload.archive(place / archive, items, size)
        workload.folder_of(place / folder, items, size)


def _names(size: int, items: int) -> tuple[str, str]:
    return f"{size}px-{items}.npz", f"{size}px-{items}"


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall and of processor time."""
    start, busy = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - busy


def _figures(taken: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Least and median wall time, least processor time; the first round warms up."""
    wall, busy = zip(*taken[1:], strict=True)
    return min(wall), statistics.median(wall), min(busy)


def _pair(text: str) -> tuple[int, int]:
    size, _, items = text.partition(":")
    return int(size), int(items)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=_pair, nargs="+", default=[(32, 10_000), (224, 512)], metavar="PIXELS:ITEMS")
    parser.add_argument("--runtimes", nargs="+", choices=workload.RUNTIMES, default=list(workload.RUNTIMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--keep", type=Path, help="folder for networks and data, which are used again where they are")
    return parser.parse_args()


if __name__ == "__main__":
    runtime.prepare()
    main()
