"""Items in an `.npy` file, and their labels in another: as of CIFAR-10.1 and CIFAR-10-C; streamed, never unpickled.

Items are as in an `.npz`, or grey images N×H×W. Where the role needs labels, they are integers 0 … classes - 1.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from audit.data import archive
from audit.data.archive import EXPECTED_ALONE, Array
from audit.data.npz import NpzSource, state
from audit.errors import AuditError

_LABELS = "Expected an .npy with one integer label per item."


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the items, from `start` to `stop`; the labels of that many begin the file of the labels."""

    title: str
    start: int
    stop: int


@dataclass(frozen=True)
class NpySource(NpzSource):
    """A data set whose arrays lie in files of their own: `path` holds the items, `labels` what belongs to them."""

    labels: Path | None = None
    part: Part | None = None
    expected: ClassVar[str] = EXPECTED_ALONE

    @property
    def name(self) -> str:
        return self.path.name if self.part is None else self.part.title

    @property
    def _names(self) -> tuple[str, ...]:
        return ("x",) if self.labels is None else ("x", "y")

    @property
    def _labelled_by(self) -> str:
        return str(self.labels or self.path)

    def _state(self) -> tuple[int, ...]:
        named = () if self.labels is None else state(self.labels, _LABELS)
        return *state(self.path, EXPECTED_ALONE), *named

    def _array(self, name: str) -> AbstractContextManager[Array]:
        return self._images() if name == "x" else self._targets_of()

    @contextmanager
    def _images(self) -> Iterator[Array]:
        with archive.alone(self.path, None if self.part is None else (self.part.start, self.part.stop)) as stored:
            grey = self._limits is None and len(stored.shape) == 3
            yield replace(stored, shape=(*stored.shape, 1)) if grey else stored

    @contextmanager
    def _targets_of(self) -> Iterator[Array]:
        if self.labels is None:
            raise AuditError(f"{self.path}: has no labels", 'Add labels = "….npy" to its table.')
        with archive.alone(self.labels, None if self.part is None else (0, self.part.stop - self.part.start)) as stored:
            yield stored

    @cached_property
    def _channels_last(self) -> bool:
        with archive.alone(self.path) as stored:
            grey = len(stored.shape) == 3
        return grey or super()._channels_last
