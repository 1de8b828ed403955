"""Observing: the one place where data go through networks."""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit import digest, repeatability
from audit.contracts import Batch, Columns, DataSource, Model, Probe, Task
from audit.digest import Json
from audit.errors import AuditError
from audit.ledger import Ledger
from audit.perturbing import BrokenProbeError, Scratch, Verified
from audit.plan import PlanFile
from audit.randomness import PhiloxRng
from audit.types import DataRole, Missing, Role

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, passes done, passes in all)."""


@dataclass
class Observer:
    """Runs what the plan asks for and the ledger lacks; every (probe, chunk, model) once.

    Data stream batch by batch, and each batch goes through all probes: it is read once, and memory holds one batch
    of inputs and one chunk of outputs, however many items and probes there are.
    """

    plan: PlanFile
    models: Mapping[Role, Model]
    sources: Mapping[DataRole, DataSource]
    task: Task
    ledger: Ledger
    progress: Progress
    passes: Counter[Role] = field(default_factory=Counter)
    noises: dict[Role, float] = field(default_factory=dict)
    scratch: Scratch = field(default_factory=Scratch)
    _streams: dict[str, PhiloxRng] = field(default_factory=dict)

    def observe(self, probes: Sequence[Probe]) -> None:
        """Fill the ledger for all probes; a perturbed input is made once and shared by all roles."""
        for role, model in self.models.items():
            source = self.sources[DataRole.TEST]
            self.noises[role] = repeatability.require_function(model, source, self.plan.plan.batch)
        jobs = [_Job(probe, self) for probe in probes]
        expected = sum(job.expected for job in jobs)
        for data, source in self.sources.items():
            self._stream(source, [job for job in jobs if job.probe.data is data], expected)
        for role in self.models:
            self._keep_noise(role, next(job for job in jobs if not job.probe.min_effect))

    def rng(self, probe: Probe) -> PhiloxRng:
        """The random numbers of a probe's family."""
        family: dict[str, Json] = {"methods": self.plan.tool.method_set, "family": probe.stream()}
        return self._streams.setdefault(digest.of_json(family), PhiloxRng.of(family))

    def outputs(self, role: Role, x: "Tensor", batch: Batch) -> Columns:
        """What one model leaves on a batch."""
        out = self.models[role](x)
        classes = len(self.plan.data[0].classes)
        if out.shape != (len(batch.ids), classes):
            raise AuditError(
                f"{role}: gave outputs of shape {tuple(out.shape)} for {len(batch.ids)} items and {classes} classes",
                "Its outputs change shape with the input; export the classifier with one score per class.",
            )
        self.passes[role] += len(batch.ids)
        return self.task.observe(out, batch)

    def _keep_noise(self, role: Role, clean: "_Job") -> None:
        """Compare the first batch, as it was observed, with other batches of its items; always, also on resuming."""
        batch, key = self.plan.plan.batch, self.plan.noise_key(role)
        stored = self.ledger.get(clean.keys[0][role])["output"][:batch]
        noise = repeatability.noise(self.models[role], self.sources[clean.probe.data], batch, stored)
        if not self.ledger.holds(key):  # never borrowed: it says what this machine does
            self.ledger.put({key: {"noise": np.asarray([noise])}})

    def _stream(self, source: DataSource, jobs: Sequence["_Job"], expected: int) -> None:
        size, items = self.plan.plan.chunk, len(source.manifest.ids)
        wanted = np.zeros(items, np.bool_)
        for job in jobs:
            wanted |= job.wanted
        with ThreadPoolExecutor(1) as writer:  # the networks need not wait for the disk
            written = writer.submit(lambda: None)
            for batch in source.batches(self.plan.plan.batch, wanted) if jobs else ():
                index = batch.start // size
                for job in jobs:
                    job.run(batch, index)
                    self.progress(job.probe.name, self.passes.total(), expected)
                if batch.start + len(batch.ids) == min((index + 1) * size, items):
                    finished = {key: columns for job in jobs for key, columns in job.end_chunk(index).items()}
                    written.result()
                    written = writer.submit(self.ledger.put, finished)
            written.result()


class _Job:
    """One probe on its way through the data."""

    def __init__(self, probe: Probe, observer: Observer) -> None:
        plan, ledger = observer.plan, observer.ledger
        self.probe, self._observer = probe, observer
        self._verified = Verified(probe, observer.rng(probe), observer.scratch)
        self._record = plan.probe(digest.of_json(probe.canonical()))
        self._chunk, self._items = plan.plan.chunk, plan.dataset(probe.data).items
        per_role = {role: plan.keys(role, self._record) for role in observer.models}
        self.keys = [dict(zip(per_role, chunk, strict=True)) for chunk in zip(*per_role.values(), strict=True)]
        failed = ledger.failure(plan.failure_key(self._record)) is not None
        self._lacking = [[r for r, key in chunk.items() if not failed and not ledger.has(key)] for chunk in self.keys]
        self._again = {} if failed else self._batches_again(plan.policy.recheck_reused / 100)
        self._parts: dict[Role, list[Columns]] = {}

    @property
    def expected(self) -> int:
        """Forward passes to come."""
        batch = self._observer.plan.plan.batch
        new = sum(len(roles) * len(self._rows(index)) for index, roles in enumerate(self._lacking))
        again = sum(len(roles) * min(batch, self._items - start) for start, roles in self._again.items())
        return (new + again) * self.probe.draws

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """The items it still has to see [N]."""
        marked = np.zeros(self._items, np.bool_)
        for index, roles in enumerate(self._lacking):
            marked[self._rows(index)] = bool(roles)
        for start in self._again:
            marked[start : start + self._observer.plan.plan.batch] = True
        return marked

    def run(self, batch: Batch, index: int) -> None:
        """Perturb a batch of chunk `index` and show it to the models that lack it."""
        roles, again = self._lacking[index], self._again.get(batch.start, [])
        if not roles and not again:
            return
        try:
            draws = [self._drawn(replace(batch, draw=draw), (*roles, *again)) for draw in range(self.probe.draws)]
        except BrokenProbeError as error:
            self._fail(error)
            return
        columns = {role: _rows(batch, [draw[role] for draw in draws]) for role in (*roles, *again)}
        for role in roles:
            self._parts.setdefault(role, []).append(columns[role])
        for role in again:
            self._compare(columns[role], role, index, batch.start - index * self._chunk)

    def end_chunk(self, index: int) -> dict[str, Columns]:
        """The finished observations of a chunk, by key."""
        parts, self._parts = self._parts, {}
        try:
            self._verified.end_chunk()
        except BrokenProbeError as error:
            self._fail(error)
            return {}
        return {self.keys[index][role]: _joined(found) for role, found in parts.items()}

    def _drawn(self, batch: Batch, roles: Sequence[Role]) -> dict[Role, Columns]:
        made = self._verified.perturb(batch)
        return {role: {**made.columns, **self._observer.outputs(role, made.x, batch)} for role in roles}

    def _fail(self, error: BrokenProbeError) -> None:
        """Give the probe up: no part of it is evidence any more."""
        self._observer.ledger.fail(self._observer.plan.failure_key(self._record), error.why)
        self._lacking = [[] for _ in self._lacking]
        self._again, self._parts = {}, {}

    def _rows(self, index: int) -> range:
        return range(index * self._chunk, min((index + 1) * self._chunk, self._items))

    def _batches_again(self, share: float) -> dict[int, list[Role]]:
        """Starts of the batches to measure again of what was taken over: a share of them, at random, one at least."""
        dice = secrets.SystemRandom()
        borrowed = set(self._observer.ledger.borrowed)
        again: dict[int, list[Role]] = {}
        for role in self._observer.models if share else ():
            chunks = [index for index, chunk in enumerate(self.keys) if chunk[role] in borrowed]
            starts = [start for index in chunks for start in self._rows(index)[:: self._observer.plan.plan.batch]]
            for start in dice.sample(starts, min(len(starts), max(1, round(share * len(starts))))):
                again.setdefault(start, []).append(role)
        return again

    def _compare(self, columns: Columns, role: Role, index: int, offset: int) -> None:
        ledger, plan = self._observer.ledger, self._observer.plan
        noise = self._observer.noises[role]
        first = offset * self.probe.draws
        stored = ledger.get(self.keys[index][role])["output"][first : first + len(columns["output"])]
        if not np.allclose(stored, columns["output"], rtol=0, atol=2 * noise, equal_nan=True):
            # Kept: another start must not throw the dice again.
            why = Missing("reuse-refuted", "what an earlier audit lent came out otherwise when measured again")
            ledger.fail(plan.failure_key(self._record), why)
            raise AuditError(
                f"{role}, {self.probe.name}: {why.detail}", "Run the audit without --reuse, with another --out."
            )


def _rows(batch: Batch, draws: Sequence[Columns]) -> Columns:
    """The rows of a batch, item by item and draw by draw."""
    count, first = len(draws), draws[0]
    labels = np.full(len(batch.ids), -1) if batch.y is None else batch.y.numpy()
    return {
        "id": batch.ids.repeat(count, axis=0),
        "draw": np.tile(np.arange(count, dtype=np.int32), len(batch.ids)),
        "label": labels.repeat(count),
        **{name: np.stack([draw[name] for draw in draws], 1).reshape(-1, *first[name].shape[1:]) for name in first},
    }


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
