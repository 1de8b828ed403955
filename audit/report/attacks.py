"""What attacks found, as the certificate prints it: accuracy under each and under the worst, and signs of masking."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit.evidence import Evidence, FindingRecord
from audit.report import numbers, scopes
from audit.types import Claim

_ATTACKS = ("white-box", "black-box", "transfer")
_ROLES = ("reference", "candidate")
_FLAG = "adversarial.flag"
_COST = ("gradients", "queries")
_TABLED = ("accuracy_under", "reference_accuracy", "candidate_accuracy", "flag", *_COST)
"""Metrics of which nothing is left to say."""


@dataclass(frozen=True, slots=True)
class Line:
    """One radius: what stands of both models, in percent under each attack and then under the worst; and the loss."""

    radius: str
    reference: tuple[str, ...]
    candidate: tuple[str, ...]
    loss: str


@dataclass(frozen=True, slots=True)
class Under:
    """All radii of an audit, the signs of hidden gradients that are there, and what it cost."""

    lines: tuple[Line, ...]
    signs: tuple[str, ...]
    unknown: tuple[str, ...]
    cost: tuple[str, ...]
    claims: frozenset[str]


def told(evidence: Evidence) -> Under | None:
    """What the certificate says of attacks; None where there were none."""
    found = {record.claim: record for record in evidence.body.findings if record.claim.startswith("adversarial.")}
    radii = sorted({scopes.parsed(claim).scope for claim in found if claim.startswith("adversarial.drop@")},
                   key=scopes.order)  # fmt: skip
    if not radii:
        return None
    flags = [(dict(scopes.parsed(claim).scope), record) for claim, record in found.items() if claim.startswith(_FLAG)]
    return Under(
        lines=tuple(_line(dict(radius), found) for radius in radii),
        signs=tuple(f"{scope['role']}: {_words(scope['flag'])}" for scope, record in flags if record.estimate),
        unknown=tuple(dict.fromkeys(f"{s['role']}: {r.detail or r.missing}" for s, r in flags if r.estimate is None)),
        cost=tuple(_cost(found)),
        claims=frozenset(claim for claim in found if claim.partition("@")[0].partition(".")[2] in _TABLED),
    )


def _line(radius: dict[str, str], found: dict[str, FindingRecord]) -> Line:
    reference, candidate = (
        tuple(_cell(found.get(claim)) for claim in (
            *(_claim("accuracy_under", radius, attack=attack, role=role) for attack in _ATTACKS),
            _claim(f"{role}_accuracy", radius),
        ))
        for role in _ROLES
    )  # fmt: skip
    loss = _cell(found.get(_claim("drop", radius)))
    return Line(f"{radius['norm']} {radius['level']}", reference, candidate, loss)


def _claim(metric: str, scope: dict[str, str], **more: str) -> str:
    return Claim(f"adversarial.{metric}", tuple(sorted({**scope, **more}.items()))).id


def _cell(record: FindingRecord | None) -> str:
    return "–" if record is None else numbers.measured(record.estimate, record.unit)


def _cost(found: dict[str, FindingRecord]) -> Iterator[str]:
    """Passes per item, of each model."""
    for role in _ROLES:
        spent = [found[_claim(metric, {}, role=role)].estimate for metric in _COST]
        known = [f"{each:,.0f}" for each in spent if each is not None]
        if len(known) == len(_COST):
            yield f"{role}: {known[0]} gradients and {known[1]} forward passes an item"


def _words(flag: str) -> str:
    return flag.replace("_", " ")
