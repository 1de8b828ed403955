"""The Protocols at the boundaries of the engine: what a data source, a model, a probe and a check are.

Inputs and outputs of models are torch tensors. What is stored and everything computed from it are numpy
columns, so that judging and rendering a finished audit load no runtime.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.digest import Json
from audit.types import Claim, DataRole, Finding, Metric, Missing, OutputKind, Role

if TYPE_CHECKING:
    from torch import Tensor

Ids = NDArray[np.uint8]
"""Item ids: [N, 32], the SHA-256 digests of the items' contents."""

Columns = Mapping[str, NDArray[Any]]
"""Named per-item arrays; the first axis is the item."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Items on their way into the models: `x` float32 [N, C, H, W] in [0, 1], `y` int64 [N]."""

    ids: Ids
    x: "Tensor"
    y: "Tensor"
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Perturbed:
    """What a probe made of a batch: `x` as in `Batch`, and per-item columns that it wants kept."""

    x: "Tensor"
    columns: Columns


@dataclass(frozen=True, slots=True)
class Manifest:
    """A data set, item by item, in stored order; duplicates beyond the first copy do not count.

    `ids` [N, 32] and `labels` int64 [N] hold the distinct items; `keep` bool [stored] marks them among all
    stored ones; `digest` is over ids and labels in stored order.
    """

    ids: Ids
    labels: NDArray[np.int64]
    keep: NDArray[np.bool_]
    digest: str

    @property
    def duplicates(self) -> int:
        return int(self.keep.size - self.keep.sum())


class DataSource(Protocol):
    """A labelled data set that streams; every item is digested again whenever it is read."""

    @property
    def role(self) -> DataRole: ...

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def stored(self) -> str: ...

    @property
    def manifest(self) -> Manifest: ...

    def class_names(self, outputs: int, /) -> tuple[str, ...]: ...

    def chunks(self, size: int, /) -> Iterator[Batch]: ...

    def verify_unchanged(self) -> None: ...


class Model(Protocol):
    """A network with its preprocessing inside: [N, C, H, W] float32 in [0, 1] → raw outputs [N, classes]."""

    def __call__(self, x: "Tensor", /) -> "Tensor": ...


class Probe(Protocol):
    """A frozen description of inputs; its canonical form is its identity."""

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> DataRole: ...

    def canonical(self) -> Mapping[str, Json]: ...

    def describe(self) -> str: ...

    def perturb(self, batch: Batch, /) -> Perturbed: ...


class Task(Protocol):
    """What is kept of an output, and how the outputs of two models are compared."""

    def observe(self, out: "Tensor", batch: Batch, /) -> Columns: ...

    def settle(self, columns: Columns, declared: OutputKind, /) -> OutputKind | Missing: ...

    def compare(
        self,
        labels: NDArray[np.int64],
        reference: tuple[Columns, OutputKind],
        candidate: tuple[Columns, OutputKind],
        /,
    ) -> Columns: ...


@dataclass(frozen=True, slots=True)
class Trace:
    """The join of both roles' observations of one probe, in the pre-registered order of the items.

    `labels` int64 [N]; `columns` are the pair columns of the task.
    """

    labels: NDArray[np.int64]
    columns: Columns

    def __len__(self) -> int:
        return len(self.labels)


class LedgerView(Protocol):
    """What a check may read: the traces of the probes it asked for, and the state of the whole ledger."""

    def trace(self, probe: Probe, /) -> Trace | Missing: ...

    def nonfinite(self, role: Role, /) -> tuple[int, int] | Missing: ...

    def stored_items(self) -> tuple[int, int]: ...

    def class_counts(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a check knows when it asks: the class names of the data."""

    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a check needs and what it promises in return."""

    probes: tuple[Probe, ...]
    claims: tuple[Claim, ...]


class Check(Protocol):
    """A question about the pair of models.

    `metrics` is its catalogue; `ask` promises claims over them; `measure` yields a finding per promised claim.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]

    def ask(self, context: Context, /) -> Ask: ...

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]: ...
