"""A data set as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from audit.contracts import Batch, Perturbed, Rng
from audit.digest import Json
from audit.types import DataRole


@dataclass(frozen=True)
class Clean:
    """Every item, unchanged."""

    name: str = "clean"
    data: DataRole = DataRole.TEST
    draws: int = 1
    budget: None = None
    min_effect: float = 0.0

    def stream(self) -> Mapping[str, Json]:
        return {}

    def canonical(self) -> Mapping[str, Json]:
        return {"probe": "clean", "data": self.data.value}

    def describe(self) -> str:
        return "the test set, unchanged"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        return Perturbed(batch.x, {})


CLEAN: Final = Clean()
