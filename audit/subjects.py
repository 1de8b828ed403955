"""Opening what an audit file names, and writing down what it is before anything is measured."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import audit
from audit import digest, plan, policy, registry, runtime
from audit.data.manifest import METHOD_SET
from audit.data.npz import NpzSource
from audit.errors import AuditError
from audit.evidence import Adapter, DataRecord, ModelRecord, Tool
from audit.models import onnx
from audit.models.onnx import OnnxModel
from audit.plan import Asked, PlanFile
from audit.request import AuditFile, ModelEntry
from audit.types import Role

_CHUNK_BYTES = 2**28
"""Float32 bytes that a chunk of items may take in memory."""


def load(request: AuditFile, base: Path) -> tuple[NpzSource, Mapping[Role, OnnxModel]]:
    """The test set and both models, opened and checked against each other."""
    test = request.data.test
    source = NpzSource(base / test.path, test.layout)
    entries = {Role.REFERENCE: request.reference, Role.CANDIDATE: request.candidate}
    return source, {role: _model(request, entry, role, base, source) for role, entry in entries.items()}


def _model(request: AuditFile, entry: ModelEntry, role: Role, base: Path, source: NpzSource) -> OnnxModel:
    try:
        preprocessing = request.preprocessing_of(entry).resolve(source.shape[0])
    except ValueError as error:
        raise AuditError(f"{role}: preprocessing: {error}", "Give one value per channel.") from error
    return onnx.load(base / entry.model, role, source.shape, preprocessing, runtime.threads())


def class_names(source: NpzSource, models: Mapping[Role, OnnxModel]) -> tuple[str, ...]:
    """The classes both models and the data agree on."""
    reference, candidate = models[Role.REFERENCE], models[Role.CANDIDATE]
    if reference.classes != candidate.classes:
        raise AuditError(
            f"{reference.path.name} has {reference.classes} classes, {candidate.path.name} has {candidate.classes}",
            "A candidate must have the classes of its reference.",
        )
    return source.class_names(reference.classes)


def plan_of(
    request: AuditFile, base: Path, source: NpzSource, models: Mapping[Role, OnnxModel], asked: Asked
) -> PlanFile:
    """Everything that is fixed before the first forward pass."""
    entries = {Role.REFERENCE: request.reference, Role.CANDIDATE: request.candidate}
    declared = request.reference.declared_accuracy
    item_bytes = 4 * int(np.prod(source.shape))
    chunk = max(plan.BATCH, min(plan.CHUNK, _CHUNK_BYTES // item_bytes // plan.BATCH * plan.BATCH))
    return PlanFile(
        tool=tool(),
        models=tuple(_model_record(model, entries[role]) for role, model in models.items()),
        data=(_data_record(source, asked.context.classes),),
        plan=plan.record(asked, registry.names(asked.checks), chunk, plan.BATCH),
        policy=policy.bind(request.policy, base, asked, declared),
        declared_accuracy=declared,
        packages=runtime.packages(),
        deviations=(),
        names={**{role.value: model.path.name for role, model in models.items()}, "test": source.name},
        parties=request.certificate,
    )


def tool() -> Tool:
    """This program."""
    return Tool(
        name="prune-audit",
        version=audit.__version__,
        method_set=METHOD_SET,
        sources_sha256=digest.of_sources(registry.sources()),
    )


def _model_record(model: OnnxModel, entry: ModelEntry) -> ModelRecord:
    preprocessing = model.preprocessing
    return ModelRecord(
        role=model.role.value,
        format="ONNX",
        sha256=model.sha256,
        bytes=model.size,
        parameters=model.parameters,
        nonzero=model.nonzero,
        adapter=Adapter(
            layout=preprocessing.layout,
            range=preprocessing.range,
            mean=preprocessing.mean,
            std=preprocessing.std,
            outputs=entry.outputs.value,
        ),
        runtime=model.runtime,
    )


def _data_record(source: NpzSource, classes: tuple[str, ...]) -> DataRecord:
    manifest = source.manifest
    return DataRecord(
        role=source.role.value,
        sha256=manifest.digest,
        items=len(manifest.ids),
        duplicates=manifest.duplicates,
        shape=source.shape,
        stored=source.stored,
        classes=classes,
        per_class=tuple(np.bincount(manifest.labels, minlength=len(classes)).tolist()),
    )
