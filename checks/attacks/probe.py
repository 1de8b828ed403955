"""An attack on one of the models as a probe: the items that it leaves are shown to all of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch, Budget, Perturbed, Rng
from audit.digest import Json
from audit.gradients import Victim
from audit.types import DataName, Role
from checks.attacks.effort import Effort, Norm

if TYPE_CHECKING:
    from torch import Tensor

    from checks.attacks.course import Course

Kind = Literal["white-box", "black-box", "transfer"]
VERSION: Final = "1"
"""Of the attacks: what changes an input that they find is a new one."""
PIXEL: Final = 255
"""Steps of an 8-bit pixel: radii are given in these."""
_ROUNDING: Final = {"linf": 1e-6, "l2": 2e-5}
"""What float32 may add to a distance of pixels in [0, 1]."""
_NEAR: Final = {"linf": 2.0, "l2": 64.0}
"""Steps of an 8-bit pixel within which a gradient should say about what a step gains."""
_TENTH: Final = 0.1
_TOGETHER: Final = {"white-box": 64, "transfer": 64, "black-box": 256}
"""Items that are attacked at once: gradients keep activations, and more are slower (docs/speed.md)."""


@dataclass(frozen=True)
class Attack:
    """Every item of the sample as an attack on `target` leaves it, within `level` / 255 of where it was.

    "white-box" climbs gradients and "black-box" asks for scores alone; both spend themselves on the items that the
    target gets right, and of the others give a random place in the ball. "transfer" is made of all items to be shown to
    the other model. With `control` the white-box attack is also run without a bound and from the items themselves: an
    attack that then breaks nothing is dead, and a network that then stands hides its gradients.
    """

    kind: Kind
    target: Role
    norm: Norm
    level: float
    effort: Effort
    data: DataName
    classes: int
    control: bool = False
    draws: int = 1
    min_effect: float = 0.99

    @property
    def name(self) -> str:
        return f"{self.kind} attack on the {self.target}, {self.norm} {self.label}"

    @property
    def label(self) -> str:
        """The radius as claims name it."""
        return f"{self.level:g}/{PIXEL}"

    @property
    def budget(self) -> Budget:
        return Budget(self.norm, self.level / PIXEL + _ROUNDING[self.norm])

    @property
    def passes(self) -> tuple[int, int]:
        """The most forward and backward passes an item takes, where scores with gradients are those without."""
        match self.kind:
            case "black-box":
                return self.effort.queries + 1, 0
            case "transfer":
                return self.effort.transfer_steps + 3, self.effort.transfer_steps
        forward, backward = self.effort.passes(self.classes)
        # As it is, and where it is fooled; of the control once more, and again to see whether it is answered alike, and
        # whether a step along the gradient gains what it says.
        return (2 * forward + 8, 2 * backward + 1) if self.control else (forward + 2, backward)

    def stream(self) -> Mapping[str, Json]:
        # Without the target: attacks on either model begin alike.
        return {"attack": self.kind, "norm": self.norm, "version": VERSION}

    def canonical(self) -> Mapping[str, Json]:
        effort = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.effort).items()
        }
        return {
            "probe": "attack", "data": str(self.data), "draws": self.draws, "level": self.level, "effort": effort,
            "control": self.control, "classes": self.classes, "target": self.target.value, **self.stream(),
        }  # fmt: skip

    def describe(self) -> str:
        effort, most = self.effort, self.passes
        how = {
            "white-box": f"{', then '.join(effort.white_box)} with {effort.steps} steps",
            "black-box": f"Square with {effort.queries} queries",
            "transfer": f"PGD on the margin with {effort.transfer_steps} steps, past the point where it fools",
        }[self.kind]
        return (
            f"{how}, on the {self.target}, within {self.norm} {self.label}; at most {most[0]} forward and {most[1]} "
            "backward passes an item"
        )

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        raise TypeError("an attack needs a victim")

    def attack(self, batch: Batch, rng: Rng, victim: Victim, /) -> Perturbed:
        """See `Aimed`."""
        import torch

        size = _TOGETHER[self.kind]
        parts = [self._part(_cut(batch, slice(i, i + size)), rng, victim) for i in range(0, len(batch.ids), size)]
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
        return Perturbed(torch.cat([part.x for part in parts]), columns)

    def _part(self, batch: Batch, rng: Rng, victim: Victim) -> Perturbed:
        import torch

        from checks.attacks.ball import Ball
        from checks.attacks.pgd import start

        course = self._course(batch, rng, victim, Ball(self.norm, self.level / PIXEL))
        everything = torch.arange(len(batch.ids), device=victim.device)
        right = everything[course.right]
        if self.kind == "transfer":
            self.effort.transfer().run(course, everything)
        else:
            wrong = everything[~course.right]
            if len(wrong):
                course.try_out(wrong, start(course, wrong, "wrong"))
            for method in self.effort.methods() if self.kind == "white-box" else (self.effort.black_box(),):
                method.run(course, right)
            # What an attack without a gradient could not move is moved at random: the engine asks for a change.
            unmoved = right[(course.best[right] == course.x[right]).flatten(1).all(1)]
            if len(unmoved):
                course.best[unmoved] = start(course, unmoved, "unmoved")
        columns = course.columns()
        if self.control:
            columns |= self._control(batch, rng, victim, columns)
        return Perturbed(course.best.cpu(), columns)

    def _control(
        self, batch: Batch, rng: Rng, victim: Victim, columns: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """What the same attack does without a bound, and whether the victim answers the same items alike."""
        import torch

        from checks.attacks.ball import Ball

        # No two places of the unit cube are farther apart.
        farthest = 1.0 if self.norm == "linf" else float(batch.x[0].numel()) ** 0.5
        course = self._course(batch, rng, victim, Ball(self.norm, farthest))
        right = torch.arange(len(batch.ids), device=victim.device)[course.right]
        for method in self.effort.methods():
            method.run(course, right, random=False)
        everything = torch.arange(len(batch.ids), device=victim.device)
        misled = self._misled(batch, rng, victim)
        again = victim.scores(course.x)
        # Of two infinities there is no difference; what is no number the second time is not alike.
        alike = ((again - course.clean).abs() <= victim.slack) | (again == course.clean)
        return {
            "standing": (course.right & ~course.fooled(everything)).cpu().numpy(),
            "unsteady": (~alike.all(1)).cpu().numpy(),
            "misled": (misled & course.right).cpu().numpy(),
            "forward": columns["forward"] + course.forward.cpu().numpy() + 4,
            "backward": columns["backward"] + course.backward.cpu().numpy() + 1,
        }

    def _misled(self, batch: Batch, rng: Rng, victim: Victim) -> "Tensor":
        """Where one step along the gradient gains less than a tenth of what it says, or more than ten times that."""
        from checks.attacks import losses
        from checks.attacks.ball import Ball, lengths

        ball = Ball(self.norm, min(self.level, _NEAR[self.norm]) / PIXEL)
        course = self._course(batch, rng, victim, ball)
        before, gradient = victim.with_gradient(course.x, lambda scores: losses.margin(scores, course.labels))[1:]
        moved = ball.project(course.x, course.x + ball.radius * ball.ascent(gradient))
        gained = losses.margin(victim.scores(moved), course.labels) - before
        said = (gradient * (moved - course.x)).flatten(1).sum(1)
        return ~((gained >= _TENTH * said) & (_TENTH * gained <= said) & (lengths(gradient).flatten() > 0))

    def _course(self, batch: Batch, rng: Rng, victim: Victim, ball: Any) -> "Course":
        from checks.attacks.course import Course, Draws

        assert batch.y is not None
        x, labels = batch.x.to(victim.device), batch.y.to(victim.device)
        return Course(victim, x, labels, ball, Draws(rng, batch))


def _cut(batch: Batch, part: slice) -> Batch:
    """Some items of a batch."""
    y: Tensor | None = None if batch.y is None else batch.y[part]
    return Batch(batch.ids[part], batch.x[part], y, batch.start + part.start, batch.draw)
