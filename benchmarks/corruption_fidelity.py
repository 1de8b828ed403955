"""How near the corruptions come to those of CIFAR-10-C: PSNR and SSIM to the clean images, beside a reference's own.

    python benchmarks/corruption_fidelity.py TEST.npz FIGURES.json [PIXELS.npz] [--items 500] [--kinds fog …]
        [--seeds 6] [--page docs/corruptions.md]

TEST.npz holds `x`, uint8 [N, 32, 32, 3]; of it the first images are taken. FIGURES.json holds, by corruption and
severity, what the published generator gives on the same images: PSNR of each image, capped at 99, and SSIM (Wang et
al., 2004, with a uniform window of 7 × 7, as scikit-image takes it), both averaged over images, and the mean shift of a
value.
PIXELS.npz holds clean images and, for corruptions without random numbers, what becomes of them: how many values differ,
and by how much at most. With `--seeds` ours are averages over as many sets of random numbers, of which an audit uses
the first. Exits 1 where a figure lies outside the limits below.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from audit import runtime
from audit.contracts import Batch
from audit.data import manifest
from audit.randomness import PhiloxRng
from checks.perturbations.corruptions import Corruption
from checks.perturbations.corruptions.catalogue import KINDS, SEVERITIES

LIMITS, LOOSE = (0.5, 0.02), (2.0, 0.06)
"""Decibels and SSIM that a mean may be off; what stands on textures of our own may be farther."""
TEXTURED = {"frost", "spatter", "snow"}
DIFFERING = {"defocus_blur": 0.05}
ELSEWHERE = 0.005
MARK = re.compile(r"(?<=<!-- fidelity: begin -->\n).*?(?=<!-- fidelity: end -->)", re.DOTALL)
HEAD = (
    "| corruption | severity | PSNR, dB | reference | SSIM | reference | shift | reference | other pixels | |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)


def main() -> int:
    arguments = _arguments()
    images = np.load(arguments.test)["x"][: arguments.items]
    figures = json.loads(arguments.figures.read_text())["figures"]
    pixels = np.load(arguments.pixels) if arguments.pixels else {}
    lines, outside = [], 0
    for kind in arguments.kinds or KINDS:
        for severity in SEVERITIES:
            line, within = _line(kind, severity, images, figures[kind][severity - 1], pixels, arguments.seeds)
            print(line, flush=True)
            lines.append(line)
            outside += not within
    if arguments.page:
        text = arguments.page.read_text()
        arguments.page.write_text(MARK.sub(HEAD + "".join(f"{line}\n" for line in lines), text))
    return int(outside > 0)


def _line(
    kind: str, severity: int, images: NDArray[np.uint8], wanted: Any, pixels: Any, seeds: int
) -> tuple[str, bool]:
    draws = (corrupted(kind, severity, images, seed) for seed in range(seeds))
    own = np.mean(
        [[psnr(images, x).mean(), ssim(images, x).mean(), (x.astype(float) - images).mean()] for x in draws], axis=0
    )
    theirs = [wanted["psnr_mean"], wanted["ssim_mean"], wanted["mean_shift"]]
    limits = LOOSE if kind in TEXTURED else LIMITS
    within = all(abs(mine - other) <= limit for mine, other, limit in zip(own, theirs, limits, strict=False))
    differ = ""
    if f"{kind}_{severity}" in pixels:
        gap = np.abs(corrupted(kind, severity, pixels["clean"]).astype(int) - pixels[f"{kind}_{severity}"])
        share, most = float((gap > 0).mean()), int(gap.max())
        within = within and most <= 1 and share <= DIFFERING.get(kind, ELSEWHERE)
        differ = f"{100 * share:.2f} %, by {most}"
    cells = (
        kind.replace("_", " "), str(severity), f"{own[0]:.2f}", f"{theirs[0]:.2f}", f"{own[1]:.3f}", f"{theirs[1]:.3f}",
        f"{own[2]:.2f}", f"{theirs[2]:.2f}", differ, "" if within else "outside",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |", within


def corrupted(kind: str, severity: int, images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """Images [N, H, W, C] as an audit would show them; with a `seed` by other random numbers."""
    probe = Corruption(kind, severity)
    rng = PhiloxRng.of(
        {"methods": manifest.METHOD_SET, "family": dict(probe.stream()), **({"seed": seed} if seed else {})}
    )
    return np.concatenate(list(_in_batches(probe, rng, np.ascontiguousarray(images.transpose(0, 3, 1, 2)))))


def _in_batches(probe: Corruption, rng: PhiloxRng, x: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(x), 250):
        part = x[start : start + 250]
        batch = Batch(manifest.item_ids(part), torch.from_numpy(part).to(torch.float32).div(255), None)
        yield probe.perturb(batch, rng).x.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each image in dB, at most 99."""
    error = ((one.astype(float) - other) ** 2).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255**2 / error), 99)


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Structural similarity of each image, averaged over its channels."""
    window, pad = 7, 3
    x, y = one.astype(float), other.astype(float)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return uniform_filter(values, (1, window, window, 1))

    sample = window**2 / (window**2 - 1)
    mx, my = mean(x), mean(y)
    vx, vy, vxy = (
        sample * (mean(a * b) - ma * mb) for a, b, ma, mb in ((x, x, mx, mx), (y, y, my, my), (x, y, mx, my))
    )
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = ((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return np.asarray(found[:, pad:-pad, pad:-pad].mean(axis=(1, 2, 3)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test", type=Path)
    parser.add_argument("figures", type=Path)
    parser.add_argument("pixels", type=Path, nargs="?")
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--page", type=Path, help="Markdown file whose table is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    runtime.prepare()
    sys.exit(main())
