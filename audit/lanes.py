"""Showing batches to the networks, several batches side by side.

A batch is perturbed and checked on one core, and a small network leaves cores idle between its operations; side by
side they fill all of them. Each lane works with copies of its own, so that no result depends on the others; models,
and what attacks see of them, keep no state.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from queue import SimpleQueue
from typing import TYPE_CHECKING

from audit import digest
from audit.contracts import Batch, Model, Probe, Task
from audit.digest import Json
from audit.errors import AuditError
from audit.gradients import Victim
from audit.perturbing import WATCHED, BrokenProbeError, Scratch, Verified, target_of, untouched
from audit.randomness import PhiloxRng
from audit.traces import Columns
from audit.types import Role

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Drawn:
    """A batch as a probe drew it: the probe's own columns, how many items it changed, and what the models left."""

    columns: Columns
    changed: int
    outputs: Mapping[Role, Columns]


Wanted = Sequence[tuple[Probe, Sequence[Role]]]
"""Probes, each with the models that are to see a batch of it."""
Shown = list[Drawn] | BrokenProbeError
"""All draws of a batch by one probe, or why there are none."""


@dataclass(frozen=True)
class Lane:
    """Everything that a thread needs to show batches."""

    models: Mapping[Role, Model]
    task: Task
    outputs: tuple[int, ...]
    methods: str
    victims: Mapping[Role, Victim] = field(default_factory=dict)
    """The models as those probes see them that are aimed at one."""
    attacking: Callable[[Probe], AbstractContextManager[None]] = lambda probe: nullcontext()
    """Entered while such a probe is made, which may take long."""
    _verified: dict[str, Verified] = field(default_factory=dict)
    _streams: dict[str, PhiloxRng] = field(default_factory=dict)
    _scratch: Scratch = field(default_factory=Scratch)

    def show(self, batch: Batch, wanted: Wanted) -> list[Shown]:
        """What came of a batch, probe by probe; nothing where no model is to see it."""
        return [self._shown(probe, batch, roles) if roles else [] for probe, roles in wanted]

    def _shown(self, probe: Probe, batch: Batch, roles: Sequence[Role]) -> Shown:
        try:
            verified = self._own(probe)
            return [self._drawn(verified, replace(batch, draw=draw), roles) for draw in range(probe.draws)]
        except BrokenProbeError as error:
            return error

    def _drawn(self, verified: Verified, batch: Batch, roles: Sequence[Role]) -> Drawn:
        with self.attacking(verified.probe) if verified.victim is not None else nullcontext():
            made = verified.perturb(batch)
        return Drawn(
            made.columns, made.changed, {role: self._outputs(role, made.x, batch, verified.probe) for role in roles}
        )

    def _outputs(self, role: Role, x: "Tensor", batch: Batch, probe: Probe) -> Columns:
        """What is left of a model, of one pass."""
        model = self.models[role]
        if model.watched is None or not untouched(probe):
            return self.task.observe(self._checked(model(x), role, batch), batch)
        out, values = model.watch(x)
        if values.shape != (len(batch.ids), model.watched.values):
            raise AuditError(
                f"{role}: its layer {model.watched.layer!r} gave {values.shape[1]} values for an item, "
                f"not {model.watched.values}",
                "Name a layer whose values change their number with no input.",
            )
        return {**self.task.observe(self._checked(out, role, batch), batch), WATCHED: values.numpy()}

    def _checked(self, out: "Tensor", role: Role, batch: Batch) -> "Tensor":
        if out.shape != (len(batch.ids), *self.outputs):
            raise AuditError(
                f"{role}: gave outputs of shape {tuple(out.shape)} for {len(batch.ids)} items, "
                f"not {(len(batch.ids), *self.outputs)}",
                "Its outputs change shape with the input; export the network with outputs of one shape.",
            )
        return out

    def _own(self, probe: Probe) -> Verified:
        """The probe as this lane alone uses it, with the random numbers of its family."""
        name = digest.of_json(probe.canonical())
        if name not in self._verified:
            family: dict[str, Json] = {"methods": self.methods, "family": probe.stream()}
            rng = self._streams.setdefault(digest.of_json(family), PhiloxRng.of(family))
            target = target_of(probe)
            self._verified[name] = Verified(probe, rng, self._scratch, None if target is None else self.victims[target])
        return self._verified[name]


def side_by_side(lanes: Sequence[Lane], asked: Iterable[tuple[Batch, Wanted]]) -> Iterator[tuple[Batch, list[Shown]]]:
    """Each batch with what came of it, probe by probe, in the given order; as many are under way as there are lanes.

    With one lane no code of others runs beside any other; at most our own reads the next batch.
    """
    if len(lanes) == 1:
        for batch, wanted in asked:
            yield batch, lanes[0].show(batch, wanted)
        return
    free: SimpleQueue[Lane] = SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def show(batch: Batch, wanted: Wanted) -> list[Shown]:
        lane = free.get()
        try:
            return lane.show(batch, wanted)
        finally:
            free.put(lane)

    under_way: deque[_UnderWay] = deque()
    threads = ThreadPoolExecutor(len(lanes), "lane")
    try:
        for batch, wanted in asked:
            parts = [([place for place, _ in part], [each for _, each in part]) for part in _apart(wanted)]
            futures = [(places, threads.submit(show, batch, part)) for places, part in parts]
            under_way.append(_UnderWay(batch, len(wanted), futures))
            if len(under_way) > len(lanes):
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)  # whatever ends this early must not wait for what is only queued


def _apart(wanted: Wanted) -> Iterator[Sequence[tuple[int, tuple[Probe, Sequence[Role]]]]]:
    """What can go through different lanes, with the place of each in `wanted`.

    Probes that share random numbers stay together. What promises no effect costs nothing to make again for each model.
    """
    for _, members in groupby(enumerate(wanted), lambda each: each[1][0].stream()):
        family = list(members)
        if any(probe.min_effect for _, (probe, _) in family):
            yield family
        else:
            yield from ([(place, (probe, (role,)))] for place, (probe, roles) in family for role in roles)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A batch in the lanes: for how many probes, and the parts with the places of theirs."""

    batch: Batch
    probes: int
    parts: Sequence[tuple[Sequence[int], "Future[list[Shown]]"]]

    def result(self) -> tuple[Batch, list[Shown]]:
        """The batch with what came of it; waits for it."""
        every: list[Shown] = [[] for _ in range(self.probes)]
        for places, part in self.parts:
            for place, shown in zip(places, part.result(), strict=True):
                every[place] = _merged(every[place], shown)
        return self.batch, every


def _merged(one: Shown, other: Shown) -> Shown:
    """What different models left of the same draws."""
    if isinstance(one, BrokenProbeError) or not other:
        return one
    if isinstance(other, BrokenProbeError) or not one:
        return other
    return [
        Drawn(a.columns, max(a.changed, b.changed), {**a.outputs, **b.outputs}) for a, b in zip(one, other, strict=True)
    ]
