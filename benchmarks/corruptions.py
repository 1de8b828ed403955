"""Time of the nineteen corruptions beside the public package `imagecorruptions`, in one run on the same images.

    python benchmarks/corruptions.py [--peer FOLDER] [--rounds 3] [--device cuda] [--grid]
        [--sides 32 224] [--kinds fog …]

Severity 3, images made from noise of several scales: milliseconds for 1,000 of 32 × 32 and for 100 of 224 × 224, of
the fastest of some rounds in which both take turns. Ours come through the probe that an audit uses, in its batches,
with its random numbers: from float batches to float batches. `--peer` is a folder for an environment of the package's
own (made there, pinned, where it is not): it takes one image at a time, on as many threads as its libraries start. Of
it two times are told: for bytes alone, and with the float batch made of them that a network takes. Three of its
corruptions fail with today's libraries and are mended by two aliases (`peers/imagecorruptions_server.py`). `--grid`
times all 95 cells for 1,000 images of 32 × 32. `--device cuda` leaves the peer out and adds the forward passes of a
ResNet-18 on the same batches.
"""

import argparse
import os
import subprocess
import time
import venv
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from audit import runtime, sizes
from audit.contracts import Batch
from audit.data import manifest
from audit.randomness import PhiloxRng
from checks.perturbations.corruptions import Corruption
from checks.perturbations.corruptions.catalogue import KINDS, SEVERITIES

SERVER = Path(__file__).resolve().parent / "peers" / "imagecorruptions_server.py"
OPENCV = "opencv-python-headless==5.0.0.93"
PINS = (
    "imagecorruptions==1.1.2", "numpy==2.4.6", OPENCV, "scikit-image==0.26.0",
    "scipy==1.17.1", "pillow==13.0.0", "setuptools==80.9.0",
)  # fmt: skip
SETS = {32: 1000, 224: 100}


def main() -> None:
    arguments = _arguments()
    peer = None if arguments.device != "cpu" else Peer(arguments.peer)
    print(f"{runtime.cores()} cores, {torch.get_num_threads()} threads, {arguments.device}; severity 3; milliseconds")
    for side in arguments.sides:
        count = SETS[side]
        images = pictures(count, side)
        batches = in_batches(images, arguments.device)
        print(f"\n{count} images of {side} × {side}")
        _compare(images, batches, peer, arguments)
    if arguments.grid:
        batches = in_batches(pictures(SETS[32], 32), arguments.device)
        total = sum(fastest(lambda c=cell: ours(c, batches), 1) for cell in cells())
        print(f"\nall {len(cells())} cells, {SETS[32]} images of 32 × 32: {total:.1f} s")


def _compare(
    images: NDArray[np.uint8], batches: list[Batch], peer: "Peer | None", arguments: argparse.Namespace
) -> None:
    totals = np.zeros(3)
    forward = passes(batches) if arguments.device != "cpu" else 0.0
    if peer is not None:
        peer.take(images)
    for kind in arguments.kinds:
        cell = Corruption(kind, 3)
        own: list[float] = []
        theirs: list[tuple[float, float]] = []
        for _ in range(arguments.rounds + 1):  # the first warms up
            own.append(timed(lambda c=cell: ours(c, batches)))
            if peer is not None:
                theirs.append(peer.seconds(kind))
        found = min(own[1:])
        totals[0] += found
        line = f"  {kind:<18} {1000 * found:9.1f}"
        if theirs:
            others = np.min(theirs[1:], axis=0)
            totals[1:] += others
            line += _beside(found, others)
        if forward:
            line += f"  {found / forward:6.2f} of the forward passes of a ResNet-18 ({1000 * forward:.1f} ms)"
        print(line, flush=True)
    tail = _beside(totals[0], totals[1:]) if peer is not None else ""
    print(f"  {'all of them':<18} {1000 * totals[0]:9.1f}{tail}")


def _beside(own: float, others: NDArray[np.float64]) -> str:
    """The peer's times, as bytes and as a batch, and how many of ours they are."""
    return "".join(f"  {1000 * other:9.1f} {other / own:6.2f} ×" for other in others)


def cells() -> list[Corruption]:
    return [Corruption(kind, severity) for kind in KINDS for severity in SEVERITIES]


def ours(cell: Corruption, batches: list[Batch]) -> None:
    """Corrupt every batch, with random numbers drawn anew."""
    rng = PhiloxRng.of({"methods": manifest.METHOD_SET, "family": dict(cell.stream())})
    for batch in batches:
        cell.perturb(batch, rng)
    if batches[0].x.is_cuda:
        torch.cuda.synchronize()


def passes(batches: list[Batch]) -> float:
    """Seconds that a ResNet-18 takes for the same batches."""
    import torchvision

    network = torchvision.models.resnet18(num_classes=10).eval().to(batches[0].x.device)

    def run() -> None:
        with torch.no_grad():
            for batch in batches:
                network(batch.x)
        torch.cuda.synchronize()

    run()
    return median(timed(run) for _ in range(5))


def pictures(count: int, side: int) -> NDArray[np.uint8]:
    """Images [N, side, side, 3] with structure at several scales."""
    rng = np.random.default_rng(0)
    total = np.zeros((count, side, side, 3), np.float32)
    for scale in (1, 4, 16):
        coarse = rng.random((count, -(-side // scale), -(-side // scale), 3), np.float32)
        total += np.repeat(np.repeat(coarse, scale, 1), scale, 2)[:, :side, :side] * scale
    return (255 * total / total.max()).astype(np.uint8)


def in_batches(images: NDArray[np.uint8], device: str) -> list[Batch]:
    """As an audit cuts them."""
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    ids = manifest.item_ids(x)
    size = sizes.batch_of([x.shape[1:]], len(x))
    pixels = torch.from_numpy(x).to(torch.float32).div(255).to(device)
    return [Batch(ids[start : start + size], pixels[start : start + size], None) for start in range(0, len(x), size)]


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def fastest(call: Callable[[], object], rounds: int) -> float:
    return min(timed(call) for _ in range(rounds))


class Peer:
    """The package, in a process of its own environment: images go in once, seconds come out."""

    def __init__(self, folder: Path) -> None:
        python = folder / "bin" / "python"
        if not python.exists():
            venv.create(folder, with_pip=True)
            install: list[str | Path] = [python, "-m", "pip", "install", "-q"]
            subprocess.run([*install, *PINS], check=True)
            # It asks for the OpenCV that needs a screen; both lie in one folder, and the last one installed stands.
            subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "opencv-python"], check=True)
            subprocess.run([*install, "--force-reinstall", "--no-deps", OPENCV], check=True)
        self._process = subprocess.Popen(
            [python, SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        )
        self._images = folder / "images.npy"

    def take(self, images: NDArray[np.uint8]) -> None:
        np.save(self._images, images)
        self._ask(f"load {self._images}")

    def seconds(self, kind: str) -> tuple[float, float]:
        """What one corruption of severity 3 takes for all images: as bytes, and as a batch."""
        alone, batch = map(float, self._ask(kind).split())
        return alone, batch

    def _ask(self, line: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the peer has no pipes")
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peer ended at {line!r}")
        return answer


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=Path("imagecorruptions-env"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sides", type=int, nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--grid", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    runtime.prepare()
    main()
