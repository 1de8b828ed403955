"""Writing down what an audit is about, and how it will be run, before anything is measured."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from math import prod

import numpy as np

import audit
from audit import digest, plan, registry, runtime, sizes, tasks
from audit.asking import Asked
from audit.contracts import Model, Task
from audit.data.manifest import METHOD_SET
from audit.dataset import Attribute, DataSource, Manifest, first_items
from audit.evidence import PolicyRecord
from audit.findings import Missing
from audit.gradients import CHECKED, DEAD, Gradients
from audit.plan import PlanFile
from audit.records import (
    Adapter,
    AttributeRecord,
    DataRecord,
    FeaturesRecord,
    GradientsRecord,
    ModelRecord,
    StructureRecord,
    Tool,
    WatchedRecord,
)
from audit.structure import Structure
from audit.subjects import Look, Subjects, Terms, batch_of
from audit.types import DataName, DataRole, OutputKind, Role


def plan_of(
    subjects: Subjects, terms: Terms, asked: Asked, policy: PolicyRecord, gradients: Mapping[Role, GradientsRecord]
) -> PlanFile:
    """Everything that is fixed before the first forward pass; `gradients` are what `gradients_of` found, if asked."""
    classes, outputs, task = asked.context.classes, prod(subjects.outputs), tasks.of(subjects.task)
    # By items and outputs alone: sizes are part of every key, and another check must not make all observations foreign.
    batch = batch_of(Look.of(subjects.data[DataRole.TEST]), subjects.preprocessing)
    watched = {role: 0 if model.watched is None else model.watched.values for role, model in subjects.models.items()}
    # By the layer of the reference alone, so that its observations serve any candidate.
    chunk = sizes.chunk_of(batch, sizes.FLOAT * (outputs + watched[Role.REFERENCE]))
    items = {str(name): len(source.manifest.ids) for name, source in subjects.data.items()}
    stored = sizes.kept(asked.probes, items, outputs, terms.ledger_budget, max(watched.values()))
    frame = plan.Frame(subjects.task, subjects.outputs, chunk, batch, stored)
    return PlanFile(
        tool=tool(),
        models=tuple(
            _model_record(model, terms, asked, gradients.get(model.role)) for model in subjects.models.values()
        ),
        data=tuple(_data_record(name, source, classes, task) for name, source in subjects.data.items()),
        attributes={each.name: each.text for each in subjects.data[DataRole.TEST].manifest.attributes},
        plan=plan.record(asked, registry.names(asked.checks), frame, subjects.partial),
        policy=policy,
        declared_accuracy=terms.declared_accuracy,
        packages=runtime.packages(),
        deviations=tuple(_deviations(subjects)),
        names={
            **{role.value: model.name for role, model in subjects.models.items()},
            **{str(name): source.name for name, source in subjects.data.items()},
        },
        parties=terms.parties,
    )


def _deviations(subjects: Subjects) -> Iterator[str]:
    """What departs from a plain run, one sentence each."""
    if subjects.partial is not None:
        yield subjects.partial.sentence
    for model in subjects.models.values():
        yield from model.deviations


def tool() -> Tool:
    """This program."""
    return Tool(
        name="prune-audit",
        version=audit.__version__,
        method_set=METHOD_SET,
        sources_sha256=digest.of_sources(registry.sources()),
    )


def gradients_of(subjects: Subjects) -> dict[Role, GradientsRecord]:
    """Which models have gradients, whence, and how well they fit: found out on the first items of the test set."""
    test = subjects.data[DataRole.TEST]
    shown = first_items(test, batch_of(Look.of(test), subjects.preprocessing), CHECKED)
    return {
        role: _gradients_record(model.victim(shown, OutputKind.LOGITS).gradients)
        for role, model in subjects.models.items()
    }


def _model_record(model: Model, terms: Terms, asked: Asked, gradients: GradientsRecord | None) -> ModelRecord:
    preprocessing = model.preprocessing
    return ModelRecord(
        role=model.role.value,
        format=model.format,
        sha256=model.sha256,
        bytes=model.size,
        parameters=model.parameters,
        nonzero=model.nonzero,
        structure=_structure_record(model.structure()) if asked.structure else None,
        gradients=gradients,
        adapter=Adapter(
            layout=preprocessing.layout,
            range=preprocessing.range,
            mean=preprocessing.mean,
            std=preprocessing.std,
            resize=preprocessing.resize,
            item=preprocessing.item,
            dtype=preprocessing.dtype,
            features=None if preprocessing.features is None else FeaturesRecord(**asdict(preprocessing.features)),
            watched=None if model.watched is None else WatchedRecord(**asdict(model.watched)),
            outputs=terms.outputs.get(model.role, OutputKind.AUTO).value,
        ),
        runtime=dict(model.runtime),
    )


def _structure_record(found: Structure | Missing) -> StructureRecord:
    if isinstance(found, Missing):
        return StructureRecord(unknown=found.detail)
    return StructureRecord.model_validate(asdict(found))


def _gradients_record(found: Gradients | Missing) -> GradientsRecord:
    if isinstance(found, Missing):
        return GradientsRecord(how="dead" if found.reason == DEAD else "none", why=found.detail)
    return GradientsRecord.model_validate(asdict(found))


def _data_record(name: DataName, source: DataSource, classes: tuple[str, ...], task: Task) -> DataRecord:
    found, features = source.manifest, source.features
    return DataRecord(
        role=str(name),
        sha256=found.digest,
        items=len(found.ids),
        duplicates=found.duplicates,
        shape=source.shape,
        stored=source.stored,
        features=None if features is None else FeaturesRecord(**asdict(features)),
        classes=classes,
        per_class=_per_class(found, len(classes)),
        chance=task.chance(found),
        attributes=tuple(_attribute_record(each, found) for each in found.attributes),
    )


def _attribute_record(found: Attribute, of: Manifest) -> AttributeRecord:
    return AttributeRecord(name=found.name, values=found.values, items=found.counts, sha256=found.sha256(of.digest))


def _per_class(found: Manifest, classes: int) -> tuple[int, ...]:
    """Items of each class; of masks, items with a pixel of it."""
    if found.labels.ndim > 1:
        return tuple(found.masked.get(label, (0, 0.0))[0] for label in range(classes))
    labelled = found.labels[found.labels >= 0]
    return tuple(np.bincount(labelled, minlength=classes).tolist())
