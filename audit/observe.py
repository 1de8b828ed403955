"""Observing: the one place where data go through networks."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
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

_REPEATED = 16
_TOLERANCE = 1e-3  # far above rounding, far below what another batch does to a network in training mode

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
    _expected: int = 0
    _repeatable: set[Role] = field(default_factory=set)

    def observe(self, probes: tuple[Probe, ...]) -> None:
        """Fill the ledger for all probes; the perturbed input is made once and shared by all roles."""
        keys = {probe: self._keys(probe) for probe in probes}
        lacking = {
            probe: [[role for role in chunk if not self.ledger.has(chunk[role])] for chunk in chunks]
            for probe, chunks in keys.items()
        }
        size, items = self.plan.plan.chunk, len(self.source.manifest.ids)
        self._expected = sum(
            len(roles) * min(size, items - index * size)
            for chunks in lacking.values()
            for index, roles in enumerate(chunks)
        )
        for probe in (probe for probe in probes if any(lacking[probe])):
            for index, chunk in enumerate(self.source.chunks(self.plan.plan.chunk)):
                for role, columns in self._chunk(probe, chunk, lacking[probe][index]).items():
                    self.ledger.put(keys[probe][index][role], columns)

    def _keys(self, probe: Probe) -> list[dict[Role, str]]:
        """Per chunk, the observation key of each role."""
        identity = digest.of_json(probe.canonical())
        per_role = {role: self.plan.keys(role, identity) for role in self.models}
        return [dict(zip(per_role, chunk, strict=True)) for chunk in zip(*per_role.values(), strict=True)]

    def _chunk(self, probe: Probe, chunk: Batch, roles: list[Role]) -> dict[Role, Columns]:
        """One chunk through the models that lack it, batch by batch, each batch perturbed once."""
        for role in set(roles) - self._repeatable:
            self._require_repeatable(role, chunk.x[:_REPEATED])
        parts: dict[Role, list[Columns]] = {role: [] for role in roles}
        for batch in _batches(chunk, self.plan.plan.batch) if roles else ():
            perturbed = probe.perturb(batch)
            for role in roles:
                parts[role].append({**self._run(role, perturbed.x, batch), **perturbed.columns})
                self.passes[role] += len(batch.ids)
            self.progress(probe.name, self.passes.total(), self._expected)
        return {role: _join(batches, chunk) for role, batches in parts.items()}

    def _require_repeatable(self, role: Role, x: "Tensor") -> None:
        """Refuse a network that answers the same items differently: a borderline one could be run until it passes."""
        model, half = self.models[role], len(x) // 2
        whole, again = model(x).numpy(), model(x).numpy()
        if not np.array_equal(whole, again, equal_nan=True):
            raise AuditError(
                f"{role}: gives different outputs for the same items", "A random or stateful network cannot be audited."
            )
        parts = np.concatenate([model(x[:half]).numpy(), model(x[half:]).numpy()]) if half else whole
        if not np.allclose(whole, parts, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            raise AuditError(
                f"{role}: its outputs for an item depend on the other items of the batch",
                "Export the network in evaluation mode.",
            )
        self._repeatable.add(role)

    def _run(self, role: Role, x: "Tensor", batch: Batch) -> Columns:
        out = self.models[role](x)
        classes = len(self.plan.data[0].classes)
        if out.shape != (len(batch.ids), classes):
            raise AuditError(
                f"{role}: gave outputs of shape {tuple(out.shape)} for {len(batch.ids)} items and {classes} classes",
                "Its outputs change shape with the input; export the classifier with one score per class.",
            )
        return self.task.observe(out, batch)


def _batches(chunk: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, len(chunk.ids), size):
        rows = slice(start, start + size)
        yield Batch(chunk.ids[rows], chunk.x[rows], chunk.y[rows], chunk.draw)


def _join(parts: list[Columns], chunk: Batch) -> Columns:
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        "id": chunk.ids,
        "draw": np.full(len(chunk.ids), chunk.draw, np.int32),
        "label": chunk.y.numpy(),
        **joined,
    }
