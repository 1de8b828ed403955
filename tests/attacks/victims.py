"""Networks that can be attacked, items, and courses on them."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from audit.contracts import Batch
from audit.gradients import Gradients
from audit.models.device import reproducible
from audit.models.victim import NetworkVictim
from audit.randomness import PhiloxRng
from audit.types import OutputKind
from benchmarks.patterns import patterns
from checks.attacks.ball import Ball
from checks.attacks.course import Course, Draws
from checks.attacks.effort import Method

Network = Callable[[Tensor], Tensor]


class Linear:
    """Scores w · x + b of items [N, *shape], summed in float64: no batch changes a bit of them."""

    def __init__(self, classes: int, shape: tuple[int, int, int] = (3, 6, 6), seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.weight = torch.randn((classes, *shape), generator=rng)
        self.bias = torch.zeros(classes)

    def __call__(self, x: Tensor) -> Tensor:
        products = x.double()[:, None] * self.weight.double()
        return (products.flatten(2).sum(2) + self.bias).float()

    def reach(self, ball: Ball, labels: Tensor) -> Tensor:
        """How far each score can rise against that of the label within a ball, where no pixel reaches 0 or 1 [N, K]."""
        apart = (self.weight[None] - self.weight[labels][:, None]).double().flatten(2)
        return ball.radius * torch.linalg.vector_norm(apart, ord=1 if ball.norm == "linf" else 2, dim=2)

    def worst(self, x: Tensor, labels: Tensor, ball: Ball) -> Tensor:
        """The largest margin within a ball, where no pixel reaches 0 or 1 [N]."""
        scores = self(x).double()
        against = scores - scores.gather(1, labels[:, None]) + self.reach(ball, labels)
        return against.scatter(1, labels[:, None], -torch.inf).amax(1)


def grey(count: int, shape: tuple[int, int, int] = (3, 6, 6), seed: int = 1) -> Tensor:
    """Items [count, *shape] whose pixels lie between 0.4 and 0.6, far from 0 and 1."""
    return 0.4 + 0.2 * torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed))


def victim(network: Network, slack: float = 0.0) -> NetworkVictim:
    """A network of logits as attacks see it, its own network of record."""
    found = Gradients("torch", 0.0, 64)
    return NetworkVictim(network, network, found, OutputKind.LOGITS, torch.device("cpu"), 1, slack)


def course(network: Network, x: Tensor, labels: Tensor, ball: Ball, slack: float = 0.0) -> Course:
    """Attacks on items [N, C, H, W] begin here; an item draws by its pixels alone."""
    ids = np.stack([np.frombuffer(sha256(item.numpy().tobytes()).digest(), np.uint8) for item in x])
    with torch.no_grad():
        return Course(
            victim(network, slack), x, labels, ball, Draws(PhiloxRng.of({"family": "test"}), Batch(ids, x, labels))
        )


def attacked(method: Method, begun: Course, *, random: bool = True) -> Course:
    """What an attack leaves of the items that the network gets right."""
    with begun.victim.running():
        method.run(begun, torch.arange(len(begun.x))[begun.right], random=random)
    return begun


def distance(begun: Course) -> Tensor:
    """How far each item was moved, in the norm of the ball [N], in float64."""
    moved = (begun.best.double() - begun.x.double()).flatten(1)
    return torch.linalg.vector_norm(moved, ord=torch.inf if begun.ball.norm == "linf" else 2, dim=1)


@cache
def convolutional() -> torch.nn.Module:
    """A network of three convolutions that tells `patterns` apart, trained for a second or two."""
    with torch.random.fork_rng(), reproducible(torch.device("cpu"), 1, strict=False), torch.enable_grad():
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, stride=2, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(16, 24, 3, stride=2, padding=1), torch.nn.ReLU(),
            torch.nn.Conv2d(24, 32, 3, stride=2, padding=1), torch.nn.ReLU(),
            torch.nn.Flatten(), torch.nn.Linear(512, 10),
        )  # fmt: skip
        x, labels = patterns(1500, 0)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(2):
            for part in torch.randperm(len(x)).split(50):
                optimizer.zero_grad()
                functional.cross_entropy(network(x[part]), labels[part]).backward()
                optimizer.step()
    return network.eval().requires_grad_(False)
