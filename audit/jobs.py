"""What becomes of one probe on its way through the data: what is lacking, what is kept, and under which keys."""

import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import comparisons, sizes
from audit.comparisons import Settled, compared
from audit.contracts import Batch, Probe, Task
from audit.data import manifest
from audit.errors import AuditError
from audit.findings import Missing
from audit.lanes import Drawn, Shown
from audit.ledger import REFUTED, Ledger
from audit.parity import TOLERANCE
from audit.perturbing import WATCHED, BrokenProbeError, Effect
from audit.plan import PlanFile
from audit.traces import Columns
from audit.types import Role


@dataclass(frozen=True)
class Shared:
    """What all jobs of an audit share: `noises` are the runtimes' own, by the first few items."""

    plan: PlanFile
    ledger: Ledger
    task: Task
    passes: Counter[Role] = field(default_factory=Counter)
    noises: dict[Role, float] = field(default_factory=dict)


class Job(ABC):
    """One probe on its way through the data, or through some of their `chunks`.

    `keys` name by chunk, and by model, what it is to leave.
    """

    def __init__(
        self, probe: Probe, shared: Shared, keys: Mapping[Role, Iterator[str]], chunks: Collection[int] | None
    ) -> None:
        fixed = shared.plan
        self.probe, self._shared = probe, shared
        self._effect = Effect(probe)
        self._record = fixed.record_of(probe)
        self._shown = fixed.shown(self._record)
        self._chunk, self._items = fixed.chunk_of(probe.data), fixed.dataset(probe.data).items
        self.keys = [dict(zip(keys, chunk, strict=True)) for chunk in zip(*keys.values(), strict=True)]
        self.failed = shared.ledger.failure(fixed.failure_key(self._record)) is not None
        asked = [not self.failed and (chunks is None or index in chunks) for index in range(len(self.keys))]
        self._lacking = [self._lacks(chunk) if ask else [] for chunk, ask in zip(self.keys, asked, strict=True)]
        self._again = {start: roles for start, roles in self._batches_again().items() if asked[start // self._chunk]}
        self._finished: dict[Role, list[Columns]] = {}

    @abstractmethod
    def _lacks(self, chunk: Mapping[Role, str]) -> list[Role]:
        """The models that must be run, because something that rests on them is not there."""

    @abstractmethod
    def _keep(self, batch: Batch, draws: Sequence[Drawn]) -> None:
        """Keep what the models left of a batch."""

    def _batches_again(self) -> dict[int, list[Role]]:
        """Starts of the batches to measure again of what was taken over, with the models: none, where nothing is."""
        return {}

    def went_on(self, role: Role) -> bool:
        """Whether the end of what it is to leave of a model was there when it began."""
        return role not in self._lacking[-1]

    @property
    def waiting(self) -> int:
        """Bytes of what it leaves that wait in memory until their chunk ends."""
        rows, fixed = min(self._chunk, self._items) * self.probe.draws, self._shared.plan
        watched = sum(fixed.watched_values(self._record))
        return rows * sizes.row_bytes(self._record.kept, fixed.plan.outputs, len(self._shown), watched)

    @property
    def expected(self) -> int:
        """Forward passes to come."""
        batch = self._shared.plan.plan.batch
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
            marked[start : start + self._shared.plan.plan.batch] = True
        return marked

    def roles(self, start: int) -> list[Role]:
        """The models that are to see the batch that begins at item `start`."""
        return [] if self.failed else [*self._lacking[start // self._chunk], *self._again.get(start, ())]

    def take(self, batch: Batch, shown: Shown) -> None:
        """Keep what came of a batch of the chunk under way."""
        if self.failed or not shown:
            return
        try:
            draws = self._sound(shown, len(batch.ids))
        except BrokenProbeError as error:
            self._fail(error)
            return
        for role in draws[0].outputs:
            self._shared.passes[role] += len(batch.ids) * len(draws)
        self._keep(batch, draws)

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
        self._shared.ledger.fail(self._shared.plan.failure_key(self._record), error.why)
        self.failed, self._finished = True, {}

    def _rows(self, index: int) -> range:
        return range(index * self._chunk, min((index + 1) * self._chunk, self._items))


class KeepOutputs(Job):
    """Keeps the outputs of each model whole, each under a key of its own: another audit may take them over."""

    def __init__(self, probe: Probe, shared: Shared, chunks: Collection[int] | None = None) -> None:
        record = shared.plan.record_of(probe)
        roles = shared.plan.shown(record)
        super().__init__(probe, shared, {role: shared.plan.keys(role, record) for role in roles}, chunks)

    def _lacks(self, chunk: Mapping[Role, str]) -> list[Role]:
        return [role for role, key in chunk.items() if not self._shared.ledger.has(key)]

    def _keep(self, batch: Batch, draws: Sequence[Drawn]) -> None:
        index = batch.start // self._chunk
        for role in draws[0].outputs:
            columns = _rows(batch, [{**draw.columns, **draw.outputs[role]} for draw in draws])
            if role in self._lacking[index]:
                self._finished.setdefault(role, []).append(columns)
            else:
                self._check_lent(columns, role, index, batch.start - index * self._chunk)

    def _batches_again(self) -> dict[int, list[Role]]:
        """As of any job: of what was lent, the share that the policy says, at random, one batch at least."""
        fixed, borrowed = self._shared.plan, set(self._shared.ledger.borrowed)
        share, dice = fixed.policy.recheck_reused / 100, secrets.SystemRandom()
        again: dict[int, list[Role]] = {}
        for role in self._shown if share and not self.failed else ():
            chunks = [index for index, chunk in enumerate(self.keys) if chunk[role] in borrowed]
            starts = [start for index in chunks for start in self._rows(index)[:: fixed.plan.batch]]
            for start in dice.sample(starts, min(len(starts), max(1, round(share * len(starts))))):
                again.setdefault(start, []).append(role)
        return again

    def _check_lent(self, columns: Columns, role: Role, index: int, offset: int) -> None:
        """Raise AuditError where what was lent came out otherwise."""
        ledger, first = self._shared.ledger, offset * self.probe.draws
        lent, last = ledger.get(self.keys[index][role]), first + len(columns["output"])
        if any(
            not _alike(lent.get(name, np.empty(0))[first:last], columns[name], within)
            for name, within in self._reach(columns, role).items()
        ):
            # Kept: another start must not throw the dice again.
            why = Missing(REFUTED, "what an earlier audit lent came out otherwise when measured again")
            ledger.fail(self._shared.plan.failure_key(self._record), why)
            raise AuditError(
                f"{role}, {self.probe.name}: {why.detail}", "Run the audit without --reuse, with another --out."
            )

    def _reach(self, columns: Columns, role: Role) -> Mapping[str, float]:
        """How far what is measured again may lie from it: outputs by their noise, the values of a layer as parity."""
        found = {"output": 2 * self._shared.noises[role]}
        if WATCHED in columns:
            values = columns[WATCHED]
            found[WATCHED] = TOLERANCE * float(np.abs(values).max(initial=0.0, where=np.isfinite(values)))
        return found


class KeepComparisons(Job):
    """Keeps how each other model compares with the reference, for this audit alone, and nothing else of them."""

    def __init__(
        self, probe: Probe, shared: Shared, settled: Mapping[Role, Settled], chunks: Collection[int] | None = None
    ) -> None:
        self._settled, record = settled, shared.plan.record_of(probe)
        others = [role for role in shared.plan.shown(record) if role is not Role.REFERENCE]
        super().__init__(probe, shared, {role: shared.plan.pair_keys(role, record, settled) for role in others}, chunks)

    def _lacks(self, chunk: Mapping[Role, str]) -> list[Role]:
        lacking = [role for role, key in chunk.items() if not self._shared.ledger.holds(key)]
        return [Role.REFERENCE, *lacking] if lacking else []

    def _keep(self, batch: Batch, draws: Sequence[Drawn]) -> None:
        rows = {role: _rows(batch, [draw.outputs[role] for draw in draws]) for role in draws[0].outputs}
        reference = rows.pop(Role.REFERENCE)
        named = {name: reference[name] for name in ("id", "draw", "label")}
        made = _rows(batch, [draw.columns for draw in draws])
        own = {comparisons.OWN + name: values for name, values in made.items() if name not in named}
        labels = manifest.labels_of(named["label"])  # of a mask its digest: the mask itself has done its work
        for role, other in rows.items():
            outputs, settled = (reference["output"], other["output"]), self._settled
            known = (settled[Role.REFERENCE], settled[role])
            found = compared(self._shared.task, named["label"], outputs, known)
            self._finished.setdefault(role, []).append({**named, "label": labels, **own, **found})


def _alike(stored: NDArray[Any], again: NDArray[Any], within: float) -> bool:
    alike = (stored.shape, stored.dtype) == (again.shape, again.dtype)
    return alike and np.allclose(stored, again, rtol=0, atol=within, equal_nan=True)


def _rows(batch: Batch, draws: Sequence[Columns]) -> Columns:
    """The rows of a batch, item by item and draw by draw."""
    count, first = len(draws), draws[0]
    labels = np.full(len(batch.ids), -1) if batch.y is None else batch.y.numpy()
    return {
        "id": batch.ids.repeat(count, axis=0),
        "draw": np.tile(np.arange(count, dtype=np.int32), len(batch.ids)),
        "label": labels.repeat(count, axis=0),
        **{name: np.stack([draw[name] for draw in draws], 1).reshape(-1, *first[name].shape[1:]) for name in first},
    }


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
