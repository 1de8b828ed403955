"""An audit under nineteen corruptions of five severities, and under four kinds of noise beside a baseline."""

from itertools import product

from noise_samples import LEVELS
from report_samples import ADVISORY, WITHIN, build, decision

from audit import evidence as ev
from audit import grounds
from audit.report.scopes import CORRUPTIONS

SEVERITIES = (1, 2, 3, 4, 5)
_HARD = {"gaussian_noise": 1.9, "impulse_noise": 2.1, "glass_blur": 2.6, "contrast": 1.7, "jpeg_compression": 1.2}
_OVERALL = (
    ("corruption.mean_drop", "Mean loss of accuracy over all cells", "points", 0.93, 0.14),
    ("corruption.mean_excess_drop", "Mean loss beyond the clean one", "points", 0.72, 0.15),
    ("corruption.mean_error@role=reference", "Mean error (role reference)", "%", 27.31, 0.31),
    ("corruption.mean_error@role=candidate", "Mean error (role candidate)", "%", 28.24, 0.32),
    ("corruption.mce", "Mean corruption error, of the reference’s", "%", 103.4, 1.1),
)
_BESIDE = (
    ("reference.accuracy", "Accuracy of the reference", "%", "at_least", 90.0, -6.0),
    ("candidate.accuracy", "Accuracy of the candidate", "%", "at_least", 89.6, -6.3),
    ("functional.agreement", "Same decision", "%", "at_least", 95.0, -4.0),
    ("functional.excess_disagreement", "Excess disagreement", "points", "at_most", -2.0, 0.4),
    ("functional.softmax_l2", "Mean softmax distance ℓ2", "distance", "at_most", 0.08, 0.03),
)
_NOISE = {
    "gaussian": LEVELS,
    "uniform": LEVELS,
    "normalised": tuple(f"{level / 100:g}" for level in range(2, 32, 2)),
    "salt_and_pepper": ("0.01", "0.02", "0.05", "0.1"),
}


def loss(corruption: str, severity: int, estimate: float | None, **more: object) -> ev.DecisionRecord:
    """The criterion on the loss of accuracy in one cell."""
    return cell("accuracy.drop", "Loss of accuracy", corruption, severity, estimate, **more)


def cell(
    metric: str, title: str, corruption: str, severity: int, estimate: float | None, **more: object
) -> ev.DecisionRecord:
    """A criterion in one cell, titled as the engine titles it."""
    scope = f"corruption {corruption}, severity {severity}"
    claim = f"{metric}@corruption={corruption},severity={severity}"
    return decision(claim, f"{title} ({scope})", 3.0, estimate, 0.35, **more)  # type: ignore[arg-type]


def losses() -> tuple[ev.DecisionRecord, ...]:
    """95 cells: most within the limit, the hardest beyond it, one without images, two where the reference fails."""
    found = {
        (name, severity): loss(name, severity, round(_HARD.get(name, 0.4) * severity / 2.2 - 0.35 + place % 4 / 9, 2))
        for (place, name), severity in product(enumerate(CORRUPTIONS), SEVERITIES)
    }
    found["fog", 1] = loss("fog", 1, -0.42)
    found["saturate", 2] = loss("saturate", 2, None, reason="failed", detail="The probe changed 3 % of the items only.")
    floor = {"verdict": "NOT EVALUATED", "reason": "reference-floor", "p_pass": None, "p_fail": None,
             "p_fail_holm": None,
             "detail": "the reference’s own accuracy is not proven to reach half its clean one"}  # fmt: skip
    found["impulse_noise", 5] = found["impulse_noise", 5].model_copy(update=floor)
    apart = {"applicable": False, "required": False}
    found["gaussian_noise", 5] = found["gaussian_noise", 5].model_copy(update=floor | apart)
    del found["spatter", 4]
    return tuple(found.values())


def beside() -> tuple[ev.FindingRecord, ...]:
    """What is measured in the cells and over all of them without a limit."""
    found = [
        _finding(f"{metric}@corruption={name},severity={severity}", f"{title} (corruption {name}, severity {severity})",
                 unit, first + step * severity, 0.01 if unit == "distance" else 0.5, better)
        for metric, title, unit, better, first, step in _BESIDE
        for name, severity in product(CORRUPTIONS, SEVERITIES)
    ]  # fmt: skip
    found += [_finding(claim, title, unit, value, error) for claim, title, unit, value, error in _OVERALL]
    worst = _finding("corruption.worst_drop", "Largest loss in a cell", "points", 6.14, 0)
    return (*found, worst.model_copy(update={"lower": None, "upper": None}))


def noise_curves() -> tuple[ev.FindingRecord, ...]:
    """Distances of both networks under four kinds of noise; the baseline is nearer at the strongest uniform one."""
    found = []
    for kind, levels in _NOISE.items():
        for place, level in enumerate(levels):
            scope = f"@level={level},noise={kind}"
            own, theirs = 0.05 + 0.02 * place, 0.12 + 0.015 * place
            excess = 0.01 if (kind, level) == ("uniform", LEVELS[-1]) else own - theirs
            found += [
                _finding(f"functional.agreement{scope}", "Same decision", "%", 97 - place, 0.4, "at_least"),
                _finding(f"functional.softmax_l2{scope}", "Mean softmax distance ℓ2", "distance", own, 0.005),
                _finding(f"baseline.agreement{scope}", "Same decision, baseline", "%", 93 - place, 0.5, "at_least"),
                _finding(f"baseline.softmax_l2{scope}", "Mean distance, baseline", "distance", theirs, 0.005),
                _finding(f"baseline.excess_distance{scope}", "Farther than the baseline", "distance", excess, 0.004),
                _finding(f"accuracy.drop{scope}", "Loss of accuracy", "points", 0.1 + 0.2 * place, 0.3),
            ]  # fmt: skip
    return tuple(found)


def _finding(
    claim: str, title: str, unit: str, value: float, error: float, better: str = "at_most"
) -> ev.FindingRecord:
    return ev.FindingRecord(
        claim=claim, title=title, unit=unit, better=better, method="mean over items; betting test", n=10_000,
        estimate=value, lower=value - error, upper=value + error,
    )  # fmt: skip


def with_findings(
    evidence: ev.Evidence, findings: tuple[ev.FindingRecord, ...], left_out: tuple[str, ...] = ()
) -> ev.Evidence:
    """The evidence with a baseline, with more findings, and with what the policy left out."""
    body = evidence.body
    every = (*body.findings, *findings)
    plan = body.plan.model_copy(update={"claims": len(every), "sha256": "0" * 64})
    digest = grounds.plan_digest(plan, [each.claim for each in every])
    not_covered = tuple(f"{claim}: limited by the policy, and not possible with the data given" for claim in left_out)
    baseline = body.models[0].model_copy(update={"role": "baseline", "sha256": "b00d" * 16})
    changed = {
        "models": (*body.models, baseline),
        "findings": every,
        "plan": plan.model_copy(update={"sha256": digest}),
        "policy": body.policy.model_copy(update={"left_out": left_out}),
        "not_covered": (*body.not_covered, *not_covered),
    }
    return ev.seal(body.model_copy(update=changed), evidence.run)


def corrupted() -> ev.Evidence:
    """Everything that conditions bring at once."""
    excess = tuple(
        cell("corruption.excess_drop", "Loss of accuracy beyond the clean one", name, 3, 0.4)
        for name in CORRUPTIONS[:6]
    )
    overall = decision("corruption.mean_drop", "Mean loss of accuracy over all cells", 1.5, 0.93, 0.14)
    plain = build((*WITHIN[:4], *losses(), *excess, overall, *ADVISORY), others=0)
    known = {record.claim for record in plain.body.findings}
    more = tuple(record for record in (*beside(), *noise_curves()) if record.claim not in known)
    return with_findings(plain, more, ("ood.auroc_drop@score=energy,set=svhn", "accuracy.drop@shift=night"))
