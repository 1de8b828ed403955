"""What becomes of one probe on its way through the data: what is lacking, what is kept, and under which keys."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.comparisons import compared
from audit.contracts import Batch, Columns, Probe, Side
from audit.errors import AuditError
from audit.findings import Missing
from audit.lanes import Drawn, Shown
from audit.ledger import REFUTED
from audit.perturbing import BrokenProbeError, Effect
from audit.types import Role

if TYPE_CHECKING:
    from audit.observe import Observer


class Job(ABC):
    """One probe on its way through the data; `keys` name by chunk, and by model, what it is to leave."""

    def __init__(self, probe: Probe, observer: "Observer") -> None:
        plan = observer.plan
        self.probe, self._observer = probe, observer
        self._effect = Effect(probe)
        self._record = plan.record_of(probe)
        self._chunk, self._items = plan.plan.chunk, plan.dataset(probe.data).items
        per_role = self._keys_of_each()
        self.keys = [dict(zip(per_role, chunk, strict=True)) for chunk in zip(*per_role.values(), strict=True)]
        self.failed = observer.ledger.failure(plan.failure_key(self._record)) is not None
        self._lacking = [[] if self.failed else self._lacks(chunk) for chunk in self.keys]
        self._again = {} if self.failed else self._batches_again(plan.policy.recheck_reused / 100)
        self._finished: dict[Role, list[Columns]] = {}

    @abstractmethod
    def _keys_of_each(self) -> Mapping[Role, Iterator[str]]:
        """The keys of what is kept of each model, chunk by chunk."""

    @abstractmethod
    def _lacks(self, chunk: Mapping[Role, str]) -> list[Role]:
        """The models that must be run, because something that rests on them is not there."""

    def _batches_again(self, share: float) -> dict[int, list[Role]]:
        """Starts of the batches to measure again of what was taken over: none, where nothing is."""
        return {}

    @abstractmethod
    def _keep(self, batch: Batch, draws: Sequence[Drawn]) -> None:
        """Keep what the models left of a batch."""

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
        for role in draws[0].outputs:
            self._observer.passes[role] += len(batch.ids) * len(draws)
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
        self._observer.ledger.fail(self._observer.plan.failure_key(self._record), error.why)
        self.failed, self._finished = True, {}

    def _rows(self, index: int) -> range:
        return range(index * self._chunk, min((index + 1) * self._chunk, self._items))


class Whole(Job):
    """Keeps the outputs of each model whole, each under a key of its own: another audit may take them over."""

    def _keys_of_each(self) -> Mapping[Role, Iterator[str]]:
        return {role: self._observer.plan.keys(role, self._record) for role in self._observer.models}

    def _lacks(self, chunk: Mapping[Role, str]) -> list[Role]:
        return [role for role, key in chunk.items() if not self._observer.ledger.has(key)]

    def _keep(self, batch: Batch, draws: Sequence[Drawn]) -> None:
        index = batch.start // self._chunk
        for role in draws[0].outputs:
            columns = _rows(batch, [{**draw.columns, **draw.outputs[role]} for draw in draws])
            if role in self._lacking[index]:
                self._finished.setdefault(role, []).append(columns)
            else:
                self._compare(columns, role, index, batch.start - index * self._chunk)

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


class Compared(Job):
    """Keeps how each other model compares with the reference, for this audit alone, and nothing else of them."""

    def __init__(self, probe: Probe, observer: "Observer", sides: Mapping[Role, Side]) -> None:
        self._sides = sides
        super().__init__(probe, observer)

    def _keys_of_each(self) -> Mapping[Role, Iterator[str]]:
        others = [role for role in self._observer.models if role is not Role.REFERENCE]
        return {role: self._observer.plan.pair_keys(role, self._record, self._sides) for role in others}

    def _lacks(self, chunk: Mapping[Role, str]) -> list[Role]:
        lacking = [role for role, key in chunk.items() if not self._observer.ledger.holds(key)]
        return [Role.REFERENCE, *lacking] if lacking else []

    def _keep(self, batch: Batch, draws: Sequence[Drawn]) -> None:
        rows = {role: _rows(batch, [draw.outputs[role] for draw in draws]) for role in draws[0].outputs}
        reference = rows.pop(Role.REFERENCE)
        for role, columns in rows.items():
            pair = [
                replace(self._sides[each], columns=left)
                for each, left in ((Role.REFERENCE, reference), (role, columns))
            ]
            found = compared(self._observer.task, columns["label"], *pair)
            named = {name: columns[name] for name in ("id", "draw", "label")}
            self._finished.setdefault(role, []).append({**named, **found})


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
