"""Does the candidate keep what the reference keeps on labelled data from other conditions?

Each shifted set stands for itself. There is no excess drop: its items are others than those of the test set, so that
nothing can be paired with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from audit.contracts import Ask, Condition, Context, LedgerView
from audit.findings import Finding, Metric
from audit.traces import Trace
from audit.types import Claim, DataRole, Scope, label_of, role_of
from checks import elsewhere
from checks.perturbations.clean import CLEAN, Clean


@dataclass(frozen=True)
class Shift:
    """Drop, disagreement and distances on every shifted set."""

    name: ClassVar[str] = "shift"
    summary: ClassVar[str] = "loss of accuracy and changed decisions on labelled data from other conditions"
    metrics: ClassVar[tuple[Metric, ...]] = tuple(
        dict.fromkeys(metric for task in elsewhere.TASKS for metric in elsewhere.metrics(task))
    )

    def ask(self, context: Context, /) -> Ask:
        sets = _sets(context)
        claims = [Claim(metric.name, scope) for scope in sets for metric in elsewhere.metrics(context.task)]
        return Ask((CLEAN, *sets.values()) if sets else (), tuple(claims))

    def shows(self, context: Context, /) -> tuple[Condition, ...]:
        """Every shifted set."""
        return tuple(Condition(scope, probe) for scope, probe in _sets(context).items())

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for scope, probe in _sets(context).items():
            trace, clean = ledger.trace(probe), ledger.trace(CLEAN)
            if isinstance(trace, Trace) and isinstance(clean, Trace):
                yield from elsewhere.findings(trace, clean, context.task, scope)
            else:
                yield from elsewhere.missing(elsewhere.metrics(context.task), scope, trace, clean)


def _sets(context: Context) -> dict[Scope, Clean]:
    """The shifted sets as they are, by how claims name them."""
    names = (name for name in context.data if role_of(name) is DataRole.SHIFTED)
    return {(("shift", label_of(name) or name),): Clean(name) for name in names}
