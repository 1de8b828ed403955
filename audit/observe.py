"""Observing: the one place where data go through networks."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit import digest, repeatability
from audit.contracts import Batch, Columns, DataSource, Model, Probe, Task
from audit.errors import AuditError
from audit.findings import Missing
from audit.lanes import Drawn, Lane, Shown, Wanted, side_by_side
from audit.ledger import REFUTED, Ledger
from audit.perturbing import BrokenProbeError, Effect
from audit.plan import PlanFile
from audit.types import DataRole, Role

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, passes done, passes in all)."""


@dataclass
class Observer:
    """Runs what the plan asks for and the ledger lacks; every (probe, chunk, model) once.

    Data stream batch by batch, and each batch goes through all probes: it is read once, and memory holds a few
    batches of inputs and one chunk of outputs, however many items and probes there are.
    """

    plan: PlanFile
    models: Mapping[Role, Model]
    sources: Mapping[DataRole, DataSource]
    task: Task
    ledger: Ledger
    progress: Progress
    lanes: int
    passes: Counter[Role] = field(default_factory=Counter)
    noises: dict[Role, float] = field(default_factory=dict)

    def observe(self, probes: Sequence[Probe]) -> None:
        """Fill the ledger for all probes; a perturbed input is made once and shared by all roles."""
        first = repeatability.first_batch(self.sources[DataRole.TEST], self.plan.plan.batch)
        self.noises |= self._of_each(lambda role: repeatability.require_function(self.models[role], first))
        jobs = [_Job(probe, self) for probe in probes]
        expected = sum(job.expected for job in jobs)
        for data, source in self.sources.items():
            if asked := [job for job in jobs if job.probe.data is data]:
                self._stream(source, asked, expected)
        untouched = [job for job in jobs if job.probe.data is DataRole.TEST and not job.probe.min_effect]
        self._keep_noise(next((job for job in untouched if not job.failed), None), first)

    def _keep_noise(self, clean: "_Job | None", first: "Tensor") -> None:
        """Compare the first batch, as it was observed, with other batches of its items; always, also on resuming.

        Where the items were not observed as they are, what the first few of them showed must do.
        """
        found = self.noises
        if clean is not None:
            draws = clean.probe.draws
            stored = {
                role: self.ledger.get(key)["output"][::draws][: len(first)] for role, key in clean.keys[0].items()
            }
            found = self._of_each(lambda role: repeatability.noise(self.models[role], first, stored[role]))
        noises = {self.plan.noise_key(role): {"noise": np.asarray([noise])} for role, noise in found.items()}
        # Never borrowed: it says what this machine does.
        self.ledger.put({key: noise for key, noise in noises.items() if not self.ledger.holds(key)})

    def _of_each(self, ask: Callable[[Role], float]) -> dict[Role, float]:
        """What is found of every model, of several at once where there are lanes."""
        if self.lanes == 1:
            return {role: ask(role) for role in self.models}
        with ThreadPoolExecutor(self.lanes) as threads:
            return dict(zip(self.models, threads.map(ask, self.models), strict=True))

    def _stream(self, source: DataSource, jobs: Sequence["_Job"], expected: int) -> None:
        size, items = self.plan.plan.chunk, len(source.manifest.ids)
        with ThreadPoolExecutor(1) as writer:  # the networks need not wait for the disk
            written = writer.submit(lambda: None)
            for batch, results in side_by_side(self._new_lanes(), self._asked(source, jobs)):
                for job, shown in zip(jobs, results, strict=True):
                    job.take(batch, shown)
                    self.progress(job.probe.name, self.passes.total(), expected)
                if (end := batch.start + len(batch.ids)) % size == 0 or end == items:
                    index = batch.start // size
                    finished = {key: columns for job in jobs for key, columns in job.end_chunk(index).items()}
                    written.result()
                    written = writer.submit(self.ledger.put, finished)
            written.result()

    def _new_lanes(self) -> list[Lane]:
        classes = len(self.plan.data[0].classes)
        return [Lane(self.models, self.task, classes, self.plan.tool.method_set) for _ in range(self.lanes)]

    def _asked(self, source: DataSource, jobs: Sequence["_Job"]) -> Iterator[tuple[Batch, Wanted]]:
        wanted = np.zeros(len(source.manifest.ids), np.bool_)
        for job in jobs:
            wanted |= job.wanted
        for batch in source.batches(self.plan.plan.batch, wanted):
            yield batch, [(job.probe, job.roles(batch.start)) for job in jobs]


class _Job:
    """One probe on its way through the data."""

    def __init__(self, probe: Probe, observer: Observer) -> None:
        plan, ledger = observer.plan, observer.ledger
        self.probe, self._observer = probe, observer
        self._effect = Effect(probe)
        self._record = plan.probe(digest.of_json(probe.canonical()))
        self._chunk, self._items = plan.plan.chunk, plan.dataset(probe.data).items
        per_role = {role: plan.keys(role, self._record) for role in observer.models}
        self.keys = [dict(zip(per_role, chunk, strict=True)) for chunk in zip(*per_role.values(), strict=True)]
        self.failed = ledger.failure(plan.failure_key(self._record)) is not None
        self._lacking = [
            [r for r, key in chunk.items() if not self.failed and not ledger.has(key)] for chunk in self.keys
        ]
        self._again = {} if self.failed else self._batches_again(plan.policy.recheck_reused / 100)
        self._finished: dict[Role, list[Columns]] = {}

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

    def roles(self, start: int) -> list[Role]:
        """The models that are to see the batch that begins at item `start`."""
        return [] if self.failed else [*self._lacking[start // self._chunk], *self._again.get(start, ())]

    def take(self, batch: Batch, shown: Shown) -> None:
        """Keep what came of a batch of the chunk under way, and compare what an earlier audit had lent of it."""
        if self.failed or not shown:
            return
        try:
            draws = self._sound(shown, len(batch.ids))
        except BrokenProbeError as error:
            self._fail(error)
            return
        index = batch.start // self._chunk
        for role in draws[0].outputs:
            columns = _rows(batch, [{**draw.columns, **draw.outputs[role]} for draw in draws])
            self._observer.passes[role] += len(columns["id"])
            if role in self._lacking[index]:
                self._finished.setdefault(role, []).append(columns)
            else:
                self._compare(columns, role, index, batch.start - index * self._chunk)

    def end_chunk(self, index: int) -> dict[str, Columns]:
        """The finished observations of chunk `index`, by key."""
        if self.failed:
            return {}
        finished, self._finished = self._finished, {}
        try:
            self._effect.end_chunk()
        except BrokenProbeError as error:
            self._fail(error)
            return {}
        return {self.keys[index][role]: _joined(found) for role, found in finished.items()}

    def _sound(self, shown: Shown, items: int) -> list[Drawn]:
        if isinstance(shown, BrokenProbeError):
            raise shown
        for draw in shown:
            self._effect.add(draw.columns, draw.changed, items)
        return shown

    def _fail(self, error: BrokenProbeError) -> None:
        """Give the probe up: no part of it is evidence any more."""
        self._observer.ledger.fail(self._observer.plan.failure_key(self._record), error.why)
        self.failed, self._finished = True, {}

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
            why = Missing(REFUTED, "what an earlier audit lent came out otherwise when measured again")
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
