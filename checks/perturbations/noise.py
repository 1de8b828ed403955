"""Random noise on pixels, of a stated strength."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from audit.contracts import Batch, Budget, Perturbed, Rng
from audit.digest import Json
from audit.types import DataRole

PIXEL = 255
"""Steps of an 8-bit pixel: levels are given in these."""
_ROUNDING = 1e-6
"""What float32 may add to a distance of pixels in [0, 1]."""


@dataclass(frozen=True)
class Noise:
    """Every value of every pixel moved independently, then cut to [0, 1].

    The amount is uniform on [-level, level] / 255, or normal with standard deviation level / 255.
    """

    kind: Literal["uniform", "gaussian"]
    level: float
    draws: int = 1
    data: DataRole = DataRole.TEST
    min_effect: float = 0.99

    @property
    def name(self) -> str:
        return f"{self.kind} noise {label(self.level)}"

    @property
    def budget(self) -> Budget | None:
        return Budget("linf", self.level / PIXEL + _ROUNDING) if self.kind == "uniform" else None

    def stream(self) -> Mapping[str, Json]:
        return {"noise": self.kind}

    def canonical(self) -> Mapping[str, Json]:
        return {
            "probe": "noise", "noise": self.kind, "data": self.data.value, "level": self.level, "draws": self.draws,
        }  # fmt: skip

    def describe(self) -> str:
        size = "within ±" if self.kind == "uniform" else "with standard deviation "
        return f"{self.kind} noise {size}{label(self.level)} of its range on every value, cut to it"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        step = self.level / PIXEL
        noise = rng.uniform(batch).mul_(2).sub_(1) if self.kind == "uniform" else rng.normal(batch)
        return Perturbed(noise.mul_(step).add_(batch.x).clamp_(0.0, 1.0), {})


def label(level: float) -> str:
    """A level as claims and texts name it.

    >>> label(8.0), label(0.5)
    ('8/255', '0.5/255')
    """
    return f"{level:g}/{PIXEL}"
