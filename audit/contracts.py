"""The Protocols at the boundaries of the engine: what a data source, a model, a probe and a check are.

Inputs and outputs of models are torch tensors. What is stored and everything computed from it are numpy
columns, so that judging and rendering a finished audit load no runtime.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from audit.dataset import Attribute, Ids, Manifest
from audit.digest import Json
from audit.findings import Finding, Metric, Missing
from audit.gradients import Gradients, Victim
from audit.parity import Parity
from audit.structure import Structure
from audit.traces import Columns, Side, Trace
from audit.types import PAIR, Claim, DataName, DataRole, OutputKind, Role, Scope, TaskKind

if TYPE_CHECKING:
    from torch import Tensor

    from audit.models.adapter import Preprocessing, Watched


@dataclass(frozen=True, slots=True)
class Batch:
    """Items on their way into the models: `x` float32 [N, C, H, W] in [0, 1], `y` their targets, None if unlabelled.

    Targets are labels int64 [N], masks of labels int16 [N, H, W], or values float32 [N, D]. Items that are no images
    have their features as channels of one pixel, each as a share of its bounds. `start` is the place of the first item
    among the distinct items of the data set.
    """

    ids: Ids
    x: "Tensor"
    y: "Tensor | None"
    start: int = 0
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Perturbed:
    """What a probe made of a batch: `x` as in `Batch`, and per-item columns that it wants kept."""

    x: "Tensor"
    columns: Columns


@dataclass(frozen=True, slots=True)
class Budget:
    """How far a perturbed item may lie from the original, in pixels: `norm` is "linf" or "l2"."""

    norm: Literal["linf", "l2"]
    radius: float


class Rng(Protocol):
    """Random numbers that belong to (family of probes, `stream`, item, draw) alone.

    Float32 [N, *shape] on the processor; without a `shape`, as many for each item as it has values. A probe that needs
    several sets of numbers names them.
    """

    def uniform(self, batch: Batch, /, shape: tuple[int, ...] | None = None, stream: str = "") -> "Tensor":
        """Uniform on [0, 1)."""
        ...

    def normal(self, batch: Batch, /, shape: tuple[int, ...] | None = None, stream: str = "") -> "Tensor":
        """Standard normal."""
        ...


class Model(Protocol):
    """A network with its preprocessing inside: [N, C, H, W] float32 in [0, 1] → raw outputs float32 [N, *outputs]."""

    @property
    def role(self) -> Role: ...

    @property
    def name(self) -> str:
        """What its file is called; it identifies nothing."""
        ...

    @property
    def format(self) -> str: ...

    @property
    def sha256(self) -> str:
        """What identifies the model: the digest of the bytes that are run."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def parameters(self) -> int: ...

    @property
    def nonzero(self) -> int: ...

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of what it gives for one item: (classes,), (classes, height, width), or (values,)."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the outputs; () where nobody says."""
        ...

    @property
    def preprocessing(self) -> "Preprocessing": ...

    @property
    def runtime(self) -> Mapping[str, str | int]:
        """What runs it, with every setting that can change an output: it enters the key of each observation."""
        ...

    @property
    def deviations(self) -> tuple[str, ...]:
        """What keeps an audit of this model from being accepted, one sentence each."""
        ...

    @property
    def watched(self) -> "Watched | None":
        """The layer that is to be watched, None where none is named."""
        ...

    def __call__(self, x: "Tensor", /) -> "Tensor": ...

    def watch(self, x: "Tensor", /) -> tuple["Tensor", "Tensor"]:
        """The same outputs, and the values of the watched layer float32 [N, D], of one pass."""
        ...

    def structure(self) -> Structure | Missing:
        """What its weights really are; Missing where that cannot be told."""
        ...

    def victim(self, x: "Tensor", kind: OutputKind, /) -> Victim:
        """As an attack sees it, which is checked on items like `x`; its outputs are of `kind`."""
        ...

    def reopen(self) -> "Model":
        """The same network, loaded once more from what was hashed."""
        ...

    def verify_unchanged(self) -> None: ...


class Probe(Protocol):
    """A frozen description of inputs; its canonical form is its identity.

    The engine checks what `perturb` gives: ids, shape and dtype as they were, values within the `budget` and in [0, 1],
    or within the attribute `bounds` of a probe that leaves them on purpose, and at least a share `min_effect` of the
    items changed. The batch it hands over is a copy. Several threads call `perturb` at once, each on a deep copy of the
    probe.
    """

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> DataName: ...

    @property
    def draws(self) -> int: ...

    @property
    def budget(self) -> Budget | None: ...

    @property
    def min_effect(self) -> float: ...

    def canonical(self) -> Mapping[str, Json]: ...

    def stream(self) -> Mapping[str, Json]:
        """The family whose random numbers it uses: levels of one noise share them."""
        ...

    def describe(self) -> str: ...

    def perturb(self, batch: Batch, rng: Rng, /) -> Perturbed: ...


class Aimed(Probe, Protocol):
    """A probe that is made on one of the models, its `target`, and shown to all: `attack` takes the place of `perturb`.

    `passes` are the most that an item may cost the target, forward and backward.
    """

    @property
    def target(self) -> Role: ...

    @property
    def passes(self) -> tuple[int, int]: ...

    def attack(self, batch: Batch, rng: Rng, victim: Victim, /) -> Perturbed: ...


class Task(Protocol):
    """What is kept of an output, and how the outputs of two models are compared.

    `ordered` names the pair columns that the noise of a runtime can change.
    """

    ordered: ClassVar[frozenset[str]]

    def chance(self, found: Manifest, /) -> float:
        """The share of a data set that one gets right by always giving the same answer, at best."""
        ...

    def observe(self, out: "Tensor", batch: Batch, /) -> Columns: ...

    def settle(self, columns: Columns, declared: OutputKind, /) -> OutputKind | Missing: ...

    def near_ties(
        self, out: NDArray[np.float32], noise: float, labels: NDArray[Any], /
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Rows [N] with a decision closer than the runtime's noise, as flags or shares, and those that could turn."""
        ...

    def compare(self, labels: NDArray[Any], reference: Side, other: Side, /, *, adverse: bool = False) -> Columns:
        """Pair columns; `adverse` counts every near tie against the other model.

        Of every task, per item, as flags, or as shares of its pixels: `agree`; and where there are targets
        `right_reference`, `right_candidate`, `lost` (right by the reference alone) and `won` (by the other alone).
        """
        ...


class LedgerView(Protocol):
    """What a check may read: the traces of the probes it asked for, and the state of the whole ledger."""

    def trace(self, probe: Probe, other: Role = Role.CANDIDATE, /, *, to: Role = Role.REFERENCE) -> Trace | Missing:
        """The reference, or another role that stands in its place, joined with `other`."""
        ...

    def probabilities(self, probe: Probe, role: Role, /) -> NDArray[np.float64] | Missing:
        """Of every class, in the order of the rows of the probe's traces [rows, K]; Missing where they are not kept."""
        ...

    def layers(
        self, probe: Probe, other: Role, /
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]] | Missing:
        """What the watched layers of the reference and of another give for some items, [n, D] and [n, E], in parts."""
        ...

    def attribute(self, probe: Probe, name: str, /) -> NDArray[np.uint16] | Missing:
        """Which value each item of the probe's traces has [N], by its place among those of an attribute."""
        ...

    def ids(self, probe: Probe, /) -> Ids | Missing:
        """Digests of the items of the probe's traces, in their order."""
        ...

    def nonfinite(self, role: Role, /) -> tuple[int, int] | Missing: ...

    def near_ties(self, role: Role, /) -> tuple[float, int] | Missing:
        """(items whose decision is closer than the noise of the runtime, items), over the worst probe."""
        ...

    def parity(self, role: Role, /) -> Parity | Missing:
        """How far apart a model's answers to the same items lie."""
        ...

    def stored_items(self) -> tuple[int, int]: ...

    def class_counts(self) -> tuple[int, ...]: ...

    def size(self, role: Role, /) -> int:
        """Bytes of a model's files; of a module in memory, of its values."""
        ...

    def structure(self, role: Role, /) -> Structure | Missing:
        """What the weights of a model are; of a check that asked for it."""
        ...

    def gradients(self, role: Role, /) -> Gradients | Missing:
        """Whether a model has gradients, and whence; of a check that asked for it."""
        ...


@dataclass(frozen=True, slots=True)
class Condition:
    """Inputs that a check shows under a name: `scope` is how claims say which."""

    scope: Scope
    probe: Probe


@dataclass(frozen=True, slots=True)
class Context:
    """What a check knows when it asks: the class names, which models and data sets take part, and what they do.

    There are no classes where the models estimate values. `chance` is the share of the test set that the best single
    answer gets right. `shape` is that of an item (C, H, W), which is an image or is not; `std` is what all models
    divide each channel by, in pixels of [0, 1], where they declare the same, else (). Of the models `without_gradients`
    none can be had; it is filled in where a check asks for `gradients`. `conditions` are those of labelled items, under
    noise, corruption or shift, that other checks of the same audit show: a check may look at these without asking.
    `attributes` are what is said of the test items, by name, in their stored order. `watched` are the models of which
    a layer is named, to be looked at as well.
    """

    classes: tuple[str, ...]
    roles: tuple[Role, ...] = PAIR
    data: tuple[DataName, ...] = (DataRole.TEST,)
    task: TaskKind = TaskKind.CLASSIFICATION
    chance: float = 0.0
    shape: tuple[int, int, int] = (3, 32, 32)
    images: bool = True
    std: tuple[float, ...] = ()
    without_gradients: tuple[Role, ...] = ()
    conditions: tuple[Condition, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    watched: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What a check needs and what it promises in return.

    Probes; with `structure` the weights of all models, with `gradients` whether they have gradients to be trusted.
    """

    probes: tuple[Probe, ...]
    claims: tuple[Claim, ...]
    structure: bool = False
    gradients: bool = False


class Check(Protocol):
    """A question about the pair of models: a frozen dataclass whose fields are its settings.

    `metrics` is its catalogue; `ask` promises claims over them; `measure` yields a finding per promised claim. A check
    that shows labelled items under conditions may say which, by `shows(context)`, so that others look at them too.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]

    def ask(self, context: Context, /) -> Ask: ...

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]: ...
