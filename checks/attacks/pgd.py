"""FGSM and PGD: a number of steps along the gradient (Goodfellow et al., 2015; Madry et al., 2018)."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from checks.attacks.course import Course
from checks.attacks.losses import Loss

_PERIODS: Final = 4
"""Parts of a run: in each the steps are half as long as in the one before, and in the first half a radius.

Long steps fool most items soon, and short ones those near the end (Madry et al. take 2.5 radii by the number of steps).
"""


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
        for step in range(self.steps):
            _, gradient = course.climb(rows, x, self.loss)
            if not self.stay:
                standing = ~course.fooled(rows)
                if not standing.all():
                    rows, x, gradient = rows[standing], x[standing], gradient[standing]
            if not len(rows):
                return
            size = 1.0 if self.steps == 1 else 0.5 ** (1 + _PERIODS * step // self.steps)
            x = ball.project(course.x[rows], x + size * ball.radius * ball.ascent(gradient))
        course.try_out(rows, x)


def start(course: Course, rows: Tensor, name: str) -> Tensor:
    """Random places on the edges of the balls around `rows`."""
    if course.ball.norm == "linf":
        numbers = course.draws.uniform(rows, name).mul_(2).sub_(1)
    else:
        numbers = course.draws.normal(rows, name)
    return course.ball.start(course.x[rows], torch.as_tensor(numbers, device=course.x.device))
