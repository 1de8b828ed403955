"""Which source reads what an audit file, or Python code, names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from audit.data import archive, attributes, folder, objects, torchvision_sets
from audit.data.attributes import Source
from audit.data.folder import Folder
from audit.data.form import IMAGES, Form
from audit.data.indexed import IndexedSource
from audit.data.labels import MAY_LACK
from audit.data.masks import MaskedFolder
from audit.data.npy import NpySource
from audit.data.npz import NpzSource
from audit.data.targets import Targets
from audit.data.values import Layout
from audit.dataset import DataSource, Manifest
from audit.entries import DataEntry
from audit.errors import AuditError
from audit.records import TaskRecord
from audit.types import DataRole, TaskKind
from audit.userland import Factory

_ZIP = b"PK"
_EXPECTED = (
    "Accepted are an .npz file with x and y, an .npy file with labels = another, and a folder with one folder of PNG "
    "or JPEG images per class."
)


def open_source(
    entry: DataEntry, base: Path, role: DataRole, scanned: Manifest | None = None, task: TaskRecord | None = None
) -> DataSource:
    """Open what an audit file names; paths are relative to `base`, and targets are those of the `task`.

    `scanned` is a manifest from another process, which then is not computed again; every item is digested
    whenever it is read all the same. Raises AuditError for what is none of the formats, or is not sound.
    """
    found = _opened(entry, base, role, scanned, Form(Targets(task or TaskRecord()), entry.low, entry.high))
    if entry.attributes is None or scanned is not None:
        return found
    given = base / entry.attributes if isinstance(entry.attributes, Path) else entry.attributes
    return replace(found, attributes=attributes.read(found, given))


def _opened(entry: DataEntry, base: Path, role: DataRole, scanned: Manifest | None, form: Form) -> Source:
    match entry:
        case DataEntry(path=Path() as path):
            return _at(base / path, entry.labels and base / entry.labels, entry.layout, role, scanned, form)
        case DataEntry(torchvision=str(name), root=Path() as root):
            place = base / root.expanduser()
            found = torchvision_sets.load(name, place, entry.download, entry.arguments, entry.layout)
        case DataEntry(factory=str(target)):
            found = objects.of(Factory(target, entry.arguments, base).make(), target, entry.layout, form)
        case _:
            raise AuditError("a data set without a source", "Give one of path, torchvision and factory.")
    return IndexedSource(found, role, scanned, form.targets)


def of_object(
    data: object,
    role: DataRole,
    name: str,
    form: Form = IMAGES,
    described: Mapping[str, Sequence[object]] | None = None,
) -> DataSource:
    """A Python object as a data source: a torch Dataset, a MAITE data set, or arrays (x, y).

    Where the role needs no labels, x alone will do. `described` has, by attribute, a value for each item. Raises
    AuditError for anything else.
    """
    alone = len(getattr(data, "shape", ())) >= (3 if form.low is None else 2)
    found = IndexedSource(objects.of((data, None) if alone else data, name, form=form), role, targets=form.targets)
    return found if described is None else replace(
        found, attributes=attributes.of_values(described, found.size, name)
    )  # fmt: skip


def needs_quarantine(entry: DataEntry) -> bool:
    """Whether opening the data set means reading files of others, and nothing but that.

    The user's own code runs here; so does torchvision where it may fetch, which needs a connection.
    """
    return entry.factory is None and not entry.download


def _at(
    path: Path, labels: Path | None, layout: Layout, role: DataRole, scanned: Manifest | None, form: Form
) -> Source:
    folder_given = os.path.isdir(path)  # noqa: PTH112 (pathlib's raises for names that are too long)
    start = b"" if folder_given else archive.begins(path, _EXPECTED)
    if start == archive.MAGIC or (path.suffix == ".npy" and not start.startswith(_ZIP) and not folder_given):
        return NpySource(path, layout, role, scanned, form, labels)
    if labels is not None:
        raise AuditError(f"{path}: is no .npy file, and labels = … belongs to one", _EXPECTED)
    if folder_given:
        return _folder(path, role, scanned, form)
    if path.suffix != ".npz" and not start.startswith(_ZIP):
        raise AuditError(f"{path}: is neither an .npz or .npy file nor a folder", _EXPECTED)
    return NpzSource(path, layout, role, scanned, form)


def _folder(path: Path, role: DataRole, scanned: Manifest | None, form: Form) -> Source:
    by_class, may_lack = form.targets.by_class, role in MAY_LACK
    if form.low is not None or not (by_class or may_lack or form.targets.kind is TaskKind.SEGMENTATION):
        raise AuditError(f"{path}: a folder holds images of classes, or with masks", "Put values into an .npz file.")
    if not by_class and not may_lack:
        return IndexedSource(MaskedFolder(path), role, scanned, form.targets)
    masked = not by_class and (path / "images").is_dir() and (path / "masks").is_dir()
    path = path / "images" if masked else path
    flat = not by_class or role is DataRole.OUT_OF_DISTRIBUTION or (may_lack and folder.holds_images(path))
    return IndexedSource(Folder(path, flat), role, scanned, form.targets)
