"""Whether what a body of evidence says follows from its own parts.

Anybody can edit a file and compute its id anew; what is checked here is that it at least does not contradict itself.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from audit import digest
from audit.errors import ExitCode
from audit.types import Claim, Verdict

if TYPE_CHECKING:
    from audit.evidence import Body, DecisionRecord, PlanRecord

_RANKS = [verdict.value for verdict in Verdict]
_CODES = {"FAIL": ExitCode.FAILED, "NOT EVALUATED": ExitCode.NOT_EVALUATED}


def require(body: "Body") -> None:
    """Raise ValueError for a body whose plan, decisions or verdict do not follow from its other parts."""
    _require_plan(body)
    _require_every_decision(body)
    _require_grounds(body)
    _require_verdict(body)


def plan_digest(plan: "PlanRecord", claims: Sequence[str]) -> str:
    """What names a plan: everything that its record says, and every claim that was promised."""
    content: dict[str, digest.Json] = plan.model_dump(mode="json", exclude={"sha256"})
    return digest.of_json({**content, "promised": sorted(claims)})


def _require_verdict(body: "Body") -> None:
    judged = zip(body.decisions, body.policy.criteria, strict=True)
    speaks = any(part.counts and rule.of_pair and not rule.standing for part, rule in judged)
    counts: Counter[str] = Counter(part.verdict for part in body.decisions if part.counts)
    overall = max([*counts, *(() if speaks else ("NOT EVALUATED",))], key=_RANKS.index)
    if body.plan.partial is not None:
        overall = "NOT EVALUATED"
    stated = body.verdict
    accepted = overall in body.policy.accept and not stated.exploratory and not body.deviations
    code = ExitCode.ACCEPTED if accepted else _CODES.get(overall, ExitCode.CONDITIONAL)
    follows = (overall, accepted, code, {name: counts[name] for name in _RANKS})
    if (stated.overall, stated.accepted, stated.exit_code, stated.counts) != follows:
        raise ValueError("its verdict, exit code and counts do not follow from its decisions")


def _require_plan(body: "Body") -> None:
    """The plan is the one that its digest names, and a partial one says so on page 1."""
    plan = body.plan
    named = plan_digest(plan, [finding.claim for finding in body.findings])
    if named != plan.sha256 and not body.verdict.exploratory:  # by another policy, other claims
        raise ValueError("its plan is not the one that its digest names")
    if plan.partial is not None and plan.partial.sentence not in body.deviations:
        raise ValueError("it is of a partial run and does not say so")


def _require_every_decision(body: "Body") -> None:
    """One decision for every criterion of the policy, and no other."""
    asked = [(rule.claim, rule.sense, rule.required, rule.unit) for rule in body.policy.criteria]
    if [(part.claim, part.sense, part.required, part.unit) for part in body.decisions] != asked:
        raise ValueError("its decisions are not those that its policy asks for")


def _require_grounds(body: "Body") -> None:
    """Each decision follows from its own figures, and only what the policy says takes it out of the verdict."""
    waived = {(waiver.id, waiver.claim) for waiver in body.policy.waivers}
    applying = {Claim.parse(part.claim).series for part in body.decisions if part.counts}
    for part, rule in zip(body.decisions, body.policy.criteria, strict=True):
        if not math.isclose(part.limit, rule.limit, rel_tol=1e-9):
            raise ValueError(f"{part.claim} was decided at another limit than its policy's")
        if part.verdict not in _by_its_figures(part, body.policy.alpha):
            raise ValueError(f"{part.claim} is not {part.verdict} by its own figures")
        if part.waiver and (rule.standing or (part.waiver, part.claim) not in waived):
            raise ValueError(f"{part.claim} is waived by nobody who could")
        floored = rule.only_where_reference_holds and part.reason == "reference-floor" and part.p_pass is None
        if not part.applicable and not (floored and Claim.parse(part.claim).series in applying):
            raise ValueError(f"{part.claim} counts, whatever it says")


def _by_its_figures(part: "DecisionRecord", alpha: float) -> set[str]:
    """What `audit.verdict` could make of its figures; a margin that is rounded to zero allows either side."""
    if part.p_pass is None or part.p_fail_holm is None or part.estimate is None or part.margin is None:
        absent = {part.p_pass, part.p_fail, part.p_fail_holm, part.p_pass_adverse} == {None}
        return {"NOT EVALUATED"} if absent else set()
    distance = part.limit - part.estimate if part.sense == "at_most" else part.estimate - part.limit
    if not math.isclose(part.margin, distance, rel_tol=1e-9, abs_tol=1e-9):
        return set()
    failed, firm = part.p_fail_holm <= alpha, part.p_pass_adverse is None or part.p_pass_adverse <= alpha
    beyond = "FAIL" if failed else "CONDITIONAL FAIL"
    kept = "FAIL" if failed else "CONDITIONAL PASS"
    within = kept if part.p_pass > alpha else "PASS" if firm else "CONDITIONAL PASS"
    return {within, beyond} if part.margin == 0 else {within if part.margin > 0 else beyond}
