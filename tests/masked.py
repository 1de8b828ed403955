"""A small network and copies of it that hide their gradients: the same weights, so the same true robustness.

Ten classes of coarse patterns on 12 × 12 grey images; nearly nothing withstands 8/255.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Set = tuple[NDArray[np.float32], NDArray[np.int64]]
SIDE, CLASSES, ITEMS = 12, 10, 200
INPUT = (1, SIDE, SIDE)


@cache
def items(count: int = ITEMS, seed: int = 2) -> Set:
    """Images [N, 1, 12, 12] in [0, 1] and labels [N]."""
    coarse = np.random.default_rng(0).random((CLASSES, 1, 3, 3))
    patterns = np.kron(coarse, np.ones((1, 1, 4, 4)))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = 0.5 + 0.13 * (patterns[y] - 0.5) + 0.04 * rng.standard_normal((count, *INPUT))
    return x.clip(0, 1).astype(np.float32), y


@cache
def trained() -> nn.Module:
    """Weights that name every item right, after a few seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, CLASSES))
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        x, y = map(torch.from_numpy, items(3000, 1))
        for _ in range(20):
            for start in range(0, len(x), 100):
                part = slice(start, start + 100)
                loss = nn.functional.cross_entropy(net(centred(x[part])), y[part])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net.eval()


def centred(x: Tensor) -> Tensor:
    return (x - 0.5) / 0.1


class Copy(nn.Module):
    """The trained network: logits times `factor`, with `softmax` probabilities, of inputs `rounded` to 8 bits."""

    def __init__(self, factor: float = 1.0, *, softmax: bool = False, rounded: bool = False) -> None:
        super().__init__()
        self.net, self.factor, self.softmax, self.rounded = trained(), factor, softmax, rounded

    def forward(self, x: Tensor) -> Tensor:
        x = torch.round(x * 255) / 255 if self.rounded else x
        logits: Tensor = self.factor * self.net(centred(x))
        return logits.softmax(1) if self.softmax else logits


VARIANTS = {
    "logits": Copy,
    "logits × 30": lambda: Copy(30.0),
    "softmax of logits × 30": lambda: Copy(30.0, softmax=True),
    "input rounded to 8 bits": lambda: Copy(rounded=True),
}
"""Of these only the first is what it seems."""
