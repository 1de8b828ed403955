"""The plan: everything that is fixed, and written down, before the first forward pass."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from audit import digest, grounds, sizes
from audit.asking import Asked, passes_of
from audit.comparisons import Settled
from audit.contracts import Probe
from audit.dataset import Attribute
from audit.digest import Json
from audit.errors import AuditError
from audit.evidence import Kept, PartialRecord, Parties, PlanRecord, PolicyRecord, ProbeRecord
from audit.findings import Missing
from audit.perturbing import target_of, untouched
from audit.records import DataName, DataRecord, ModelRecord, Record, RoleName, Sha256, TaskRecord, Tool
from audit.storage import exists, require_free, write_atomic
from audit.types import DataRole, Role, role_of

FILE = "plan.json"


class PlanFile(Record):
    """Who is examined, on what, by which rules; its digest names the audit."""

    format: Literal["prune-audit/plan/1"] = "prune-audit/plan/1"
    tool: Tool
    models: tuple[ModelRecord, ...]
    data: tuple[DataRecord, ...]
    attributes: dict[str, str] = Field(
        {}, exclude_if=lambda found: not found, description="which value each test item has, as Attribute.text"
    )
    plan: PlanRecord
    policy: PolicyRecord
    declared_accuracy: float | None
    packages: dict[str, str]
    deviations: tuple[str, ...]
    names: dict[RoleName | DataName, str]
    parties: Parties

    @property
    def meaning(self) -> dict[str, Json]:
        """Everything but names, which change no result."""
        return self.model_dump(mode="json", exclude={"names", "parties"})

    def model(self, role: Role) -> ModelRecord:
        return next(model for model in self.models if model.role == role)

    def probe(self, sha256: str) -> ProbeRecord:
        """The planned probe of this digest; raises KeyError where there is none."""
        found = next((probe for probe in self.plan.probes if probe.sha256 == sha256), None)
        if found is None:
            raise KeyError(f"probe {sha256} was not asked for")
        return found

    def record_of(self, probe: Probe) -> ProbeRecord:
        """What the plan says of a probe; raises KeyError for one that was not asked for."""
        return self.probe(digest.of_json(probe.canonical()))

    def dataset(self, name: DataName) -> DataRecord:
        """The data set of this name; raises AuditError where the audit has none."""
        found = next((data for data in self.data if data.role == name), None)
        if found is None:
            raise sizes.no_data(name)
        return found

    def described(self, name: DataName) -> Mapping[str, Attribute]:
        """What is said of the items of a data set, by attribute: of the test items, corrupted or not, if in line."""
        test = self.dataset(DataRole.TEST)
        in_line = name == DataRole.TEST or (role_of(name) is DataRole.CORRUPTED and self.plan.partial is None)
        try:
            described = (
                Attribute.of_text(each.name, each.values, self.attributes.get(each.name, "")).known(
                    test.sha256, each.sha256
                )
                for each in test.attributes
            )
            return {each.name: each for each in described} if in_line else {}
        except ValueError as error:
            raise AuditError(f"the plan: attribute {error}", "Run the audit again in a new folder.") from error

    def shown(self, probe: ProbeRecord) -> tuple[Role, ...]:
        """The models that see a probe: of an origin nobody asks more than what it answers to the items as they are."""
        roles = tuple(Role(model.role) for model in self.models)
        clean = untouched(probe) and probe.kept == "outputs"
        return roles if clean else tuple(role for role in roles if role is not Role.ORIGIN)

    def watched_values(self, probe: ProbeRecord) -> tuple[int, ...]:
        """How many values of a layer each model leaves of an item under a probe, if any."""
        found = [self.model(role).adapter.watched for role in self.shown(probe)] if untouched(probe) else []
        return tuple(each.values for each in found if each is not None)

    def keys(self, role: Role, probe: ProbeRecord) -> Iterator[str]:
        """Observation keys of one model under one probe, chunk by chunk.

        A key covers whatever can change an output: model, adapter, runtime, libraries, data, sources, the probe and
        the model that it is made on.
        """
        return self._of_chunks(self._base(role), probe)

    def pair_keys(self, other: Role, probe: ProbeRecord, settled: Mapping[Role, Settled]) -> Iterator[str]:
        """Keys of the comparisons of the reference with another model, chunk by chunk.

        They also cover what the comparison rests on: the kinds of the outputs, and the noise of the runtimes.
        """
        pair = {role.value: self._base(role) for role in (Role.REFERENCE, other)}
        known: dict[str, Json] = {
            role.value: [_kind(settled[role]), settled[role].noise] for role in (Role.REFERENCE, other)
        }
        task = self.plan.task.model_dump(mode="json")
        return self._of_chunks({"pair": pair, "settled": known, "task": task}, probe)

    def _of_chunks(self, base: Mapping[str, Json], probe: ProbeRecord) -> Iterator[str]:
        data = self.dataset(probe.data)
        whole = {**base, **self._aim(probe), "probe": probe.sha256, "data": data.sha256}
        chunks = -(-data.items // self.chunk_of(probe.data))
        return (digest.of_json({**whole, "index": index}) for index in range(chunks))

    def chunk_of(self, data: DataName) -> int:
        """Items that are stored together: of a sample one batch, for what is done to a sample takes long."""
        return self.plan.batch if role_of(data) is DataRole.SAMPLE else self.plan.chunk

    def parity_key(self, role: Role) -> str:
        """Key of how far apart a model's answers to the same items of the test set were found to lie."""
        return digest.of_json({**self._base(role), "inspection": "parity", "data": self.dataset("test").sha256})

    def failure_key(self, probe: ProbeRecord) -> str:
        """Key of a probe's failure: it concerns no model but the one that it is made on."""
        base: dict[str, Json] = {"packages": self.packages, "sources": self.tool.sources_sha256, **self._aim(probe)}
        return digest.of_json({**base, "failed": probe.sha256, "data": self.dataset(probe.data).sha256})

    def _aim(self, probe: ProbeRecord) -> dict[str, Json]:
        if probe.target is None:
            return {}
        role = Role(probe.target)
        # How an attack reads what its target gives hangs on what that is declared to be.
        return {"target": self._base(role), "outputs": self.model(role).adapter.outputs}

    def _base(self, role: Role) -> dict[str, Json]:
        """What can change an output of a model, besides what it is shown."""
        model = self.model(role)
        return {
            "model": model.sha256,
            "adapter": model.adapter.model_dump(mode="json", exclude={"outputs"}),
            "runtime": model.runtime,
            "packages": self.packages,
            "chunk": self.plan.chunk,
            "batch": self.plan.batch,
            "sources": self.tool.sources_sha256,
        }


def _kind(settled: Settled) -> str:
    return settled.kind.reason if isinstance(settled.kind, Missing) else settled.kind.value


@dataclass(frozen=True, slots=True)
class Frame:
    """How observations are cut and kept: items of a chunk and of a batch, what is stored of each probe."""

    task: TaskRecord
    outputs: tuple[int, ...]
    chunk: int
    batch: int
    stored: Sequence[Kept]


def record(asked: Asked, checks: Sequence[str], frame: Frame, partial: PartialRecord | None) -> PlanRecord:
    """The plan as evidence; raises AuditError where no probe remains."""
    if not asked.probes:
        raise AuditError("the checks that are to run need no network", "Let further checks run.")
    probes = tuple(
        ProbeRecord(
            name=p.name,
            sha256=digest.of_json(p.canonical()),
            data=str(p.data),
            draws=p.draws,
            min_effect=p.min_effect,
            target=_value(target_of(p)),
            passes=passes_of(p),
            kept=what,
            description=p.describe(),
        )
        for p, what in zip(asked.probes, frame.stored, strict=True)
    )
    claims = [claim.id for claim in asked.claims]
    unnamed = PlanRecord(
        sha256="0" * 64, task=frame.task, outputs=frame.outputs, chunk=frame.chunk, batch=frame.batch, probes=probes,
        checks=tuple(checks), claims=len(claims), partial=partial,
    )  # fmt: skip
    return unnamed.model_copy(update={"sha256": grounds.plan_digest(unnamed, claims)})


def _value(role: Role | None) -> RoleName | None:
    return None if role is None else role.value


class SealedPlan(Record):
    """`plan.json`: a plan and the digest that shows an edit."""

    plan: PlanFile
    sha256: Sha256


def require_place(folder: Path) -> None:
    """Raise AuditError for a folder that holds anything but an audit; nothing is written."""
    if not exists(folder / FILE):
        require_free(folder)


def fix(plan: PlanFile, folder: Path) -> None:
    """Write the plan down, or find the very same one there; another audit's folder is refused."""
    require_place(folder)
    path = folder / FILE
    if exists(path):
        difference = _difference(load(folder).meaning, plan.meaning)
        if difference:
            raise AuditError(
                f"{folder}: holds another audit (its {difference} differs)",
                "Choose another --out. To judge its results by another policy, use `prune-audit judge`.",
            )
    sealed = SealedPlan(plan=plan, sha256=_seal(plan))
    write_atomic(path, digest.canonical(sealed.model_dump(mode="json")))


def load(folder: Path) -> PlanFile:
    """The plan in an output folder; raises AuditError where there is none, or an edited one."""
    path = folder / FILE
    try:
        sealed = SealedPlan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise AuditError(f"{path}: cannot be read ({error.strerror})", "Name a folder that an audit wrote.") from error
    except ValueError as error:
        raise AuditError(f"{path}: is not a plan of this version", "Run the audit again in a new folder.") from error
    if _seal(sealed.plan) != sealed.sha256:
        raise AuditError(f"{path}: was altered", "Run the audit again in a new folder.")
    return sealed.plan


def _seal(plan: PlanFile) -> str:
    return digest.of_json(plan.model_dump(mode="json"))


def _difference(a: Json, b: Json, name: str = "") -> str:
    """The dotted name of the first value in which two plans differ; '' when they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        parts = (_difference(a.get(k), b.get(k), f"{name}.{k}".lstrip(".")) for k in sorted({*a, *b}))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        parts = (_difference(x, y, f"{name}.{i}") for i, (x, y) in enumerate(zip(a, b, strict=True)))
    else:
        return "" if a == b else name
    return next(filter(None, parts), "")
