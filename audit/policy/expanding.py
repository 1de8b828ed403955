"""From the criteria as they are written to one limit per claim."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from audit.configuration import did_you_mean
from audit.errors import AuditError
from audit.evidence import CriterionRecord
from audit.policy.patterns import LIST, Pattern
from audit.policy.reading import Source
from audit.types import Claim


@dataclass(frozen=True, slots=True)
class Limit:
    """A criterion on one claim, and the entry of the policy that it comes from."""

    record: CriterionRecord
    entry: int
    explicit: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.record.claim, self.record.sense


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A criterion, or one value of its lists, that says itself that an audit may be without its claims."""

    claim: str


@dataclass(frozen=True, slots=True)
class Expanded:
    """One limit per claim, the criteria that were left out, and what is wrong with the others."""

    limits: tuple[Limit, ...]
    left_out: tuple[str, ...]
    problems: tuple[AuditError, ...]


def expand(source: Source, promised: Sequence[Claim], possible: Collection[Claim] = ()) -> Expanded:
    """One limit per claim; `possible` are those that the checks that run promise where everything is possible.

    The order is that of the file; within a criterion that of its lists, then that in which the claims are promised.
    A criterion that writes its claim out overrides one with `*` or `$name` for that claim; two of the latter that
    name the same claim, like two of the former, are an error. So is whatever names nothing: a list that no
    criterion uses, a criterion without a promised claim, a value of a list without one, a criterion all of whose
    claims have a limit of their own. One that counts `where_possible` may be without claims that are promised where
    everything is possible: each is left out by its name.
    """
    entries = range(len(source.file.criterion))
    found = [part for index in entries for part in _limits(source, index, promised, possible)]
    limits = [part for part in found if isinstance(part, Limit)]
    named = {limit.key for limit in limits if limit.explicit}
    kept = [limit for limit in limits if limit.explicit or limit.key not in named]
    problems = (
        *(part for part in found if isinstance(part, AuditError)),
        *_unused_lists(source),
        *_overridden(source, limits, kept),
        *_twice(source, kept),
    )
    left_out = tuple(part.claim for part in found if isinstance(part, LeftOut))
    return Expanded(tuple(kept), left_out, problems)


def as_written(source: Source) -> tuple[CriterionRecord, ...]:
    """The criteria with `*` and `$name` left in their claims."""
    return tuple(entry.record(entry.pattern.claim) for entry in source.file.criterion)


def _limits(
    source: Source, index: int, promised: Sequence[Claim], possible: Collection[Claim]
) -> Iterator[Limit | LeftOut | AuditError]:
    """What one entry sets a limit on."""
    entry = source.file.criterion[index]
    pattern, lists = entry.pattern, source.file.lists
    where = source.entry("criterion", index)
    unknown = [name for name in pattern.lists if name not in lists]
    if unknown:
        hint = did_you_mean(unknown[0], set(lists)) if lists else f'Write [lists] with {unknown[0]} = ["…"].'
        yield AuditError(f"{where}: there is no list {LIST}{unknown[0]}", hint)
        return
    for part in pattern.written_out(lists):
        claims = [claim for claim in promised if part.matches(claim)]
        left_out = list(_left_out(part, claims, {*possible, *promised})) if entry.where_possible else []
        yield from left_out
        if not claims and not left_out:
            yield _nothing(where, entry.claim, part, promised)
        for claim in claims:
            yield Limit(entry.record(claim), index, pattern.explicit)


def _left_out(part: Pattern, claims: Collection[Claim], possible: Collection[Claim]) -> Iterator[LeftOut]:
    """What a criterion, or one value of its lists, is without: as it is written where that is everything."""
    if claims:
        missing = (claim.id for claim in possible if part.matches(claim) and claim not in claims)
        yield from map(LeftOut, sorted(missing))
    elif any(part.resembles(claim) for claim in possible):
        yield LeftOut(part.claim.id)


def _hint(claim: Claim, promised: set[str]) -> str:
    """What to write instead, or what the claim would need."""
    if claim.metric.split(".")[0] in ("conversion", "pruning") and claim.id not in promised:
        return "It is about an origin, and for some tasks: add [origin] to the audit file, or remove the criterion."
    close = did_you_mean(claim.id, promised)
    return close if close.startswith("Did") else "`prune-audit checks NAME` lists the claims of a check."


def _nothing(where: str, written: str, part: Pattern, promised: Iterable[Claim]) -> AuditError:
    """The error of a criterion, or of one value of its list, without a promised claim."""
    same = {claim.id for claim in promised if claim.metric == part.claim.metric}
    hint = _hint(part.claim, same or {claim.id for claim in promised})
    if part.claim != Claim.parse(written):
        what = f"reads {part.claim.id!r}, which names"
    else:
        what = "names" if part.explicit else "matches"
    reason = "unused-criterion" if part.explicit else "unmatched-pattern"
    return AuditError(f"{where}: criterion {written!r} {what} no claim of this audit", hint, reason)


def _unused_lists(source: Source) -> Iterator[AuditError]:
    used = {name for entry in source.file.criterion for name in entry.pattern.lists}
    for name in source.file.lists:
        if name not in used:
            yield AuditError(
                f"{source.key(name, 'lists')}: no criterion uses the list {name!r}",
                "Use it, or remove it.",
                "unused-list",
            )


def _overridden(source: Source, limits: Iterable[Limit], kept: Iterable[Limit]) -> Iterator[AuditError]:
    left = {limit.entry for limit in kept}
    for index in sorted({limit.entry for limit in limits} - left):
        written = source.file.criterion[index].claim
        yield AuditError(
            f"{source.entry('criterion', index)}: every claim of criterion {written!r} has a limit of its own",
            "Remove the criterion that has no effect.",
            "unused-criterion",
        )


def _twice(source: Source, limits: Sequence[Limit]) -> Iterator[AuditError]:
    for key, times in Counter(limit.key for limit in limits).items():
        if times > 1:
            places = ", ".join(source.entry("criterion", limit.entry) for limit in limits if limit.key == key)
            yield AuditError(f"{places}: {key[0]} has two limits of the same kind", "Keep the one that counts.")
