"""The evidence: the machine record of an audit, of which every certificate is only a rendering.

`body` holds what was examined, under which rules, and what came out: no clock, no file name, no host, so that its
digest, the certificate id, is the same whenever and wherever the same audit is run with the same libraries and
threads. `run` holds the circumstances.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, ValidationError, model_validator

from audit import digest, grounds
from audit.errors import AuditError
from audit.records import DataName, DataRecord, ModelRecord, Record, RoleName, Sha256, TaskRecord, Tool

SCHEMA: Literal["prune-audit/evidence/1"] = "prune-audit/evidence/1"

VerdictName = Literal["PASS", "CONDITIONAL PASS", "CONDITIONAL FAIL", "NOT EVALUATED", "FAIL"]
Kept = Literal["outputs", "comparisons"]
SettingsRecord = dict[str, dict[str, JsonValue]]
"""Settings of checks, by check."""


class ProbeRecord(Record):
    """Inputs that the models saw."""

    name: str
    sha256: Sha256
    data: DataName = "test"
    draws: int = Field(1, description="times every item was perturbed")
    min_effect: float = Field(0.0, description="share of the items that it promised to change, and did")
    target: RoleName | None = Field(
        None, exclude_if=lambda role: role is None, description="the model that it was made on, if on one"
    )
    passes: tuple[int, int] = Field(
        (0, 0),
        exclude_if=lambda most: not any(most),
        description="forward and backward passes that making it may take of the target, by item",
    )
    kept: Kept = Field(
        "outputs", description="what the ledger holds: each model's outputs, or only how they compare (ledger budget)"
    )
    description: str


class PartialRecord(Record):
    """What a partial run leaves out; nothing that comes of it is accepted."""

    skipped: tuple[str, ...] = Field(description="checks that do not run")
    left_out: tuple[str, ...] = Field(description="everything that is left out, in words")

    @property
    def sentence(self) -> str:
        """What page 1 says of it."""
        return f"partial run, for a quick look; left out: {'; '.join(self.left_out) or 'nothing, this time'}"


class PlanRecord(Record):
    """What was fixed before the first forward pass."""

    sha256: Sha256
    task: TaskRecord = TaskRecord()
    outputs: tuple[int, ...] = Field((), description="shape of what a model gives for one item")
    chunk: int
    batch: int
    probes: tuple[ProbeRecord, ...]
    checks: tuple[str, ...]
    claims: int = Field(description="claims promised")
    partial: PartialRecord | None = Field(None, description="for a quick look: parts were left out on purpose")

    @property
    def skipped(self) -> tuple[str, ...]:
        """Checks that were left out on purpose."""
        return () if self.partial is None else self.partial.skipped


class CriterionRecord(Record):
    """A limit, in the unit that people read."""

    claim: str
    sense: Literal["at_most", "at_least"]
    limit: float
    unit: str
    required: bool
    why: str
    standing: bool = Field(False, description="part of every policy; says nothing about the pair of models")
    of_pair: bool = Field(True, description="says something about the candidate; without such a one nothing passes")
    only_where_reference_holds: bool = Field(False, description="does not apply where the reference itself fails")


class WaiverRecord(Record):
    """Somebody's decision to ship in spite of a criterion; the criterion keeps its verdict."""

    id: str
    claim: str
    reason: str
    by: str
    expires: str = Field(description="last day on which it counts, ISO 8601")


class PolicyRecord(Record):
    """The rules, with every limit in force."""

    id: str
    title: str
    source: Literal["built-in", "file"]
    sha256: Sha256 = Field(description="digest of the meaning: comments and layout of the file do not count")
    alpha: float
    accept: tuple[VerdictName, ...]
    reference_floor: float = Field(description="accuracy the reference must be proven to have on clean data, percent")
    floor_share: float = Field(50.0, description="elsewhere: share of its clean accuracy, percent")
    criteria: tuple[CriterionRecord, ...]
    waivers: tuple[WaiverRecord, ...] = ()
    checks: tuple[str, ...] | None = Field(None, description="the checks that run; null is all")
    recheck_reused: float = Field(0.0, description="percent of what an earlier audit lends that is measured again")
    settings: SettingsRecord = Field({}, description="settings of checks, as the policy gives them")
    left_out: tuple[str, ...] = Field(
        (), exclude_if=lambda claims: not claims,  # so that evidence from before there was any stays what it is
        description="criteria without a claim in this audit, because its data or images cannot have one",
    )  # fmt: skip


class ExemplarRecord(Record):
    """An item that shows a finding."""

    id: Sha256 = Field(description="digest of the item")
    place: int = Field(description="among the distinct items of its data set, from 0")
    label: str
    reference: str = Field(description="what the reference names it")
    candidate: str = Field(description="what the candidate names it")
    sure_reference: float = Field(description="probability that the reference gives to its name")
    sure_candidate: float = Field(description="probability that the candidate gives to its name")


class FindingRecord(Record):
    """A claim with its measured value; estimate and bounds are in `unit`."""

    claim: str
    title: str
    unit: str
    better: Literal["at_most", "at_least"]
    method: str
    meaning: str = Field("", description="definition of the metric")
    n: int = Field(0, description="items; 0 where nothing was measured")
    estimate: float | None = None
    lower: float | None = Field(None, description="one-sided bound at the policy's alpha")
    upper: float | None = Field(None, description="one-sided bound at the policy's alpha")
    statistic: dict[str, int | float | str] = Field({}, description="sufficient statistic, by kind")
    missing: str | None = Field(None, description="reason code where nothing was measured")
    detail: str = ""
    exemplars: tuple[ExemplarRecord, ...] = Field(
        (), exclude_if=lambda items: not items, description="some of the items behind it"
    )


class MoreItems(Record):
    """How many items in all would give an 80 % chance of PASS at the observed rates; a forecast, not a promise."""

    hopeless: bool = Field(description="the estimate lies beyond the limit: more items are not expected to help")
    about: int | None = None
    low: int | None = Field(None, description="at rates a tenth of such forecasts would have found too low")
    high: int | None = Field(None, description="null: more than a million, or never")


class DecisionRecord(Record):
    """A criterion with its verdict; limit, estimate, bounds and margin are in `unit`."""

    claim: str
    title: str
    unit: str
    sense: Literal["at_most", "at_least"]
    limit: float
    required: bool
    why: str
    n: int
    estimate: float | None
    lower: float | None
    upper: float | None
    margin: float | None = Field(description="distance of the estimate from the limit; negative is beyond it")
    method: str
    p_pass: float | None
    p_fail: float | None
    p_fail_holm: float | None
    p_pass_adverse: float | None = Field(None, description="p_pass with every near tie counted against the candidate")
    verdict: VerdictName
    reason: str
    detail: str
    applicable: bool = Field(True, description="false where the reference itself fails and the policy foresees it")
    waiver: str | None = Field(None, description="id of the waiver that takes it out of the overall verdict")
    more_items: MoreItems | None = Field(None, description="conditional verdicts: what would probably settle it")

    @property
    def counts(self) -> bool:
        """Whether the overall verdict rests on it."""
        return self.required and self.applicable and not self.waiver


class VerdictRecord(Record):
    """The answer."""

    overall: VerdictName
    reason: str
    accepted: bool = Field(description="the policy accepts this verdict, and nothing below forbids it")
    exploratory: bool = Field(description="judged by another policy, or another program, than before the run")
    exit_code: int
    counts: dict[VerdictName, int] = Field(description="required criteria by verdict")


class Body(Record):
    """What is certified; its digest is the certificate id."""

    tool: Tool
    models: tuple[ModelRecord, ...]
    data: tuple[DataRecord, ...]
    plan: PlanRecord
    policy: PolicyRecord
    declared_accuracy: float | None = Field(None, description="of the reference, in percent, by the audit file")
    packages: dict[str, str] = Field({}, description="libraries that the networks ran with")
    findings: tuple[FindingRecord, ...]
    decisions: tuple[DecisionRecord, ...]
    verdict: VerdictRecord
    deviations: tuple[str, ...] = Field(description="what departs from a plain run, one sentence each")
    not_covered: tuple[str, ...] = Field(description="what this audit says nothing about")

    @model_validator(mode="after")
    def _has_grounds(self) -> "Body":
        """A record that says otherwise than its own parts is no evidence."""
        grounds.require(self)
        return self


class Parties(Record):
    """Who is involved, from the audit file; an empty entry prints as 'not stated'."""

    organisation: str = ""
    requester: str = ""
    prepared_by: str = ""
    authorised_by: str = ""


class Run(Record):
    """The circumstances: true, but no part of what is certified."""

    started: str = Field(description="UTC, ISO 8601")
    finished: str
    seconds: dict[str, float] = Field(description="wall time per stage")
    passes: dict[RoleName, int] = Field(description="items that went through each model in this run")
    attacks: dict[str, float] = Field(
        {},
        exclude_if=lambda taken: not taken,
        description="milliseconds that making each attack took for an item of its data in this run, by probe",
    )
    reused: tuple[str, ...] = Field(description="observation files taken from earlier audits, by key")
    host: dict[str, str | int]
    packages: dict[str, str] = Field(description="libraries that decided and rendered")
    names: dict[RoleName | DataName, str] = Field(description="what the files are called")
    selftest: str | None = Field(None, description="digest of the last self-test of this installation, if it passed")
    command: tuple[str, ...]
    parties: Parties


class Evidence(Record):
    """`evidence.json`."""

    format: Literal["prune-audit/evidence/1"] = SCHEMA
    id: Sha256 = Field(description="SHA-256 over the canonical form (RFC 8785) of body")
    body: Body
    run: Run

    def to_bytes(self) -> bytes:
        """The canonical file content."""
        return digest.canonical(self.model_dump(mode="json"))


def seal(body: Body, run: Run) -> Evidence:
    """Name the body by its digest."""
    return Evidence(id=digest.of_json(body.model_dump(mode="json")), body=body, run=run)


def load(path: Path) -> Evidence:
    """Read an evidence file; raises AuditError when it is unreadable, malformed or not what its id says."""
    hint = "Name the evidence.json that `prune-audit run` wrote."
    try:
        content = path.read_bytes()
        evidence = Evidence.model_validate_json(content)
        found = seal(evidence.body, evidence.run).id
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", hint) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise AuditError(f"{path}: not an evidence file ({where}: {first['msg']})", hint) from error
    except ValueError as error:
        raise AuditError(f"{path}: not an evidence file ({error})", hint) from error
    if evidence.to_bytes() != content:
        raise AuditError(
            f"{path}: is not in the canonical form of this version",
            "It was altered, or is of another version: run again.",
        )
    if found != evidence.id:
        raise AuditError(f"{path}: its content does not match its id", "The file was altered; run the audit again.")
    return evidence
