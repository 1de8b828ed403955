"""FGSM and PGD: steps of one size along the gradient (Goodfellow et al., 2015; Madry et al., 2018)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from checks.attacks.course import Course
from checks.attacks.losses import Loss

_STEP = 2.5
"""Steps of this many radii in all: enough to cross the ball and come back (Madry et al., 2018, §5)."""
_LEAST = 0.1
"""Radii of a step, at least: what a random start has put across the gradient must die away within the steps."""


@dataclass(frozen=True, slots=True)
class Pgd:
    """`steps` steps up the loss from a random place, `restarts` times; one step is FGSM, which starts at the item.

    Items leave as soon as they are fooled, unless they `stay`, to be carried as far as the loss goes.
    """

    loss: Loss
    steps: int
    restarts: int = 1
    stay: bool = False

    def run(self, course: Course, rows: Tensor, *, random: bool = True) -> None:
        """Attack `rows`; without `random` from the items themselves, once."""
        random = random and self.steps > 1
        for restart in range(self.restarts if random else 1):
            chosen = rows if self.stay else course.standing(rows)
            if len(chosen):
                self._once(course, chosen, start(course, chosen, f"pgd {restart}") if random else course.x[chosen])

    def _once(self, course: Course, rows: Tensor, x: Tensor) -> None:
        ball = course.ball
        size = ball.radius * (1.0 if self.steps == 1 else max(_STEP / self.steps, _LEAST))
        for _ in range(self.steps):
            _, gradient = course.climb(rows, x, self.loss)
            if not self.stay:
                standing = ~course.fooled(rows)
                if not standing.all():
                    rows, x, gradient = rows[standing], x[standing], gradient[standing]
            if not len(rows):
                return
            x = ball.project(course.x[rows], x + size * ball.ascent(gradient))
        course.try_out(rows, x)


def start(course: Course, rows: Tensor, name: str) -> Tensor:
    """Random places on the edges of the balls around `rows`."""
    if course.ball.norm == "linf":
        numbers = course.draws.uniform(rows, name).mul_(2).sub_(1)
    else:
        numbers = course.draws.normal(rows, name)
    return course.ball.start(course.x[rows], torch.as_tensor(numbers, device=course.x.device))
