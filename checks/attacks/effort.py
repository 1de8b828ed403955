"""How hard is tried: which attacks, with how many steps, by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from checks.attacks.course import Course

Norm = Literal["linf", "l2"]
WHITE_BOX: Final = ("fgsm", "pgd-ce", "pgd-margin", "apgd-ce", "apgd-dlr", "apgd-t")
"""Attacks that need gradients, by name: what climbs, and up which loss; "apgd-t" climbs the targeted DLR."""


class Method(Protocol):
    """An attack: it leaves in the course the worst that it finds of some rows."""

    def run(self, course: "Course", rows: "Tensor", *, random: bool = True) -> None: ...


@dataclass(frozen=True, slots=True)
class Effort:
    """`white_box` attacks one after another, each on what the former left standing, with `steps` steps and `restarts`.

    "apgd-t" goes towards `targets` classes in place of restarts. Square has `queries`. What is to be transferred to the
    other model is carried `transfer_steps` steps up the margin, past the point where it fools.
    """

    white_box: tuple[str, ...]
    steps: int
    restarts: int
    targets: int
    queries: int
    transfer_steps: int

    def methods(self) -> tuple[Method, ...]:
        """The white-box attacks; no torch is imported before they are asked for."""
        return tuple(map(self._method, self.white_box))

    def transfer(self) -> Method:
        """What makes the inputs that are shown to the other model."""
        from checks.attacks import losses
        from checks.attacks.pgd import Pgd

        return Pgd(losses.margin, self.transfer_steps, stay=True)

    def black_box(self) -> Method:
        """The attack without gradients."""
        from checks.attacks.square import Square

        return Square(self.queries)

    def passes(self, classes: int) -> tuple[int, int]:
        """The most forward and backward passes that the white-box attacks take of an item."""
        every = [self._passes(name, classes) for name in self.white_box]
        return sum(forward for forward, _ in every), sum(backward for _, backward in every)

    def _passes(self, name: str, classes: int) -> tuple[int, int]:
        """Every place of a climb but the last one of FGSM and PGD takes a gradient."""
        if name == "fgsm":
            return 2, 1
        times = min(self.targets, max(classes - 1, 1)) if name == "apgd-t" else self.restarts
        places = self.steps + 1
        return times * places, times * (self.steps if name.startswith("pgd") else places)

    def _method(self, name: str) -> Method:
        from checks.attacks import losses
        from checks.attacks.apgd import Apgd, TargetedApgd
        from checks.attacks.pgd import Pgd

        if name == "apgd-t":
            return TargetedApgd(self.steps, self.targets)
        if name == "fgsm":
            return Pgd(losses.cross_entropy, 1)
        climber, _, loss = name.partition("-")
        up = {"ce": losses.cross_entropy, "margin": losses.margin, "dlr": losses.difference_of_logits_ratio}[loss]
        return (Pgd if climber == "pgd" else Apgd)(up, self.steps, self.restarts)


PRESETS: Final = {
    "quick": Effort(("apgd-ce", "apgd-t"), steps=10, restarts=1, targets=3, queries=100, transfer_steps=10),
    "standard": Effort(("apgd-ce", "apgd-t"), steps=100, restarts=1, targets=9, queries=5000, transfer_steps=20),
}
"""By name: "standard" has the attacks and numbers of AutoAttack (Croce & Hein, ICML 2020) but FAB, and transfer.

"quick" is for every change of a network: it finds most of what the other finds, in a twentieth of the passes.
"""
