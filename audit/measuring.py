"""From what the checks see of a ledger to findings: one for every claim that was promised."""

from collections.abc import Mapping

from audit.asking import Asked
from audit.contracts import Check
from audit.errors import AuditError
from audit.findings import BoundedMean, Exact, Finding, Kind, Metric, Missing, OrderStatistic
from audit.pipeline import View
from audit.types import Claim


def measure(asked: Asked, view: View) -> dict[Claim, Finding]:
    """A finding for every promised claim: what a check did not deliver is Missing, with the reason.

    Where near ties count against the candidate, only those of checks that a criterion speaks of: nobody reads others.
    """
    judged = {criterion.claim for criterion in view.plan.policy.criteria}
    found: dict[Claim, Finding] = {}
    for check in asked.checks:
        promised = {claim for claim, owner in asked.claims.items() if owner is check}
        if not view.adverse or not judged.isdisjoint(claim.id for claim in promised):
            found.update(_measured(check, promised, asked, view))
    return found


def _measured(check: Check, promised: set[Claim], asked: Asked, view: View) -> Mapping[Claim, Finding]:
    if check.name in asked.skipped:
        return {claim: Finding(claim, Missing("skipped", f"check {check.name!r} was left out")) for claim in promised}
    delivered: dict[Claim, Finding] = {}
    absent = Missing("not-measured", f"check {check.name!r} promised this and did not deliver it")
    try:
        shown = (*check.ask(asked.context).probes, *(condition.probe for condition in asked.context.conditions))
        most = max((view.plan.dataset(probe.data).items for probe in shown), default=0)
        for finding in check.measure(asked.context, view):
            if finding.claim not in promised or finding.claim in delivered:
                raise RuntimeError(f"{finding.claim.id!r} was not promised, or delivered twice")
            _require_fit(finding, asked.metrics[finding.claim.metric], most)
            delivered[finding.claim] = finding
    except AuditError:
        raise
    except (Exception, SystemExit) as error:  # whatever a check does, it must not decide by crashing
        absent = Missing("check-crashed", f"check {check.name!r}: {type(error).__name__}: {error}")
        delivered = {}
    return {claim: delivered.get(claim, Finding(claim, absent)) for claim in promised}


def _require_fit(finding: Finding, metric: Metric, most: int) -> None:
    """Refuse a statistic of another kind or range than the metric's, or of more items than the check's data have."""
    statistic, claim = finding.statistic, finding.claim.id
    if isinstance(statistic, Missing):
        return
    averaged = isinstance(statistic, BoundedMean) and metric.kind in (Kind.PROPORTION, Kind.PAIRED)
    if statistic.kind is not metric.kind and not averaged:
        raise RuntimeError(f"{claim!r} is decided as {metric.kind}, not as {statistic.kind}")
    if isinstance(statistic, BoundedMean) and (statistic.low, statistic.high) != (metric.low, metric.high):
        raise RuntimeError(f"{claim!r} lies in [{metric.low}, {metric.high}], not [{statistic.low}, {statistic.high}]")
    if isinstance(statistic, OrderStatistic) and statistic.q != metric.q:
        raise RuntimeError(f"{claim!r} is the {metric.q}-quantile, not the {statistic.q}-quantile")
    # A mean of values within the range, as `BoundedMean` holds them to, is within it: summing them takes long.
    if not isinstance(statistic, BoundedMean) and not metric.low <= statistic.estimate <= metric.high:
        raise RuntimeError(f"{claim!r} cannot be {statistic.estimate}")
    if not isinstance(statistic, Exact) and statistic.n > most:
        raise RuntimeError(f"{claim!r} counts {statistic.n} items, more than there are")
