"""Items under attack: the worst that was found of each, which are fooled, and what it has cost."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from audit.contracts import Batch, Rng
from audit.gradients import Victim
from checks.attacks import losses
from checks.attacks.ball import Ball
from checks.attacks.losses import Loss


@dataclass(frozen=True)
class Draws:
    """Random numbers of items that are attacked: they belong to the item and the name of the numbers alone."""

    rng: Rng
    batch: Batch

    def uniform(self, rows: Tensor, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """Uniform on [0, 1) [rows, *shape]; without a shape, as the items have."""
        return self._of(self.rng.uniform, rows, name, shape)

    def normal(self, rows: Tensor, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """Standard normal."""
        return self._of(self.rng.normal, rows, name, shape)

    def _of(self, draw: Callable[..., Tensor], rows: Tensor, name: str, shape: tuple[int, ...] | None) -> Tensor:
        places = rows.cpu()
        own = Batch(self.batch.ids[places.numpy()], self.batch.x[places], None, draw=self.batch.draw)
        return draw(own, shape, name).to(rows.device)


class Course:
    """One attack after another on items [N, C, H, W] with labels int64 [N]; `rows` are places among them.

    `best` is what was found of each item with the largest margin against its label: the item as it is, where nothing
    was tried; where the victim had no number for one of the tries, that one, for all to see. `right` are the items that
    the victim gets right as they are, `first` the margin at the first try.
    """

    def __init__(self, victim: Victim, x: Tensor, labels: Tensor, ball: Ball, draws: Draws) -> None:
        self.victim, self.x, self.labels, self.ball, self.draws = victim, x, labels, ball, draws
        count = len(x)
        self.forward = torch.zeros(count, dtype=torch.int32, device=x.device)
        self.backward = torch.zeros_like(self.forward)
        self.best = x.clone()
        self.margins = torch.full((count,), -torch.inf, device=x.device)
        self.first = self.margins.clone()
        self.dead = torch.zeros(count, dtype=torch.bool, device=x.device)
        self._unanswered = torch.zeros_like(self.dead)
        everything = torch.arange(count, device=x.device)
        self.clean = self._scores(everything, x)
        self.right = losses.margin(self.clean, labels) < 0

    def standing(self, rows: Tensor) -> Tensor:
        """Those rows that are not fooled yet."""
        return rows[~self.fooled(rows)]

    def fooled(self, rows: Tensor) -> Tensor:
        """Whether each is, beyond what rounding could undo."""
        return self.margins[rows] > self.victim.slack

    def try_out(self, rows: Tensor, x: Tensor) -> Tensor:
        """The margins of what an attack has made of some rows [N]; kept where it is the worst so far."""
        return self._note(rows, x, self._scores(rows, x))

    def climb(self, rows: Tensor, x: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """Loss and its gradient at what an attack has made of some rows, which is tried out with the same pass.

        A gradient that is no number is none. The first one of every row says whether its gradients are dead.
        """
        labels = self.labels[rows]
        scores, found, gradient = self.victim.with_gradient(x, lambda out: loss(out, labels))
        self.forward[rows] += 1
        largest = torch.linalg.vector_norm(gradient.flatten(1), ord=torch.inf, dim=1)
        finite = largest.isfinite() & found.isfinite()
        if not finite.all():
            gradient = torch.where(finite.view(-1, 1, 1, 1), gradient, torch.zeros_like(gradient))
        new = self.backward[rows] == 0
        self.dead[rows] |= new & ~(finite & (largest > 0))
        self.backward[rows] += 1
        self._note(rows, x, self._answered(rows, x, scores))
        return torch.where(finite, found, torch.full_like(found, -torch.inf)), gradient

    def columns(self) -> dict[str, NDArray[Any]]:
        """What is kept of each item, of what the victim gets right: dead gradients, nothing gained; and passes."""
        stuck = self.right & (self.margins <= self.first) & (self.margins <= self.victim.slack)
        found = {
            "right": self.right, "dead": self.dead & self.right, "stuck": stuck,
            "forward": self.forward, "backward": self.backward,
        }  # fmt: skip
        return {name: values.cpu().numpy() for name, values in found.items()}

    def _scores(self, rows: Tensor, x: Tensor) -> Tensor:
        self.forward[rows] += 1
        return self.victim.scores(x)

    def _answered(self, rows: Tensor, x: Tensor, scores: Tensor) -> Tensor:
        """Scores of a pass with gradients: those without, where it has no numbers, and before an item is called fooled.

        A form with gradients may overflow, or round otherwise, where the network itself does not: that would look like
        a success, and the item would leave.
        """
        new = (losses.margin(scores, self.labels[rows]) > self.victim.slack) & ~self.fooled(rows)
        asked = new | ~(scores < torch.inf).all(1)
        if asked.any():
            scores = scores.clone()
            scores[asked] = self._scores(rows[asked], x[asked])
        return scores

    def _note(self, rows: Tensor, x: Tensor, scores: Tensor) -> Tensor:
        margins = losses.margin(scores, self.labels[rows])
        # What is no number is no success; it is shown to the engine, which counts it, and it blocks.
        odd = ~(scores < torch.inf).all(1)
        margins = torch.where(odd, torch.full_like(margins, -torch.inf), margins)
        untried = self.first[rows] == -torch.inf
        self.first[rows] = torch.where(untried, margins, self.first[rows])
        better = ((margins > self.margins[rows]) | untried | odd) & ~self._unanswered[rows]
        self._unanswered[rows] |= odd
        self.best[rows[better]] = x[better]
        self.margins[rows] = torch.maximum(margins, self.margins[rows])
        return margins
