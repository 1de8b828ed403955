"""From a ledger to evidence: join, measure, decide. A pure function of ledger, plan and policy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from audit import digest
from audit.contracts import Check, Columns, Probe, Task, Trace
from audit.data import manifest
from audit.errors import AuditError
from audit.ledger import Ledger
from audit.plan import Asked, PlanFile
from audit.types import Claim, Exact, Finding, Missing, OutputKind, Role


@dataclass
class View:
    """What the checks see of the ledger; asking for a probe outside the plan raises KeyError."""

    plan: PlanFile
    ledger: Ledger
    task: Task
    _columns: dict[tuple[Role, str], Columns] = field(default_factory=dict)
    _traces: dict[str, Trace | Missing] = field(default_factory=dict)

    def trace(self, probe: Probe, /) -> Trace | Missing:
        """The join of both roles under a probe, in judging order; Missing where it cannot be trusted."""
        identity = digest.of_json(probe.canonical())
        if identity not in {planned.sha256 for planned in self.plan.plan.probes}:
            raise KeyError(f"probe {probe.name!r} was not asked for")
        if identity not in self._traces:
            self._traces[identity] = self._join(identity)
        return self._traces[identity]

    def nonfinite(self, role: Role, /) -> tuple[int, int] | Missing:
        """(items with NaN or infinity in an output, items) of a role, over every probe of the plan."""
        bad = total = 0
        for probe in self.plan.plan.probes:
            finite = _finite(self._observed(role, probe.sha256))
            bad, total = bad + int((~finite).sum()), total + finite.size
        return (bad, total) if total else Missing("empty", "no item was observed")

    def stored_items(self) -> tuple[int, int]:
        """(superfluous copies, stored items) of the test set."""
        data = self.plan.data[0]
        return data.duplicates, data.items + data.duplicates

    def class_counts(self) -> tuple[int, ...]:
        """Distinct items per class of the test set."""
        return self.plan.data[0].per_class

    def outputs(self, role: Role) -> OutputKind | Missing:
        """What a model's outputs are, settled over the first probe."""
        columns = self._observed(role, self.plan.plan.probes[0].sha256)
        if not _finite(columns).all():
            return Missing("non-finite", f"the {role}'s outputs contain NaN or infinity")
        return self.task.settle(columns, OutputKind(self.plan.model(role).adapter.outputs))

    def _observed(self, role: Role, probe: str) -> Columns:
        if (role, probe) not in self._columns:
            self._columns[role, probe] = self.ledger.gather(self.plan.keys(role, probe))
        return self._columns[role, probe]

    def _join(self, probe: str) -> Trace | Missing:
        sides = {role: self._observed(role, probe) for role in Role}
        reference, candidate = sides[Role.REFERENCE], sides[Role.CANDIDATE]
        for name in ("id", "draw", "label"):
            if not np.array_equal(reference[name], candidate[name]):
                raise AuditError(
                    f"the two models' observations differ in {name!r}",
                    "Delete the ledger and run the audit again.",
                )
        if manifest.digest_of(reference["id"], reference["label"]) != self.plan.data[0].sha256:
            raise AuditError(
                "the items in the ledger differ from the test set of this audit",
                "Delete the ledger and run the audit again.",
            )
        for role, columns in sides.items():
            bad = int((~_finite(columns)).sum())
            if bad:
                return Missing("non-finite", f"{bad} of {len(columns['id'])} outputs of the {role} are NaN or infinite")
        kinds = {role: self.outputs(role) for role in Role}
        wrong = next((kind for kind in kinds.values() if isinstance(kind, Missing)), None)
        if wrong is not None:
            return wrong
        order = manifest.judging_order(reference["id"])
        labels = reference["label"][order]
        settled = {
            role: ({"output": side["output"][order]}, OutputKind(str(kinds[role]))) for role, side in sides.items()
        }
        return Trace(labels, self.task.compare(labels, settled[Role.REFERENCE], settled[Role.CANDIDATE]))


def _finite(columns: Columns) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(columns["output"]).all(axis=1))


def measure(asked: Asked, view: View) -> dict[Claim, Finding]:
    """A finding for every promised claim: what a check did not deliver is Missing, with the reason."""
    found: dict[Claim, Finding] = {}
    for check in asked.checks:
        promised = {claim for claim, owner in asked.claims.items() if owner is check}
        found.update(_measured(check, promised, asked, view))
    return found


def _measured(check: Check, promised: set[Claim], asked: Asked, view: View) -> Mapping[Claim, Finding]:
    delivered: dict[Claim, Finding] = {}
    absent = Missing("not-measured", f"check {check.name!r} promised this and did not deliver it")
    try:
        for finding in check.measure(asked.context, view):
            if finding.claim not in promised or finding.claim in delivered:
                raise RuntimeError(f"{finding.claim.id!r} was not promised, or delivered twice")
            if not isinstance(finding.statistic, Missing | Exact) and finding.statistic.n > view.plan.data[0].items:
                raise RuntimeError(f"{finding.claim.id!r} counts {finding.statistic.n} items, more than there are")
            delivered[finding.claim] = finding
    except AuditError:
        raise
    except (Exception, SystemExit) as error:  # whatever a check does, it must not decide by crashing
        absent = Missing("check-crashed", f"check {check.name!r}: {type(error).__name__}: {error}")
        delivered = {}
    return {claim: delivered.get(claim, Finding(claim, absent)) for claim in promised}
