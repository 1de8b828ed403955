"""Does the candidate keep what the reference keeps on labelled data from other conditions?

Each shifted set stands for itself. There is no excess drop: its items are others than those of the test set, so that
nothing can be paired with them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from audit.contracts import Ask, Context, LedgerView, Trace
from audit.findings import Finding, Metric, Missing
from audit.types import Claim, DataRole, Scope, TaskKind, label_of, role_of
from checks import accuracy, functional
from checks.perturbations.clean import CLEAN, Clean

_TASKS: Final = (TaskKind.CLASSIFICATION, TaskKind.CONTROL)
"""One for each kind of distance."""


def _of_set(task: TaskKind) -> tuple[Metric, ...]:
    """What is measured on each set."""
    return (
        accuracy.REFERENCE, accuracy.CANDIDATE, accuracy.DROP, functional.AGREEMENT, functional.EXCESS,
        *functional.means(task).values(),
    )  # fmt: skip


@dataclass(frozen=True)
class Shift:
    """Drop, disagreement and distances on every shifted set."""

    name: ClassVar[str] = "shift"
    summary: ClassVar[str] = "loss of accuracy and changed decisions on labelled data from other conditions"
    metrics: ClassVar[tuple[Metric, ...]] = tuple(dict.fromkeys(metric for task in _TASKS for metric in _of_set(task)))

    def ask(self, context: Context, /) -> Ask:
        sets = _sets(context)
        claims = [Claim(metric.name, scope) for scope in sets for metric in _of_set(context.task)]
        return Ask((CLEAN, *sets.values()) if sets else (), tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        for scope, probe in _sets(context).items():
            trace, clean = ledger.trace(probe), ledger.trace(CLEAN)
            if isinstance(trace, Trace) and isinstance(clean, Trace):
                yield from accuracy.right(trace, scope, clean)
                yield from functional.decisions(trace, scope, clean)
                yield from functional.distances(trace, context.task, scope, clean)
            else:
                why = trace if isinstance(trace, Missing) else clean
                assert isinstance(why, Missing)
                yield from (Finding(Claim(metric.name, scope), why) for metric in _of_set(context.task))


def _sets(context: Context) -> dict[Scope, Clean]:
    """The shifted sets as they are, by how claims name them."""
    names = (name for name in context.data if role_of(name) is DataRole.SHIFTED)
    return {(("shift", label_of(name) or name),): Clean(name) for name in names}
