"""Attacks beside those of the Adversarial Robustness Toolbox (ART), in one run on the same network, items and radii.

    python benchmarks/attacks.py [--items 128] [--rounds 2] [--attacks apgd-ce-20 …] [--threads 2]

Needs the extra `test`. A network of 59,450 parameters is trained for a few seconds on generated images of ten soft
patterns [3, 32, 32]. Both attack 64 items at a time, in turns, with other random numbers in each round: seconds are
those of the fastest, what is right under attack the mean over the rounds. Square of the toolbox draws one square for
all 64 items, so its figure hangs on few draws. Steps, their sizes and queries are the same. Forward and backward passes
are counted within the network, per item. No gradients of weights are taken, which would cost the toolbox more.
`tests/attacks/test_against_art.py` says where its methods differ.
"""

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from statistics import mean

import numpy as np
import torch
from art.attacks import EvasionAttack, evasion
from art.estimators.classification import PyTorchClassifier
from patterns import patterns
from torch import Tensor, nn
from torch.nn import functional

from audit import runtime
from audit.contracts import Batch
from audit.gradients import Gradients
from audit.models.victim import NetworkVictim
from audit.randomness import PhiloxRng
from audit.types import OutputKind
from checks.attacks import losses
from checks.attacks.apgd import Apgd
from checks.attacks.ball import Ball, Norm
from checks.attacks.course import Course, Draws
from checks.attacks.effort import Method
from checks.attacks.pgd import Pgd
from checks.attacks.square import Square

TOGETHER = 64
QUERIES = 300
RADII: dict[Norm, float] = {"linf": 8.5 / 255, "l2": 1.4}
ORDER: dict[Norm, float] = {"linf": np.inf, "l2": 2}


@dataclass(frozen=True)
class Contest:
    """One attack of ours and the same of the toolbox, made for a classifier of its own and a radius."""

    norm: Norm
    ours: Method
    theirs: Callable[[PyTorchClassifier, float], EvasionAttack]


def _fgsm() -> Contest:
    return Contest(
        "linf", Pgd(losses.cross_entropy, 1), lambda net, radius: evasion.FastGradientMethod(net, np.inf, radius)
    )


def _pgd(norm: Norm, steps: int) -> Contest:
    def theirs(net: PyTorchClassifier, radius: float) -> EvasionAttack:
        return evasion.ProjectedGradientDescent(
            net, ORDER[norm], radius, 2.5 * radius / steps, max_iter=steps, num_random_init=1, batch_size=TOGETHER,
            verbose=False,
        )  # fmt: skip

    return Contest(norm, Pgd(losses.cross_entropy, steps), theirs)


def _apgd(norm: Norm, loss: losses.Loss, name: str, steps: int) -> Contest:
    def theirs(net: PyTorchClassifier, radius: float) -> EvasionAttack:
        return evasion.AutoProjectedGradientDescent(
            net, ORDER[norm], radius, 2 * radius, max_iter=steps, nb_random_init=1, batch_size=TOGETHER, loss_type=name,
            verbose=False,
        )  # fmt: skip

    return Contest(norm, Apgd(loss, steps), theirs)


def _square(norm: Norm) -> Contest:
    def theirs(net: PyTorchClassifier, radius: float) -> EvasionAttack:
        return evasion.SquareAttack(
            net, norm=ORDER[norm], eps=radius, max_iter=QUERIES, batch_size=TOGETHER, verbose=False
        )

    return Contest(norm, Square(QUERIES + 1), theirs)


CONTESTS: dict[str, Contest] = {
    "fgsm": _fgsm(),
    "pgd-20": _pgd("linf", 20),
    "apgd-ce-20": _apgd("linf", losses.cross_entropy, "cross_entropy", 20),
    "apgd-ce-100": _apgd("linf", losses.cross_entropy, "cross_entropy", 100),
    "apgd-dlr-20": _apgd("linf", losses.difference_of_logits_ratio, "difference_logits_ratio", 20),
    "square": _square("linf"),
    "pgd-20-l2": _pgd("l2", 20),
    "apgd-ce-20-l2": _apgd("l2", losses.cross_entropy, "cross_entropy", 20),
    "square-l2": _square("l2"),
}


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    np.seterr(divide="ignore", invalid="ignore")  # the toolbox divides by zero in Square of l2
    network = Counted(trained())
    x, labels = patterns(arguments.items, 1)
    with torch.no_grad():
        clean = float((network(x).argmax(1) == labels).double().mean())
    weights = sum(parameter.numel() for parameter in network.parameters())
    print(
        f"{arguments.threads} threads, {arguments.items} items, {weights:,} parameters, {clean:.1%} right without an "
        f"attack; linf {RADII['linf'] * 255:g}/255, l2 {RADII['l2']:g}; ours, then the toolbox's"
    )
    print(f"{'':<14}{'right':>16}{'seconds':>18}{'ratio':>9}{'forward':>18}{'backward':>18}")
    for name in arguments.attacks:
        print(_row(name, CONTESTS[name], network, x, labels, arguments.rounds), flush=True)


def _row(name: str, contest: Contest, network: "Counted", x: Tensor, labels: Tensor, rounds: int) -> str:
    ball = Ball(contest.norm, RADII[contest.norm])
    ran: tuple[list[Run], list[Run]] = ([], [])
    for seed in range(rounds + 1):  # the first warms up
        ran[0].append(Run.of(network, partial(ours, contest.ours, network, x, labels, ball, seed), labels))
        ran[1].append(Run.of(network, partial(theirs, contest, network, x, labels, ball.radius, seed), labels))
    own, other = (min(each[1:], key=lambda run: run.seconds) for each in ran)
    right = [mean(run.right for run in each[1:]) for each in ran]
    pairs = [
        f"{right[0]:8.1%}{right[1]:8.1%}", f"{own.seconds:9.2f}{other.seconds:9.2f}",
        f"{other.seconds / own.seconds:7.1f} ×", f"{own.forward:9.1f}{other.forward:9.1f}",
        f"{own.backward:9.1f}{other.backward:9.1f}",
    ]  # fmt: skip
    return f"{name:<14}{''.join(pairs)}"


@dataclass(frozen=True)
class Run:
    """An attack on all items: what is right after it, and what it took."""

    right: float
    seconds: float
    forward: float
    backward: float

    @classmethod
    def of(cls, network: "Counted", attack: Callable[[], Tensor], labels: Tensor) -> "Run":
        network.forwards = network.backwards = 0
        start = time.perf_counter()
        made = attack()
        seconds = time.perf_counter() - start
        forward, backward = network.forwards / len(labels), network.backwards / len(labels)
        with torch.no_grad():
            right = network(made).argmax(1) == labels
        return cls(float(right.double().mean()), seconds, forward, backward)


def ours(method: Method, network: "Counted", x: Tensor, labels: Tensor, ball: Ball, seed: int) -> Tensor:
    """Every item as our attack leaves it, as an audit would show it."""
    ids = np.stack([np.frombuffer(sha256(item.numpy().tobytes()).digest(), np.uint8) for item in x])
    found = Gradients("torch", 0.0, len(x))
    victim = NetworkVictim(
        network, network, found, OutputKind.LOGITS, torch.device("cpu"), torch.get_num_threads(), 0.0, plain=False
    )
    parts = []
    with victim.running():
        for start in range(0, len(x), TOGETHER):
            part = slice(start, start + TOGETHER)
            draws = Draws(PhiloxRng.of({"family": seed}), Batch(ids[part], x[part], None))
            course = Course(victim, x[part], labels[part], ball, draws)
            method.run(course, torch.arange(len(course.x))[course.right])
            parts.append(course.best)
    return torch.cat(parts)


def theirs(contest: Contest, network: "Counted", x: Tensor, labels: Tensor, radius: float, seed: int) -> Tensor:
    """Every item as the toolbox leaves it."""
    np.random.seed(seed)
    random.seed(seed)
    classifier = PyTorchClassifier(
        network, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    made = contest.theirs(classifier, radius).generate(x.numpy(), labels.numpy())
    return torch.from_numpy(made)


class Counted(nn.Module):
    """A network that counts the items that pass forward and back through it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.forwards, self.backwards = network, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        if x.requires_grad:
            x = _Passage.apply(x, self)
        scores: Tensor = self.network(x)
        return scores


class _Passage(torch.autograd.Function):
    """Nothing, counted on the way back."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, counted: Counted) -> Tensor:
        ctx.counted = counted
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        ctx.counted.backwards += len(gradient)
        return gradient, None


def trained() -> nn.Module:
    """A convolutional network that tells the patterns apart."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(),
        nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip
    x, labels = patterns(1500, 0)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(2):
        for part in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            functional.cross_entropy(network(x[part]), labels[part]).backward()
            optimizer.step()
    return network.eval().requires_grad_(False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--attacks", nargs="+", choices=list(CONTESTS), default=list(CONTESTS))
    parser.add_argument("--threads", type=int, default=runtime.cores())
    return parser.parse_args()


if __name__ == "__main__":
    runtime.prepare()
    main()
