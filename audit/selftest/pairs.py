"""The pairs: known-good ones, which must be accepted, and known-bad ones, each with the reason that must stop it."""

from dataclasses import replace

import numpy as np

from audit.errors import ExitCode
from audit.selftest import networks, signs
from audit.selftest.networks import Ending, Network, Pictures, batch_centred, dithered, sigmoid, softmax
from audit.selftest.trial import BROKEN, PROVEN, Expected, Materials, Pair
from audit.types import OutputKind

ITEMS = 2000
_WRONG = 20
"""Of them the reference gets these wrong: 1 %."""
POLICY = """
format = "prune-audit/policy/1"
id = "selftest/1"
alpha = 0.05
checks = ["integrity", "accuracy", "functional"]
"""
_DROP = """
[[criterion]]
claim = "accuracy.drop"
at_most = 1.0
unit = "points"
"""
_DISTANCE = """
[[criterion]]
claim = "functional.softmax_l2"
at_most = 0.12
unit = "distance"
"""
_HOUSE = POLICY + _DROP + _DISTANCE
_ATTACKED = """
[settings.adversarial]
items = 200

[[criterion]]
claim = "adversarial.drop@level=*,norm=linf"
at_most = 5.0
unit = "points"
"""
_UNDER_ATTACK = POLICY.replace('"functional"]', '"functional", "adversarial"]') + _ATTACKED + _DROP


def every() -> tuple[Pair, ...]:
    """All pairs; every one is made anew from fixed seeds and from the sample networks."""
    return (
        *_good(),
        *_broken_outputs(),
        *_broken_functions(),
        *_broken_references(),
        *_broken_data(),
        *_attacked(),
        *signs.pairs(),
    )


def _materials(candidate: Network, seen: Pictures | None = None, policy: str = _HOUSE) -> Materials:
    x, y = seen or networks.pictures(ITEMS, wrong=_WRONG)
    return Materials(networks.reference().to_bytes(), candidate.to_bytes(), x, y, policy)


def _good() -> tuple[Pair, ...]:
    own = networks.reference()
    order = np.random.default_rng(0).permutation(networks.UNITS)
    permuted = replace(own, first=own.first[:, order], head=own.head[order])
    nudged = replace(own, first=own.first.copy())
    nudged.first[-1, -1] += 1e-3
    same = {"accuracy.drop": 0.0, "functional.agreement": 100.0}
    exactly = Expected(ExitCode.ACCEPTED, PROVEN, {"accuracy.drop": PROVEN}, {**same, "functional.softmax_l2": 0.0})
    nearly = Expected(ExitCode.ACCEPTED, PROVEN, {"accuracy.drop": PROVEN, "functional.softmax_l2": PROVEN}, same)
    return (
        Pair("the reference itself, by the standard policy", "good", _materials(own, policy="standard"), exactly),
        Pair("the same function, hidden units in another order", "good", _materials(permuted), nearly),
        Pair("one weight moved by a thousandth", "good", _materials(nudged), nearly),
        Pair("the same function, ended by a softmax", "good", _materials(_ended(softmax)), nearly),
    )


def _broken_outputs() -> tuple[Pair, ...]:
    own = networks.reference()
    last = np.arange(networks.CLASSES) == networks.CLASSES - 1
    no_number = Expected(
        ExitCode.FAILED,
        BROKEN,
        {
            "integrity.nonfinite@role=candidate": BROKEN,
            "accuracy.drop": "NOT EVALUATED (non-finite)",
            "functional.softmax_l2": "NOT EVALUATED (non-finite)",
        },
        {"integrity.nonfinite@role=candidate": float(ITEMS)},
    )
    tied = Expected(ExitCode.FAILED, BROKEN, {"integrity.near_ties@role=candidate": BROKEN, "accuracy.drop": BROKEN})
    hangs = _conditional("near-ties")
    veiled = _materials(networks.hesitant(), networks.pictures(ITEMS, wrong=_WRONG, veiled=18))
    return (
        Pair("NaN in one output", "bad", _materials(replace(own, bias=np.where(last, np.nan, 0.0))), no_number),
        Pair("infinity in one output", "bad", _materials(replace(own, bias=np.where(last, np.inf, 0.0))), no_number),
        Pair("all outputs equal", "bad", _materials(replace(own, head=own.head * 0)), tied),
        Pair("ties that happen to be right", "bad", veiled, hangs),
        Pair(
            "outputs that depend on the other items of the batch",
            "bad",
            _materials(_ended(batch_centred)),
            Expected(None, "candidate: its outputs for an item depend on the other items of the batch"),
        ),
        Pair(
            "outputs that are random",
            "bad",
            _materials(_ended(dithered)),
            Expected(None, "candidate: gives different outputs for the same items"),
        ),
    )


def _broken_functions() -> tuple[Pair, ...]:
    own = networks.reference()
    constant = replace(own, bias=np.asarray([1000.0, 0, 0, 0]))
    silent = replace(own, bias=np.asarray([0, 0, -1000.0, 0]))
    turned = replace(own, head=np.roll(own.head, 1, axis=1))
    drop = Expected(ExitCode.FAILED, BROKEN, {"accuracy.drop": BROKEN})
    alike = {"functional.agreement": 100.0}
    far = Expected(ExitCode.FAILED, BROKEN, {"accuracy.drop": PROVEN, "functional.softmax_l2": BROKEN}, alike)
    # Its softmax lies 0.29 from the reference's; a second softmax on top of both would leave 0.09.
    unsure = replace(_ended(softmax), head=own.head * 0.22)
    disguised = replace(_materials(unsure), reference=_ended(softmax).to_bytes(), outputs=OutputKind.LOGITS)
    return (
        Pair("one class whatever is shown", "bad", _materials(constant), drop),
        Pair("one class never named", "bad", _materials(silent), drop),
        Pair("classes in another order", "bad", _materials(turned), drop),
        Pair("random weights", "bad", _materials(networks.untrained()), drop),
        Pair("a softmax on top of a softmax", "bad", _materials(_ended(softmax, softmax)), far),
        Pair(
            "probabilities declared as logits, and so looking alike",
            "bad",
            disguised,
            _undecided("wrong-output-declaration"),
        ),
        Pair("outputs of no known kind", "bad", _materials(_ended(sigmoid)), _undecided("ambiguous-outputs")),
    )


def _broken_references() -> tuple[Pair, ...]:
    own = networks.reference()
    x, y = networks.pictures(ITEMS, wrong=_WRONG)
    unrelated = x, np.random.default_rng(1).permutation(y)
    # Right on 2 %, and the candidate on none: a drop of 2 points, within this limit of 5.
    worse = replace(own, head=np.roll(own.head, 2, axis=1))
    loose = POLICY + _DROP.replace("1.0", "5.0")
    floor = Expected(
        ExitCode.FAILED, BROKEN, {"reference.accuracy": BROKEN, "accuracy.drop": "NOT EVALUATED (reference-floor)"}
    )
    return (
        Pair("labels that have nothing to do with the pictures", "bad", _materials(own, unrelated), floor),
        Pair(
            "a reference at 2 % against a candidate at 0 %",
            "bad",
            _materials(worse, networks.pictures(ITEMS, wrong=ITEMS * 98 // 100), loose),
            replace(floor, estimates={"reference.accuracy": 2.0, "candidate.accuracy": 0.0, "accuracy.drop": 2.0}),
        ),
    )


def _broken_data() -> tuple[Pair, ...]:
    own = networks.reference()
    x, y = networks.pictures(ITEMS // 10)
    copied = np.concatenate([x] * 10), np.concatenate([y] * 10)
    x, y = networks.pictures(ITEMS, wrong=_WRONG)
    present = y < networks.CLASSES - 1
    few = _conditional("within-limit-not-proven")
    return (
        Pair(
            "a test set of ten copies",
            "bad",
            _materials(own, copied),
            Expected(ExitCode.FAILED, BROKEN, {"integrity.duplicates": BROKEN}, {"integrity.duplicates": 90.0}),
        ),
        Pair(
            "a class without items",
            "bad",
            _materials(own, (x[present], y[present])),
            _undecided("empty-class", "integrity.empty_classes"),
        ),
        Pair("too few items to prove anything", "bad", _materials(own, networks.pictures(60)), few),
        Pair(
            "a policy that requires nothing",
            "bad",
            _materials(own, policy=POLICY + _DROP + "required = false\n"),
            Expected(ExitCode.NOT_EVALUATED, "NOT EVALUATED (no-required-criterion)", {"accuracy.drop": PROVEN}),
        ),
    )


def _attacked() -> tuple[Pair, ...]:
    """The same function twice; the second gives probabilities of 0 and 1, through which no gradient comes."""
    claim = "adversarial.drop@level=1/255,norm=linf"
    hidden = replace(_ended(softmax), head=networks.reference().head * 30)
    masked = _undecided("gradient-masking", claim)
    same = Expected(ExitCode.ACCEPTED, PROVEN, {claim: PROVEN}, {claim: 0.0})
    return (
        Pair("the same function under attack", "good", _materials(_ended(softmax), policy=_UNDER_ATTACK), same),
        Pair("gradients that vanish", "bad", _materials(hidden, policy=_UNDER_ATTACK), masked),
    )


def _ended(*endings: Ending) -> Network:
    return replace(networks.reference(), endings=endings)


def _undecided(reason: str, claim: str = "accuracy.drop") -> Expected:
    return Expected(ExitCode.NOT_EVALUATED, f"NOT EVALUATED ({reason})", {claim: f"NOT EVALUATED ({reason})"})


def _conditional(reason: str) -> Expected:
    decision = f"CONDITIONAL PASS ({reason})"
    return Expected(ExitCode.CONDITIONAL, decision, {"accuracy.drop": decision})
