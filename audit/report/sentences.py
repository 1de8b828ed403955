"""The statement of conformity and its decision rule in words (ISO/IEC 17025:2017, 7.8.6.2).

The rules of wording: a confidence level is a property of the procedure, so no sentence gives a probability
that a model is safe; parts of a result are individual statements, only the overall verdict is a joint one.
"""

from collections.abc import Iterator, Sequence

from audit.evidence import Evidence, PolicyRecord, ProbeRecord
from audit.records import Adapter, DataName, DataRecord, TaskRecord
from audit.report import numbers, scopes
from audit.report.rows import Row, clean
from audit.report.view import Results, name
from audit.types import DataRole, Scope, role_of

NO_CRITERION = "no-required-criterion"  # the reason code of a verdict on nothing
NEAR_TIES = "near-ties"  # the reason code of a PASS that would not survive another machine
_MILLION = "more than a million"
_CONDITIONS = ("class", "corruption", "noise", "norm", "set", "shift")  # keys for which items, or what was done to them
_SLICE = ("attribute", "value")  # say it together only
_NAMED = 3  # conditions that page 1 has room for


def task(record: TaskRecord) -> str:
    """What the models are for, and what counts as right."""
    parts = (
        [f"{record.absolute:.10g}"] * bool(record.absolute)
        + [f"{100 * record.relative:.10g} %"] * bool(record.relative)
    )  # fmt: skip
    tolerance = " + ".join(parts)
    match record.kind:
        case "classification":
            return "classification: one class for each item"
        case "segmentation":
            return f"segmentation: one class for each pixel; those labelled {record.ignore} count for nothing"
        case "regression":
            return (
                f"regression: right is an item whose every value is within {tolerance} of its target; so is agreement"
            )
        case "control":
            end = "smallest" if record.rule == "argmin" else "largest"
            return f"control: the {end} output decides; deviations are in tolerances of {tolerance}"


def data(name: DataName) -> str:
    """What a data set is called.

    >>> data("test"), data("shifted:night"), data("sample:500")
    ('Test data', 'Shifted:night data', 'Test sample')
    """
    if role_of(name) is DataRole.SAMPLE:
        return "Test sample"
    return f"{name[:1].upper()}{name[1:]} data"


def form(data: DataRecord) -> str:
    """What the items of a data set are."""
    if data.features is None:
        return f"{' × '.join(map(str, data.shape))}, {data.stored}"
    return f"{' × '.join(map(str, data.features.item))} features, each within bounds that are stated in evidence.json"


def fed(adapter: Adapter) -> str:
    """How a model is fed, and what it gives."""
    mean, std = (", ".join(map(str, values)) for values in (adapter.mean, adapter.std))
    of_images = f"{adapter.layout}, values {adapter.range[0]} to {adapter.range[1]}"
    parts = [
        of_images if adapter.features is None else "values in the units of the data",
        f"mean {mean}" if mean else "no mean taken off",
        f"standard deviation {std}" if std else "not divided by a standard deviation",
        *([f"resized to {' × '.join(map(str, adapter.resize))}"] if adapter.resize else []),
        *([f"items of {' × '.join(map(str, adapter.item))}"] if adapter.item else []),
        *([adapter.dtype] if adapter.dtype != "auto" else []),
    ]
    layer = (
        f"; layer {clean(adapter.watched.layer)}, {numbers.count(adapter.watched.values)} values"
        if adapter.watched
        else ""
    )
    return f"{', '.join(parts)}; outputs: {adapter.outputs}{layer}"


def headline(evidence: Evidence, results: Results) -> str:
    """The required criteria by verdict, what blocks first."""
    if evidence.body.verdict.reason == NO_CRITERION:
        return "No required criterion speaks about the two models."
    if evidence.body.plan.partial is not None:
        return "Partial run: nothing is decided, whatever single criteria came to."
    verdicts = [row.record.verdict for row in results.required]
    plural = "criterion" if len(verdicts) == 1 else "criteria"
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
    told = f"{len(verdicts)} required {plural}: {counts}."
    if set(verdicts) == {"PASS"}:
        told = f"{len(verdicts)} of {len(verdicts)} required {plural}: PASS."
    apart, unjudged = _apart(results), _unjudged(results)
    left_out = f" Left out of the verdict: {apart}." if apart else ""
    return f"{told}{left_out} Nowhere judged: {unjudged}." if unjudged else f"{told}{left_out}"


def _unjudged(results: Results) -> str:
    """Classes, slices, corruptions … that required criteria name, and of which none applies at any level."""
    judged = {part for row in results.required for part in _parts(row)}
    left_out = {part for row in results.inapplicable if row.record.required for part in _parts(row)}
    named = [clean(scopes.words(part)) for part in sorted(left_out - judged, key=scopes.order)]
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _parts(row: Row) -> Iterator[Scope]:
    """What a claim is about, each by itself and at no level."""
    held = scopes.parsed(row.record.claim).scope
    yield from (((key, value),) for key, value in held if key in _CONDITIONS)
    if sliced := tuple((key, value) for key, value in held if key in _SLICE):
        yield sliced


def _apart(results: Results) -> str:
    """How many required criteria the overall verdict leaves out, and why."""
    inapplicable = [row for row in results.inapplicable if row.record.required]
    parts = ((results.waived, "waived"), (inapplicable, "not applicable"))
    return ", ".join(f"{len(rows)} {word}" for rows, word in parts if rows)


def scope(results: Results) -> str:
    """Which results the statement covers."""
    last = len(results.required)
    if last == 0:
        return "This statement covers no result."
    covered = "result 1" if last == 1 else f"results 1 to {last}"
    return f"This statement covers {covered}, which relate only to the items identified below by their digests."


def conformity(evidence: Evidence, results: Results) -> str:
    """Which policy is met or not met, and no more than the evidence shows."""
    body = evidence.body
    who = clean(name(evidence, "candidate"))
    policy = f"policy {clean(body.policy.id)}"
    number = len(results.waived)
    waived = f", with {number} required {'criterion' if number == 1 else 'criteria'} waived" if number else ""
    open_parts = sum(row.record.verdict != "PASS" for row in results.required)
    if body.plan.partial is not None:
        return f"No conformity with {policy} is stated: this was a partial run, for a quick look (see the deviations)."
    if body.verdict.exploratory:
        return (
            f"No conformity is stated: {policy} is not the one that was fixed before the run, "
            "so its verdict on these results is exploratory."
        )
    match body.verdict.overall, body.verdict.accepted:
        case "PASS", True:
            return f"{who} meets {policy}{waived}."
        case _, True:
            return (
                f"{who} is accepted under {policy}{waived}, which accepts the verdict {body.verdict.overall}; "
                f"{_criteria(open_parts)} not shown to be met."
            )
        case "PASS", False:
            return f"No conformity with {policy} is stated, although every criterion passed: see the deviations."
        case "FAIL", _:
            return f"{who} does not meet {policy}."
        case _ if body.verdict.reason == NO_CRITERION:
            return f"{who} is not shown to meet {policy}: no required criterion speaks about the two models."
        case _:
            return f"{who} is not shown to meet {policy}: {_criteria(open_parts)} not shown to be met."


def _criteria(number: int) -> str:
    return "1 required criterion is" if number == 1 else f"{number} required criteria are"


def nothing_open(evidence: Evidence) -> str:
    """What stands where reasons would, if every required result is a PASS."""
    if evidence.body.verdict.reason == NO_CRITERION:
        return "There is no required criterion that a verdict on the two models could rest on."
    return "Every required criterion passed."


def decision_rule(evidence: Evidence) -> str:
    """The rule by which a criterion was decided, with the level in force."""
    alpha, partial = evidence.body.policy.alpha, evidence.body.plan.partial is not None
    return (
        f"Guarded acceptance, one-sided at {numbers.percent(1 - alpha)} confidence "
        f"(α = {alpha:g}; verdicts after ILAC-G8:09/2019, 4.2.3). PASS: the measurement shows at this level "
        "that the limit holds. FAIL: it shows, after Holm’s adjustment over all required criteria, that the "
        "limit does not hold. CONDITIONAL PASS or FAIL: it shows neither, and the estimate lies within or "
        "beyond the limit. NOT EVALUATED: there is no valid measurement. The overall verdict is "
        f"{'NOT EVALUATED, because parts were left out' if partial else 'the worst required one'}."
    )


def guarantee(evidence: Evidence, results: Results) -> str:
    """What the overall verdict promises, and where the promise ends."""
    policy = evidence.body.policy
    risk = numbers.percent(policy.alpha)
    but = f" that are not left out ({apart})" if (apart := _apart(results)) else ""
    sentences = [
        f"Overall PASS asserts all required criteria{but} jointly: if at least one of them were not met, "
        f"this procedure would issue overall PASS with probability at most {risk} over the random draw of "
        "the test items (intersection–union, any dependence between criteria)."
    ]
    if accepted := [verdict for verdict in policy.accept if verdict != "PASS"]:
        sentences.append(f"This policy also accepts {' and '.join(accepted)}; that limit does not cover it.")
    definitions = {found.claim: found.meaning.lower() for found in evidence.body.findings}
    if asymptotic := sum("asymptotic" in definitions.get(row.record.claim, "") for row in results.required):
        what = "criterion rests" if asymptotic == 1 else "criteria rest"
        sentences.append(
            f"{asymptotic} required {what} on an asymptotic method, for which it holds approximately only."
        )
    return " ".join(sentences)


def floor(policy: PolicyRecord) -> str:
    """Where a claim on a drop counts."""
    return (
        "A claim on a drop counts only where the reference itself works: its accuracy must be shown to reach "
        f"{numbers.limit(policy.reference_floor, '%')} on clean data, and elsewhere "
        f"{numbers.limit(policy.floor_share, '%')} of its clean accuracy."
    )


def left_out(policy: PolicyRecord) -> str:
    """How many criteria the policy leaves out because no data were given that can have them; empty where none."""
    number = len(policy.left_out)
    what = "1 criterion" if number == 1 else f"{numbers.count(number)} criteria"
    return f"Left out by the policy: {what}" if number else ""


def lost_reuse(probes: Sequence[ProbeRecord]) -> str:
    """What a ledger kept within its budget cannot be used for; empty where it holds everything."""
    compared = sum(probe.kept == "comparisons" for probe in probes)
    if not compared:
        return ""
    return (
        f"Whole outputs under all probes would burst the ledger budget. Under {compared} of {len(probes)} probes it "
        "holds only how the models compare: another candidate has to run its reference again there, and no other "
        "audit can reuse them."
    )


def notes(row: Row) -> tuple[str, ...]:
    """Everything that is to be said about one result beside its numbers."""
    said = (row.explanation, _near_ties(row), forecast(row), waiver(row))
    return tuple(clean(text) for text in said if text)


def waiver(row: Row) -> str:
    """Who waived a criterion, until when and why; empty where nobody did."""
    if row.waiver is None:
        return ""
    return f"waived until {row.waiver.expires} by {row.waiver.by}: {row.waiver.reason}"


def waived(row: Row) -> str:
    """A waived result in one line: what the criterion came to, and who waived it."""
    return clean(f"{row.sentence}; {waiver(row)}")


def moved(evidence: Evidence) -> list[str]:
    """What is proven of the relative error of the outputs, as SiPP states it (Baykal, Liebenwein et al., 2019)."""
    confidence = numbers.percent(1 - evidence.body.policy.alpha)
    found = [(scopes.parsed(record.claim), record) for record in evidence.body.findings if record.upper is not None]
    return [
        f"With {confidence} confidence at most {numbers.with_unit(numbers.measured(record.upper, '%'), '%')} of such "
        f"inputs have a relative {'logit ' if 'logit' in claim.metric else ''}error above "
        f"{dict(claim.scope).get('epsilon')}."
        for claim, record in found
        if claim.metric in ("functional.relative_logit_error", "functional.relative_error")
    ]


def _near_ties(row: Row) -> str:
    record = row.record
    if record.reason != NEAR_TIES:
        return ""
    return (
        f"Near ties decide: the limit is shown to be kept (p = {numbers.p_value(record.p_pass)}), but not with every "
        "near tie, which may turn on another machine, counted against the candidate "
        f"(p = {numbers.p_value(record.p_pass_adverse)})."
    )


def forecast(row: Row) -> str:
    """How many items would probably settle a conditional verdict; empty where the evidence forecasts nothing."""
    more = row.record.more_items
    if more is None:
        return ""
    if more.hopeless:
        return "More items are not expected to help: the estimate is beyond the limit."
    about = _MILLION if more.about is None else f"about {numbers.rough(more.about)}"
    high = _MILLION if more.high is None else numbers.rough(more.high)
    range_ = f"; plausible: {numbers.rough(more.low)} to {high}" if more.low is not None else ""
    return f"At the observed rates {about} items in all would give an 80\N{NO-BREAK SPACE}% chance of PASS{range_}."


PART_VERDICTS = (
    "The verdicts of single criteria are individual statements, each at the level above; they are not "
    "simultaneous. Only the overall verdict is a statement about all of them together."
)

ASSUMPTIONS = (
    "Assumed, and not checkable from the measurements: the test items are independent draws from the use "
    "that is meant; none of them was used to train, prune, calibrate or choose the candidate; and the audit "
    "was not repeated on the same items until a candidate passed."
)

VALIDITY = (
    "Valid only for the files with the digests above, in the runtime named, under this policy. Void when a "
    "model is exported again, converted, quantised, pruned further, retrained, or run by another engine. "
    "No expiry date is stated."
)

FIRST_PARTY = "First-party test report; not a certification by an accredited body."
UNSIGNED = "UNSIGNED: this document carries no electronic signature."
