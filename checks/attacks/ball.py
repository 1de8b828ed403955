"""How far an attack may go: a ball around each item, and [0, 1]."""

from dataclasses import dataclass

import torch
from torch import Tensor

from checks.attacks.effort import Norm

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Ball:
    """All items within `radius` of an item [N, C, H, W], in pixels of [0, 1]."""

    norm: Norm
    radius: float

    def project(self, origin: Tensor, x: Tensor) -> Tensor:
        """What lies in the ball and in [0, 1] nearest to `x`; of "l2" first in the one, then in the other."""
        if self.norm == "linf":
            return torch.minimum(torch.maximum(x, origin - self.radius), origin + self.radius).clamp_(0.0, 1.0)
        moved = x - origin
        shrunk = (self.radius / lengths(moved).clamp_(min=_TINY)).clamp_(max=1.0)
        return moved.mul_(shrunk).add_(origin).clamp_(0.0, 1.0)

    def ascent(self, gradient: Tensor) -> Tensor:
        """The step of length 1 that goes up fastest; none where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        # The square of what is shorter than 1e-22 is nothing in float32, and of what is longer than 1e19 no number.
        largest = gradient.flatten(1).abs().amax(1).clamp_(min=torch.finfo(gradient.dtype).tiny)
        scaled = gradient / largest.view(-1, 1, 1, 1)
        return scaled / lengths(scaled).clamp_(min=_TINY)

    def start(self, origin: Tensor, numbers: Tensor) -> Tensor:
        """A random place on the edge of the ball, cut to [0, 1].

        `numbers`, shaped as `origin`, are uniform on [−1, 1] for "linf", standard normal for "l2".
        """
        length = numbers.abs().flatten(1).amax(1).view(-1, 1, 1, 1) if self.norm == "linf" else lengths(numbers)
        return self.project(origin, origin + self.radius * numbers / length.clamp(min=_TINY))


def lengths(x: Tensor) -> Tensor:
    """Euclidean length of each item [N, 1, 1, 1]."""
    found: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return found.view(-1, 1, 1, 1)
