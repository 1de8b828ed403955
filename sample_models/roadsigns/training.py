"""Batches, magnitude pruning and fitting: the parts that the recipes in `train.py` are made of."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sample_models.roadsigns.generator import MEAN, STD, generate
from sample_models.roadsigns.network import SignNet, weights

BATCH = 256
Loss = Callable[[SignNet, Tensor, Tensor, Tensor], Tensor]
"""(network, normalised images, images in [0, 1] before noise, labels) → scalar."""


def normalised(image: Tensor) -> Tensor:
    """Images in [0, 1], [N, 3, 32, 32], as the network expects them."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((image - mean) / std).contiguous(memory_format=torch.channels_last)


def load(start: int, count: int, stream: str) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] [count, 3, 32, 32] and labels of generated items."""
    images, labels = generate(start, count, stream)
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast: batches of fresh items from item `first` of "train"; cosine decay from `rate`.

    Half of each batch gets uniform noise whose amplitude is itself uniform up to `noise` (of 1).
    """

    first: int
    batches: int
    rate: float
    noise: float = 0.0


def _batches(schedule: Schedule) -> Iterator[tuple[Tensor, Tensor]]:
    for index in range(schedule.batches):
        yield load(schedule.first + index * BATCH, BATCH, "train")


def _noisy(image: Tensor, amplitude: float, rng: torch.Generator) -> Tensor:
    """Uniform noise on the first half of the batch, cut to [0, 1]."""
    half = len(image) // 2
    levels = torch.rand((half, 1, 1, 1), generator=rng) * amplitude
    noise = (torch.rand(image[:half].shape, generator=rng) * 2 - 1) * levels
    return torch.cat([(image[:half] + noise).clamp(0, 1), image[half:]])


def fit(network: SignNet, schedule: Schedule, loss: Loss, label: str) -> None:
    """Trains in place with AdamW; weights that are exactly zero before stay zero (pruned)."""
    alive = [weight != 0 for weight in weights(network)]
    optimizer = torch.optim.AdamW(network.parameters(), lr=schedule.rate, weight_decay=0.02)
    warmup = max(1, min(200, schedule.batches // 10))
    decay = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.rate, total_steps=schedule.batches, pct_start=warmup / schedule.batches
    )
    rng = torch.Generator().manual_seed(schedule.first)
    began = time.monotonic()
    network.train()
    for index, (image, target) in enumerate(_batches(schedule)):
        x = normalised(_noisy(image, schedule.noise, rng) if schedule.noise else image)
        value = loss(network, x, image, target)
        optimizer.zero_grad()
        torch.autograd.backward(value)
        optimizer.step()
        decay.step()
        with torch.no_grad():
            for weight, mask in zip(weights(network), alive, strict=True):
                weight.mul_(mask)
        if (index + 1) % 250 == 0:
            seconds = time.monotonic() - began
            print(
                f"{label}: {index + 1}/{schedule.batches} batches, loss {value.item():.4f}, {seconds:.0f} s",
                flush=True,
            )
    network.eval()


def logits(network: SignNet, x: Tensor) -> Tensor:
    """Logits in single precision from a pass in bfloat16 where the processor has it."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out: Tensor = network(x)
    return out.float()


def labelled(network: SignNet, x: Tensor, image: Tensor, target: Tensor) -> Tensor:
    """Cross entropy with the labels."""
    return functional.cross_entropy(logits(network, x), target)


def distilled(teacher: SignNet) -> Loss:
    """Kullback–Leibler divergence from the teacher's softmax on the same inputs (Hinton et al., 2015)."""

    def loss(network: SignNet, x: Tensor, image: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = teacher(x).log_softmax(1)
        got = logits(network, x).log_softmax(1)
        return functional.kl_div(got, wanted, reduction="batchmean", log_target=True)

    return loss


def pruned(network: SignNet, sparsity: float) -> SignNet:
    """A copy without the smallest weights over all layers together (global magnitude pruning); 0 < sparsity < 1."""
    result = copy.deepcopy(network)
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights(result)])
    threshold = sizes.kthvalue(round(sparsity * sizes.numel())).values
    with torch.no_grad():
        for weight in weights(result):
            weight.mul_(weight.abs() > threshold)
    return result


@torch.no_grad()
def predictions(network: nn.Module, image: Tensor) -> Tensor:
    """Predicted classes [N] of images in [0, 1]."""
    return torch.cat([network(normalised(part)).argmax(1) for part in torch.split(image, 1000)])
