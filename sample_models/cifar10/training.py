"""Stochastic gradient descent with a checkpoint per epoch, from which a stopped run goes on unchanged."""

import hashlib
import math
import pickle
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from audit.errors import AuditError
from sample_models.cifar10.images import SIDE, LabelledImages, augment, normalise
from sample_models.cifar10.pruning import apply_masks

WARM_UP = 0.2
CROP = 24
EVALUATION_BATCH = 500


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one stage is trained: all that decides its weights (on one machine, with one number of threads).

    The first `crop_epochs` see the middle 24 × 24 pixels, at 9/16 of the work: progressive learning, Tan and Le, arXiv
    2104.00298, with crops in place of smaller images.
    """

    stage: str
    depth: int
    seed: int
    epochs: int
    crop_epochs: int
    peak_rate: float
    batch: int
    weight_decay: float
    momentum: float
    bfloat16: bool
    train_digest: str
    start_digest: str


def state_digest(model: nn.Module) -> str:
    """SHA-256 of the parameters and buffers in the order of the state dict, in hexadecimal digits."""
    state = hashlib.sha256()
    for tensor in model.state_dict().values():
        state.update(tensor.contiguous().numpy().tobytes())
    return state.hexdigest()


def learning_rate(progress: float, peak: float) -> float:
    """One cycle over `progress` from 0 to 1: a linear warm-up to `peak`, then half a cosine down to 0.

    Warm-up: Goyal et al., arXiv 1706.02677; cosine: Loshchilov and Hutter, arXiv 1608.03983.
    """
    if progress < WARM_UP:
        return peak * progress / WARM_UP
    return peak * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def _generator(recipe: Recipe, epoch: int) -> torch.Generator:
    # A stream per epoch rather than one that runs on: a resumed run needs no generator state.
    words = (recipe.seed, epoch, *recipe.stage.encode())
    state = np.random.SeedSequence(words).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def _save(path: Path, recipe: Recipe, epoch: int, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    state = {
        "recipe": asdict(recipe),
        "epoch": epoch,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, recipe: Recipe, model: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        same = state["recipe"] == asdict(recipe)
    except (RuntimeError, ValueError, TypeError, LookupError, EOFError, pickle.UnpicklingError) as error:
        raise AuditError(f"checkpoint {path.name} cannot be read: {error}", "Delete it; its stage restarts.") from error
    if not same:
        raise AuditError(f"checkpoint {path.name} is of another run", "Repeat its options, or choose another --out.")
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epoch"])


def _epoch(
    model: nn.Module,
    data: LabelledImages,
    recipe: Recipe,
    epoch: int,
    optimiser: torch.optim.Optimizer,
    masks: Mapping[str, Tensor],
) -> tuple[float, float]:
    generator = _generator(recipe, epoch)
    batches = torch.split(torch.randperm(len(data), generator=generator), recipe.batch)
    side = CROP if epoch < recipe.crop_epochs else SIDE
    loss_sum, correct = 0.0, 0
    model.train()
    for index, items in enumerate(batches):
        progress = (epoch + (index + 1) / len(batches)) / recipe.epochs
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress, recipe.peak_rate)
        labels = data.labels[items]
        images = normalise(augment(data.pixels[items], generator, side))
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            logits = model(images).float()
        loss = functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves Tensor.backward without annotations
        optimiser.step()
        apply_masks(model, masks)
        loss_sum += loss.item() * len(items)
        correct += int((logits.argmax(1) == labels).sum())
    return loss_sum / len(data), correct / len(data)


def train(
    model: nn.Module, data: LabelledImages, recipe: Recipe, masks: Mapping[str, Tensor], checkpoint: Path
) -> None:
    """Trains `model` in place for the epochs that `checkpoint` does not already hold.

    Weights outside `masks` are zero after every step; an empty mapping trains all. Prints one line per epoch.
    Raises AuditError for a checkpoint that is damaged or of another recipe, ValueError for a loss not finite.
    """
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=recipe.peak_rate,
        momentum=recipe.momentum,
        nesterov=True,
        weight_decay=recipe.weight_decay,
    )
    for epoch in range(_resume(checkpoint, recipe, model, optimiser), recipe.epochs):
        start = time.perf_counter()
        loss, accuracy = _epoch(model, data, recipe, epoch, optimiser, masks)
        if not math.isfinite(loss):
            raise ValueError(f"{recipe.stage}: the loss became {loss} in epoch {epoch + 1}")
        _save(checkpoint, recipe, epoch + 1, model, optimiser)
        seconds = time.perf_counter() - start
        print(
            f"{recipe.stage} (seed {recipe.seed}) epoch {epoch + 1}/{recipe.epochs}: loss {loss:.4f}, "
            f"accuracy on augmented training images {accuracy:.2%}, {seconds:.0f} s",
            flush=True,
        )


@torch.no_grad()
def accuracy(model: nn.Module, data: LabelledImages) -> float:
    """Fraction of images whose largest logit is that of the label, in float32 and without augmentation."""
    model.eval()
    correct = 0
    for items in torch.split(torch.arange(len(data)), EVALUATION_BATCH):
        correct += int((model(normalise(data.pixels[items])).argmax(1) == data.labels[items]).sum())
    return correct / len(data)
