"""Observing: the one place where data go through networks."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from audit import repeatability
from audit.contracts import Batch, DataSource, Model, Probe, Side, Task
from audit.findings import Missing
from audit.jobs import Compared, Job, Whole
from audit.lanes import Lane, Wanted, side_by_side
from audit.ledger import Ledger
from audit.plan import PlanFile
from audit.types import DataRole, Role

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, int, int], None]
"""Called with (what is going on, passes done, passes in all)."""
Settled = Callable[[], Mapping[Role, Side] | Missing]
"""What kind each model's outputs are, and how far its runtime's noise reaches, by what was kept whole."""


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

    def observe(self, probes: Sequence[Probe], settled: Settled) -> None:
        """Fill the ledger for all probes; a perturbed input is made once and shared by all roles.

        What is kept whole comes first: from it `settled` tells how the outputs of the others are to be compared. Where
        that cannot be told, nothing could be made of a comparison, and none is made.
        """
        first = repeatability.first_batch(self.sources[DataRole.TEST], self.plan.plan.batch)
        self.noises |= self._of_each(lambda role: repeatability.require_function(self.models[role], first))
        whole = [Whole(probe, self) for probe in probes if self.plan.record_of(probe).kept == "outputs"]
        self._run(whole)
        untouched = [job for job in whole if job.probe.data is DataRole.TEST and not job.probe.min_effect]
        clean = next((job for job in untouched if not job.failed), None)
        self._keep_noise(clean, first)
        compared = [probe for probe in probes if self.plan.record_of(probe).kept == "comparisons"]
        if compared and not isinstance(sides := settled(), Missing):
            self._run([Compared(probe, self, sides) for probe in compared])
            self._keep_noise(clean, first)

    def _run(self, jobs: Sequence[Job]) -> None:
        expected = self.passes.total() + sum(job.expected for job in jobs)
        for data, source in self.sources.items():
            if asked := [job for job in jobs if job.probe.data is data]:
                self._stream(source, asked, expected)

    def _keep_noise(self, clean: Whole | None, first: "Tensor") -> None:
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

    def _stream(self, source: DataSource, jobs: Sequence[Job], expected: int) -> None:
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

    def _asked(self, source: DataSource, jobs: Sequence[Job]) -> Iterator[tuple[Batch, Wanted]]:
        wanted = np.zeros(len(source.manifest.ids), np.bool_)
        for job in jobs:
            wanted |= job.wanted
        for batch in source.batches(self.plan.plan.batch, wanted):
            yield batch, [(job.probe, job.roles(batch.start)) for job in jobs]
