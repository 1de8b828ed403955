"""Audits that look at classes one by one, on clean data and under conditions, and at confidence."""

from collections.abc import Iterable
from itertools import product

from report_samples import WITHIN, build, decision

from audit import evidence as ev
from audit import grounds
from audit.types import Claim, scope_value

NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TITLES = {
    "recall": ("Recall", "%"), "precision": ("Precision", "%"), "accuracy": ("Accuracy, one against the rest", "%"),
    "recall_drop": ("Loss of recall", "points"), "accuracy_drop": ("Loss of accuracy, one against the rest", "points"),
    "precision_drop": ("Loss of precision", "points"), "negative_flips": ("Right before, wrong now", "%"),
    "positive_flips": ("Wrong before, right now", "%"),
    "false_naming_increase": ("More items falsely named so", "points"),
    "confusion": ("Taken for another class", "%"),
    "confusion_increase": ("Taken more often for another class", "points"),
    "worst_recall_drop": ("Largest loss of recall of any class", "points"),
    "confusion_distance": ("Distance of the confusion matrices", "distance"),
    "brier": ("Brier score", "distance"), "brier_increase": ("Rise of the Brier score", "distance"),
    "ece": ("Expected calibration error", "%"), "ece_increase": ("Rise of the expected calibration error", "points"),
    "ece_increase_bound": ("Rise of the expected calibration error, at most", "points"),
    "confidence_when_wrong": ("Confidence in wrong answers", "%"),
    "confident_errors_increase": ("More confident errors", "points"),
    "accepted_errors_increase": ("More errors let through", "points"),
    "aurc": ("Area under the risk–coverage curve", "%"), "risk": ("Errors at a coverage", "%"),
    "bin_share": ("Items in a bin", "%"), "bin_confidence": ("Confidence in a bin", "%"),
    "bin_accuracy": ("Accuracy in a bin", "%"), "temperature": ("Temperature", "distance"),
    "slices.accuracy": ("Accuracy in a slice", "%"), "slices.accuracy_drop": ("Loss of accuracy in a slice", "points"),
    "worst_drop": ("Largest loss in any slice", "points"),
    "small_crossings": ("Crossings too small to be looked at", "items"),
}  # fmt: skip
_ON_CLEAN = ("accuracy_drop", "precision_drop", "positive_flips")


def finding(
    check: str,
    metric: str,
    estimate: float | None,
    error: float = 0.5,
    *,
    why: str = "",
    reason: str = "",
    n: int = 1000,
    **scope: str,
) -> ev.FindingRecord:
    """A finding as the engine titles it; an error of 0 makes it exact, without an estimate it is missing."""
    claim, (title, unit) = _claim(f"{check}.{metric}", scope), _titled(check, metric)
    common = {"claim": claim.id, "title": f"{title}{_words(claim)}", "unit": unit, "better": "at_most", "method": "m"}
    if estimate is None:
        return ev.FindingRecord(**common, missing=reason or "failed", detail=why)
    return ev.FindingRecord(**common, n=n, estimate=estimate, lower=estimate - error, upper=estimate + error)


def limited(
    check: str,
    metric: str,
    limit: float,
    estimate: float | None,
    error: float = 0.5,
    *,
    required: bool = True,
    reason: str = "",
    why: str = "",
    **scope: str,
) -> ev.DecisionRecord:
    """A criterion on such a finding."""
    claim, (title, unit) = _claim(f"{check}.{metric}", scope), _titled(check, metric)
    return decision(claim.id, f"{title}{_words(claim)}", limit, estimate, error, unit=unit, n=1000, required=required,
                    reason=reason, detail=why)  # fmt: skip


def of_class(name: str, before: float | None, now: float, n: int = 1000) -> list[ev.FindingRecord]:
    """Everything that is found of a class on clean data; without a recall before, that it has no item."""
    own = {"class": scope_value(name), "n": n}
    if before is None:
        gone = {"why": f"there is no item of class {name!r}", "reason": "empty-class", "class": own["class"]}
        each = [finding("per_class", metric, None, **gone) for metric in ("recall_drop", "negative_flips")]
        return each + [finding("per_class", "recall", None, role=role, **gone) for role in ("reference", "candidate")]
    changes = {"recall_drop": before - now, "negative_flips": max(before - now, 0.0), "false_naming_increase": 0.25}
    both = {"recall": (before, now), "precision": (98.5, 97.5), "accuracy": (99.0, 98.75)}
    return [
        *(finding("per_class", metric, value, **own) for metric, value in changes.items()),
        *(finding("per_class", metric, 0.5, **own) for metric in _ON_CLEAN),
        *(finding("per_class", metric, value, role=role, **own) for metric, values in both.items()
          for role, value in zip(("reference", "candidate"), values, strict=True)),
    ]  # fmt: skip


def under(name: str, loss: float | None, **condition: str) -> list[ev.FindingRecord]:
    """What is found of a class under a condition."""
    own = {"class": scope_value(name), **condition}
    values = {"recall_drop": loss, "negative_flips": 1.0, "false_naming_increase": 0.1}
    return [finding("per_class", metric, value, **own) for metric, value in values.items()]


def added(evidence: ev.Evidence, findings: Iterable[ev.FindingRecord]) -> ev.Evidence:
    """The evidence with more findings; those of its criteria stay as they are."""
    body = evidence.body
    known = {record.claim for record in body.findings}
    every = (*body.findings, *(record for record in findings if record.claim not in known))
    plan = body.plan.model_copy(update={"claims": len(every), "sha256": "0" * 64})
    digest = grounds.plan_digest(plan, [each.claim for each in every])
    changed = {"findings": every, "plan": plan.model_copy(update={"sha256": digest})}
    return ev.seal(body.model_copy(update=changed), evidence.run)


def of_classes() -> ev.Evidence:
    """Ten classes: one that is forgotten, one that is empty, limits of which one is broken, confusions, conditions."""
    recalls = dict.fromkeys(NAMES, (98.0, 97.5)) | {"cat": (95.0, 61.0), "dog": (96.0, 92.5), "ship": (97.0, 98.0)}
    limits = [limited("per_class", "recall_drop", 10.0, before - now, **{"class": name})
              for name, (before, now) in recalls.items() if name != "truck"]  # fmt: skip
    limits += [
        limited("per_class", "recall_drop", 10.0, None, reason="empty-class", why="there is no item of class 'truck'",
                **{"class": "truck"}),
        limited("per_class", "confusion", 5.0, 33.0, named="dog", **{"class": "cat"}),
        limited("per_class", "recall_drop", 10.0, 31.0, required=False, corruption="fog", severity="3",
                **{"class": "cat"}),
    ]  # fmt: skip
    found = [each for name, (before, now) in recalls.items() if name != "truck" for each in of_class(name, before, now)]
    found += of_class("truck", None, 0.0)
    found += [finding("per_class", "confusion_increase", 32.0 if pair == ("cat", "dog") else place % 7 / 4 - 0.5,
                      named=pair[1], **{"class": pair[0]})
              for place, pair in enumerate(product(NAMES, NAMES)) if pair[0] != pair[1]]  # fmt: skip
    found += [each for place, name in enumerate(NAMES[:-1]) for level in (4, 8)
              for each in under(name, place / 2 + level / 8, level=f"{level}/255", noise="uniform")]  # fmt: skip
    found += [each for place, name in enumerate(NAMES[:-1]) for severity in (3, 5)
              for each in under(name, place / 3, corruption="fog", severity=str(severity))]  # fmt: skip
    found += [finding("per_class", "confusion_increase", 35.0, named="dog", corruption="fog", severity="5",
                      **{"class": "cat"})]  # fmt: skip
    for more in ({}, {"level": "8/255", "noise": "uniform"}):
        found += [finding("per_class", "worst_recall_drop", 34.0, 0.0, **more),
                  finding("per_class", "confusion_distance", 0.0312, 0.0, **more)]  # fmt: skip
    return added(build((*WITHIN[:2], *limits), others=0), found)


def of_confidence() -> ev.Evidence:
    """Both models' confidence with a limit, a missing figure, empty bins and a full curve."""
    found = [
        finding("calibration", metric, value, 0.0 if metric != "brier" else 0.002, role=role, **scope)
        for metric, values, scope in (
            ("brier", (0.012, 0.0305), {}), ("ece", (1.5, 4.25), {"bins": "width"}), ("aurc", (0.2, 0.4), {}),
        )
        for role, value in zip(("reference", "candidate"), values, strict=True)
    ]  # fmt: skip
    none = {"why": "the reference makes no error", "reason": "no-errors"}
    found += [
        finding("calibration", "brier_increase", 0.0185, 0.003),
        finding("calibration", "ece_increase", 2.75, 0.0, bins="width"),
        finding("calibration", "ece_increase_bound", None, why="150 items are too few", reason="too-few-items"),
        finding("calibration", "confidence_when_wrong", None, role="reference", **none),
        finding("calibration", "confidence_when_wrong", 61.5, 0.0, role="candidate"),
        finding("calibration", "accepted_errors_increase", 0.6, coverage="90", threshold="own"),
        finding("calibration", "brier_increase", 0.1, 0.01, noise="uniform", level="8/255"),
    ]
    for place, role in product(range(15), ("reference", "candidate")):
        own = {"bin": f"{place + 1:02d}", "role": role}
        full = place > 3 + (role == "candidate")
        right = 100 * (place + 0.5) / 15 - 6 * (role == "candidate")
        values = {"bin_share": place / 1.05 if full else 0.0, "bin_confidence": 100 * (place + 0.5) / 15,
                  "bin_accuracy": right}  # fmt: skip
        found += [finding("calibration", metric, value if full or metric == "bin_share" else None, 0.0, **own)
                  for metric, value in values.items()]  # fmt: skip
    found += [finding("calibration", "risk", (coverage / 50) ** 2 * (1 + place), 0.0, coverage=str(coverage), role=role)
              for coverage in range(5, 101, 5) for place, role in enumerate(("reference", "candidate"))]  # fmt: skip
    limits = (
        limited("calibration", "brier_increase", 0.02, 0.0185, 0.003),
        limited("calibration", "confident_errors_increase", 0.5, 2.5, 0.3, confidence="90"),
    )
    return added(build((*WITHIN[:2], *limits), others=0), found)


def _claim(metric: str, scope: dict[str, str]) -> Claim:
    return Claim(metric, tuple(sorted(scope.items())))


def _titled(check: str, metric: str) -> tuple[str, str]:
    return _TITLES.get(f"{check}.{metric}") or _TITLES[metric]


def _words(claim: Claim) -> str:
    """The scope as titles say it: the level last."""
    ordered = sorted(claim.scope, key=lambda pair: pair[0] == "level")
    return f" ({', '.join(f'{key} {value}' for key, value in ordered)})" if ordered else ""
