"""What is measured of the pair wherever it is looked at again: under noise, in a cell of corruption, on another set."""

from collections.abc import Iterator
from typing import Final

from audit.findings import Finding, Metric, Missing
from audit.traces import Trace
from audit.types import Claim, Scope, TaskKind
from checks import accuracy, functional

TASKS: Final = (TaskKind.CLASSIFICATION, TaskKind.CONTROL)
"""One for each kind of distance."""


def metrics(task: TaskKind) -> tuple[Metric, ...]:
    """Accuracy of both, loss, decisions that changed, and distances."""
    return (
        accuracy.REFERENCE, accuracy.CANDIDATE, accuracy.DROP, functional.AGREEMENT, functional.EXCESS,
        *functional.means(task).values(),
    )  # fmt: skip


def findings(trace: Trace, clean: Trace, task: TaskKind, scope: Scope) -> Iterator[Finding]:
    """All of them, each presupposing that the models work there, and on clean items."""
    yield from accuracy.right(trace, scope, clean)
    yield from functional.decisions(trace, scope, clean)
    yield from functional.distances(trace, task, scope, clean)


def missing(absent: tuple[Metric, ...], scope: Scope, *traces: Trace | Missing) -> Iterator[Finding]:
    """Findings without a value, for the first reason that there is among the traces."""
    why = next(trace for trace in traces if isinstance(trace, Missing))
    yield from (Finding(Claim(metric.name, scope), why) for metric in absent)
