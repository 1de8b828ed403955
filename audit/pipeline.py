"""From a ledger to evidence: join, measure, decide. A pure function of ledger, plan and policy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import comparisons, digest
from audit.comparisons import Census, Settled, flags
from audit.contracts import Probe, Task
from audit.data import manifest
from audit.dataset import Ids
from audit.errors import AuditError
from audit.evidence import ProbeRecord
from audit.findings import Missing
from audit.inspections import Inspections
from audit.perturbing import RESERVED, WATCHED, untouched
from audit.tasks.classification import Classification, probabilities
from audit.traces import Cache, Columns, Side, Trace
from audit.types import OutputKind, Role

_AGAIN = "Delete the ledger and run the audit again."
_KEPT = 3
"""Observations that stay in memory: each is joined once."""
Floats = NDArray[np.float32]
_LEFT_OUT = Missing("skipped", "the check that shows these inputs was left out")


@dataclass(frozen=True, slots=True)
class _Left:
    """What a model left under a probe, in stored order, and which rows the runtime could turn."""

    columns: Columns
    turning: NDArray[np.bool_]


@dataclass
class View(Inspections):
    """What the checks see of the ledger; asking for a probe outside the plan raises KeyError.

    With `adverse`, every near tie counts against the candidate.
    """

    task: Task
    adverse: bool = False
    _counted: dict[tuple[Role, str], Census | Missing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._observed = lru_cache(_KEPT)(self._gather)
        self._compared = lru_cache(_KEPT)(self._gather_pair)
        self._traces = Cache()
        self.outputs = lru_cache(None)(self._settle)
        self._order = lru_cache(_KEPT)(self._judging_order)
        self.settled = lru_cache(None)(self._settle_all)
        self._described = lru_cache(None)(self.plan.described)

    def against(self) -> "View":
        """The same ledger with every near tie counted against the candidate; what this one has joined serves both."""
        other = replace(self, adverse=True)
        other._traces, other.outputs = self._traces, self.outputs
        return other

    def trace(self, probe: Probe, other: Role = Role.CANDIDATE, /, *, to: Role = Role.REFERENCE) -> Trace | Missing:
        """Two roles joined, the reference and another unless said otherwise, in judging order.

        Missing where that cannot be trusted, where a role does not see the probe, and where the check that asks for it
        was left out.
        """
        name, pair = digest.of_json(probe.canonical()), (to, other)
        if self._left_out(name):
            return _LEFT_OUT
        if (name, pair) not in self._traces:
            self._traces.keep((name, pair), self._join(name, pair))
        found = self._traces[name, pair]
        return found.against() if self.adverse and isinstance(found, Trace) else found

    def probabilities(self, probe: Probe, role: Role, /) -> NDArray[np.float64] | Missing:
        """Of every class, in judging order [rows, K]; Missing where outputs are not kept whole."""
        name = digest.of_json(probe.canonical())
        if self._left_out(name):
            return _LEFT_OUT
        record = self.plan.probe(name)
        if not isinstance(self.task, Classification):
            return Missing("no-probabilities", "the outputs of this task are no probabilities")
        if record.kept != "outputs":
            return Missing("not-kept", "of this probe nothing is kept but how the models compare")
        side = self._side(role, name)
        if isinstance(side, Missing):
            return side
        rows = self._rows(side.columns, record)
        return probabilities(side.columns["output"][rows], side.kind)

    def layers(self, probe: Probe, other: Role, /) -> Iterator[tuple[Floats, Floats]] | Missing:
        """What the watched layers of the reference and of another gave, chunk by chunk: the whole may be too large."""
        trace = self.trace(probe, other)  # with it both were found to have seen the same items, in one order
        if isinstance(trace, Missing):
            return trace
        record, pair = self.plan.record_of(probe), (Role.REFERENCE, other)
        if record.kept != "outputs" or not untouched(record):
            return Missing("not-kept", "of this probe the ledger holds no values of layers")
        if blind := [role for role in pair if self.plan.model(role).adapter.watched is None]:
            return Missing("no-layer", f"no layer of the {blind[0]} is named")
        return zip(*(self._watched(role, record) for role in pair), strict=True)

    def _watched(self, role: Role, probe: ProbeRecord) -> Iterator[Floats]:
        planned = self.plan.model(role).adapter.watched
        for key in self.plan.keys(role, probe):
            values = self.ledger.get(key).get(WATCHED)
            if planned is None or values is None or (values.dtype, *values.shape[1:]) != (np.float32, planned.values):
                raise AuditError(f"of the {role} the ledger holds no values of its layer", _AGAIN)
            yield values

    def ids(self, probe: Probe, /) -> Ids | Missing:
        """Digests of the items of the probe's traces, in their order."""
        name = digest.of_json(probe.canonical())
        if self._left_out(name):
            return _LEFT_OUT
        record = self.plan.probe(name)
        whole = record.kept == "outputs"
        left = self._observed(Role.REFERENCE, name) if whole else self._compared(Role.CANDIDATE, name)
        if isinstance(left, Missing):
            return left
        columns = left.columns if isinstance(left, _Left) else left
        found: Ids = columns["id"][self._rows(columns, record)[:: record.draws]]
        return found

    def attribute(self, probe: Probe, name: str, /) -> NDArray[np.uint16] | Missing:
        """Which value each item of the probe's traces has [N]; Missing where nothing is said of its items."""
        trace = self.trace(probe)
        if isinstance(trace, Missing):
            return trace
        if not (described := self._described(probe.data)):
            return Missing("no-attributes", f"nothing is said of the items of the {probe.data} data")
        return described[name].codes[trace.order]

    def _left_out(self, probe: str) -> bool:
        """Whether a probe is not part of a run that was meant to be partial."""
        return bool(self.plan.plan.skipped) and all(each.sha256 != probe for each in self.plan.plan.probes)

    def nonfinite(self, role: Role, /) -> tuple[int, int] | Missing:
        """(rows with NaN or infinity in an output, rows) of a role, over every probe of the plan.

        What was found is told even where a probe failed; that nothing was found is not: the failed one may have hidden
        it, and NaN may be why it failed.
        """
        found = self._censuses(role)
        counts = [census for census in found if isinstance(census, Census)]
        rows, bad = sum(census.rows for census in counts), sum(census.bad for census in counts)
        failed = next((census for census in found if isinstance(census, Missing)), None)
        if failed is not None and not bad:
            return failed
        return (bad, rows) if rows else Missing("empty", "no item was observed")

    def near_ties(self, role: Role, /) -> tuple[float, int] | Missing:
        """(rows whose decision is closer than the runtime's noise, rows) of a role, under its worst probe.

        Missing where a probe failed, which might have been the worst.
        """
        found = self._censuses(role)
        failed = next((census for census in found if isinstance(census, Missing)), None)
        counts = [census for census in found if isinstance(census, Census) and census.rows]
        if failed is not None or not counts:
            return failed or Missing("empty", "no item was observed")
        worst = max(counts, key=lambda census: census.ties / census.rows)
        return worst.ties, worst.rows

    def _settle_all(self) -> Mapping[Role, Settled]:
        """What is known of every model's outputs; whole outputs that were read for it are let go."""
        found = {}
        for role in (Role(model.role) for model in self.plan.models):
            found[role] = Settled(self.outputs(role), self._parity(role).noise)
            self._observed.cache_clear()
        return found

    def any_near_tie(self) -> bool:
        """Whether counting near ties against the candidate could change anything."""
        roles = (Role(model.role) for model in self.plan.models)
        return any(c.turning for role in roles for c in self._censuses(role) if isinstance(c, Census))

    def _censuses(self, role: Role) -> list[Census | Missing]:
        seen = self._seen(role)
        for probe in seen:
            if (role, probe.sha256) not in self._counted:
                self._count(role, probe)
        return [self._counted[role, probe.sha256] for probe in seen]

    def _seen(self, role: Role) -> list[ProbeRecord]:
        return [probe for probe in self.plan.plan.probes if role in self.plan.shown(probe)]

    def _count(self, role: Role, probe: ProbeRecord) -> None:
        if probe.kept == "outputs":
            self._observed(role, probe.sha256)
        else:
            self._compared(Role.CANDIDATE if role is Role.REFERENCE else role, probe.sha256)

    def _gather(self, role: Role, probe: str) -> _Left | Missing:
        """What a model left under a probe; Missing where the probe failed."""
        record = self.plan.probe(probe)
        failure = self.ledger.failure(self.plan.failure_key(record))
        if failure is not None:
            self._counted[role, probe] = failure
            return failure
        columns = self.ledger.gather(self.plan.keys(role, record), without=WATCHED)
        found = flags(self.task, columns["output"], self._parity(role).noise, columns["label"])
        self._counted[role, probe] = Census.of_flags(found)
        return _Left(columns, found["turning"])

    def _gather_pair(self, other: Role, probe: str) -> Columns | Missing:
        """What was kept of a model and the reference under a probe, in stored order; Missing where the probe failed."""
        record, pair = self.plan.probe(probe), (Role.REFERENCE, other)
        failure = self.ledger.failure(self.plan.failure_key(record))
        if failure is not None:
            self._counted |= {(role, probe): failure for role in pair}
            return failure
        columns = self.ledger.gather(self.plan.pair_keys(other, record, self.settled()))
        self._counted |= {(role, probe): comparisons.census(columns, role) for role in pair}
        return columns

    def _settle(self, role: Role) -> OutputKind | Missing:
        """What a model's outputs are, settled over the first probe that it sees."""
        seen, declared = self._seen(role), OutputKind(self.plan.model(role).adapter.outputs)
        if seen and seen[0].kept != "outputs":
            return self._settled_by_few(role)
        left = self._observed(role, seen[0].sha256) if seen else _unseen(role)
        if isinstance(left, Missing):
            return left
        if not np.isfinite(left.columns["output"]).all():
            return Missing("non-finite", f"the {role}'s outputs contain NaN or infinity")
        return self.task.settle(left.columns, declared)

    def _settled_by_few(self, role: Role) -> OutputKind | Missing:
        """What a model's outputs were found to be on the first batch, where none are kept whole."""
        kind = int(self.ledger.get(self.plan.parity_key(role))["kind"][0])
        return list(OutputKind)[kind] if kind >= 0 else Missing(
            "ambiguous-outputs", f"the {role}'s outputs on the first items are of no clear kind: declare outputs"
        )  # fmt: skip

    def _join(self, probe: str, pair: tuple[Role, Role]) -> Trace | Missing:
        record = self.plan.probe(probe)
        if unseen := [role for role in pair if role not in self.plan.shown(record)]:
            return _unseen(unseen[0])
        return self._compare(record, pair) if record.kept == "outputs" else self._read_comparison(record, pair)

    def _trace(
        self, columns: Columns, turned: Columns, rows: NDArray[np.intp], probe: ProbeRecord, own: Columns
    ) -> Trace:
        order = rows[:: probe.draws] // probe.draws
        own = {name: values[rows] for name, values in own.items()}
        for values in (*columns.values(), *turned.values(), order, *own.values()):
            values.setflags(write=False)  # every check sees the same trace
        return Trace(columns, probe.draws, self.plan.dataset(probe.data).chance, order, own, turned)

    def _compare(self, probe: ProbeRecord, pair: tuple[Role, Role]) -> Trace | Missing:
        """Pair columns in judging order, from the outputs of both models."""
        sides: dict[Role, Side] = {}
        for role in pair:
            side = self._side(role, probe.sha256)
            if isinstance(side, Missing):
                return side
            sides[role] = side
        reference, second = (sides[role].columns for role in pair)
        for name in reference.keys() - {"output"}:  # what a probe made is the same for both, or they saw other inputs
            if name not in second or not np.array_equal(reference[name], second[name], equal_nan=name not in RESERVED):
                raise AuditError(f"the models' observations differ in {name!r}", _AGAIN)
        rows = self._rows(reference, probe)
        labels = reference["label"][rows]
        chosen = [replace(side, columns={"output": side.columns["output"][rows]}) for side in sides.values()]
        own = {name: values for name, values in reference.items() if name not in RESERVED}
        compared = self.task.compare(labels, *chosen)
        turning = np.logical_or(*(self._turning(role, probe) for role in pair))[rows]
        return self._trace(compared, self._turned(compared, labels, chosen, turning), rows, probe, own)

    def _turned(
        self, compared: Columns, labels: NDArray[Any], sides: Sequence[Side], turning: NDArray[np.bool_]
    ) -> Columns:
        """The columns that differ where near ties count against the other model: in rows that could turn."""
        if not turning.any():
            return {}
        some = [replace(side, columns={"output": side.columns["output"][turning]}) for side in sides]
        adverse = self.task.compare(labels[turning], *some, adverse=True)
        turned = {name: compared[name].copy() for name in self.task.ordered & compared.keys()}
        for name, values in turned.items():
            values[turning] = adverse[name]
        return turned

    def _turning(self, role: Role, probe: ProbeRecord) -> NDArray[np.bool_]:
        """The stored rows that the runtime could turn, of a model whose outputs are kept whole."""
        left = self._observed(role, probe.sha256)
        assert isinstance(left, _Left)
        return left.turning

    def _read_comparison(self, probe: ProbeRecord, pair: tuple[Role, Role]) -> Trace | Missing:
        """The same from what was kept of the comparison with the reference."""
        if pair[0] is not Role.REFERENCE:
            return Missing("not-kept", "of this probe nothing is kept but comparisons with the reference")
        columns = self._compared(pair[1], probe.sha256)
        if isinstance(columns, Missing):
            return columns
        for role in pair:
            if (bad := self._nonfinite(role, probe.sha256)) is not None:
                return bad
            if isinstance(kind := self.outputs(role), Missing):
                return kind
        if comparisons.odd(columns):
            return Missing("mixed-outputs", "some outputs are of another kind than those of the first items")
        rows = self._rows(columns, probe)
        plain, adverse = (comparisons.pair_columns(columns, adverse=adverse) for adverse in (False, True))
        pairs = {name: values[rows] for name, values in plain.items()}
        names = [name for name in self.task.ordered & plain.keys() if not np.array_equal(adverse[name], plain[name])]
        turned = {name: adverse[name][rows] for name in names}
        return self._trace(pairs, turned, rows, probe, comparisons.own_columns(columns))

    def _side(self, role: Role, probe: str) -> Side | Missing:
        left = self._observed(role, probe)
        if isinstance(left, Missing):
            return left
        if (bad := self._nonfinite(role, probe)) is not None:
            return bad
        kind = self.outputs(role)
        return kind if isinstance(kind, Missing) else Side(left.columns, kind, self._parity(role).noise)

    def _nonfinite(self, role: Role, probe: str) -> Missing | None:
        census = self._counted[role, probe]
        if isinstance(census, Census) and census.bad:
            return Missing("non-finite", f"{census.bad} of {census.rows} outputs of the {role} are NaN or infinite")
        return None

    def _rows(self, columns: Columns, probe: ProbeRecord) -> NDArray[np.intp]:
        """The stored rows in judging order, item by item; raises AuditError where the items are not the data set's."""
        draws = probe.draws
        ids, labels = columns["id"][::draws], columns["label"][::draws]
        whole = len(columns["id"]) == len(ids) * draws
        if not whole or not np.array_equal(columns["draw"], np.tile(np.arange(draws), len(ids))):
            raise AuditError(f"probe {probe.name!r}: its draws are not complete", _AGAIN)
        if manifest.digest_of(ids, manifest.labels_of(labels)) != self.plan.dataset(probe.data).sha256:
            raise AuditError("the items in the ledger differ from the data set of this audit", _AGAIN)
        order = self._order(ids.tobytes())
        rows: NDArray[np.intp] = (order[:, None] * draws + np.arange(draws)).reshape(-1)
        return rows

    def _judging_order(self, ids: bytes) -> NDArray[np.intp]:
        return manifest.judging_order(np.frombuffer(ids, np.uint8).reshape(-1, 32))


def _unseen(role: Role) -> Missing:
    return Missing("not-shown", f"the {role} does not see these inputs")
