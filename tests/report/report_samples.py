"""Evidence as real audits leave it: building blocks for every kind of outcome."""

import math

from audit import evidence as ev
from audit import grounds, records

Z = 1.6448536269514722  # the 95 % point of the normal distribution


def tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


def decision(
    claim: str,
    title: str,
    limit: float,
    estimate: float | None,
    error: float = 0.3,
    *,
    unit: str = "points",
    sense: str = "at_most",
    n: int = 10_000,
    required: bool = True,
    why: str = "",
    method: str = "paired difference, exact unconditional test",
    detail: str = "",
    reason: str = "",
) -> ev.DecisionRecord:
    """A decided criterion whose estimate has the standard error `error`; 0 makes it exact."""
    common = {"claim": claim, "title": title, "unit": unit, "sense": sense, "limit": limit, "required": required}
    if estimate is None:
        return ev.DecisionRecord(
            **common, why=why, n=0, estimate=None, lower=None, upper=None, margin=None, method=method,
            p_pass=None, p_fail=None, p_fail_holm=None, verdict="NOT EVALUATED", reason=reason, detail=detail,
        )  # fmt: skip
    margin = (limit - estimate) * (1 if sense == "at_most" else -1)
    if error == 0:
        verdict, p_pass, p_fail = ("PASS", 0.0, 1.0) if margin >= 0 else ("FAIL", 1.0, 0.0)
    else:
        p_pass, p_fail = tail(margin / error), tail(-margin / error)
        verdict = (
            "PASS" if p_pass <= 0.05 else "FAIL" if min(1, 12 * p_fail) <= 0.05
            else "CONDITIONAL PASS" if margin >= 0 else "CONDITIONAL FAIL"
        )  # fmt: skip
    return ev.DecisionRecord(
        **common, why=why, n=n, estimate=estimate, lower=estimate - Z * error, upper=estimate + Z * error,
        margin=margin, method=method, p_pass=p_pass, p_fail=p_fail, p_fail_holm=min(1.0, 12 * p_fail),
        verdict=verdict, reason=reason or verdict.lower().replace(" ", "-"), detail=detail,
    )  # fmt: skip


WITHIN = (
    decision("accuracy.drop", "Accuracy drop, clean test set", 1.0, 0.21, 0.22,
             why="A candidate may cost at most one point of accuracy."),
    decision("functional.excess_disagreement", "Disagreement beyond the reference’s own error", 0.5, -2.4, 0.31),
    decision("functional.softmax_l2", "Mean distance of class probabilities", 0.12, 0.0881, 0.0012, unit="distance",
             method="bounded mean, betting test"),
    decision("reference.accuracy", "Accuracy of the reference", 90.4, 92.13, 0.27, unit="%", sense="at_least",
             method="proportion, exact binomial test"),
    decision("accuracy.drop@noise=gaussian,sigma=4/255", "Accuracy drop, Gaussian noise σ = 4/255", 2.0, 0.93, 0.29),
    decision("per_class.recall.drop@class=bird", "Recall drop, class bird", 5.0, 1.1, 0.9, n=1000),
    decision("integrity.duplicates", "Duplicate items in the test set", 0.1, 0.0, 0.0, unit="%",
             method="exact: a count over these items"),
)  # fmt: skip
CONDITIONAL = (
    decision("per_class.recall.drop@class=cat", "Recall drop, class cat", 5.0, 3.9, 1.1, n=1000,
             detail="The data do not decide: about 4,000 items of this class would."),
    decision("per_class.recall.drop@class=dog", "Recall drop, class dog", 5.0, 5.6, 1.2, n=1000),
)  # fmt: skip
BEYOND = (
    decision("accuracy.drop@noise=uniform,level=8/255", "Accuracy drop, uniform noise ±8/255", 2.0, 6.37, 0.41,
             why="Sensor noise of this size is within the operating conditions."),
)  # fmt: skip
MISSING = (
    decision("accuracy.drop@noise=uniform,level=16/255", "Accuracy drop, uniform noise ±16/255", 2.0, None,
             reason="reference-floor",
             detail="The reference itself is right on 31 % of the items only; a drop from there says nothing."),
)  # fmt: skip
ADVISORY = (
    decision("calibration.ece.increase", "Increase of expected calibration error", 2.0, 2.6, 0.5, required=False,
             method="cross-fitted bound, asymptotic"),
)  # fmt: skip


def findings(decisions: tuple[ev.DecisionRecord, ...], others: int) -> tuple[ev.FindingRecord, ...]:
    """The findings of these decisions, and `others` more that no criterion names."""
    decided = [
        ev.FindingRecord(
            claim=d.claim, title=d.title, unit=d.unit, better=d.sense, method=d.method, n=d.n,
            meaning=f"What {d.claim.partition('@')[0]} stands for, in one sentence.",
            estimate=d.estimate, lower=d.lower, upper=d.upper,
            statistic={} if d.n == 0 else {"kind": "paired", "b": 180, "c": 159, "n": d.n},
            missing=d.reason if d.estimate is None else None, detail=d.detail,
        )
        for d in decisions
    ]  # fmt: skip
    further = [
        ev.FindingRecord(
            claim=f"accuracy@role=candidate,level={level}", title=f"Accuracy of the candidate at level {level}",
            unit="%", better="at_least", method="proportion, exact binomial test", n=10_000,
            estimate=92.0 - level / 4, lower=91.6 - level / 4, upper=92.4 - level / 4,
            statistic={"kind": "proportion", "k": 9200 - 25 * level, "n": 10_000}, missing=None, detail="",
        )
        for level in range(others)
    ]  # fmt: skip
    return (*decided, *further)


ADAPTER = records.Adapter(
    layout="NCHW", range=(0.0, 1.0), mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616), outputs="logits"
)
RUNTIME: dict[str, str | int] = {
    "engine": "onnxruntime 1.32.0", "provider": "CPUExecutionProvider", "threads": 2, "optimisation": "basic",
}  # fmt: skip
MODELS = (
    records.ModelRecord(role="reference", format="ONNX, opset 20", sha256="9c1f" * 16,
                   bytes=1_094_321, parameters=272_474, nonzero=272_474, adapter=ADAPTER, runtime=RUNTIME),
    records.ModelRecord(role="candidate", format="ONNX, opset 20", sha256="3e07" * 16,
                   bytes=1_094_321, parameters=272_474, nonzero=109_803, adapter=ADAPTER, runtime=RUNTIME),
)  # fmt: skip
PROBES = (
    ev.ProbeRecord(name="clean", sha256="c0de" * 16, description="the test set as it is"),
    ev.ProbeRecord(name="noise-uniform-8", sha256="beef" * 16,
                   description="uniform noise ±8/255 on every pixel, one draw per item"),
)  # fmt: skip


def build(
    decisions: tuple[ev.DecisionRecord, ...],
    *,
    others: int = 4,
    accept: tuple[ev.VerdictName, ...] = ("PASS",),
    exploratory: bool = False,
    deviations: tuple[str, ...] = (),
    name: str = "resnet20_pruned_60.onnx",
    classes: tuple[str, ...] = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    parties: ev.Parties | None = None,
    waivers: tuple[ev.WaiverRecord, ...] = (),
    not_covered: tuple[str, ...] = (
        "Inputs other than the test set and the perturbations listed.",
        "Speed, memory and energy of the candidate.",
        "Attacks: accuracy under adversarial inputs was not measured.",
    ),
) -> ev.Evidence:
    """Seal an evidence over these decisions, judged as the engine judges."""
    worst = ["PASS", "CONDITIONAL PASS", "CONDITIONAL FAIL", "NOT EVALUATED", "FAIL"]
    required = [d.verdict for d in decisions if d.required and d.applicable and d.waiver is None]
    overall = max(required, key=worst.index, default="NOT EVALUATED")
    accepted = overall in accept and not exploratory and not deviations
    codes = {"FAIL": 1, "NOT EVALUATED": 4}
    found = findings(decisions, others)
    plan = ev.PlanRecord(
        sha256="0" * 64, chunk=4096, batch=256, claims=len(found), checks=("functional", "noise", "per_class"),
        probes=PROBES,
    )  # fmt: skip
    body = ev.Body(
        tool=records.Tool(name="prune-audit", version="0.1.0", method_set="1", sources_sha256="5a" * 32),
        models=MODELS,
        data=(
            records.DataRecord(role="test", sha256="b1d2" * 16, items=10_000, duplicates=0,
                          shape=(3, 32, 32), stored="uint8", classes=classes,
                          per_class=(1000,) * len(classes)),
        ),
        plan=plan.model_copy(update={"sha256": grounds.plan_digest(plan, [each.claim for each in found])}),
        policy=ev.PolicyRecord(
            id="standard/1", title="Standard release policy", source="built-in", sha256="a55e" * 16, alpha=0.05,
            accept=accept, reference_floor=70.0,
            criteria=tuple(
                ev.CriterionRecord(claim=d.claim, sense=d.sense, limit=d.limit, unit=d.unit, required=d.required,
                                   why=d.why, only_where_reference_holds=not d.applicable)
                for d in decisions
            ),
            waivers=waivers,
        ),
        findings=found,
        decisions=decisions,
        verdict=ev.VerdictRecord(
            overall=overall, reason="no-required-criterion" if not required else "worst-required",
            accepted=accepted, exploratory=exploratory, exit_code=0 if accepted else codes.get(overall, 3),
            counts={verdict: required.count(verdict) for verdict in worst},
        ),
        deviations=deviations,
        not_covered=not_covered,
    )  # fmt: skip
    run = ev.Run(
        started="2025-11-22T15:02:11Z", finished="2025-11-22T15:04:37Z",
        seconds={"plan": 0.4, "observe": 131.2, "measure": 3.1, "decide": 1.9},
        passes={"reference": 30_000, "candidate": 30_000}, reused=(),
        host={"system": "Linux 6.1", "cpu": "x86_64", "cores": 8},
        packages={"numpy": "2.4.1", "onnxruntime": "1.32.0", "scipy": "1.17.0", "torch": "2.15.0"},
        names={"reference": "resnet20.onnx", "candidate": name, "test": "cifar10-test.npz"},
        command=("prune-audit", "run", "audit.toml", "--policy", "standard", "--out", "audit out"),
        parties=parties or ev.Parties(organisation="Northfield Perception", requester="Release board",
                                      prepared_by="", authorised_by=""),
    )  # fmt: skip
    return ev.seal(body, run)


def many(count: int) -> tuple[ev.DecisionRecord, ...]:
    """A grid of corruption criteria: most pass, a few do not."""
    names = ("fog", "frost", "snow", "glass blur", "motion blur", "JPEG", "contrast", "pixelate")
    return tuple(
        decision(
            f"accuracy.drop@corruption={names[i % 8].replace(' ', '-')},severity={i // 8 + 1}",
            f"Accuracy drop, {names[i % 8]}, severity {i // 8 + 1}",
            5.0,
            0.4 + 0.31 * (i // 8) ** 2 + 0.37 * (i % 8),
            0.35,
        )
        for i in range(count)
    )


HOSTILE = "<script>alert(1)</script>\"'&|`*_@org/team $x^2$ \u202egnp.exe {{7*7}} ]]> \x07 שלום " + "w" * 120
