"""Binding a policy to a plan: every limit names a promised claim, in its unit, and can be kept and broken."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from audit import digest
from audit.asking import Asked
from audit.digest import Json
from audit.errors import AuditError
from audit.evidence import CriterionRecord, PolicyRecord
from audit.findings import Kind, Metric
from audit.policy import standing, waiving
from audit.policy.expanding import Limit, expand
from audit.policy.reading import Source
from audit.types import Claim, Criterion, Policy, Sense, TaskKind, Unit, Verdict


@dataclass(frozen=True, slots=True)
class Resolution:
    """A policy with its limits expanded, and everything that forbids to use it."""

    record: PolicyRecord
    problems: tuple[AuditError, ...]


def bind(
    source: Source,
    asked: Asked,
    declared: float | None,
    today: date | None = None,
    possible: Collection[Claim] = (),
) -> PolicyRecord:
    """The policy with every limit in force, bound to what the checks promise.

    `declared` is the reference's accuracy by the audit file, in percent. `today`, by default the date in UTC,
    decides which waivers have expired. `possible` are the claims that the checks promise where everything is possible.
    Raises AuditError for the first thing that does not fit.
    """
    resolution = resolve(source, asked, declared, today, possible)
    for problem in resolution.problems:
        raise problem
    return resolution.record


def resolve(
    source: Source,
    asked: Asked,
    declared: float | None,
    today: date | None = None,
    possible: Collection[Claim] = (),
) -> Resolution:
    """As `bind`, with all problems together."""
    floor = source.file.reference_floor.resolve(asked.context, declared)
    always = standing.criteria(asked.context, floor)
    expanded = expand(source, tuple(asked.claims), possible)
    own = tuple(_judged(limit.record, asked.metrics) for limit in expanded.limits)
    problems = (
        *_unmeant(source, asked.context.task),
        *source.unknown_checks([check.name for check in asked.checks]),
        *_unpromised(source, always, asked),
        *expanded.problems,
        *(fault for limit in expanded.limits for fault in _unfit(source, limit, always, asked.metrics)),
        *waiving.problems(source, (*always, *own), today or datetime.now(UTC).date()),
    )
    return Resolution(record(source, floor, (*always, *own), expanded.left_out), problems)


def _unmeant(source: Source, task: TaskKind) -> Iterator[AuditError]:
    """That a policy is not for the task of the audit."""
    if source.file.tasks is not None and task not in source.file.tasks:
        yield AuditError(
            f"{source.key('tasks')}: {source.file.id!r} is for {' and '.join(source.file.tasks)}, not for {task}",
            "Name a policy for what the models do, such as standard or values, or correct kind in [task].",
        )


def _judged(own: CriterionRecord, metrics: Mapping[str, Metric]) -> CriterionRecord:
    """A limit with what its metric says about."""
    return own.model_copy(update={"of_pair": metrics[Claim.parse(own.claim).metric].of_pair})


def record(
    source: Source, floor: float, criteria: tuple[CriterionRecord, ...], left_out: tuple[str, ...] = ()
) -> PolicyRecord:
    """The policy as evidence, named by the digest of its meaning: what can change a verdict, and nothing else."""
    file = source.file
    waivers = tuple(entry.record() for entry in file.waiver)
    meaning: dict[str, Json] = {
        "alpha": file.alpha,
        "accept": sorted(file.accept),
        "reference_floor": floor,
        "floor_share": file.reference_floor.elsewhere,
        "criteria": [c.model_dump(exclude={"why"}) for c in sorted(criteria, key=lambda c: (c.claim, c.sense))],
        "waivers": [w.model_dump(include={"id", "claim", "expires"}) for w in sorted(waivers, key=lambda w: w.claim)],
        "checks": None if file.checks is None else sorted(file.checks),
        "recheck_reused": file.recheck_reused,
        "settings": file.settings,
        **({"left_out": sorted(left_out)} if left_out else {}),
    }
    return PolicyRecord(
        id=file.id, title=file.title, source="built-in" if source.built_in else "file",
        sha256=digest.of_json(meaning), alpha=file.alpha, accept=tuple(sorted(file.accept)),
        reference_floor=floor * 100, floor_share=file.reference_floor.elsewhere, criteria=criteria,
        waivers=waivers, checks=file.checks, settings=file.settings, recheck_reused=file.recheck_reused,
        left_out=left_out,
    )  # fmt: skip


def rules(record: PolicyRecord) -> Policy:
    """The inner form that decides: fractions instead of percentages."""
    waived = {waiver.claim for waiver in record.waivers}
    criteria = tuple(
        Criterion(
            Claim.parse(c.claim),
            Sense(c.sense),
            c.limit / Unit(c.unit).scale,
            required=c.required,
            why=c.why,
            standing=c.standing,
            of_pair=c.of_pair,
            only_where_reference_holds=c.only_where_reference_holds,
            waived=c.claim in waived,
        )
        for c in record.criteria
    )
    accept = frozenset(map(Verdict, record.accept))
    floor, share = record.reference_floor / 100, record.floor_share / 100
    return Policy(record.id, record.alpha, accept, floor, criteria, share)


def _unpromised(source: Source, always: tuple[CriterionRecord, ...], asked: Asked) -> Iterator[AuditError]:
    """Standing criteria that no check measures, or that a check measures otherwise."""
    absent = [criterion.claim for criterion in always if Claim.parse(criterion.claim) not in asked.claims]
    if absent:
        yield AuditError(
            f"{source.key('checks')}: no check that runs measures {', '.join(absent)}, which every policy limits",
            "Add the check that does to `checks`.",
        )
    for criterion in always:
        metric = asked.metrics.get(Claim.parse(criterion.claim).metric)
        if metric is not None and (metric.unit, metric.better) != (criterion.unit, criterion.sense):
            yield AuditError(
                f"{criterion.claim} is measured in {metric.unit} by a check that this program does not know",
                "Uninstall the package of that check.",
            )


def _unfit(
    source: Source, limit: Limit, always: tuple[CriterionRecord, ...], metrics: Mapping[str, Metric]
) -> Iterator[AuditError]:
    """Why a limit cannot stand: it is every policy's already, or not in the metric's unit, sense and range."""
    own, where = limit.record, source.entry("criterion", limit.entry)
    metric = metrics[Claim.parse(own.claim).metric]
    if own.claim in {criterion.claim for criterion in always}:
        rule = "set by [reference_floor]" if own.claim == standing.FLOOR.id else "limited by every policy already"
        yield AuditError(f"{where}: {own.claim} has two limits of the same kind: it is {rule}", "Remove this one.")
    if own.unit != metric.unit:
        place = source.entry("criterion", limit.entry, "unit")
        yield AuditError(f"{place}: {own.claim} is in {metric.unit}, not in {own.unit}", "Correct the unit.")
    elif own.sense != metric.better:
        yield AuditError(f"{where}: {own.claim} is limited by {metric.better}", f"Write {metric.better} instead.")
    elif not _sensible(own.limit / metric.unit.scale, metric):
        yield _out_of_range(source.entry("criterion", limit.entry, own.sense), own, metric)


def _sensible(limit: float, metric: Metric) -> bool:
    """Whether a limit can be kept and can be broken; what is counted can be at the good end of its range itself."""
    best = metric.low if metric.better is Sense.AT_MOST else metric.high
    return metric.low < limit < metric.high or (metric.kind is Kind.COUNTED and limit == best)


def _out_of_range(where: str, own: CriterionRecord, metric: Metric) -> AuditError:
    low, high = metric.low * metric.unit.scale, metric.high * metric.unit.scale
    below = own.limit <= low
    effect = "cannot pass" if below is (metric.better is Sense.AT_MOST) else "cannot fail"
    return AuditError(
        f"{where}: {own.claim} lies between {low:g} and {high:g} {metric.unit}; a limit of {own.limit:g} {effect}",
        "Set a limit strictly inside the range.",
    )
