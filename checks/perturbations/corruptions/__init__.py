"""The nineteen corruptions of CIFAR-10-C and ImageNet-C (Hendrycks & Dietterich, ICLR 2019) as probes.

Each is a function of whole batches in the module of its group: `f(x, constants, draws)`, where `x` is uint8
[N, C, H, W], `constants` are those of the severity, and `draws` the random numbers. It gives grey levels of any type,
which are then cut to 0 … 255 and down to whole ones, as the published generator does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from audit.contracts import Batch, Perturbed, Rng
from audit.digest import Json
from audit.types import DataName, DataRole
from checks.perturbations.corruptions.catalogue import GENERATOR, KINDS
from checks.perturbations.corruptions.constants import LARGE, LARGE_FROM, SMALL, Constants
from checks.perturbations.corruptions.draws import Draws

LEVELS = 255
_ROUNDING = 1e-4
"""Grey levels within which sums of floating-point numbers may fall short of a whole one, on whatever machine."""


@dataclass(frozen=True)
class Corruption:
    """Every item as it looks under one corruption of one severity; it is an 8-bit image first and last."""

    kind: str
    severity: int
    draws: int = 1
    data: DataName = DataRole.TEST
    budget: None = None

    @property
    def name(self) -> str:
        return f"{self.kind.replace('_', ' ')}, severity {self.severity}"

    @property
    def min_effect(self) -> float:
        return KINDS[self.kind].min_effect

    def stream(self) -> Mapping[str, Json]:
        return {"corruption": self.kind, "severity": self.severity, "generator": GENERATOR}

    def canonical(self) -> Mapping[str, Json]:
        return {"probe": "corruption", "data": str(self.data), "draws": self.draws, **self.stream()}

    def describe(self) -> str:
        own = "; its ice is generated, not photographed" if self.kind == "frost" else ""
        return f"the corruption {self.name} of CIFAR-10-C and ImageNet-C, generator {GENERATOR}{own}"

    def constants(self, side: int) -> Constants:
        """What the severity means for images of which the shorter side has this many pixels."""
        table = LARGE if side >= LARGE_FROM else SMALL
        return table[self.kind][self.severity - 1]

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        import torch

        half = torch.full((), 0.5, device=batch.x.device)
        x = torch.add(half, batch.x, alpha=LEVELS).to(torch.uint8)
        constants = self.constants(min(x.shape[2:]))
        operation = getattr(import_module(f"{__name__}.{KINDS[self.kind].group}"), self.kind)
        found = operation(x, constants, Draws(rng, batch))
        if found.is_floating_point():
            found = found.add_(_ROUNDING).floor_().clamp_(0, LEVELS)
        made = found.to(torch.float32).div_(LEVELS)
        # What is left as it was is not changed by having been rounded to 8 bits: a dead corruption must show.
        if (found[..., 0, :] == x[..., 0, :]).flatten(1).all(1).any():
            same = (found == x).flatten(1).all(1)
            made[same] = batch.x[same]
        return Perturbed(made, {})
