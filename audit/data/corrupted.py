"""The test set under corruptions, ready-made: a folder as that of CIFAR-10-C, or as that of ImageNet-C.

NAME.npy holds the five severities of a corruption one after another, and labels.npy the labels of one of them, or of
all five; or the images of each severity lie in class folders in NAME/SEVERITY. Either way every corruption and severity
is a data set of its own, `corrupted:NAME:SEVERITY`.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from audit.data import archive, folder
from audit.data.folder import Folder
from audit.data.form import Form
from audit.data.indexed import IndexedSource
from audit.data.npy import NpySource, Part
from audit.data.targets import Targets
from audit.dataset import DataSource, Manifest
from audit.errors import AuditError
from audit.records import TaskRecord
from audit.types import LABEL, DataName, DataRole, data_name

SEVERITIES = (1, 2, 3, 4, 5)
EXPECTED = (
    "Expected NAME.npy with five severities one after another and labels.npy, as of CIFAR-10-C, or folders "
    "NAME/SEVERITY/CLASS of images, as of ImageNet-C."
)
LABELS = "labels.npy"
_AT_REST = "Audit files at rest."

Scans = Mapping[DataName, Manifest] | None


def open_sets(root: Path, task: TaskRecord, scanned: Scans = None) -> dict[DataName, DataSource]:
    """Every corruption and severity in the folder, by name; `scanned` are the manifests that another process found.

    Raises AuditError, naming the file or folder, for anything that is not sound or not there.
    """
    form = Form(Targets(task))
    if not form.targets.by_class:
        raise AuditError(f"{root}: corrupted data are images of classes, not for {form.targets.kind}", EXPECTED)
    if not os.path.isdir(root):  # noqa: PTH112 (pathlib's raises for names that are too long)
        raise AuditError(f"{root}: is no folder", EXPECTED)
    names = sorted(entry.name for entry in folder.entries(root))
    if not names:
        raise AuditError(f"{root}: is empty", EXPECTED, "empty-data")
    stored = any((root / name).suffix == ".npy" for name in names)
    found = dict(_arrays(root, names, form, scanned) if stored else _folders(root, names, form, scanned))
    if gone := {name for name in scanned or () if name.startswith(f"{DataRole.CORRUPTED}:")} - {*found}:
        raise AuditError(f"{root}: {min(gone)} was removed after it was scanned", _AT_REST)
    return found


def most_sets(root: Path) -> int:
    """How many data sets a folder holds at most, from the number of things in it alone; 0 where there is none."""
    try:
        return len(SEVERITIES) * len(os.listdir(root))  # noqa: PTH208 (names alone)
    except OSError:
        return 0


def _arrays(root: Path, names: list[str], form: Form, scanned: Scans) -> Iterator[tuple[DataName, DataSource]]:
    if LABELS not in names:
        raise AuditError(f"{root}: holds no {LABELS}", EXPECTED)
    files = [root / name for name in names if name != LABELS]
    if not files:
        raise AuditError(f"{root}: holds no corruption beside {LABELS}", EXPECTED, "empty-data")
    sizes = {file: _severities(file, root / LABELS, form) for file in files}
    other = next((file for file in files if sizes[file] != sizes[files[0]]), None)
    if other:
        raise AuditError(
            f"{other}: has {sizes[other]} items of each severity, {files[0].name} has {sizes[files[0]]}", EXPECTED
        )
    for file, items in sizes.items():
        for severity in SEVERITIES:
            rows = ((severity - 1) * items, severity * items)
            part = Part(f"{file.name}, severity {severity}", *rows)
            name = _named(file, file.name.removesuffix(".npy"), severity)
            scan = _scan(scanned, name, file)
            yield name, NpySource(file, "NHWC", DataRole.CORRUPTED, scan, form, root / LABELS, part)


def _severities(file: Path, labels: Path, form: Form) -> int:
    """Items of each severity of a corruption; the labels are those of one, or those of all five, one after another."""
    if file.suffix != ".npy" or os.path.isdir(file):  # noqa: PTH112
        raise AuditError(f"{file}: is no .npy file", f"{EXPECTED} Move other things elsewhere.")
    if archive.begins(file, EXPECTED) != archive.MAGIC:
        raise AuditError(f"{file}: is no .npy file, or holds nothing", EXPECTED, "empty-data")
    with archive.alone(file) as x:
        if 0 in x.shape:
            raise AuditError(f"{file}: {x.name} is empty (shape {x.shape})", EXPECTED, "empty-data")
        if len(x.shape) not in (3, 4) or x.dtype != np.uint8:
            raise AuditError(f"{file}: {x.kind}", "Expected uint8 images, 5·N×H×W×C or 5·N×H×W.")
        stored = x.shape[0]
    with archive.alone(labels) as y:
        form.targets.check(y.shape, y.dtype, (), f"{labels}: {y.kind}")
        found = form.targets.block(y.take(y.shape[0]), str(labels))
    if stored % len(SEVERITIES) or stored not in (len(found), len(SEVERITIES) * len(found)):
        raise AuditError(
            f"{file}: has {stored} items for {len(found)} labels, which are not five severities of the labelled items",
            "A severity may be missing, or the file cut: give all five, one after another.",
        )
    if stored == len(found):
        blocks = found.reshape(len(SEVERITIES), -1)
        differing = np.flatnonzero((blocks != blocks[0]).any(axis=0))
        if len(differing):
            raise AuditError(
                f"{labels}: item {differing[0]} has other labels at other severities",
                f"Expected the same {stored // len(SEVERITIES)} labels five times, or once.",
            )
    return stored // len(SEVERITIES)


def _folders(root: Path, names: list[str], form: Form, scanned: Scans) -> Iterator[tuple[DataName, DataSource]]:
    for corruption in names:
        home = root / corruption
        if not home.is_dir():
            raise AuditError(f"{home}: lies beside the folders of corruptions", EXPECTED)
        there = {entry.name: entry.is_dir() for entry in folder.entries(home)}
        wanted = [str(severity) for severity in SEVERITIES]
        odd = next((name for name in sorted(there) if name not in wanted or not there[name]), None)
        if odd:
            raise AuditError(f"{home / odd}: is no folder of a severity, 1 … 5", EXPECTED)
        missing = next((name for name in wanted if name not in there), None)
        if missing:
            raise AuditError(f"{home}: has no severity {missing}", "Give all five severities of a corruption, or none.")
        for severity in SEVERITIES:
            place = home / str(severity)
            name = _named(home, corruption, severity)
            images = Folder(place, title=f"{corruption}/{severity}")
            yield name, IndexedSource(images, DataRole.CORRUPTED, _scan(scanned, name, place), form.targets)


def _named(path: Path, corruption: str, severity: int) -> DataName:
    if not re.fullmatch(LABEL, corruption):
        raise AuditError(
            f"{str(path)!r}: {corruption!r} is no name of a corruption",
            "Use letters, digits, and . _ - after the first of them.",
        )
    return data_name(DataRole.CORRUPTED, f"{corruption}:{severity}")


def _scan(scanned: Scans, name: DataName, path: Path) -> Manifest | None:
    """What another process found, None where nobody asked one."""
    if scanned is None:
        return None
    if name not in scanned:
        raise AuditError(f"{path}: was added after the data were scanned", _AT_REST)
    return scanned[name]
