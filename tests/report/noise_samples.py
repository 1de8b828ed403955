"""An audit under noise with everything that can stand beside a plain result."""

from report_samples import ADVISORY, CONDITIONAL, WITHIN, build, decision

from audit import evidence as ev
from audit import grounds

LEVELS = ("2/255", "4/255", "8/255", "16/255")
WAIVER = ev.WaiverRecord(
    id="night-camera",
    claim="accuracy.drop@level=8/255,noise=uniform",
    reason="The night camera that makes this noise ships with the next release.",
    by="Release board",
    expires="2026-03-31",
)
_TITLES = {
    "accuracy.drop": ("Loss of accuracy", "points", "at_most"),
    "functional.agreement": ("Agreement of the predicted classes", "%", "at_least"),
    "functional.softmax_l2": ("Mean distance of the class probabilities", "distance", "at_most"),
    "baseline.agreement": ("Agreement of the baseline with the reference", "%", "at_least"),
    "baseline.softmax_l2": ("Mean distance of the baseline from the reference", "distance", "at_most"),
}
_AGREE, _FAR = (96.4, 93.1, 85.2, 61.0), (0.094, 0.131, 0.242, 0.51)
_BASE_AGREE, _BASE_FAR = (90.3, 87.2, 79.9, 63.5), (0.171, 0.212, 0.308, 0.49)


def noise(metric: str, kind: str, level: str, limit: float, estimate: float, error: float) -> ev.DecisionRecord:
    """A criterion at one level of one kind of noise."""
    title, unit, sense = _TITLES[metric]
    words = {"uniform": f"uniform noise ±{level}", "gaussian": f"Gaussian noise σ {level}"}[kind]
    return decision(f"{metric}@level={level},noise={kind}", f"{title}, {words}", limit, estimate, error, unit=unit,
                    sense=sense, method="mean over items; betting test")  # fmt: skip


def drops() -> tuple[ev.DecisionRecord, ...]:
    """Every way in which a drop under noise can end."""
    drop = "accuracy.drop"
    waived = noise(drop, "uniform", "8/255", 2.0, 3.9, 0.31).model_copy(update={"waiver": WAIVER.id})
    tied = noise(drop, "gaussian", "4/255", 2.0, 1.42, 0.3).model_copy(
        update={"verdict": "CONDITIONAL PASS", "reason": "near-ties", "p_pass_adverse": 0.072}
    )
    open_ = noise(drop, "gaussian", "8/255", 2.0, 1.71, 0.4).model_copy(
        update={"more_items": ev.MoreItems(hopeless=False, about=48_212, low=14_900)}
    )
    beyond = [
        noise(drop, kind, "16/255", 2.0, 1.1, 0.7).model_copy(
            update={
                "verdict": "NOT EVALUATED", "applicable": False, "reason": "reference-floor", "required": False,
                "detail": f"the reference’s own accuracy, {share} %, is not proven to reach half its clean accuracy",
                "p_pass": None, "p_fail": None, "p_fail_holm": None,
            }
        )
        for kind, share in (("uniform", 31.2), ("gaussian", 24.8))
    ]  # fmt: skip
    kept = [noise(drop, kind, level, 2.0, value, 0.25)
            for kind, level, value in (("uniform", "2/255", 0.31), ("uniform", "4/255", 0.74),
                                       ("gaussian", "2/255", 0.38))]  # fmt: skip
    beside = decision("functional.agreement@level=8/255,noise=gaussian", "Agreement, Gaussian noise σ 8/255", 86.0,
                      85.6, 0.4, unit="%", sense="at_least", required=False)  # fmt: skip
    hopeless = beside.model_copy(update={"more_items": ev.MoreItems(hopeless=True)})
    return (*kept, waived, tied, open_, *beyond, hopeless)


def curves() -> tuple[ev.FindingRecord, ...]:
    """Distances by level, of the candidate and of the baseline; most have no limit."""
    series = {
        "functional.agreement": (97.9, *_AGREE),
        "functional.softmax_l2": (None, *_FAR),
        "baseline.agreement": (91.8, *_BASE_AGREE),
        "baseline.softmax_l2": (0.152, *_BASE_FAR),
    }
    found = []
    for metric, values in series.items():
        for kind, worse in (("uniform", 0.0), ("gaussian", 0.02)):
            found += [
                _finding(metric, kind, level, value * (1 - worse))
                for level, value in zip(("", *LEVELS), values, strict=True)
                if value is not None and (level or not worse)
            ]
    return tuple(record for record in found if record.claim != "functional.agreement@level=8/255,noise=gaussian")


def _finding(metric: str, kind: str, level: str, value: float) -> ev.FindingRecord:
    title, unit, better = _TITLES[metric]
    error = 0.02 * value if unit == "distance" else 0.35
    return ev.FindingRecord(
        claim=f"{metric}@level={level},noise={kind}" if level else metric, title=title, unit=unit, better=better,
        method="mean over items; betting test", n=10_000, estimate=value, lower=value - error, upper=value + error,
    )  # fmt: skip


def noisy() -> ev.Evidence:
    """Three models, three kinds of data, noise at four levels, a waiver, near ties and forecasts."""
    clean = WITHIN[0].model_copy(update={"title": "Loss of accuracy"})
    plain = build((clean, *WITHIN[1:4], *WITHIN[6:], *drops(), *ADVISORY), others=0, waivers=(WAIVER,))
    body, run = plain.body.model_dump(), plain.run.model_dump()
    reference = body["models"][0]
    body["models"] += ({**reference, "role": "baseline", "sha256": "b00d" * 16},)
    test = body["data"][0]
    body["data"] += ({**test, "role": "out-of-distribution", "sha256": "0dd5" * 16, "items": 26_032,
                      "classes": (), "per_class": ()},)  # fmt: skip
    body["plan"]["probes"] = [
        *body["plan"]["probes"][:1],
        *({"name": f"noise.{kind}@level={level}", "sha256": f"{place:02x}" * 32, "data": "test", "draws": 4,
           "description": f"{kind} noise of level {level} on every pixel"}
          for kind in ("uniform", "gaussian") for place, level in enumerate(LEVELS)),
    ]  # fmt: skip
    body["policy"] |= {
        "settings": {"noise": {"draws": 4, "levels": list(LEVELS), "kinds": ["uniform", "gaussian"]}},
        "checks": ("accuracy", "functional", "integrity", "noise"),
    }
    body["findings"] += tuple(record.model_dump() for record in curves())
    body["plan"]["claims"] = len(body["findings"])
    plan = ev.PlanRecord.model_validate(body["plan"])
    body["plan"]["sha256"] = grounds.plan_digest(plan, [each["claim"] for each in body["findings"]])
    run["passes"]["baseline"] = 30_000
    run["names"] |= {"baseline": "resnet20_again.onnx", "out-of-distribution": "svhn-test.npz"}
    run["selftest"] = "5e1f" * 16
    return ev.seal(ev.Body.model_validate(body), ev.Run.model_validate(run))


def crowded() -> ev.Evidence:
    """As many criteria as a strict policy has: three metrics at each of eight levels, and classes."""
    grid = [
        noise(metric, kind, level, limit, value, error)
        for metric, limit, value, error in (
            ("accuracy.drop", 3.0, 0.6, 0.25),
            ("functional.agreement", 80.0, 93.0, 0.4),
            ("functional.softmax_l2", 0.4, 0.12, 0.01),
        )
        for kind in ("uniform", "gaussian")
        for level in LEVELS
        if (metric, kind, level) != ("functional.agreement", "gaussian", "8/255")
    ]
    classes = [decision(f"per_class.recall.drop@class={name}", f"Recall drop, class {name}", 5.0, 1.0 + number / 7, 0.9)
               for number, name in enumerate(("plane", "car", "deer", "frog"))]  # fmt: skip
    return build((*WITHIN[:4], *WITHIN[6:], *grid, *classes, *drops()[8:], *CONDITIONAL), others=0)
