"""A data set as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from audit.contracts import Batch, Perturbed, Rng
from audit.digest import Json
from audit.types import DataName, DataRole


@dataclass(frozen=True)
class Clean:
    """Every item of a data set, unchanged; `data` names it."""

    data: DataName = DataRole.TEST
    draws: int = 1
    budget: None = None
    min_effect: float = 0.0

    @property
    def name(self) -> str:
        return "clean" if self.data == DataRole.TEST else f"{self.data}, as it is"

    def stream(self) -> Mapping[str, Json]:
        return {}

    def canonical(self) -> Mapping[str, Json]:
        return {"probe": "clean", "data": str(self.data)}

    def describe(self) -> str:
        return f"the {'test set' if self.data == DataRole.TEST else f'data {self.data}'}, unchanged"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        return Perturbed(batch.x, {})


CLEAN: Final = Clean()
