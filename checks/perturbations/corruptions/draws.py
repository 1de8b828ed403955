"""The random numbers of one corruption of one batch, by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.contracts import Batch, Rng

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Draws:
    """Numbers float32 [N, *shape] on the device of the items; they belong to (corruption, severity, item, name)."""

    rng: Rng
    batch: Batch

    def uniform(self, name: str, *shape: int) -> "Tensor":
        """Uniform on [0, 1)."""
        return self.rng.uniform(self.batch, shape, name).to(self.batch.x.device)

    def normal(self, name: str, *shape: int) -> "Tensor":
        """Standard normal."""
        return self.rng.normal(self.batch, shape, name).to(self.batch.x.device)
