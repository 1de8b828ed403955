"""Opening what an audit is about, and holding its parts against each other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audit import configuration, quarantine, runtime, sizes
from audit.contracts import Model
from audit.data import corrupted, manifest, sources
from audit.data.form import IMAGES, Form
from audit.data.sample import Sample
from audit.dataset import DataSource, Manifest
from audit.digest import Json
from audit.errors import AuditError
from audit.evidence import PartialRecord, Parties
from audit.models import adapter, files, loading, provider
from audit.models.adapter import Features, Preprocessing, Shape, Slot
from audit.models.files import Format
from audit.records import TaskRecord
from audit.request import AuditFile, ModelEntry, layers_fault
from audit.types import DataName, DataRole, OutputKind, Role, TaskKind, label_of, role_of

if TYPE_CHECKING:
    from torch.nn import Module

GB = 10**9
LEDGER_BUDGET = 4.0 * GB
MEMORY = 4 * 2**30
"""Bytes that reading files of others may take, besides eight times the size of the models."""
SECONDS = 1800.0
"""That reading files of others may take, besides as much for each set of corrupted data."""
_COMPARED = frozenset({DataRole.SHIFTED, DataRole.CORRUPTED})
"""Roles of data sets, besides the test set, whose labels are held against the answers of the models."""
_COMPILER = "torch._inductor.codecache"
"""What torch imports to load an exported program; importing it looks for a temporary folder."""


@dataclass(frozen=True)
class Terms:
    """What an audit is held to, besides models and data."""

    policy: str = "standard"
    declared_accuracy: float | None = None
    outputs: Mapping[Role, OutputKind] = field(default_factory=dict)
    parties: Parties = field(default_factory=Parties)
    ledger_budget: float = LEDGER_BUDGET
    """Bytes that the whole outputs of one model may take."""


@dataclass(frozen=True)
class Subjects:
    """The opened models and data sets, checked against each other."""

    models: Mapping[Role, Model]
    data: Mapping[DataName, DataSource]
    lanes: int
    """Batches that may be under way at once."""
    task: TaskRecord = field(default_factory=TaskRecord)
    partial: PartialRecord | None = None
    """What a partial run leaves out of them."""
    private: bool = False
    """Whether no certificate may show an item."""

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(self.models)

    @property
    def preprocessing(self) -> tuple[Preprocessing, ...]:
        """That of every model."""
        return tuple(model.preprocessing for model in self.models.values())

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of what every model gives for one item."""
        return self.models[Role.REFERENCE].outputs

    def sampled(self, names: Iterable[DataName]) -> "Subjects":
        """With the samples of the test set among `names`."""
        test = self.data[DataRole.TEST]
        samples = {name: Sample(test, int(label_of(name))) for name in names if role_of(name) is DataRole.SAMPLE}
        return replace(self, data={**self.data, **samples})

    def class_names(self) -> tuple[str, ...]:
        """The classes that all models and the test set agree on; none where the models estimate values."""
        reference, test = self.models[Role.REFERENCE], self.data[DataRole.TEST]
        for model in self.models.values():
            if model.outputs != reference.outputs:
                of = "outputs" if self.task.kind == TaskKind.REGRESSION.value else "classes"
                raise AuditError(
                    f"{reference.name} has {reference.outputs[0]} {of}, {model.name} has {model.outputs[0]}",
                    f"The {model.role} must have the {of} of its reference.",
                )
        names = test.class_names(reference.outputs[0])
        known = [(test.name, names)]
        for name, source in self.data.items():
            if (source.shape, source.features) != (test.shape, test.features):
                raise AuditError(
                    f"{source.name}: items of {source.shape}, the test set has {test.shape}"
                    if source.shape != test.shape
                    else f"{source.name}: its features have other shapes or bounds than those of the test set",
                    "All data of an audit must have one shape, and features the same bounds.",
                )
            found = source.class_names(reference.outputs[0])
            if role_of(name) in _COMPARED:
                known.append((source.name, found))
        if names:
            self._agree(known)
        return names

    def _agree(self, data: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        """Raise AuditError where classes are known by other names, or in another order, than those of others.

        `data` are the names of data sets with their classes.
        """
        numbers = {*map(str, range(self.outputs[0]))}
        models = [(model.name, model.class_names) for model in self.models.values() if model.class_names]
        # A set without names is numbered; so may be classes that are digits, in whatever order a model has them.
        numbered = [each for each in data if {*each[1]} == numbers]
        named = [each for each in data if {*each[1]} != numbers]
        if any({*names} == numbers for _, names in models):
            named += numbered
        for (one, mine), (other, theirs) in chain(pairwise(named + models), pairwise(numbered)):
            if mine != theirs:
                raise AuditError(
                    f"{one} and {other}: {adapter.difference(mine, theirs)}",
                    "Models and data must have the same classes in the same order.",
                )

    def verify_unchanged(self) -> None:
        """Raise AuditError where a model or a data set is no longer what was audited."""
        for source in self.data.values():
            source.verify_unchanged()
        for model in self.models.values():
            model.verify_unchanged()


def terms_of(request: AuditFile) -> Terms:
    """What an audit file says besides models and data."""
    outputs = {role: entry.outputs for role, entry in request.models().items()}
    budget = request.ledger_budget * GB
    return Terms(request.policy, request.reference.declared_accuracy, outputs, request.certificate, budget)


def load(request: AuditFile, base: Path, *, trust_code: bool = False) -> Subjects:
    """Open what an audit file names; files of others are read in a child process with limits first.

    With `trust_code` model files may hold programs, which run: in the child first, then here.
    """
    runtime.require_one_onnxruntime()
    own = {
        name: sources.open_source(entry, base, role_of(name), task=request.task.record)
        for name, entry in request.data.entries().items()
        if not sources.needs_quarantine(entry)
    }
    # Looking at nine bytes is safe here.
    with_torch = any(
        files.form_of(base / entry.model, role) is not Format.ONNX for role, entry in request.models().items()
    )
    on_cuda = not with_torch and provider.resolve(request.device) is not None
    lanes = runtime.lanes(with_torch=with_torch, on_cuda=on_cuda)
    with _examination(
        request, base, own.get(DataRole.TEST), with_torch=with_torch, trust_code=trust_code
    ) as examination:
        _import_runtimes()
        examined: Any = examination.result()
    scanned = {name: manifest.from_json(each) for name, each in examined["data"].items()}
    opened = own | _of_others(request, base, scanned)
    data = {name: opened[name] for name in dict.fromkeys((*request.data.entries(), *opened))}
    slots = _slots(request, Look.of(data[DataRole.TEST]), runtime.threads(lanes), trust_code=trust_code)
    models = {
        role: loading.load(entry, base, slots[role], examined=examined["models"][role.value])
        for role, entry in request.models().items()
    }
    return Subjects(models, data, lanes, request.task.record, private=request.data.private)


def of_objects(
    modules: "Mapping[Role, Module]",
    data: Mapping[DataName, object],
    preprocessing: Preprocessing,
    device: str,
    form: Form = IMAGES,
    *,
    layer: str | Mapping[Role, str] = "",
    attributes: Mapping[str, Sequence[object]] | None = None,
    private: bool = False,
) -> Subjects:
    """The same from Python objects: torch modules, and torch or MAITE data sets or arrays (x, y).

    `layer` is a module to be watched in all but an origin, or in each model by its role; `attributes` have, by name, a
    value for each test item.
    """
    from audit.models import memory

    runtime.require_one_onnxruntime()
    described = {DataRole.TEST.value: attributes}
    opened = {
        name: sources.of_object(each, role_of(name), f"the {name} data", form, described.get(name))
        for name, each in data.items()
    }
    test, task = opened[DataRole.TEST], form.targets.task
    adapted = replace(preprocessing, features=test.features)
    lanes, batch = runtime.lanes(with_torch=True), batch_of(Look.of(test), [adapted])
    layers = _layers(layer, modules.keys())
    slot = Slot(
        Role.REFERENCE, test.shape, adapted, device=device, threads=runtime.threads(lanes), batch=batch, task=task
    )
    models = {
        role: memory.of_module(module, replace(slot, role=role, layer=layers.get(role, "")))
        for role, module in modules.items()
    }
    return Subjects(models, opened, lanes, task, private=private)


def _layers(named: str | Mapping[Role, str], there: Set[Role]) -> Mapping[Role, str]:
    """The layer to be watched in each model; raises AuditError where it is none to be compared."""
    if isinstance(named, str):
        return dict.fromkeys(there - {Role.ORIGIN}, named)
    by_role = "Name a layer of each model by its role."
    if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named.values()):
        raise AuditError("layer is neither a name nor names by role", by_role)
    fault = layers_fault({role for role, name in named.items() if name})
    if fault or not named.keys() <= there:
        raise AuditError(fault or "layer names a model that is not there", by_role)
    return named


def examine(payload: Any) -> Json:
    """What the child process does: open every file of others, and say what it is.

    Gives the manifests of the data sets, by name, and the digests of the models, by role.
    """
    request = configuration.validate(payload["request"], "the request", AuditFile)
    base = Path(payload["base"])
    data = _of_others(request, base)
    test = Look.of_json(payload["test"]) if payload["test"] else Look.of(data[DataRole.TEST])
    slots = _slots(request, test, runtime.cores(), trust_code=bool(payload["trust_code"]))
    models: dict[str, Json] = {
        role.value: {**loading.parse_untrusted(entry, base, slots[role])} for role, entry in request.models().items()
    }
    return {"data": {name: manifest.to_json(source.manifest) for name, source in data.items()}, "models": models}


def _of_others(
    request: AuditFile, base: Path, scanned: Mapping[DataName, Manifest] | None = None
) -> dict[DataName, DataSource]:
    """The data sets that are files of others; `scanned` is what another process found in each of them."""
    task, data = request.task.record, request.data
    found = {
        name: sources.open_source(entry, base, role_of(name), None if scanned is None else scanned[name], task)
        for name, entry in data.entries().items()
        if sources.needs_quarantine(entry)
    }
    ready_made = {} if data.corrupted is None else corrupted.open_sets(base / data.corrupted.path, task, scanned)
    return found | ready_made


@contextmanager
def _examination(
    request: AuditFile, base: Path, test: DataSource | None, *, with_torch: bool, trust_code: bool
) -> Iterator[quarantine.Call]:
    payload: dict[str, Json] = {
        "request": request.model_dump(mode="json"),
        "base": str(base),
        "test": None if test is None else Look.of(test).to_json(),
        "trust_code": trust_code,
    }
    # Both must be imported before the limits stand.
    pictures = any(entry.torchvision for entry in request.data.entries().values())
    # Scores of pixels may be of another size than the images, and torch brings them to it.
    interpolating = request.task.kind is TaskKind.SEGMENTATION
    needed = (("torch", with_torch or interpolating), (_COMPILER, with_torch and trust_code), ("torchvision", pictures))
    libraries = [name for name, used in needed if used]
    ready_made = 0 if request.data.corrupted is None else corrupted.most_sets(base / request.data.corrupted.path)
    size = sum(files.room(base / entry.model) for entry in request.models().values())
    subject = ", ".join(str(entry.model) for entry in request.models().values())
    with quarantine.start(
        "audit.subjects:examine",
        payload,
        subject=f"{subject} or the data",
        memory=MEMORY + 8 * size,
        seconds=SECONDS * (1 + ready_made),
        libraries=libraries,
    ) as call:
        yield call


def _import_runtimes() -> None:
    """What this process needs anyway, while the child reads."""
    import onnxruntime  # noqa: F401 (for its effect)
    import torch  # noqa: F401 (for its effect)


@dataclass(frozen=True, slots=True)
class Look:
    """What one must know of the test set to open a model for it."""

    shape: Shape
    features: Features | None
    items: int

    @classmethod
    def of(cls, source: DataSource) -> "Look":
        return cls(source.shape, source.features, len(source.manifest.ids))

    def to_json(self) -> Json:
        """To hand to another process; `of_json` reads it back."""
        features = None if self.features is None else [list(part) for part in astuple(self.features)]
        return [list(self.shape), features, self.items]

    @classmethod
    def of_json(cls, value: Any) -> "Look":
        shape, features, items = value
        return cls(tuple(shape), None if features is None else Features(*map(tuple, features)), items)


def _slots(request: AuditFile, test: Look, threads: int, *, trust_code: bool) -> dict[Role, Slot]:
    """What the models are opened for; raises AuditError where a preprocessing does not fit the data."""
    entries = request.models()
    preprocessing = {role: _preprocessing(request, entry, role, test) for role, entry in entries.items()}
    batch, task = batch_of(test, preprocessing.values()), request.task.record
    return {
        role: Slot(
            role, test.shape, preprocessing[role], entry.output, entry.classes, request.device, threads, batch,
            trust_code, task, entry.layer,
        )
        for role, entry in entries.items()
    }  # fmt: skip


def _preprocessing(request: AuditFile, entry: ModelEntry, role: Role, test: Look) -> Preprocessing:
    try:
        preprocessing = replace(request.preprocessing_of(entry).resolve(test.shape[0]), features=test.features)
        preprocessing.model_shape(test.shape)
    except ValueError as error:
        raise AuditError(f"{role}: preprocessing: {error}", "Give one value per channel, or feature.") from error
    return preprocessing


def batch_of(test: Look, preprocessings: Iterable[Preprocessing]) -> int:
    """Items of a forward pass of any of the models: small networks must not see more than large ones."""
    return sizes.batch_of([test.shape, *(each.model_shape(test.shape) for each in preprocessings)], test.items)
