"""`prune-audit init`: looks at two models and a test set, and writes a commented audit file that runs."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit import (
    configuration,
    preparation,
    quarantine,
    request,
    runtime,
    scaffold_text,
    storage,
    subjects,
    trials,
)
from audit.contracts import Model
from audit.data import manifest, sources
from audit.dataset import DataSource, Manifest
from audit.digest import Json
from audit.entries import Data, DataEntry
from audit.errors import AuditError
from audit.models import files, loading
from audit.models.adapter import Preprocessing, Slot
from audit.models.files import Format
from audit.request import AuditFile, ModelEntry, PreprocessingEntry, ReferenceEntry
from audit.subjects import Subjects
from audit.trials import Choice, Layout, Sample
from audit.types import DataRole, Role

_LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")


@dataclass(frozen=True, slots=True)
class _File:
    """A model file as the child process found it; `layouts` are those under which the network runs."""

    format: Format
    digests: Mapping[str, str]
    layouts: tuple[Layout, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    """What the child process found."""

    models: Mapping[Role, _File]
    items: Manifest

    @property
    def weights(self) -> frozenset[Role]:
        """Models that cannot run yet: weights first need code that builds their network."""
        return frozenset(role for role, file in self.models.items() if file.format is not Format.ONNX)


def write(reference: Path, candidate: Path, data: Path, out: Path) -> str:
    """Write the audit file `out`, and say what was found; nothing is written unless the file is proven to open.

    For weights, whose architecture only the user knows, the file has a line to fill in. Raises AuditError for a file
    that exists already, and for models and data that cannot be opened or do not belong together.
    """
    runtime.prepare()
    models = {Role.REFERENCE: reference, Role.CANDIDATE: candidate}
    for path in (*models.values(), data, out):
        scaffold_text.quoted(path)
    _require_free(out)
    look = _look(models, data)
    _require_apart(out, data)
    places = {role: _place(path, out.parent) for role, path in models.items()}
    entry = DataEntry(path=_place(data, out.parent))
    source = sources.open_source(entry, out.parent, DataRole.TEST, look.items)
    choice = _choice(places, out.parent, source, look)
    meant = _meant(places, entry, choice, out)
    text = scaffold_text.render(meant, look.weights, choice)
    _prove(configuration.parse(text, str(out), AuditFile), meant, out, source, look)
    _require_free(out)
    storage.write_atomic(out, text.encode())
    if request.load(out) != meant:
        raise RuntimeError(f"{out} does not say what was meant")
    return "\n".join(_report(meant, look, choice, source, out))


def _require_free(out: Path) -> None:
    """Refuse to write over something: it may be somebody's work."""
    if storage.exists(out):
        raise AuditError(f"{out}: is there already", "Choose another --out, or move it away.")


def _require_apart(out: Path, data: Path) -> None:
    """Refuse to write into the data: a folder of images holds nothing else."""
    if data.is_dir() and out.parent.resolve().is_relative_to(data.resolve()):
        raise AuditError(f"{out}: would lie among the images of {data}", "Choose another --out.")


def _place(path: Path, base: Path) -> Path:
    """A path as the file names it: relative to the file's folder for what lies in it, else absolute."""
    home = base.resolve()
    whole = path.resolve() if path.name in ("", "..") else path.parent.resolve() / path.name
    return whole.relative_to(home) if whole.is_relative_to(home) else whole


def _look(models: Mapping[Role, Path], data: Path) -> _Look:
    """Open everything in a child process with limits first."""
    forms = {role: files.form_of(path, role) for role, path in models.items()}
    weights = any(form is not Format.ONNX for form in forms.values())
    found: Any = quarantine.call(
        "audit.scaffold:examine",
        {"models": {role.value: str(path) for role, path in models.items()}, "data": str(data)},
        subject=f"{', '.join(map(str, models.values()))} or {data}",
        memory=subjects.MEMORY + 8 * sum(map(files.room, models.values())),
        seconds=subjects.SECONDS,
        libraries=["torch"] if weights else [],
    )
    described = {role: found["models"][role.value] for role in models}
    return _Look(
        {role: _File(forms[role], digests, tuple(layouts)) for role, (digests, layouts) in described.items()},
        manifest.from_json(found["items"]),
    )


def examine(payload: Any) -> Json:
    """What the child process does: find the layouts under which each model opens, and scan the items."""
    source = sources.open_source(DataEntry(path=Path(payload["data"])), Path(), DataRole.TEST)
    if source.features is not None:
        raise AuditError(
            f"{payload['data']}: holds features with bounds, and init knows classes of images alone",
            "Write an audit file by hand: [task] in README.md says how.",
        )
    models: dict[str, Json] = {
        role: list(_opened(Path(path), Role(role), source.shape)) for role, path in payload["models"].items()
    }
    return {"models": models, "items": manifest.to_json(source.manifest)}


def _opened(path: Path, role: Role, shape: tuple[int, int, int]) -> tuple[Json, list[Json]]:
    """Digests of a model's files and the layouts under which it opens; raises AuditError where there are none."""
    found: dict[Layout, Json] = {}
    failures: list[AuditError] = []
    for layout in _LAYOUTS:
        try:
            slot = Slot(role, shape, Preprocessing(layout), threads=runtime.cores())
            found[layout] = {**loading.parse_untrusted(ModelEntry(model=path), Path(), slot)}
        except AuditError as error:
            failures.append(error)
    if not found:
        raise failures[0]
    return next(iter(found.values())), list(found)


def _choice(places: Mapping[Role, Path], base: Path, source: DataSource, look: _Look) -> Choice | None:
    """The preprocessing that suits best; None where no network can run."""
    networks = {
        (role, layout): _load(ModelEntry(model=places[role]), base, role, source, Preprocessing(layout), look)
        for role, file in look.models.items()
        if role not in look.weights
        for layout in file.layouts
    }
    for network in networks.values():
        source.class_names(network.outputs[0])
    if not networks:
        return None
    sample = Sample(source)
    found = trials.attempt(networks, trials.options(sample), sample)
    return Choice(found, sample.labels, next(iter(networks.values())).outputs[0])


def _load(
    entry: ModelEntry, base: Path, role: Role, source: DataSource, preprocessing: Preprocessing, look: _Look
) -> Model:
    slot = Slot(role, source.shape, preprocessing, threads=runtime.cores())
    return loading.load(entry, base, slot, examined=look.models[role].digests)


def _meant(places: Mapping[Role, Path], test: DataEntry, choice: Choice | None, out: Path) -> AuditFile:
    """What the file is to say."""
    ran = {} if choice is None else {role: choice.of(role).entry for role in choice.trials}
    common = next(iter(ran.values()), PreprocessingEntry())
    own = ran.get(Role.CANDIDATE, common)
    return AuditFile(
        out=Path(f"{out.stem}-out"),
        reference=ReferenceEntry(model=places[Role.REFERENCE]),
        candidate=ModelEntry(model=places[Role.CANDIDATE], preprocessing=None if own == common else own),
        preprocessing=common,
        data=Data(test=test),
    )


def _prove(parsed: AuditFile, meant: AuditFile, out: Path, source: DataSource, look: _Look) -> None:
    """Open what the text of the file names, and plan its audit where every network can run."""
    if parsed != meant:
        raise RuntimeError(f"the text for {out} does not say what was meant")
    networks = {
        role: _load(entry, out.parent, role, source, parsed.preprocessing_of(entry).resolve(source.shape[0]), look)
        for role, entry in parsed.models().items()
        if role not in look.weights
    }
    if not look.weights:
        agreed = preparation.agree(parsed.policy, out.parent)
        preparation.prepare(Subjects(networks, {source.role: source}, lanes=1), subjects.terms_of(parsed), agreed)


def _report(meant: AuditFile, look: _Look, choice: Choice | None, source: DataSource, out: Path) -> Iterator[str]:
    """What the user is told."""
    copies = f"; {look.items.duplicates:,} copies do not count" if look.items.duplicates else ""
    classes = f"labels 0 … {look.items.labels.max()}" if choice is None else f"{choice.classes:,} classes"
    yield f"written        {out}"
    yield (
        f"test set       {source.name}: {len(look.items.ids):,} items of {' × '.join(map(str, source.shape))} "
        f"({source.stored}), {classes}{copies}"
    )
    for role, entry in meant.models().items():
        yield f"{role:<14} {entry.model.name}: {_state(role, look, choice)}"
    if choice is not None:
        yield f"               as measured on {len(choice.labels)} items: a look, no verdict"
    yield f"preprocessing  {_found(choice)}"
    if choice and choice.found:
        if alike := ", ".join(trial.name for trial in choice.alike):
            yield f"               not clearly worse on these items: {alike}; compare with your training code"
        yield from scaffold_text.warnings(choice)
    yield ""
    first = "Next:" if not look.weights and choice and choice.found else "Fill in what the file asks for, then:"
    yield from (first, *(f"  prune-audit {command} {shlex.quote(str(out))}" for command in ("plan", "run")))


def _state(role: Role, look: _Look, choice: Choice | None) -> str:
    if choice is None or role in look.weights:
        return f"{look.models[role].format.value}; fill in its architecture"
    return f"{100 * choice.of(role).accuracy:.1f} % right"


def _found(choice: Choice | None) -> str:
    if choice is None:
        return "not tried, for weights cannot run without their network; fill it in"
    if not choice.found:
        return f"not found: nothing tried is clearly better than guessing ({100 * choice.chance:.1f} %); fill it in"
    used = dict.fromkeys(f"{choice.of(role).name}, {choice.of(role).entry.layout}" for role in choice.trials)
    return " and ".join(used)
