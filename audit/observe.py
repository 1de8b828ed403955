"""Observing: the one place where data go through networks."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from audit import digest
from audit.contracts import Batch, Columns, DataSource, Model, Probe, Task
from audit.errors import AuditError
from audit.ledger import Ledger
from audit.plan import PlanFile
from audit.types import Role

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, passes done, passes in all)."""


@dataclass
class Observer:
    """Runs what the plan asks for and the ledger lacks; every (probe, chunk, model) once."""

    plan: PlanFile
    models: Mapping[Role, Model]
    source: DataSource
    task: Task
    ledger: Ledger
    progress: Progress
    passes: Counter[Role] = field(default_factory=Counter)

    def observe(self, probes: tuple[Probe, ...]) -> None:
        """Fill the ledger for all probes; the perturbed input is made once and shared by all roles."""
        total = len(probes) * len(self.models) * len(self.source.manifest.ids)
        done = 0
        for probe in probes:
            identity = digest.of_json(probe.canonical())
            keys = {role: list(self.plan.keys(role, identity)) for role in self.models}
            if all(self.ledger.has(key) for chunk_keys in keys.values() for key in chunk_keys):
                done += len(self.models) * len(self.source.manifest.ids)
                self.progress(probe.name, done, total)
                continue
            for index, chunk in enumerate(self.source.chunks(self.plan.plan.chunk)):
                missing = [role for role in self.models if not self.ledger.has(keys[role][index])]
                for role, columns in self._chunk(probe, chunk, missing).items():
                    self.ledger.put(keys[role][index], columns)
                done += len(self.models) * len(chunk.ids)
                self.progress(probe.name, done, total)

    def _chunk(self, probe: Probe, chunk: Batch, roles: list[Role]) -> dict[Role, Columns]:
        """One chunk through the models that lack it, batch by batch."""
        parts: dict[Role, list[Columns]] = {role: [] for role in roles}
        size = self.plan.plan.batch
        for start in range(0, len(chunk.ids) if roles else 0, size):
            rows = slice(start, start + size)
            batch = Batch(chunk.ids[rows], chunk.x[rows], chunk.y[rows], chunk.draw)
            perturbed = probe.perturb(batch)
            for role in roles:
                columns = self._run(role, perturbed.x, batch)
                parts[role].append({**columns, **perturbed.columns})
                self.passes[role] += len(batch.ids)
        return {role: _join(batches, chunk) for role, batches in parts.items()}

    def _run(self, role: Role, x: "Tensor", batch: Batch) -> Columns:
        out = self.models[role](x)
        classes = len(self.plan.data[0].classes)
        if out.shape != (len(batch.ids), classes):
            raise AuditError(
                f"{role}: gave outputs of shape {tuple(out.shape)} for {len(batch.ids)} items and {classes} classes",
                "Its outputs change shape with the input; export the classifier with one score per class.",
            )
        return self.task.observe(out, batch)


def _join(parts: list[Columns], chunk: Batch) -> Columns:
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        "id": chunk.ids,
        "draw": np.full(len(chunk.ids), chunk.draw, np.int32),
        "label": chunk.y.numpy(),
        **joined,
    }
