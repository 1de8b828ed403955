"""`policy show`: every limit in force, as text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from audit import digest
from audit.asking import Asked
from audit.contracts import Context
from audit.dataset import Attribute
from audit.errors import AuditError
from audit.evidence import CriterionRecord, PolicyRecord
from audit.policy import standing
from audit.policy.entries import ReferenceFloor
from audit.policy.expanding import as_written
from audit.policy.reading import Source
from audit.policy.resolving import record, resolve
from audit.report.rows import clean
from audit.types import Claim, DataRole, Role, TaskKind

GENERIC = Context(
    tuple(f"class {number}" for number in range(10)),
    tuple(Role),
    (DataRole.TEST, DataRole.SHIFTED, DataRole.OUT_OF_DISTRIBUTION, DataRole.CALIBRATION),
    std=(0.25, 0.25, 0.25),
    attributes=(Attribute("attribute", ("value",), np.zeros(1, np.uint16)),),
    watched=tuple(Role),
)
"""What checks are asked in where no audit is at hand.

Ten classes, every role with a watched layer, data of every kind, colour images, of which something is said.
"""


def generic(source: Source, task: TaskKind | None = None) -> Context:
    """The same for a task, or the first one that a policy is for; where values are estimated, there are no classes."""
    task = task or (source.file.tasks or (GENERIC.task,))[0]
    return replace(GENERIC, task=task, classes=() if task is TaskKind.REGRESSION else GENERIC.classes)


Asks = Callable[[Source], Asked]
"""Asks the checks of a policy, with its settings, what they promise."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A policy without an audit: its limits, or, where `unexpanded` says why, its criteria as written."""

    source: Source
    record: PolicyRecord
    unexpanded: str = ""


def preview(source: Source, ask: Asks) -> Preview:
    """The policy as it would be bound in an audit of ten classes, so far as its claims can be told without one."""
    try:
        resolution = resolve(source, ask(source), None, today=date.min)
    except AuditError as error:
        return outline(source, error.what)
    if resolution.problems:
        return outline(source, resolution.problems[0].what)
    return Preview(source, resolution.record)


def outline(source: Source, why: str) -> Preview:
    """The policy with its criteria as they are written."""
    context = generic(source)
    floor = source.file.reference_floor.resolve(context, None)
    criteria = (*standing.criteria(context, floor), *as_written(source))
    return Preview(source, record(source, floor, criteria), why)


def show(found: Preview) -> str:
    """Rules, settings and waivers of a policy, and a table of its limits."""
    policy = found.record
    lines = [
        f"{policy.id}: {policy.title}" if policy.title else policy.id,
        f"alpha     {figure(policy.alpha)}, one-sided, for every verdict",
        f"accepts   {', '.join(policy.accept)}",
        f"reference {floor(found.source.file.reference_floor)}",
        f"checks    {'all' if policy.checks is None else ', '.join(policy.checks)}",
        f"reuse     {figure(policy.recheck_reused)} % of what an earlier audit lends is measured again",
        *(f"settings  {check}.{name} = {value}" for check, name, value in settings(policy)),
        *(f"waiver    {w.id}: {w.claim} until {w.expires}, by {w.by}: {w.reason}" for w in policy.waivers),
        "",
        *_table([("claim", "limit", "unit", "counts", "why"), *(_row(policy, part) for part in policy.criteria)]),
    ]
    if any(("role", Role.BASELINE) in Claim.parse(part.claim).scope for part in policy.criteria):
        lines += ["", "A criterion with role=baseline counts where a baseline takes part."]
    if found.unexpanded:
        lines += ["", f"Criteria stand as written: {found.unexpanded}."]
    return "\n".join(clean(line) for line in lines)


def floor(rule: ReferenceFloor) -> str:
    """The reference floor in words."""
    chance = f", {figure(rule.times_chance)} × the chance level" if rule.times_chance else ""
    return (
        f"on clean data at least {figure(rule.clean)} %{chance} and its declared accuracy − "
        f"{figure(rule.below_declared)} points; elsewhere {figure(rule.elsewhere)} % of its clean accuracy"
    )


def settings(policy: PolicyRecord) -> Iterator[tuple[str, str, str]]:
    """(check, setting, value) of a policy, values as JSON."""
    for check, values in sorted(policy.settings.items()):
        for name, value in sorted(values.items()):
            yield check, name, digest.canonical(value).decode()


def counts(criterion: CriterionRecord) -> str:
    """What a criterion means for the overall verdict."""
    if criterion.standing:
        return "every policy"
    kind = "required" if criterion.required else "advisory"
    return f"{kind} where the reference holds" if criterion.only_where_reference_holds else kind


def limit(criterion: CriterionRecord) -> str:
    """≤ or ≥ and the figure."""
    return f"{'≤' if criterion.sense == 'at_most' else '≥'} {figure(criterion.limit)}"


def figure(value: float) -> str:
    """A number with as many digits as tell it from every other.

    >>> figure(2.0), figure(0.1 + 0.2)
    ('2', '0.30000000000000004')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _row(policy: PolicyRecord, part: CriterionRecord) -> tuple[str, ...]:
    waived = any(waiver.claim == part.claim for waiver in policy.waivers)
    return part.claim, limit(part), part.unit, "waived" if waived else counts(part), part.why


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns aligned; the last column is free."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
