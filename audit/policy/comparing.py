"""`policy diff`: what changes in meaning from one policy to another."""

from collections.abc import Iterator

from audit.evidence import CriterionRecord, PolicyRecord
from audit.policy.entries import ReferenceFloor
from audit.policy.explaining import Preview, counts, figure, limit, outline, settings


def diff(old: Preview, new: Preview) -> tuple[str, ...]:
    """One line per difference that can change a verdict; none where both policies mean the same.

    Names, titles, comments, and the reasons of criteria and waivers change no verdict. Limits are compared claim
    by claim; where the claims of either policy cannot be told without an audit, the criteria as they are written.
    """
    if old.unexpanded or new.unexpanded:
        why = old.unexpanded or new.unexpanded
        old, new = outline(old.source, why), outline(new.source, why)
    return (*_rules(old, new), *_limits(old, new), *_waivers(old, new))


def _rules(old: Preview, new: Preview) -> Iterator[str]:
    """Differences between the decision rules and the probes."""
    a, b = old.record, new.record
    if a.alpha != b.alpha:
        yield _line(b.alpha < a.alpha, "alpha", figure(a.alpha), figure(b.alpha))
    if a.accept != b.accept:
        yield _line(len(b.accept) < len(a.accept), "accept", ", ".join(a.accept), ", ".join(b.accept))
    yield from _floors(old.source.file.reference_floor, new.source.file.reference_floor)
    mine, theirs = ("all" if part.checks is None else ", ".join(sorted(part.checks)) for part in (a, b))
    if mine != theirs:
        yield f"changed  checks: {mine} → {theirs}"
    if a.recheck_reused != b.recheck_reused:
        tighter = b.recheck_reused > a.recheck_reused
        yield _line(tighter, "recheck_reused", f"{figure(a.recheck_reused)} %", f"{figure(b.recheck_reused)} %")
    yield from _settings(a, b)


def _floors(old: ReferenceFloor, new: ReferenceFloor) -> Iterator[str]:
    for name in ReferenceFloor.model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            tighter = (after < before) is (name == "below_declared")
            yield _line(tighter, f"reference_floor.{name}", figure(before), figure(after))


def _settings(a: PolicyRecord, b: PolicyRecord) -> Iterator[str]:
    mine, theirs = ({(check, name): value for check, name, value in settings(part)} for part in (a, b))
    for check, name in sorted(mine.keys() | theirs.keys()):
        before, after = (values.get((check, name), "not set") for values in (mine, theirs))
        if before != after:
            yield f"changed  settings.{check}.{name}: {before} → {after}"


def _line(tighter: bool, what: str, before: str, after: str) -> str:
    return f"{'tighter' if tighter else 'looser':<8} {what}: {before} → {after}"


def _limits(old: Preview, new: Preview) -> Iterator[str]:
    """Differences between the criteria that the files set themselves."""
    mine, theirs = ({(c.claim, c.sense): c for c in part.record.criteria if not c.standing} for part in (old, new))
    for key in [*mine, *(key for key in theirs if key not in mine)]:
        before, after = mine.get(key), theirs.get(key)
        if before is None and after is not None:
            yield f"added    {after.claim}: {_text(after)}"
        elif after is None and before is not None:
            yield f"removed  {before.claim}: {_text(before)}"
        elif before is not None and after is not None and (kind := _kind(before, after)):
            yield f"{kind:<8} {before.claim}: {_text(before)} → {_text(after)}"


def _kind(before: CriterionRecord, after: CriterionRecord) -> str:
    """tighter, looser, or changed where it is both or neither; '' where nothing differs."""
    sign = 1 if before.sense == "at_most" else -1
    moves = {
        (sign * before.limit > sign * after.limit) - (sign * before.limit < sign * after.limit),
        after.required - before.required,
        before.only_where_reference_holds - after.only_where_reference_holds,
    } - {0}
    if before.unit != after.unit or len(moves) == 2:
        return "changed"
    return {1: "tighter", -1: "looser"}[moves.pop()] if moves else ""


def _text(criterion: CriterionRecord) -> str:
    return f"{limit(criterion)} {criterion.unit}, {counts(criterion)}"


def _waivers(old: Preview, new: Preview) -> Iterator[str]:
    mine, theirs = ({(w.id, w.claim, w.expires) for w in part.record.waivers} for part in (old, new))
    for sign, waivers in (("removed", mine - theirs), ("added", theirs - mine)):
        for name, claim, expires in sorted(waivers):
            yield f"{sign:<8} waiver {name}: {claim} until {expires}"
