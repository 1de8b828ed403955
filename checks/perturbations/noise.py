"""Random noise on pixels, or on normalised inputs, of a stated strength."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from audit.contracts import Batch, Budget, Perturbed, Rng
from audit.digest import Json
from audit.types import DataName, DataRole

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
    data: DataName = DataRole.TEST
    min_effect: float = 0.99

    @property
    def name(self) -> str:
        return f"{self.kind} noise {self.label}"

    @property
    def label(self) -> str:
        return label(self.level)

    @property
    def budget(self) -> Budget | None:
        return Budget("linf", self.level / PIXEL + _ROUNDING) if self.kind == "uniform" else None

    def stream(self) -> Mapping[str, Json]:
        return {"noise": self.kind}

    def canonical(self) -> Mapping[str, Json]:
        return {
            "probe": "noise", "noise": self.kind, "data": str(self.data), "level": self.level, "draws": self.draws,
        }  # fmt: skip

    def describe(self) -> str:
        size = "within ±" if self.kind == "uniform" else "with standard deviation "
        return f"{self.kind} noise {size}{self.label} of its range on every value, cut to it"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        step = self.level / PIXEL
        noise = rng.uniform(batch).mul_(2).sub_(1) if self.kind == "uniform" else rng.normal(batch)
        return Perturbed(noise.mul_(step).add_(batch.x).clamp_(0.0, 1.0), {})


@dataclass(frozen=True)
class SaltAndPepper:
    """A share of the pixels turned black or white, each as likely, in all channels at once."""

    share: float
    draws: int = 1
    data: DataName = DataRole.TEST
    budget: None = None
    min_effect: float = 0.99
    kind: ClassVar[str] = "salt_and_pepper"

    @property
    def name(self) -> str:
        return f"salt and pepper {self.label}"

    @property
    def label(self) -> str:
        return f"{self.share:g}"

    def stream(self) -> Mapping[str, Json]:
        return {"noise": self.kind}

    def canonical(self) -> Mapping[str, Json]:
        return {
            "probe": "noise", "noise": self.kind, "data": str(self.data), "level": self.share, "draws": self.draws,
        }  # fmt: skip

    def describe(self) -> str:
        return f"salt and pepper: {100 * self.share:g} % of the pixels turned black or white"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        struck = rng.uniform(batch, (1, *batch.x.shape[2:]), "pixel")
        found = batch.x.masked_fill(struck < self.share / 2, 0.0)
        return Perturbed(found.masked_fill_(struck >= 1 - self.share / 2, 1.0), {})


@dataclass(frozen=True)
class NormalisedNoise:
    """Uniform noise within ±`level` on inputs as the networks take them: divided by `std`, and not cut to any range.

    The noise of *Lost in Pruning* (Liebenwein et al., MLSys 2021, §4). `std` is that of each channel, in pixels of
    [0, 1]; a pixel moves by level · std at most.
    """

    level: float
    std: tuple[float, ...]
    draws: int = 1
    data: DataName = DataRole.TEST
    min_effect: float = 0.99
    kind: ClassVar[str] = "normalised"

    @property
    def name(self) -> str:
        return f"uniform noise after normalisation {self.label}"

    @property
    def label(self) -> str:
        return f"{self.level:g}"

    @property
    def budget(self) -> Budget:
        return Budget("linf", self.level * max(self.std) + _ROUNDING)

    @property
    def bounds(self) -> tuple[float, float]:
        """The values that it may give: beyond those of pixels, on purpose."""
        return -self.budget.radius, 1.0 + self.budget.radius

    def stream(self) -> Mapping[str, Json]:
        return {"noise": self.kind}

    def canonical(self) -> Mapping[str, Json]:
        return {
            "probe": "noise", "noise": self.kind, "data": str(self.data), "level": self.level, "draws": self.draws,
            "std": list(self.std),
        }  # fmt: skip

    def describe(self) -> str:
        return f"uniform noise within ±{self.label} on the normalised inputs, not cut to the range of a pixel"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        import torch

        step = self.level * torch.tensor(self.std).reshape(-1, 1, 1)
        return Perturbed(rng.uniform(batch).mul_(2).sub_(1).mul_(step).add_(batch.x), {})


def label(level: float) -> str:
    """A level as claims and texts name it.

    >>> label(8.0), label(0.5)
    ('8/255', '0.5/255')
    """
    return f"{level:g}/{PIXEL}"
