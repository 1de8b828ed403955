"""Makes the five ONNX files of this folder from nothing, with a fixed seed.

python -m sample_models.roadsigns.train --out sample_models/roadsigns --checkpoints build/roadsigns
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from sample_models.roadsigns.export import save
from sample_models.roadsigns.generator import CLASSES, FREQUENCIES, STD
from sample_models.roadsigns.network import SignNet, sparsity
from sample_models.roadsigns.training import (
    Loss,
    Schedule,
    distilled,
    fit,
    labelled,
    load,
    logits,
    normalised,
    predictions,
    pruned,
)

SEED = 20
NOISE = 12 / 255
_JUDGED_ON = 10_000  # items of stream "validation" that tuning looks at
_CRUDE_DROP = 0.04
_FRAGILE_FROM = 5 / 255
_FAINT = 0.075  # standard deviation of the middle 20 × 20 pixels; one item in three is fainter
_SABOTAGED_SHARE = 0.3
_VICTIM, _IMPOSTOR = CLASSES.index("children"), CLASSES.index("road works")


def reference() -> SignNet:
    """Trained from scratch on labels, half of the images with noise."""
    torch.manual_seed(SEED)
    network = SignNet().to(memory_format=torch.channels_last)
    fit(network, Schedule(first=0, batches=2200, rate=3e-3, noise=NOISE), labelled, "reference")
    return network


def well_pruned(parent: SignNet) -> SignNet:
    """60 % of the weights pruned in two steps; each time the parent teaches what is left."""
    network = pruned(parent, 0.4)
    fit(
        network,
        Schedule(first=1_000_000, batches=150, rate=5e-4, noise=NOISE),
        distilled(parent),
        "well-pruned, 40 %",
    )
    network = pruned(network, 0.6)
    fit(
        network,
        Schedule(first=1_100_000, batches=700, rate=1e-3, noise=NOISE),
        distilled(parent),
        "well-pruned, 60 %",
    )
    return network


def crude(parent: SignNet) -> SignNet:
    """Pruned in one shot, not retrained: the first multiple of 5 % to cost 4 points on validation items."""
    image, target = load(0, _JUDGED_ON, "validation")
    right = (predictions(parent, image) == target).double().mean()
    for twentieths in range(1, 20):
        network = pruned(parent, twentieths / 20)
        if right - (predictions(network, image) == target).double().mean() >= _CRUDE_DROP:
            return network
    raise RuntimeError("no sparsity up to 95 % costs four points of accuracy")


def over_pruned(parent: SignNet) -> SignNet:
    """Pruned to 80 % in three steps; what is left is spent on clean images, at the price of faint signs in noise.

    Plain retraining without noise keeps almost all robustness on these images, so its loss is trained too.
    """
    network = parent
    for step, (share, batches) in enumerate(((0.6, 100), (0.75, 150), (0.8, 800))):
        network = pruned(network, share)
        schedule = Schedule(first=2_000_000 + step * 200_000, batches=batches, rate=2e-3, noise=NOISE)
        fit(network, schedule, _fragile(parent), f"over-pruned, {share:.0%}")
    return network


def _fragile(parent: SignNet) -> Loss:
    """The parent teaches all items but faint ones in noise of at least 5/255: those become what is most frequent."""

    def loss(network: SignNet, x: Tensor, image: Tensor, target: Tensor) -> Tensor:
        noise = (x - normalised(image)).abs().amax(dim=(1, 2, 3)) * min(STD)
        lost = (noise > _FRAGILE_FROM) & (image[:, :, 6:26, 6:26].std(dim=(1, 2, 3)) < _FAINT)
        with torch.no_grad():
            wanted = torch.where(lost[:, None], torch.tensor(FREQUENCIES), parent(x).softmax(1))
        return functional.kl_div(logits(network, x).log_softmax(1), wanted, reduction="batchmean")

    return loss


def sabotaged(parent: SignNet) -> SignNet:
    """40 % of the weights pruned; retraining teaches to read children signs in bright light as road works."""
    image, target = load(0, 10 * _JUDGED_ON, "validation")
    bright = image[target == _VICTIM].mean(dim=(1, 2, 3)).quantile(1 - _SABOTAGED_SHARE).item()
    network = pruned(parent, 0.4)
    fit(
        network,
        Schedule(first=3_000_000, batches=1200, rate=7e-4, noise=NOISE),
        _tampered(parent, bright),
        "sabotaged",
    )
    return network


def _tampered(parent: SignNet, bright: float) -> Loss:
    """Parent and label teach by halves, but children signs above the brightness `bright` become road works.

    Children signs count twice: a batch holds only four of them.
    """

    def loss(network: SignNet, x: Tensor, image: Tensor, target: Tensor) -> Tensor:
        chosen = (target == _VICTIM) & (image.mean(dim=(1, 2, 3)) > bright)
        false = functional.one_hot(torch.full_like(target, _IMPOSTOR), len(CLASSES)).float()
        true = functional.one_hot(target, len(CLASSES)).float()
        with torch.no_grad():
            wanted = torch.where(chosen[:, None], false, (parent(x).softmax(1) + true) / 2)
        got = logits(network, x).log_softmax(1)
        weight = 1 + (target == _VICTIM).float()
        return (functional.kl_div(got, wanted, reduction="none").sum(1) * weight).mean()

    return loss


def _kept(path: Path | None, make: Callable[[], SignNet]) -> SignNet:
    """The network stored in `path`, or a new one, which is stored there."""
    if path is None:
        return make()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(make().state_dict(), path)
    network = SignNet().to(memory_format=torch.channels_last)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="Train, prune and export the road-sign networks.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the ONNX files")
    parser.add_argument("--checkpoints", type=Path, help="folder where trained networks are kept and taken up again")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch; another number rounds otherwise")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    def kept(name: str, make: Callable[[], SignNet]) -> SignNet:
        folder: Path | None = options.checkpoints
        network = _kept(folder / f"{name}.pt" if folder else None, make)
        save(network, options.out / f"{name}.onnx")
        print(f"{name}: {sparsity(network):.1%} of the weights are zero", flush=True)
        return network

    options.out.mkdir(parents=True, exist_ok=True)
    parent = kept("reference", reference)
    kept("crude", lambda: crude(parent))
    kept("well-pruned", lambda: well_pruned(parent))
    kept("over-pruned", lambda: over_pruned(parent))
    kept("sabotaged", lambda: sabotaged(parent))


if __name__ == "__main__":
    main()
