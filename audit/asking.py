"""Asking checks what they need and what they promise, of which a plan is made."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from audit import digest
from audit.contracts import Ask, Check, Condition, Context, Probe
from audit.errors import AuditError
from audit.findings import Metric
from audit.perturbing import bounds_of, target_of
from audit.types import Claim, Scope

LEAST_EFFECT = 0.9
"""Share of the items that a probe must change if it is to change any: what changes fewer is a free PASS.

Most promise 0.99. What takes colour away finds some images grey: of CIFAR-10 one in a hundred.
"""


@dataclass(frozen=True)
class Asked:
    """The union of what the checks ask for: probes once each, claims with the check that promised them.

    The checks named in `skipped` promise their claims, so that a policy can be bound, and get no probe.
    """

    checks: tuple[Check, ...]
    context: Context
    probes: tuple[Probe, ...]
    claims: Mapping[Claim, Check]
    metrics: Mapping[str, Metric]
    skipped: tuple[str, ...] = ()
    structure: bool = False
    gradients: bool = False


def ask(checks: Sequence[Check], context: Context, skipped: Sequence[str] = ()) -> Asked:
    """Collect probes and claims; a claim outside its check's catalogue, or promised twice, is a bug."""
    probes: dict[str, Probe] = {}
    claims: dict[Claim, Check] = {}
    metrics: dict[str, Metric] = {}
    structure = gradients = False
    context = replace(context, conditions=tuple(_conditions(checks, context)))
    for check in checks:
        wanted = _asked(check, context)
        structure |= wanted.structure and check.name not in skipped
        gradients |= wanted.gradients and check.name not in skipped
        own = {metric.name: metric for metric in check.metrics}
        for probe in () if check.name in skipped else wanted.probes:
            if probes.setdefault(_identity(probe, check), probe) != probe:
                raise _refused(check, f": its probe {probe.name!r} takes the place of another")
        for claim in wanted.claims:
            if claim.metric not in own or claim in claims:
                raise RuntimeError(f"check {check.name!r} may not promise {claim.id!r}")
            claims[claim] = check
        if twice := {name for name in own.keys() & metrics.keys() if own[name] != metrics[name]}:
            raise _refused(check, f" redefines the metric {min(twice)!r}")
        metrics.update(own)
    return Asked(tuple(checks), context, tuple(probes.values()), claims, metrics, tuple(skipped), structure, gradients)


def _conditions(checks: Sequence[Check], context: Context) -> Iterator[Condition]:
    """Under what conditions some of the checks show labelled items; raises AuditError where two have one scope."""
    shown: dict[Scope, str] = {}
    for check in checks:
        with _named(check):
            for condition in getattr(check, "shows", _none)(context):
                scope = tuple(sorted(condition.scope))
                if not scope:
                    raise ValueError("a condition without a scope would be the clean test set")
                if scope in shown:
                    name = Claim("", scope).id.removeprefix("@")
                    raise _refused(check, f": {name} is already shown by check {shown[scope]!r}")
                shown[scope] = check.name
                yield condition


def _none(_: Context) -> tuple[Condition, ...]:
    return ()


def _asked(check: Check, context: Context) -> Ask:
    with _named(check):
        return check.ask(context)


def _identity(probe: Probe, check: Check) -> str:
    with _named(check):
        digest.of_json(probe.stream())
        bounds_of(probe)
        if target_of(probe) is not None and not all(type(most) is int and most >= 0 for most in passes_of(probe)):
            raise ValueError(f"probe {probe.name!r} says that it takes {passes_of(probe)} passes")
        if probe.min_effect and not LEAST_EFFECT <= probe.min_effect <= 1:
            raise ValueError(f"probe {probe.name!r} promises to change {probe.min_effect:g} of the items")
        return digest.of_json(probe.canonical())


@contextmanager
def _named(check: Check) -> Iterator[None]:
    """Code of others: whatever it does, it must be named."""
    try:
        yield
    except AuditError:  # what a check says of its settings and the data
        raise
    except (Exception, SystemExit) as error:
        raise _refused(check, f" crashes when asked ({type(error).__name__}: {error})") from error


def _refused(check: Check, why: str) -> AuditError:
    return AuditError(f"check {check.name!r}{why}", "Mend or uninstall the package of that check.")


def passes_of(probe: Probe) -> tuple[int, int]:
    """The most forward and backward passes that making it may take of its target, by item."""
    forward, backward = getattr(probe, "passes", (0, 0))
    return forward, backward
