"""`audit.toml`: which models, which data, which policy; paths are relative to the file."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from audit import configuration
from audit.configuration import Settings
from audit.entries import TARGET, Data, FileName, Numbers
from audit.errors import AuditError
from audit.evidence import Parties
from audit.models.adapter import Dtype, Layout, Preprocessing
from audit.policy import available
from audit.records import TaskRecord
from audit.types import PAIR, OutputKind, Role, TaskKind

IGNORED = 255
"""What masks commonly hold where nothing is to be named, as those of Pascal VOC do."""
Size = Annotated[int, Field(ge=1)]


class PreprocessingEntry(Settings):
    """What the networks were trained on; the program hands them pixels in [0, 1] and applies this inside."""

    layout: Layout = "NCHW"
    range: tuple[float, float] = (0.0, 1.0)
    mean: Numbers = ()
    std: Numbers = ()
    resize: tuple[Size, Size] | None = Field(None, description="height and width that the network takes (bilinear)")
    item: tuple[Size, ...] = Field(
        (), description="for weights: the shape of one item where the network takes no image, as [784]"
    )
    dtype: Dtype = Field("auto", description="of the network's input; auto: what the network itself declares")

    @model_validator(mode="after")
    def _sensible(self) -> "PreprocessingEntry":
        if self.range[0] >= self.range[1]:
            raise ValueError("range must be [low, high] with low < high")
        if any(value <= 0 for value in self.std):
            raise ValueError("std must be positive")
        return self

    def resolve(self, channels: int) -> Preprocessing:
        """The adapter for data with this many channels; raises ValueError where mean or std do not fit them."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != channels:
                raise ValueError(f"{name} has {len(values)} values, but the data have {channels} channels")
        return Preprocessing(self.layout, self.range, self.mean, self.std, self.resize, self.item, self.dtype)


class ModelEntry(Settings):
    """One model."""

    model: FileName = Field(description="ONNX file, or weights: a torch state dict or safetensors")
    architecture: Annotated[str, Field(pattern=TARGET)] | None = Field(
        None, description="for weights: `module:factory`, your own code, which gives the torch.nn.Module"
    )
    arguments: dict[str, JsonValue] = Field({}, description="keyword arguments of the factory")
    output: str = Field("", description="the output that counts, where there are several")
    outputs: OutputKind = OutputKind.AUTO
    layer: str = Field(
        "",
        description="a layer whose values are compared too, such as the last but one: of an ONNX file a value or a "
        "node, else a module; of the reference and the candidate, or of none",
    )
    classes: tuple[str, ...] = Field(
        (), description="names of the outputs in their order; they must be those of the other models and of the data"
    )
    preprocessing: PreprocessingEntry | None = Field(None, description="where it differs from [preprocessing]")


class ReferenceEntry(ModelEntry):
    """The trusted parent."""

    declared_accuracy: Annotated[float, Field(gt=1, le=100)] | None = Field(
        None,
        description="in percent; the audit then also proves that the reference is the one it is said to be",
    )


class TaskEntry(Settings):
    """What the models are for."""

    kind: TaskKind = TaskKind.CLASSIFICATION
    ignore: Annotated[int, Field(ge=0, le=32767)] | None = Field(
        None, description="segmentation: label of pixels that count for nothing; without this, 255"
    )
    absolute: Annotated[float, Field(ge=0)] = Field(
        0.0, description="regression, control: how far apart two values are still the same; and"
    )
    relative: Annotated[float, Field(ge=0)] = Field(
        0.0, description="so much more, as a part of the value that the other is compared with"
    )
    rule: Literal["argmin", "argmax"] | None = Field(None, description="control: which output decides")

    @model_validator(mode="after")
    def _sensible(self) -> "TaskEntry":
        valued, tolerant = self.kind in (TaskKind.REGRESSION, TaskKind.CONTROL), self.absolute > 0 or self.relative > 0
        if valued and not tolerant:
            raise ValueError(f"{self.kind} needs a tolerance: absolute or relative above 0")
        if tolerant and not valued:
            raise ValueError(f"{self.kind} has no tolerance: remove absolute and relative")
        if self.kind is TaskKind.CONTROL and self.rule is None:
            raise ValueError('control needs rule = "argmin" or "argmax": the output that decides')
        if self.kind is not TaskKind.CONTROL and self.rule is not None:
            raise ValueError(f"{self.kind} has no rule: remove it")
        if self.kind is not TaskKind.SEGMENTATION and self.ignore is not None:
            raise ValueError(f"{self.kind} has no pixels to ignore: remove ignore")
        return self

    @property
    def record(self) -> TaskRecord:
        """As evidence."""
        return TaskRecord(
            kind=self.kind.value, ignore=IGNORED if self.ignore is None else self.ignore, absolute=self.absolute,
            relative=self.relative, rule=self.rule or "argmin",
        )  # fmt: skip


class AuditFile(Settings):
    """The subjects of an audit."""

    format: Literal["prune-audit/audit/1"] = "prune-audit/audit/1"
    policy: str = Field("standard", description="a built-in policy, or a file")
    out: FileName | None = None
    reference: ReferenceEntry
    candidate: ModelEntry
    baseline: ModelEntry | None = Field(None, description="the reference's architecture, trained separately")
    origin: ModelEntry | None = Field(
        None,
        description="what the candidate's file was exported from, such as its torch form; it sees the clean items "
        "alone, and tells the loss by conversion from the loss by pruning",
    )
    task: TaskEntry = TaskEntry()
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        "auto", description="where models run: auto, cpu, cuda or cuda:N; auto is CUDA where there is one"
    )
    preprocessing: PreprocessingEntry = PreprocessingEntry()
    ledger_budget: Annotated[float, Field(ge=0)] = Field(
        4.0,
        description="GB of outputs, and of values of a named layer, kept per model; beyond it only how the models "
        "compare is kept, and nothing of that can be reused for another candidate",
    )
    data: Data
    certificate: Parties = Parties()

    @model_validator(mode="after")
    def _layers_to_compare(self) -> "AuditFile":
        if fault := layers_fault({role for role, entry in self.models().items() if entry.layer}):
            raise ValueError(fault)
        return self

    def models(self) -> dict[Role, ModelEntry]:
        """The models that take part."""
        named: dict[Role, ModelEntry | None] = {role: getattr(self, role.value) for role in Role}
        return {role: entry for role, entry in named.items() if entry is not None}

    def preprocessing_of(self, entry: ModelEntry) -> PreprocessingEntry:
        """A model's own preprocessing, or the common one."""
        return entry.preprocessing or self.preprocessing


def layers_fault(named: Set[Role]) -> str:
    """Why layers of just these models cannot be compared; '' where they can."""
    if Role.ORIGIN in named:
        return "no layer of the origin is looked at: remove it"
    if named and not named >= {*PAIR}:
        return "a layer is compared with one of the other network: name one of the reference and one of the candidate"
    return ""


def load(path: Path) -> AuditFile:
    """Read an audit file; raises AuditError on anything that is not understood."""
    return configuration.load(path, AuditFile)


@dataclass(frozen=True)
class Flags:
    """What the command line says; None where it says nothing."""

    reference: Path | None = None
    candidate: Path | None = None
    baseline: Path | None = None
    data: Path | None = None
    policy: str | None = None
    mean: str | None = None
    std: str | None = None
    layout: str | None = None
    data_layout: str | None = None
    device: str | None = None


_ONLY_WITHOUT_FILE = ("reference", "candidate", "baseline", "data", "mean", "std", "layout", "data_layout")


def combine(file: Path | None, flags: Flags) -> tuple[AuditFile, Path]:
    """An audit file, or its flags, and the folder that its paths are relative to.

    Flags for policy and device win over the file's; naming the subjects twice is refused.
    """
    given = [name for name in _ONLY_WITHOUT_FILE if getattr(flags, name) is not None]
    if file is not None:
        if given:
            raise AuditError(
                f"both an audit file and --{given[0].replace('_', '-')}", "Name the subjects in one place."
            )
        found = load(file)
        if flags.policy is not None:
            found = found.model_copy(update={"policy": _from_here(flags.policy)})
        if flags.device is not None:
            content = {**found.model_dump(mode="json", exclude_unset=True), "device": flags.device}
            found = configuration.validate(content, "--device", AuditFile)
        return found, file.parent
    absent = [name for name in ("reference", "candidate", "data") if getattr(flags, name) is None]
    if absent:
        raise AuditError(
            f"no audit file, and no --{absent[0]}",
            "Write `prune-audit run audit.toml`, or give --reference, --candidate and --data.",
        )
    return _from_flags(flags), Path()


def _from_here(policy: str) -> str:
    """A policy named on the command line: a file there is relative to the working directory.

    A built-in name stays that name: no file of the same name may take its place.
    """
    return policy if policy in available() else str(Path(policy).absolute())


def _from_flags(flags: Flags) -> AuditFile:
    preprocessing = {
        "mean": _numbers("mean", flags.mean),
        "std": _numbers("std", flags.std),
        "layout": _said(flags.layout, "NCHW"),
    }
    content = {
        "policy": _said(flags.policy, "standard"),
        "reference": {"model": flags.reference},
        "candidate": {"model": flags.candidate},
        "baseline": None if flags.baseline is None else {"model": flags.baseline},
        "device": _said(flags.device, "auto"),
        "preprocessing": preprocessing,
        "data": {"test": {"path": flags.data, "layout": _said(flags.data_layout, "auto")}},
    }
    return configuration.validate(content, "the command line", AuditFile)


def _said(flag: str | None, default: str) -> str:
    """A flag's value: an empty one is a value too, and a wrong one."""
    return default if flag is None else flag


def _numbers(name: str, text: str | None) -> Numbers:
    try:
        return tuple(float(part) for part in text.split(",")) if text is not None else ()
    except ValueError as error:
        raise AuditError(f"--{name} {text!r} is not a list of numbers", f"Write --{name} 0.49,0.48,0.45.") from error
