"""Probes of somebody else's, and checks that rest on them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from audit.contracts import Ask, Batch, Check, Context, LedgerView, Perturbed, Probe, Rng
from audit.digest import Json
from audit.findings import Finding, Missing
from audit.types import DataRole
from checks.functional import Functional


@dataclass
class House:
    """A probe of somebody else's that leaves everything as it is."""

    name: str = "house"
    data: DataRole = DataRole.TEST
    draws: int = 1
    budget: None = None
    min_effect: float = 0.0

    def canonical(self) -> Mapping[str, Json]:
        return {"probe": "house"}

    def stream(self) -> Mapping[str, Json]:
        return {}

    def describe(self) -> str:
        return "a plugin"

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        return Perturbed(batch.x, {})


class Forging(House):
    """Writes into what it is handed."""

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        x = batch.x.clone()
        batch.ids[:] = 0
        batch.x[:] = 0
        if batch.y is not None:
            batch.y[:] = 0
        return Perturbed(x, {})


class Growing(House):
    """Draws every item once in the first batch, and three times from then on."""

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed:
        self.draws = 3
        return Perturbed(batch.x, {})


@dataclass
class Dead(House):
    """Promises an effect, and has none."""

    min_effect: float = 0.99


def asking(probe: Probe) -> Check:
    """The functional check, resting on a further probe."""

    def ask(self: Functional, context: Context) -> Ask:
        wanted = Functional.ask(self, context)
        return Ask((probe, *wanted.probes), wanted.claims)

    def measure(self: Functional, context: Context, ledger: LedgerView) -> Iterator[Finding]:
        found = ledger.trace(probe)
        for finding in Functional.measure(self, context, ledger):
            yield replace(finding, statistic=found) if isinstance(found, Missing) else finding

    made: Check = type("Asking", (Functional,), {"ask": ask, "measure": measure})()
    return made
