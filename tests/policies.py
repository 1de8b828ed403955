"""Policies as text, and checks that promise claims without measuring them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audit import asking, policy
from audit.asking import Asked
from audit.contracts import Ask, Context, LedgerView
from audit.findings import Finding, Kind, Metric
from audit.policy import Source
from audit.types import PAIR, Claim, Role, Sense, Unit

HEAD = 'format = "prune-audit/policy/1"\nid = "house/1"\nalpha = 0.05\n'
NOISE = tuple((noise, f"{level}/255") for noise in ("uniform", "gaussian") for level in (2, 4, 16))


def criterion(claim: str, at_most: float = 2.0, more: str = "") -> str:
    """A criterion in points."""
    return f'\n[[criterion]]\nclaim = "{claim}"\nat_most = {at_most}\nunit = "points"\n{more}'


def waiver(claim: str = "accuracy.drop", **other: str) -> str:
    """A waiver that counts until the end of 2030, with other values as TOML."""
    values = {
        "id": '"W-1"',
        "reason": '"known, and mitigated"',
        "by": '"Release Board"',
        "expires": "2030-12-31",
        **other,
    }
    return f'\n[[waiver]]\nclaim = "{claim}"\n' + "".join(f"{key} = {value}\n" for key, value in values.items())


def noisy(noise: str, level: str) -> str:
    """The claim of a drop under noise."""
    return f"accuracy.drop@level={level},noise={noise}"


def metric(name: str, unit: Unit = Unit.POINTS, low: float = -1.0, better: Sense = Sense.AT_MOST) -> Metric:
    return Metric(name, name, unit, low, 2.0**53 if unit is Unit.ITEMS else 1.0, better, Kind.PAIRED, "")


INTEGRITY = (
    metric("integrity.nonfinite", Unit.ITEMS, 0.0),
    metric("integrity.empty_classes", Unit.ITEMS, 0.0),
    metric("integrity.duplicates", Unit.PERCENT, 0.0),
    metric("integrity.near_ties", Unit.PERCENT, 0.0),
)
ACCURACY = (metric("reference.accuracy", Unit.PERCENT, 0.0, Sense.AT_LEAST), metric("accuracy.drop"))


@dataclass
class Promising:
    """A check that promises these claims."""

    name: str
    metrics: tuple[Metric, ...]
    claims: Sequence[str]
    summary: str = ""

    def ask(self, context: Context, /) -> Ask:
        return Ask((), tuple(map(Claim.parse, self.claims)))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        raise AssertionError("nothing is measured here")


@dataclass
class Plan:
    """What the checks of an audit promise; `without` leaves claims out, `more` adds some to the noise check's."""

    roles: tuple[Role, ...] = PAIR
    without: frozenset[str] = frozenset()
    more: tuple[str, ...] = ()
    integrity: tuple[Metric, ...] = INTEGRITY
    classes: tuple[str, ...] = field(default=tuple("abcdefghij"))

    def asked(self) -> Asked:
        per_role = [f"integrity.nonfinite@role={role}" for role in self.roles]
        near = [f"integrity.near_ties@role={role}" for role in self.roles]
        claims = [*per_role, *near, "integrity.duplicates", "integrity.empty_classes"]
        noise = [*(noisy(*cell) for cell in NOISE), *self.more]
        checks = [
            Promising("integrity", self.integrity, [claim for claim in claims if claim not in self.without]),
            Promising("accuracy", ACCURACY, ["reference.accuracy", "accuracy.drop"]),
            Promising("noise", ACCURACY[1:], noise),
        ]
        return asking.ask(checks, Context(self.classes, self.roles))


def written(folder: Path, *parts: str, head: str = HEAD) -> Source:
    """A policy file that was read."""
    (folder / "policy.toml").write_text(head + "".join(parts))
    return policy.read("policy.toml", folder)
