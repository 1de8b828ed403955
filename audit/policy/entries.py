"""`policy.toml`: what a person may write, and the checks that need no plan."""

import datetime
import math
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, field_validator, model_validator

from audit import digest
from audit.configuration import Settings
from audit.contracts import Context
from audit.errors import AuditError
from audit.evidence import CriterionRecord, SettingsRecord, WaiverRecord
from audit.policy.patterns import Pattern, special
from audit.types import Claim, Sense, TaskKind, Unit

Text = Annotated[str, StringConstraints(pattern=r"\S")]
"""A text that says something."""


class CriterionEntry(Settings):
    """One limit: `claim = "accuracy.drop"`, `at_most = 1.0`, `unit = "points"`."""

    claim: str = Field(
        description="a claim, as `prune-audit checks NAME` lists them; a value of its scope may be `*`, for every "
        "value, or `$name`, for those of that list"
    )
    at_most: float | None = None
    at_least: float | None = None
    unit: Unit = Field(description="unit of the limit; it must be the metric's own")
    required: bool = Field(True, description="false: advisory, decided and printed without a say in the whole")
    only_where_reference_holds: bool = Field(
        False, description="true: does not apply where the reference itself fails under the same conditions"
    )
    where_possible: bool = Field(
        False, description="true: left out, and named as left out, where the data or the images cannot have the claim"
    )
    why: str = ""

    @model_validator(mode="after")
    def _one_limit(self) -> "CriterionEntry":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give exactly one of at_most and at_least")
        return self

    @field_validator("claim")
    @classmethod
    def _pattern(cls, claim: str) -> str:
        Pattern.parse(claim)
        return claim

    @property
    def pattern(self) -> Pattern:
        """What it sets a limit on."""
        return Pattern.parse(self.claim)

    def record(self, claim: Claim) -> CriterionRecord:
        """The entry as evidence, for one of the claims it names."""
        limits = {Sense.AT_MOST: self.at_most, Sense.AT_LEAST: self.at_least}
        sense, limit = next((sense, limit) for sense, limit in limits.items() if limit is not None)
        return CriterionRecord(
            claim=claim.id, sense=sense.value, limit=limit, unit=self.unit, required=self.required, why=self.why,
            only_where_reference_holds=self.only_where_reference_holds,
        )  # fmt: skip


class ReferenceFloor(Settings):
    """Below this accuracy of the reference nothing can be said about a drop; all figures in percent.

    On clean data the floor is the largest of `clean`, what the best single answer gets right of the test set,
    `times_chance` × chance level, and the accuracy declared for the reference in the audit file minus `below_declared`.
    Twice the chance level of two classes would be 100 %:
    what chance demands ends halfway between chance and perfection. Under every other condition the floor is the
    share `elsewhere` of the reference's own clean accuracy.
    """

    clean: float = Field(70.0, gt=0, lt=100)
    times_chance: float = Field(0.0, ge=0)
    below_declared: float = Field(1.0, ge=0, lt=100)
    elsewhere: float = Field(50.0, gt=0, le=100)

    def resolve(self, context: Context, declared: float | None) -> float:
        """The floor on clean data as a fraction; without classes there is no chance level."""
        chance = 100 / len(context.classes) if context.classes else 0.0
        demanded = min(self.times_chance * chance, (100 + chance) / 2)
        stated = -math.inf if declared is None else declared - self.below_declared
        guessed = math.ceil(10_000 * context.chance) / 100  # two digits: what is printed is what is judged
        floor = max(self.clean, demanded, stated, guessed)
        if floor >= 100 and context.chance == 1:
            raise AuditError(
                "one and the same answer is right for every item of the test set",
                "Use a test set with different answers; for values, a tolerance below their spread.",
            )
        if floor >= 100:
            raise AuditError(
                f"the reference floor would be {floor:g} %, which no reference can exceed",
                "Correct declared_accuracy in the audit file or reference_floor in the policy.",
            )
        return floor / 100


class WaiverEntry(Settings):
    """Somebody's decision to ship in spite of one criterion, until a day."""

    id: Text
    claim: str = Field(description="the claim of the criterion, written out")
    reason: Text
    by: Text = Field(description="who answers for it")
    expires: datetime.date = Field(description="last day on which it counts")

    def record(self) -> WaiverRecord:
        """The entry as evidence; raises ValueError where `claim` is no claim id."""
        return WaiverRecord(
            id=self.id, claim=Claim.parse(self.claim).id, reason=self.reason, by=self.by,
            expires=self.expires.isoformat(),
        )  # fmt: skip

    @field_validator("claim")
    @classmethod
    def _one_claim(cls, claim: str) -> str:
        if special(Claim.parse(claim).id):
            raise ValueError("a waiver is for one criterion: write its claim out")
        return claim


class PolicyFile(Settings):
    """`policy.toml`."""

    format: Literal["prune-audit/policy/1"]
    id: str = Field(min_length=1)
    title: str = ""
    alpha: float = Field(gt=0, le=0.1, description="one-sided error probability of every verdict")
    accept: tuple[Literal["PASS"]] | tuple[Literal["PASS"], Literal["CONDITIONAL PASS"]] = ("PASS",)
    tasks: Annotated[tuple[TaskKind, ...], Field(min_length=1)] | None = Field(
        None, description="the tasks that its limits are for; without this, any whose checks promise their claims"
    )
    checks: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="the checks that run; without this, all"
    )
    settings: dict[str, dict[str, JsonValue]] = Field({}, description="settings of a check, by its name")
    recheck_reused: float = Field(
        0.0, ge=0, le=100, description="percent of what an earlier audit lends that is measured again, at random"
    )
    reference_floor: ReferenceFloor = ReferenceFloor()
    lists: dict[str, Annotated[tuple[Text, ...], Field(min_length=1)]] = Field(
        {}, description="values of a scope, by a name that criteria write as `$name`"
    )
    criterion: tuple[CriterionEntry, ...] = ()
    waiver: tuple[WaiverEntry, ...] = ()

    @field_validator("checks")
    @classmethod
    def _once(cls, checks: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if checks is not None and len(set(checks)) < len(checks):
            raise ValueError("names a check twice")
        return checks

    @field_validator("settings")
    @classmethod
    def _representable(cls, settings: SettingsRecord) -> SettingsRecord:
        digest.canonical(settings)
        return settings

    @field_validator("lists")
    @classmethod
    def _values(cls, lists: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, values in lists.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names a value twice")
            if any(map(special, values)):
                raise ValueError(f"{name}: a list holds plain values, without `*` and `$`")
        return lists
