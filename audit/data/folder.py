"""A folder with one folder of images per class; or, where items need no labels, a folder of images."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from audit import inputs
from audit.data import images
from audit.errors import AuditError

EXPECTED = "Expected a folder with one folder per class, each holding PNG or JPEG images."


@dataclass(frozen=True)
class Folder:
    """Images of a folder in the order of their names; `flat` images belong to no class, wherever they lie.

    Classes are the sorted names of the folders in `root`. Hidden files and folders are passed over; any other file
    that is no image is an error, and so is a link that leaves the folder or leads to another folder.
    """

    root: Path
    flat: bool = False
    title: str = ""
    features = None
    threadsafe = True
    on_change = "Run the audit again on files at rest."

    def __post_init__(self) -> None:
        _ = self._labels, self._opened

    @property
    def name(self) -> str:
        return self.title or self.root.name

    @property
    def place(self) -> str:
        """What it is called in errors."""
        return str(self.root)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders; () for a flat folder."""
        if self.flat:
            return ()
        return tuple(sorted(entry.name for entry in entries(self.root) if entry.is_dir()))

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Paths of the images below `root`, sorted part by part."""
        found = sorted(_images(self.root), key=lambda path: Path(path).parts)
        if not found:
            raise AuditError(f"{self.root}: holds no images", EXPECTED, "empty-data")
        return tuple(found)

    @cached_property
    def _labels(self) -> NDArray[np.int64]:
        if self.flat:
            return np.zeros(len(self.paths), np.int64)
        number = {name: label for label, name in enumerate(self.classes)}
        beside = next((path for path in self.paths if os.sep not in path), None)
        if beside:
            raise AuditError(f"{self.root / beside}: lies beside the class folders", EXPECTED)
        labels = np.asarray([number[path.partition(os.sep)[0]] for path in self.paths], np.int64)
        empty = np.flatnonzero(np.bincount(labels, minlength=len(self.classes)) == 0)
        if len(empty):
            raise AuditError(f"{self.root / self.classes[empty[0]]}: holds no images", EXPECTED, "empty-class")
        return labels

    @cached_property
    def _opened(self) -> NDArray[np.int64]:
        """Inode, size and time of the last change of every image [N, 3]."""
        states = (inputs.regular(self.root / path, EXPECTED) for path in self.paths)
        return np.asarray([(found.st_ino, found.st_size, found.st_mtime_ns) for found in states], np.int64)

    def __len__(self) -> int:
        return len(self.paths)

    def where(self, index: int) -> str:
        """What an item is called in errors."""
        return str(self.root / self.paths[index])

    def read(self, index: int, labelled: bool) -> tuple[NDArray[np.generic], int | None]:
        """Pixels and label of an item; see `images.read`."""
        image = images.read(self.root / self.paths[index])
        return image, int(self._labels[index]) if labelled and not self.flat else None

    def verify_unchanged(self) -> None:
        """Raise AuditError where an image was added, removed or written to since the folder was opened."""
        now = Folder(self.root, self.flat)
        if now.paths != self.paths:
            path = min(set(now.paths) ^ set(self.paths))
            raise AuditError(f"{self.root / path}: was added or removed during the audit", self.on_change)
        changed = np.flatnonzero((now._opened != self._opened).any(axis=1))
        if len(changed):
            raise AuditError(f"{self.where(int(changed[0]))}: changed during the audit", self.on_change)


def holds_images(root: Path) -> bool:
    """Whether images lie in the folder itself, not in folders below."""
    return any(Path(entry.name).suffix.lower() in images.SUFFIXES for entry in entries(root) if not entry.is_dir())


def entries(root: Path) -> list[os.DirEntry[str]]:
    """What lies in the folder, hidden things left out; raises AuditError where it cannot be read."""
    try:
        with os.scandir(root) as found:
            return [entry for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        _unreadable(error)


def _unreadable(error: OSError) -> NoReturn:
    raise AuditError(f"{error.filename}: cannot be read ({error.strerror})", EXPECTED) from error


def _images(root: Path) -> Iterator[str]:
    """Paths, relative to the folder, of all files in it and below; raises AuditError for what is no image."""
    home = os.path.realpath(root)
    for folder, below, files in os.walk(root, onerror=_unreadable):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in below:
            _check_name(Path(folder) / name)
            if (Path(folder) / name).is_symlink():
                raise AuditError(f"{Path(folder) / name}: is a link to a folder", "Put the images themselves there.")
        for name in files:
            if not name.startswith("."):
                path = Path(folder) / name
                _check_file(path, home)
                yield os.path.relpath(path, root)


def _check_name(folder: Path) -> None:
    try:
        folder.name.encode()
    except UnicodeEncodeError as error:
        raise AuditError(f"{str(folder)!r}: its name is not text", "Name the class in UTF-8.") from error


def _check_file(path: Path, home: str) -> None:
    if path.suffix.lower() not in images.SUFFIXES:
        raise AuditError(f"{path}: is neither PNG nor JPEG", f"{EXPECTED} Move other files elsewhere.")
    if path.is_symlink() and os.path.commonpath([home, os.path.realpath(path)]) != home:
        raise AuditError(f"{path}: is a link that leaves the folder", "Put the image itself there.")
