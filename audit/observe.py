"""Observing: the one place where data go through networks."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, get_args

import numpy as np

from audit import repeatability, sizes
from audit.comparisons import Settled
from audit.contracts import Batch, Model, Probe, Task
from audit.dataset import DataSource, first_items
from audit.evidence import Kept
from audit.findings import Missing
from audit.gradients import CHECKED, Victim
from audit.jobs import Job, KeepComparisons, KeepOutputs, Shared
from audit.lanes import Lane, Wanted, side_by_side
from audit.ledger import Ledger
from audit.parity import Parity
from audit.perturbing import target_of, untouched
from audit.plan import PlanFile
from audit.repeatability import Beginning
from audit.types import DataName, DataRole, OutputKind, Role

if TYPE_CHECKING:
    from torch import Tensor

_Found = TypeVar("_Found")
Progress = Callable[[str, int, int], None]
"""Called with (what is going on, passes done, passes in all)."""


@dataclass
class Observer:
    """Runs what the plan asks for and the ledger lacks; every (probe, chunk, model) once.

    Data stream batch by batch, and each batch goes through as many probes as `sizes.WAITING` allows: so
    it is rarely read more than once, and memory holds a few batches of inputs and a bounded part of the outputs,
    however many items and probes there are.
    """

    plan: PlanFile
    models: Mapping[Role, Model]
    sources: Mapping[DataName, DataSource]
    task: Task
    ledger: Ledger
    progress: Progress
    lanes: int
    settle: Callable[[], Mapping[Role, Settled]]
    """Says, once whole outputs are in the ledger, what is known of each model's."""

    def __post_init__(self) -> None:
        self._begun: dict[Role, Beginning] = {}
        self._tried: tuple[Tensor, ...] = ()
        self._shared = Shared(self.plan, self.ledger, self.task)
        self._victims: dict[Role, Victim] = {}
        self.attack_seconds: dict[str, float] = defaultdict(float)

    @property
    def passes(self) -> Counter[Role]:
        """Items that went through each model, each draw counted."""
        return self._shared.passes

    def observe(self, probes: Sequence[Probe]) -> None:
        """Fill the ledger for all probes; a perturbed input is made once and shared by all roles.

        What is kept whole comes first: on it rests how the outputs of the others are compared.
        """
        by_kept = {kept: [p for p in probes if self.plan.record_of(p).kept == kept] for kept in get_args(Kept)}
        whole, compared = by_kept["outputs"], by_kept["comparisons"]
        records = [self.plan.record_of(probe) for probe in compared]
        to_come = sum(len(self.plan.shown(r)) * self.plan.dataset(r.data).items * r.draws for r in records)
        jobs = self.run(whole, to_come=to_come)
        clean = next((job for job in jobs if untouched(job.probe) and not job.failed), None)
        self._keep_parity(clean)
        if compared:
            self.run(compared)
            self._keep_parity(clean)

    def run(self, probes: Sequence[Probe], chunks: Collection[int] | None = None, *, to_come: int = 0) -> list[Job]:
        """Fill the ledger for some probes, and of their data for these chunks, if any are named.

        A probe and a chunk are a unit of work: it may be run in any order and again, by one worker at a time with a
        ledger that it has just opened. Probes whose outputs are compared need what `observe` left of the others.
        `to_come` are passes still to come, to show progress.
        """
        if not self._begun:
            self._begin()
        settled = self.settle() if any(self.plan.record_of(each).kept == "comparisons" for each in probes) else {}
        jobs = [self._job(probe, settled, chunks) for probe in probes]
        self._aim(job for job in jobs if job.expected)
        expected = self.passes.total() + sum(job.expected for job in jobs) + to_come
        for data, source in self.sources.items():
            for group in _groups([job for job in jobs if job.probe.data == data]):
                self._stream(source, group, expected)
        return jobs

    def _aim(self, jobs: Iterable[Job]) -> None:
        """Open the models that the probes of some jobs are made on, as those see them."""
        for role in {target_of(job.probe) for job in jobs} - {None, *self._victims}:
            assert role is not None
            first = first_items(self.sources[DataRole.TEST], self.plan.plan.batch, CHECKED)
            kind = self._kind(role)
            settled = OutputKind.LOGITS if kind < 0 else list(OutputKind)[kind]
            self._victims[role] = self.models[role].victim(first, settled)

    def _job(self, probe: Probe, settled: Mapping[Role, Settled], chunks: Collection[int] | None) -> Job:
        if self.plan.record_of(probe).kept == "outputs":
            return KeepOutputs(probe, self._shared, chunks)
        return KeepComparisons(probe, self._shared, settled, chunks)

    def _begin(self) -> None:
        """Parity comes before all else: is every network a function of the item, and the one that its file holds?"""
        self._tried = repeatability.ends(self.sources[DataRole.TEST], self.plan.plan.batch)
        begun = self._of_each(lambda role: repeatability.require_function(self.models[role], self._tried[0]))
        self._begun.update(begun)
        self._shared.noises.update({role: each.parity.noise for role, each in begun.items()})

    def _keep_parity(self, clean: Job | None) -> None:
        """Try every network once more, also against what was observed of it; always, also on resuming.

        Where the items were not observed as they are, what was found before the run must do.
        """
        found = self._of_each(lambda role: self._still_same(role, clean))
        kinds = {role: -1 if clean is not None else self._kind(role) for role in found}
        columns = {
            self.plan.parity_key(role): {
                name: np.asarray([value]) for name, value in (asdict(parity) | {"kind": kinds[role]}).items()
            }
            for role, parity in found.items()
        }
        # Never borrowed: it says what this machine does.
        self.ledger.put({key: each for key, each in columns.items() if not self.ledger.holds(key)})

    def _kind(self, role: Role) -> int:
        """Which kind of output a model gives for the first batch, by its place; -1 where that is unclear."""
        first = self._tried[0]
        batch = Batch(np.zeros((len(first), 32), np.uint8), first, None)
        left = self.task.observe(self.models[role](first), batch)
        if not np.isfinite(left["output"]).all():
            return -1
        kind = self.task.settle(left, OutputKind(self.plan.model(role).adapter.outputs))
        return -1 if isinstance(kind, Missing) else list(OutputKind).index(kind)

    def _still_same(self, role: Role, clean: Job | None) -> Parity:
        ends = () if clean is None else (0, -1) if clean.went_on(role) else (0,)
        keys = [clean.keys[end][role] for end in ends] if clean is not None else []
        draws = 1 if clean is None else clean.probe.draws
        stored = [self.ledger.get(key)["output"][::draws] for key in keys]
        # Of one chunk both are the same: its beginning is the first batch, its end the last one.
        parts = (slice(None, len(self._tried[0])), slice(-len(self._tried[-1]), None))
        observed = [each[part] for each, part in zip(stored, parts, strict=False)]
        lent = not all(self.ledger.holds(key) for key in keys)
        return repeatability.require_same(self.models[role], self._tried, self._begun[role], observed, lent=lent)

    def _of_each(self, ask: Callable[[Role], _Found]) -> dict[Role, _Found]:
        """What is found of every model, of several at once where there are lanes."""
        if self.lanes == 1:
            return {role: ask(role) for role in self.models}
        with ThreadPoolExecutor(self.lanes) as threads:
            return dict(zip(self.models, threads.map(ask, self.models), strict=True))

    def _stream(self, source: DataSource, jobs: Sequence[Job], expected: int) -> None:
        size, items = self.plan.chunk_of(jobs[0].probe.data), len(source.manifest.ids)
        with ThreadPoolExecutor(1) as writer:  # the networks need not wait for the disk
            written = writer.submit(lambda: None)
            for batch, results in side_by_side(self._new_lanes(expected), self._asked(source, jobs)):
                for job, shown in zip(jobs, results, strict=True):
                    job.take(batch, shown)
                    self.progress(job.probe.name, self.passes.total(), expected)
                if (end := batch.start + len(batch.ids)) % size == 0 or end == items:
                    index = batch.start // size
                    finished = {key: columns for job in jobs for key, columns in job.end_chunk(index).items()}
                    written.result()
                    written = writer.submit(self.ledger.put, finished)
            written.result()

    def _new_lanes(self, expected: int) -> list[Lane]:
        fixed = self.plan
        known = (
            self.task,
            fixed.plan.outputs,
            fixed.tool.method_set,
            self._victims,
            partial(self._attacking, expected),
        )
        return [Lane(self.models, *known) for _ in range(self.lanes)]

    @contextmanager
    def _attacking(self, expected: int, probe: Probe) -> Iterator[None]:
        """Say what is going on while an attack is made, and count how long it takes."""
        self.progress(probe.name, self.passes.total(), expected)
        start = time.perf_counter()
        yield
        self.attack_seconds[probe.name] += time.perf_counter() - start

    def _asked(self, source: DataSource, jobs: Sequence[Job]) -> Iterator[tuple[Batch, Wanted]]:
        wanted = np.zeros(len(source.manifest.ids), np.bool_)
        for job in jobs:
            wanted |= job.wanted
        for batch in source.batches(self.plan.plan.batch, wanted):
            yield batch, [(job.probe, job.roles(batch.start)) for job in jobs]


def _groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs in their order, in groups whose chunks may wait in memory together; one too large for that is alone."""
    group: list[Job] = []
    for job in jobs:
        if group and sum(each.waiting for each in group) + job.waiting > sizes.WAITING:
            yield group
            group = []
        group.append(job)
    if group:
        yield group
