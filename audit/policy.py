"""Policies: the limits a safety team owns, read from TOML and resolved against the claims of a plan."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from audit import configuration, digest
from audit.configuration import Settings
from audit.digest import Json
from audit.errors import AuditError
from audit.evidence import CriterionRecord, PolicyRecord
from audit.plan import Asked
from audit.storage import exists
from audit.types import Claim, Criterion, Metric, Policy, Sense, Unit, Verdict

BUILT_IN = Path(__file__).parent / "policies"
FLOOR = Claim("reference.accuracy")
MANDATORY = (
    CriterionRecord(
        claim="integrity.nonfinite@role=reference", sense="at_most", limit=0, unit=Unit.ITEMS, required=True,
        standing=True,
        why="an output that is no number is no decision",
    ),
    CriterionRecord(
        claim="integrity.nonfinite@role=candidate", sense="at_most", limit=0, unit=Unit.ITEMS, required=True,
        standing=True,
        why="an output that is no number is no decision",
    ),
    CriterionRecord(
        claim="integrity.empty_classes", sense="at_most", limit=0, unit=Unit.ITEMS, required=True,
        standing=True,
        why="nothing can be said about a class without items",
    ),
    CriterionRecord(
        claim="integrity.duplicates", sense="at_most", limit=0.1, unit=Unit.PERCENT, required=True,
        standing=True,
        why="copies of an item are no further evidence",
    ),
)  # fmt: skip
"""Criteria of every policy; no file can remove or waive them."""


class CriterionEntry(Settings):
    """One limit: `claim = "accuracy.drop"`, `at_most = 1.0`, `unit = "points"`."""

    claim: str
    at_most: float | None = None
    at_least: float | None = None
    unit: Unit = Field(description="unit of the limit; it must be the metric's own")
    required: bool = True
    why: str = ""

    @model_validator(mode="after")
    def _one_limit(self) -> "CriterionEntry":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give exactly one of at_most and at_least")
        Claim.parse(self.claim)
        return self

    def record(self) -> CriterionRecord:
        """The entry as evidence, its claim id in normal form."""
        limits = {Sense.AT_MOST: self.at_most, Sense.AT_LEAST: self.at_least}
        sense, limit = next((sense, limit) for sense, limit in limits.items() if limit is not None)
        return CriterionRecord(
            claim=Claim.parse(self.claim).id, sense=sense.value, limit=limit, unit=self.unit,
            required=self.required, why=self.why,
        )  # fmt: skip


class ReferenceFloor(Settings):
    """Below this accuracy of the reference nothing can be said about a drop; all figures in percent.

    The floor is the largest of `clean`, `times_chance` × chance level, and the accuracy declared for the
    reference in the audit file minus `below_declared`. Twice the chance level of two classes would be 100 %: what
    chance demands ends halfway between chance and perfection.
    """

    clean: float = Field(70.0, gt=0, lt=100)
    times_chance: float = Field(0.0, ge=0)
    below_declared: float = Field(1.0, ge=0, lt=100)

    def resolve(self, classes: int, declared: float | None) -> float:
        """The floor as a fraction."""
        chance = 100 / classes
        demanded = min(self.times_chance * chance, (100 + chance) / 2)
        floor = max(self.clean, demanded, -math.inf if declared is None else declared - self.below_declared)
        if floor >= 100:
            raise AuditError(
                f"the reference floor would be {floor:g} %, which no reference can exceed",
                "Correct declared_accuracy in the audit file or reference_floor in the policy.",
            )
        return floor / 100


class PolicyFile(Settings):
    """`policy.toml`."""

    format: Literal["prune-audit/policy/1"]
    id: str = Field(min_length=1)
    title: str = ""
    alpha: float = Field(gt=0, le=0.1, description="one-sided error probability of every verdict")
    accept: tuple[Literal["PASS"]] | tuple[Literal["PASS"], Literal["CONDITIONAL PASS"]] = ("PASS",)
    reference_floor: ReferenceFloor = ReferenceFloor()
    criterion: tuple[CriterionEntry, ...] = ()


def read(name: str, base: Path) -> tuple[PolicyFile, str, str]:
    """(policy, its text, its name) of a built-in policy such as `standard` or `standard/1`, or of a file."""
    built_in = available()
    path = built_in.get(name, base / name)
    if not exists(path):
        hint = configuration.did_you_mean(Path(name).name, set(built_in))
        raise AuditError(f"policy {name!r}: neither a built-in policy nor a file", hint)
    text = configuration.read_text(path)
    policy = configuration.parse(text, path.name, PolicyFile)
    if name not in built_in and policy.id in built_in:
        raise AuditError(
            f"{path}: calls itself {policy.id!r}, the name of a built-in policy", "Give it an id of its own."
        )
    return policy, text, path.name


def available() -> dict[str, Path]:
    """Built-in policies by name, each also under its bare name for the newest version."""
    found: dict[str, Path] = {}
    for path in sorted(BUILT_IN.glob("*.toml"), key=lambda p: (len(p.stem), p.stem)):
        name, _, version = path.stem.rpartition("-")
        found[name] = found[f"{name}/{version}"] = path
    return found


def resolve(
    policy: PolicyFile, text: str, source: str, metrics: Mapping[str, Metric], claims: frozenset[Claim],
    classes: int, declared: float | None,
) -> PolicyRecord:  # fmt: skip
    """Bind a policy to a plan: every criterion must name a promised claim, in its unit, and be able to fail."""
    floor = policy.reference_floor.resolve(classes, declared)
    own = [entry.record() for entry in policy.criterion]
    for record in own:
        _check(record, text, source, metrics, claims)
    criteria = (*MANDATORY, _floor_criterion(floor), *own)
    keys = [(record.claim, record.sense) for record in criteria]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        own_rule = "; that of the reference is set by [reference_floor]" if twice[0] == FLOOR.id else ""
        raise AuditError(f"{source}: {twice[0]} has two limits of the same kind{own_rule}", "Keep the one that counts.")
    meaning: dict[str, Json] = {
        "alpha": policy.alpha,
        "accept": sorted(policy.accept),
        "reference_floor": floor,
        "criteria": [record.model_dump(exclude={"why"}) for record in sorted(criteria, key=lambda c: c.claim)],
    }
    return PolicyRecord(
        id=policy.id, title=policy.title, source="built-in" if policy.id in available() else "file",
        sha256=digest.of_json(meaning), alpha=policy.alpha, accept=tuple(sorted(policy.accept)),
        reference_floor=floor * 100, criteria=criteria,
    )  # fmt: skip


def bind(name: str, base: Path, asked: Asked, declared: float | None) -> PolicyRecord:
    """Read a policy by name or path and resolve it against what the checks promise."""
    file, text, label = read(name, base)
    classes = len(asked.context.classes)
    return resolve(file, text, label, asked.metrics, frozenset(asked.claims), classes, declared)


def _floor_criterion(floor: float) -> CriterionRecord:
    return CriterionRecord(
        claim=FLOOR.id, sense="at_least", limit=floor * 100, unit=Unit.PERCENT, required=True,
        standing=True,
        why="a drop from a reference that does not work itself proves nothing",
    )  # fmt: skip


def _check(
    record: CriterionRecord, text: str, source: str, metrics: Mapping[str, Metric], claims: frozenset[Claim]
) -> None:
    claim = Claim.parse(record.claim)
    where = f"{source}{configuration.line_of(text, record.claim)}"
    if claim not in claims:
        raise AuditError(
            f"{where}: criterion {record.claim!r} names no claim of this audit",
            configuration.did_you_mean(record.claim, {known.id for known in claims}),
        )
    metric = metrics[claim.metric]
    if record.unit != metric.unit:
        raise AuditError(f"{where}: {claim.id} is in {metric.unit}, not in {record.unit}", "Correct the unit.")
    if record.sense != metric.better:
        raise AuditError(f"{where}: {claim.id} is limited by {metric.better}", f"Write {metric.better} instead.")
    low, high = metric.low * metric.unit.scale, metric.high * metric.unit.scale
    if not low < record.limit < high:
        raise AuditError(
            f"{where}: {claim.id} lies between {low:g} and {high:g} {metric.unit}; "
            f"a limit of {record.limit:g} cannot fail, or cannot pass",
            "Set a limit strictly inside the range.",
        )


def rules(record: PolicyRecord) -> Policy:
    """The inner form that decides: fractions instead of percentages."""
    criteria = tuple(
        Criterion(
            Claim.parse(c.claim),
            Sense(c.sense),
            c.limit / Unit(c.unit).scale,
            required=c.required,
            why=c.why,
            standing=c.standing,
        )
        for c in record.criteria
    )
    accept = frozenset(map(Verdict, record.accept))
    return Policy(record.id, record.alpha, accept, record.reference_floor / 100, criteria)


def slug(name: str) -> str:
    """A policy's id as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60]
