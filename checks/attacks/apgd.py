"""APGD: steps that grow smaller where they no longer help (Croce & Hein, ICML 2020, algorithm 1)."""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from checks.attacks import losses
from checks.attacks.course import Course
from checks.attacks.losses import Loss
from checks.attacks.pgd import start

_MOMENTUM: Final = 0.75
_RISING: Final = 0.75
"""Share of steps that must have gained something, or the step is halved."""
_FIRST, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06
"""Length of the first period between looks, by how much each is shorter, and the shortest: shares of all steps."""


@dataclass(frozen=True, slots=True)
class Apgd:
    """`steps` steps up one loss from a random place, `restarts` times; items leave as soon as they are fooled."""

    loss: Loss
    steps: int
    restarts: int = 1
    stay: bool = False

    def run(self, course: Course, rows: Tensor, *, random: bool = True) -> None:
        """Attack `rows`; without `random` from the items themselves, once."""
        for restart in range(self.restarts if random else 1):
            chosen = rows if self.stay else course.standing(rows)
            if len(chosen):
                name = f"apgd {restart}"
                x = start(course, chosen, name) if random else course.x[chosen]
                _Ascent(course, chosen, x, self.loss, self.steps).run(stay=self.stay)


@dataclass(frozen=True, slots=True)
class TargetedApgd:
    """APGD on the targeted DLR, towards the `targets` highest classes beside the label, one after another."""

    steps: int
    targets: int = 9

    def run(self, course: Course, rows: Tensor, *, random: bool = True) -> None:
        """Attack `rows`; without `random` from the items themselves."""
        scores = course.clean.scatter(1, course.labels[:, None], -torch.inf)
        ranked = scores.argsort(dim=1, descending=True, stable=True)  # ties, as quantised networks have, go by class
        for place in range(min(self.targets, scores.shape[1] - 1)):
            chosen = course.standing(rows)
            if not len(chosen):
                return
            x = start(course, chosen, f"target {place}") if random else course.x[chosen]
            _Ascent(course, chosen, x, None, self.steps, ranked[chosen, place]).run()


class _Ascent:
    """One run of algorithm 1 on `rows`, from `x`: up `loss`, or without one towards the classes `target` [N]."""

    def __init__(
        self, course: Course, rows: Tensor, x: Tensor, loss: Loss | None, steps: int, target: Tensor | None = None
    ) -> None:
        self.course, self.loss, self.steps = course, loss, steps
        self.state: dict[str, Tensor] = {"rows": rows, "x": x, "before": x}
        if target is not None:
            self.state["target"] = target
        self.state["size"] = torch.full((len(rows), 1, 1, 1), 2 * course.ball.radius, device=x.device)
        self.period = max(int(_FIRST * steps), 1)

    def run(self, *, stay: bool = False) -> None:
        """Leave in the course the worst that is found."""
        s = self.state
        s["value"], s["gradient"] = self._climb()
        # The best place so far, its loss and gradient; what the loss was at the last look, and whether the step was
        # halved there; how many steps gained something since.
        s |= {"top": s["x"], "top_value": s["value"], "top_gradient": s["gradient"]}
        s |= {"seen": s["value"], "halved": torch.ones_like(s["rows"], dtype=torch.bool)}
        s["gains"] = torch.zeros_like(s["rows"])
        since = 0
        for step in range(self.steps):
            if not stay and not self._let_go():
                return
            self._step(first=step == 0)
            since += 1
            if since == self.period:
                self._look()
                since = 0
                self.period = max(self.period - max(int(_SHORTER * self.steps), 1), max(int(_SHORTEST * self.steps), 1))

    def _climb(self) -> tuple[Tensor, Tensor]:
        s = self.state
        return self.course.climb(s["rows"], s["x"], self.loss or losses.targeted(s["target"]))

    def _let_go(self) -> bool:
        """Let fooled items leave; whether any stay."""
        standing = ~self.course.fooled(self.state["rows"])
        if not standing.all():
            self.state = {name: values[standing] for name, values in self.state.items()}
        return bool(len(self.state["rows"]))

    def _step(self, *, first: bool) -> None:
        s, ball = self.state, self.course.ball
        origin, weight = self.course.x[s["rows"]], 1.0 if first else _MOMENTUM
        forth = ball.project(origin, s["x"] + s["size"] * ball.ascent(s["gradient"]))
        moved = s["x"] + (forth - s["x"]) * weight + (s["x"] - s["before"]) * (1 - weight)
        s["before"], s["x"] = s["x"], ball.project(origin, moved)
        last = s["value"]
        s["value"], s["gradient"] = self._climb()
        s["gains"] = s["gains"] + (s["value"] > last)
        better = s["value"] > s["top_value"]
        for name in ("x", "value", "gradient"):
            place = "top" if name == "x" else f"top_{name}"
            s[place] = torch.where(better.view(-1, *[1] * (s[name].ndim - 1)), s[name], s[place])

    def _look(self) -> None:
        """Halve the steps of items that oscillate, or have gained nothing since a look that left their step alone."""
        s = self.state
        none = ~s["halved"] & (s["seen"] >= s["top_value"])
        halve = (s["gains"] <= _RISING * self.period) | none
        s["halved"], s["seen"] = halve, s["top_value"]
        wide = halve.view(-1, 1, 1, 1)
        s["size"] = torch.where(wide, s["size"] / 2, s["size"])
        s["x"] = torch.where(wide, s["top"], s["x"])
        s["gradient"] = torch.where(wide, s["top_gradient"], s["gradient"])
        s["value"] = torch.where(halve, s["top_value"], s["value"])
        s["gains"] = torch.zeros_like(s["gains"])
