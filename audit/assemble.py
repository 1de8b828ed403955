"""Putting decided findings on record, in the units that people read."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from audit.asking import Asked
from audit.evidence import Body, DecisionRecord, ExemplarRecord, FindingRecord, MoreItems, PolicyRecord, VerdictRecord
from audit.findings import (
    BoundedMean,
    Exact,
    Finding,
    Metric,
    Missing,
    OrderStatistic,
    PairedDifference,
    Proportion,
    Statistic,
)
from audit.plan import PlanFile
from audit.planning import more_items
from audit.records import ModelRecord
from audit.types import Claim, Decision, Decisions, OutputKind, Role, Sense, Unit, Verdict, role_of
from audit.verdict import bounds, exit_code

NOT_COVERED = (
    "inputs that differ from the test set otherwise than stated here: corruption, shift, attack",
    "single classes and groups of items that are not limited here: an average can hide the loss of a rare one",
    "confidence: calibration, rejection thresholds and monitors that are not limited here",
    "other runtimes, devices and precisions than the one named here",
    "whether the test set represents the operating conditions, or was seen during training or pruning",
)


def body(
    plan: PlanFile,
    asked: Asked,
    findings: Mapping[Claim, Finding],
    decisions: Decisions,
    outputs: Mapping[Role, OutputKind | Missing],
    *,
    exploratory: bool,
) -> Body:
    """Everything that is certified."""
    alpha = plan.policy.alpha
    records = {claim: _finding(finding, asked.metrics[claim.metric], alpha) for claim, finding in findings.items()}
    accepted = decisions.overall.value in plan.policy.accept and not exploratory and not plan.deviations
    return Body(
        tool=plan.tool,
        models=tuple(_settled(model, outputs) for model in plan.models),
        data=plan.data,
        plan=plan.plan,
        policy=plan.policy,
        declared_accuracy=plan.declared_accuracy,
        packages=plan.packages,
        findings=tuple(records[claim] for claim in sorted(records)),
        decisions=tuple(_decision(part, findings, records, plan.policy) for part in decisions.parts),
        verdict=VerdictRecord(
            overall=decisions.overall.value,
            reason=decisions.reason,
            accepted=accepted,
            exploratory=exploratory,
            exit_code=int(exit_code(decisions.overall, accepted=accepted)),
            counts={verdict.value: decisions.counts.get(verdict, 0) for verdict in Verdict},
        ),
        deviations=plan.deviations,
        not_covered=(*NOT_COVERED, *_unused(plan), *_left_out(plan.policy)),
    )


def _unused(plan: PlanFile) -> Iterator[str]:
    """Data that were given and that no check looked at: each set, or the role where it is none of its sets."""
    seen = {probe.data for probe in plan.plan.probes}
    roles = {role_of(name) for name in seen}
    unseen = (data.role for data in plan.data if data.role not in seen)
    named = dict.fromkeys(name if role_of(name) in roles else role_of(name).value for name in unseen)
    yield from (f"the {name} data: given, and looked at by no check" for name in named)


def _left_out(policy: PolicyRecord) -> Iterator[str]:
    """What the policy limits where it can, and could not here."""
    yield from (f"{claim}: limited by the policy, and not possible with the data given" for claim in policy.left_out)


def _settled(model: ModelRecord, outputs: Mapping[Role, OutputKind | Missing]) -> ModelRecord:
    """A model with the kind of output that was observed; a wrong declaration stays as declared."""
    kind = outputs[Role(model.role)]
    if isinstance(kind, Missing):
        return model
    return model.model_copy(update={"adapter": model.adapter.model_copy(update={"outputs": kind.value})})


def _finding(finding: Finding, metric: Metric, alpha: float) -> FindingRecord:
    statistic = finding.statistic
    record = FindingRecord(
        claim=finding.claim.id,
        title=title(metric, finding.claim),
        unit=metric.unit.value,
        better=metric.better.value,
        method=(metric if isinstance(statistic, Missing) else statistic).kind.method,
        meaning=metric.meaning,
    )
    if isinstance(statistic, Missing):
        return record.model_copy(update={"missing": statistic.reason, "detail": statistic.detail})
    (lower, upper), estimate = bounds(statistic, alpha), statistic.estimate
    measured = {
        "n": statistic.n,
        "estimate": _printable(estimate, metric.unit),
        "lower": None if lower is None else _printable(lower, metric.unit),
        "upper": None if upper is None else _printable(upper, metric.unit),
        "statistic": sufficient(statistic, estimate),
        "exemplars": tuple(ExemplarRecord(**asdict(each)) for each in finding.exemplars),
    }
    return record.model_copy(update=measured)


def _printable(value: float, unit: Unit) -> float:
    """An inner value in its unit."""
    return _rounded(value * unit.scale)


def _rounded(value: float) -> float:
    """Without the last digits, which 0.07 × 100 = 7.000000000000001 shows to be noise."""
    return float(f"{value:.12g}")


def title(metric: Metric, claim: Claim) -> str:
    """A claim as people read it: the metric's title and its scope, the level last."""
    ordered = sorted(claim.scope, key=lambda pair: pair[0] == "level")
    scope = ", ".join(f"{key} {value}" for key, value in ordered)
    return f"{metric.title} ({scope})" if scope else metric.title


def sufficient(statistic: Statistic, estimate: float) -> dict[str, int | float | str]:
    """The sufficient statistic by kind; per-item values are in the ledger, here is what they come to."""
    match statistic:
        case Proportion(k, n):
            return {"kind": "proportion", "k": k, "n": n}
        case PairedDifference(b, c, n):
            return {"kind": "paired-difference", "b": b, "c": c, "n": n}
        case BoundedMean(_, low, high):
            return {
                "kind": "bounded-mean",
                "n": statistic.n,
                "mean": estimate,
                "low": low,
                "high": high,
            }
        case OrderStatistic(_, q):
            return {"kind": "order-statistic", "n": statistic.n, "q": q, "value": estimate}
        case Exact(value, n):
            return {"kind": "exact", "n": n, "value": value}


def _decision(
    part: Decision, findings: Mapping[Claim, Finding], records: Mapping[Claim, FindingRecord], policy: PolicyRecord
) -> DecisionRecord:
    criterion = part.criterion
    found, statistic = records[criterion.claim], findings[criterion.claim].statistic
    limit = _printable(criterion.limit, Unit(found.unit))
    sign = 1 if criterion.sense is Sense.AT_MOST else -1
    return DecisionRecord(
        claim=found.claim,
        title=found.title,
        unit=found.unit,
        sense=criterion.sense.value,
        limit=limit,
        required=criterion.required,
        why=criterion.why,
        n=found.n,
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        margin=None if found.estimate is None else _rounded(sign * (limit - found.estimate)),
        method=found.method,
        p_pass=part.p_pass,
        p_fail=part.p_fail,
        p_fail_holm=part.p_fail_holm,
        p_pass_adverse=part.p_pass_adverse,
        verdict=part.verdict.value,
        reason=part.reason,
        detail=part.detail,
        applicable=part.applicable,
        waiver=next((w.id for w in policy.waivers if w.claim == found.claim), None) if criterion.waived else None,
        more_items=_outlook(part, statistic, policy.alpha),
    )


def _outlook(part: Decision, statistic: Statistic | Missing, alpha: float) -> MoreItems | None:
    """What would probably settle a conditional verdict; near ties are settled by no number of items."""
    conditional = part.verdict in (Verdict.CONDITIONAL_PASS, Verdict.CONDITIONAL_FAIL)
    if isinstance(statistic, Missing) or not conditional or part.reason == "near-ties":
        return None
    return more_items(statistic, part.criterion, alpha)
