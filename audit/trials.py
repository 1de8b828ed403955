"""Which preprocessing networks were trained with: the usual ones, tried on a few items of the test set.

A look, no verdict: the most accurate one of those tried, for a person to compare with the training code.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Model
from audit.dataset import DataSource
from audit.request import PreprocessingEntry
from audit.stats import proportions
from audit.types import Role

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["NCHW", "NHWC"]
Bools = NDArray[np.bool_]

ITEMS = 512
_GROUP = 32
"""Items that are collected before they go through a network."""
_ALPHA = 0.01
"""Probability of a wrong claim, over everything tried, that something is better than guessing or than another."""
_DIGITS = 4
_PLAIN = (
    ("pixels in [0, 1]", PreprocessingEntry()),
    ("pixels in [-1, 1]", PreprocessingEntry(range=(-1.0, 1.0))),
    ("pixels in [0, 255]", PreprocessingEntry(range=(0.0, 255.0))),
)
_COLOUR = (
    ("mean and std of ImageNet", PreprocessingEntry(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))),
    ("mean and std of CIFAR-10", PreprocessingEntry(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616))),
)
"""As torchvision's model cards state it, and as computed over the training images of CIFAR-10 (Krizhevsky, 2009)."""

Options = Sequence[tuple[str, PreprocessingEntry]]


@dataclass(frozen=True, slots=True)
class Trial:
    """A preprocessing, and which items of the sample a network then gets right: bool [n]."""

    name: str
    entry: PreprocessingEntry
    right: Bools

    @property
    def correct(self) -> int:
        return int(self.right.sum())

    @property
    def accuracy(self) -> float:
        """Fraction of the sample."""
        return self.correct / len(self.right)


@dataclass(frozen=True)
class Sample:
    """At most `ITEMS` items of a data set, one at random from each of as many equal parts.

    The same every time; a fixed distance between them could meet the same class again and again.
    """

    source: DataSource

    @property
    def wanted(self) -> Bools:
        """Which of the distinct items belong to it: bool [N]."""
        n = len(self.source.manifest.ids)
        edges = np.arange(min(n, ITEMS) + 1) * n // min(n, ITEMS)
        picked = np.zeros(n, np.bool_)
        picked[np.random.default_rng(0).integers(edges[:-1], edges[1:])] = True
        return picked

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 [n]."""
        return self.source.manifest.labels[self.wanted]

    def groups(self) -> Iterator["Tensor"]:
        """The items, some at a time: float32 [m, C, H, W] in [0, 1]."""
        import torch

        parts: list[Tensor] = []
        for batch in self.source.batches(_GROUP, self.wanted):
            parts.append(batch.x)
            if sum(map(len, parts)) >= _GROUP:
                yield torch.cat(parts)
                parts = []
        if parts:
            yield torch.cat(parts)

    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of every channel, rounded."""
        pixels, total, square = 0, np.zeros(self.source.shape[0]), np.zeros(self.source.shape[0])
        for group in self.groups():
            x = group.numpy()
            total += x.sum(axis=(0, 2, 3), dtype=np.float64)
            square += np.square(x, dtype=np.float64).sum(axis=(0, 2, 3))
            pixels += x[:, 0].size
        mean = total / pixels
        std = np.sqrt((square / pixels - mean**2).clip(min=0.0))
        return tuple(mean.round(_DIGITS).tolist()), tuple(std.round(_DIGITS).tolist())


def options(sample: Sample) -> Options:
    """What there is to try, the simplest first; all in the layout NCHW."""
    mean, std = sample.moments()
    own = (("mean and std of these items", PreprocessingEntry(mean=mean, std=std)),) if min(std) > 0 else ()
    return (*_PLAIN, *(_COLOUR if len(mean) == 3 else ()), *own)


def attempt(
    networks: Mapping[tuple[Role, Layout], Model], tried: Options, sample: Sample
) -> dict[Role, tuple[Trial, ...]]:
    """Run every network on the sample after each preprocessing, and see which items it gets right.

    `networks` are opened with the layout alone. Scores that are not finite are wrong answers. Raises AuditError where
    a network fails on an item.
    """
    import torch

    found: dict[tuple[Role, Layout, str], list[Bools]] = {}
    labels, start = sample.labels, 0
    for group in sample.groups():
        y = labels[start : start + len(group)]
        start += len(group)
        for name, entry in tried:
            x = torch.from_numpy(entry.resolve(group.shape[1]).apply(group.numpy()))
            for (role, layout), network in networks.items():
                found.setdefault((role, layout, name), []).append(_right(network(x).numpy(), y))
    trials: dict[Role, tuple[Trial, ...]] = {}
    for role, layout in networks:
        trials[role] = trials.get(role, ()) + tuple(
            Trial(name, entry.model_copy(update={"layout": layout}), np.concatenate(found[role, layout, name]))
            for name, entry in tried
        )
    return trials


def _right(out: NDArray[np.float32], labels: NDArray[np.int64]) -> Bools:
    right: Bools = np.isfinite(out).all(axis=1) & (out.argmax(axis=1) == labels)
    return right


@dataclass(frozen=True)
class Choice:
    """What the trials of networks with `classes` outputs say; `labels` int64 [n] are those of the sample."""

    trials: Mapping[Role, tuple[Trial, ...]]
    labels: NDArray[np.int64]
    classes: int

    @property
    def chance(self) -> float:
        """Accuracy of the best way to guess: the share of the most frequent label, at least 1/classes."""
        return max(1 / self.classes, float(np.bincount(self.labels).max() / len(self.labels)))

    @property
    def _lead(self) -> tuple[Trial, ...]:
        """The reference's trials, or those of the only network that could run."""
        return self.trials.get(Role.REFERENCE) or next(iter(self.trials.values()))

    @property
    def found(self) -> bool:
        """Whether the best trial is clearly better than guessing: an exact binomial test for as many as were made."""
        best = _best(self._lead)
        return proportions.p_at_least(best.correct, len(best.right), self.chance) <= _ALPHA / len(self._lead)

    def of(self, role: Role) -> Trial:
        """The trial with the preprocessing that was chosen: the same for all, save for the layout where it must be.

        The most accurate one, of equals the simplest; the simplest where nothing was found.
        """
        chosen = _best(self._lead) if self.found else self._lead[0]
        same = [trial for trial in self.trials[role] if trial.name == chosen.name]
        return next((trial for trial in same if trial.entry == chosen.entry), same[0])

    @property
    def alike(self) -> tuple[Trial, ...]:
        """What else was tried on the reference, or the only network, and is not clearly worse than the best."""
        best = _best(self._lead)
        return tuple(
            trial for trial in self._lead if trial is not best and not _clearly_better(best, trial, len(self._lead))
        )

    def better(self, role: Role) -> Trial | None:
        """The best trial of a network where that is clearly better than the chosen one."""
        best = _best(self.trials[role])
        return best if _clearly_better(best, self.of(role), len(self.trials[role])) else None


def _best(trials: tuple[Trial, ...]) -> Trial:
    """The first among the most accurate."""
    return max(trials, key=lambda trial: trial.correct)


def _clearly_better(one: Trial, other: Trial, compared: int) -> bool:
    """Whether the first is right more often on the same items: an exact sign test, one of as many as are compared."""
    gained, lost = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
    return gained > lost and proportions.p_at_least(gained, gained + lost, 0.5) <= _ALPHA / compared
