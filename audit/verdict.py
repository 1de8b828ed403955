"""Deciding: findings against limits, with a stated probability of being wrong.

A criterion passes, or fails, only when an exact test at the policy's one-sided alpha says so; everything
between is conditional (ILAC-G8:09/2019 §4.2.3). Pure functions of their arguments.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from audit.errors import ExitCode
from audit.findings import (
    BoundedMean,
    Exact,
    Finding,
    Missing,
    OrderStatistic,
    PairedDifference,
    Presupposition,
    Proportion,
    Statistic,
)
from audit.stats import means, multiplicity, paired, proportions, quantiles
from audit.types import Claim, Criterion, Decision, Decisions, Policy, Role, Sense, Verdict

_FLOORS = {
    Role.REFERENCE: "reference-floor",
    Role.BASELINE: "baseline-floor",
    Role.CANDIDATE: "candidate-floor",
    Role.ORIGIN: "origin-floor",
}
"""Reason codes for a claim that says nothing, because a model that it presupposes does not work."""


def decide(
    policy: Policy, findings: Mapping[Claim, Finding], adverse: Mapping[Claim, Finding] | None = None
) -> Decisions:
    """Decide every criterion of a policy, and the whole.

    All required criteria must pass, each at full alpha (intersection–union test, Berger 1982); a FAIL is
    claimed only after Holm's correction over the required criteria. Without a required criterion that speaks
    about the pair, nothing is decided. A claim that is in doubt, or presupposes a model that does not work, cannot
    pass, and fails where a loss is proven all the same. `adverse` are the findings with every near tie counted
    against the candidate: what passes without them only is conditional.

    >>> drop = Claim("accuracy.drop")
    >>> rule = Policy("p", 0.05, frozenset({Verdict.PASS}), 0.7, (Criterion(drop, Sense.AT_MOST, 0.01),))
    >>> decide(rule, {drop: Finding(drop, PairedDifference(40, 30, 10_000))}).overall
    <Verdict.PASS: 'PASS'>
    >>> decide(rule, {}).overall
    <Verdict.NOT_EVALUATED: 'NOT EVALUATED'>
    """
    parts = [_test(criterion, findings.get(criterion.claim), policy) for criterion in policy.criteria]
    if adverse is not None:
        parts = [_against(part, adverse.get(part.criterion.claim), policy) for part in parts]
    for required in (True, False):
        family = [i for i, part in enumerate(parts) if part.criterion.required is required]
        adjusted = multiplicity.holm([_or_one(parts[i].p_fail) for i in family]) if family else ()
        for i, p in zip(family, adjusted, strict=True):
            parts[i] = _settle(parts[i], float(p), findings, policy)
    return _overall(_leave_a_level(parts))


def of_partial_run(decisions: Decisions) -> Decisions:
    """The same with nothing evaluated as a whole: what was left out could have come to anything.

    Not even a FAIL is stated: whoever looks at parts again and again sees one by chance.
    """
    return replace(decisions, overall=Verdict.NOT_EVALUATED, reason="partial-run")


def p_values(statistic: Statistic, criterion: Criterion, alpha: float) -> tuple[float, float]:
    """(p_pass, p_fail): small values prove that the claim keeps, or breaks, the limit.

    >>> at_most_2_percent = Criterion(Claim("functional.disagreement"), Sense.AT_MOST, 0.02)
    >>> [round(p, 4) for p in p_values(Proportion(0, 149), at_most_2_percent, 0.05)]
    [0.0493, 1.0]
    """
    if isinstance(statistic, Exact):
        kept = within(statistic.value, criterion)
        return float(not kept), float(kept)
    at_most, at_least = _tests(statistic, criterion.limit, alpha)
    return (at_most, at_least) if criterion.sense is Sense.AT_MOST else (at_least, at_most)


def within(value: float, criterion: Criterion) -> bool:
    """Whether a value keeps the limit; the limit itself does."""
    return value <= criterion.limit if criterion.sense is Sense.AT_MOST else value >= criterion.limit


def _tests(
    statistic: Proportion | PairedDifference | BoundedMean | OrderStatistic, limit: float, alpha: float
) -> tuple[float, float]:
    """P-values that prove "≤ limit" and "≥ limit"."""
    match statistic:
        case Proportion(k, n):
            return proportions.p_at_most(k, n, limit), proportions.p_at_least(k, n, limit)
        case PairedDifference(b, c, n):
            return _of_table(b, c, n, limit)
        case BoundedMean(values, low, high):
            return (
                means.p_at_most(values, limit, alpha, low, high),
                means.p_at_least(values, limit, alpha, low, high),
            )
        case OrderStatistic(values, q):
            above = sum(value > limit for value in values)
            return (
                proportions.p_at_most(above, len(values), 1 - q),
                proportions.p_at_least(above, len(values), 1 - q),
            )


@lru_cache(maxsize=2**14)
def _of_table(b: int, c: int, n: int, limit: float) -> tuple[float, float]:
    """Those of a paired difference: near ties change few tables, and the exact test takes longest of all."""
    return paired.p_at_most(b, c, n, limit), paired.p_at_least(b, c, n, limit)


def bounds(statistic: Statistic, alpha: float) -> tuple[float | None, float | None]:
    """One-sided (lower, upper) confidence bounds at level 1 - alpha, for display; None where there is none.

    Those of a paired difference are Tango's (asymptotic): next to a limit the exact p-value counts.

    >>> [round(bound, 4) for bound in bounds(Proportion(10, 1000), 0.05)]
    [0.0054, 0.0169]
    """
    match statistic:
        case Proportion(k, n):
            return proportions.lower(k, n, alpha), proportions.upper(k, n, alpha)
        case PairedDifference(b, c, n):
            return paired.tango_lower(b, c, n, alpha), paired.tango_upper(b, c, n, alpha)
        case BoundedMean(values, low, high):
            return means.lower(values, alpha, low, high), means.upper(values, alpha, low, high)
        case OrderStatistic(values, q):
            bound = quantiles.upper(values, q, alpha)
            return None, None if bound is None else bound[0]
        case Exact(value):
            return value, value


def exit_code(overall: Verdict, *, accepted: bool) -> ExitCode:
    """What the process returns; a verdict that is not accepted never returns 0.

    >>> exit_code(Verdict.PASS, accepted=False).name
    'CONDITIONAL'
    """
    if accepted:
        return ExitCode.ACCEPTED
    match overall:
        case Verdict.FAIL:
            return ExitCode.FAILED
        case Verdict.NOT_EVALUATED:
            return ExitCode.NOT_EVALUATED
        case _:
            return ExitCode.CONDITIONAL


def _test(criterion: Criterion, finding: Finding | None, policy: Policy) -> Decision:
    """A criterion with its raw p-values, or the reason why there are none; the verdict is still open."""
    absent = Decision(criterion, Verdict.NOT_EVALUATED, "not-planned", "no check of this audit measured the claim")
    if finding is None:
        return absent
    if isinstance(finding.statistic, Missing):
        return replace(absent, reason=finding.statistic.reason, detail=finding.statistic.detail)
    p_pass, p_fail = p_values(finding.statistic, criterion, policy.alpha)
    if _in_vain(criterion, finding, policy):
        p_pass = 1.0
    return Decision(criterion, Verdict.NOT_EVALUATED, "open", p_pass=p_pass, p_fail=p_fail)


def _in_vain(criterion: Criterion, finding: Finding, policy: Policy) -> Decision | None:
    """The decision on a finding that can prove nothing in favour of the candidate, unless it proves a loss."""
    absent = Decision(criterion, Verdict.NOT_EVALUATED, "")
    for presupposed in finding.presupposes:
        if detail := _below_floor(presupposed, policy):
            excused = criterion.only_where_reference_holds and presupposed.role is Role.REFERENCE
            return replace(absent, reason=_FLOORS[presupposed.role], detail=detail, applicable=not excused)
    if finding.doubt is not None:
        return replace(absent, reason=finding.doubt.reason, detail=finding.doubt.detail)
    return None


def _below_floor(presupposed: Presupposition, policy: Policy) -> str:
    """Why a model is not proven to work where a finding needs it to; '' where it is."""
    accuracy, clean = presupposed.accuracy, presupposed.clean
    floor = policy.floor if clean is None else max(policy.floor_share * clean.estimate, presupposed.chance)
    own = Criterion(Claim("reference.accuracy"), Sense.AT_LEAST, floor)
    if 0.0 < floor < 1.0 and p_values(accuracy, own, policy.alpha)[0] <= policy.alpha:
        return ""
    own_accuracy = f"the {presupposed.role}'s own {presupposed.what}, {100 * accuracy.estimate:.2f} %,"
    return f"{own_accuracy} is not proven to reach {100 * floor:.4g} %" + (
        "" if clean is None else f", {policy.floor_share:.0%} of its clean accuracy or what guessing gets"
    )


def _against(part: Decision, finding: Finding | None, policy: Policy) -> Decision:
    """The decision with p_pass as it is when near ties count against the candidate; 1 where that is not known."""
    if part.p_pass is None:
        return part
    if finding is None or isinstance(finding.statistic, Missing) or finding.doubt is not None:
        return replace(part, p_pass_adverse=1.0)
    return replace(part, p_pass_adverse=p_values(finding.statistic, part.criterion, policy.alpha)[0])


def _settle(part: Decision, p_fail_holm: float, findings: Mapping[Claim, Finding], policy: Policy) -> Decision:
    if part.p_pass is None:
        return part
    finding = findings[part.criterion.claim]
    if p_fail_holm > policy.alpha and (undecided := _in_vain(part.criterion, finding, policy)):
        return undecided
    verdict, reason = _verdict(part, p_fail_holm, finding, policy.alpha)
    return replace(part, verdict=verdict, reason=reason, p_fail_holm=p_fail_holm)


def _verdict(part: Decision, p_fail_holm: float, finding: Finding, alpha: float) -> tuple[Verdict, str]:
    estimate = None if isinstance(finding.statistic, Missing) else finding.statistic.estimate
    kept = estimate is not None and within(estimate, part.criterion)
    if kept and part.p_pass is not None and part.p_pass <= alpha:
        if part.p_pass_adverse is None or part.p_pass_adverse <= alpha:
            return Verdict.PASS, "proven-within-limit"
        return Verdict.CONDITIONAL_PASS, "near-ties"
    if p_fail_holm <= alpha:
        return Verdict.FAIL, "proven-beyond-limit"
    if isinstance(finding.statistic, Missing):
        return Verdict.NOT_EVALUATED, finding.statistic.reason
    if kept:
        return Verdict.CONDITIONAL_PASS, "within-limit-not-proven"
    return Verdict.CONDITIONAL_FAIL, "beyond-limit-not-proven"


def _leave_a_level(parts: Sequence[Decision]) -> tuple[Decision, ...]:
    """Let criteria that do not apply count after all where none of their kind would remain.

    If the reference fails at every level of a condition, nothing was shown.
    """
    remaining = {part.criterion.claim.series for part in parts if part.counts}
    return tuple(part if part.criterion.claim.series in remaining else replace(part, applicable=True) for part in parts)


def _overall(parts: Sequence[Decision]) -> Decisions:
    counting = [part for part in parts if part.counts]
    counts = Counter(part.verdict for part in counting)
    if all(part.criterion.standing or not part.criterion.of_pair for part in counting):
        return Decisions(_worst(Verdict.NOT_EVALUATED, counting), "no-required-criterion", tuple(parts), counts)
    worst = max(counting, key=lambda part: part.verdict.rank)
    return Decisions(worst.verdict, worst.reason, tuple(parts), counts)


def _worst(at_least: Verdict, parts: Sequence[Decision]) -> Verdict:
    return max([at_least, *(part.verdict for part in parts)], key=lambda verdict: verdict.rank)


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p
