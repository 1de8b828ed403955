"""Applying a probe without trusting it: what it gives is checked before any network sees it."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Aimed, Batch, Perturbed, Probe, Rng
from audit.findings import Missing
from audit.gradients import Victim
from audit.traces import Columns
from audit.types import DataRole, Role

if TYPE_CHECKING:
    from torch import Tensor

    from audit.evidence import ProbeRecord

WATCHED = "watched"
"""The column of what a watched layer gave."""
RESERVED = frozenset({"id", "draw", "label", "output", WATCHED})
"""Columns that the engine and the task write; no probe may."""


class BrokenProbeError(Exception):
    """A probe did not keep its word, or crashed; `why` is what the evidence will say."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.why = Missing(reason, detail)


def bounds_of(probe: Probe) -> tuple[float, float]:
    """The values that a probe may give: those of pixels, unless it says that it leaves them on purpose.

    Raises ValueError for bounds that are not finite, or do not hold those of pixels.
    """
    low, high = getattr(probe, "bounds", (0.0, 1.0))
    if not -math.inf < low <= 0.0 < 1.0 <= high < math.inf:
        raise ValueError(f"probe {probe.name!r} has bounds {low} and {high}, which must hold [0, 1]")
    return float(low), float(high)


def untouched(probe: "Probe | ProbeRecord") -> bool:
    """Whether it shows the test items as they are: the values of watched layers are kept of these."""
    return probe.data == DataRole.TEST and not probe.min_effect


def target_of(probe: Probe) -> Role | None:
    """The model that a probe is made on; None of one that is the same for all."""
    target = getattr(probe, "target", None)
    return None if target is None else Role(target)


class Scratch:
    """Arrays used again for every batch: new ones cost more, in pages that the system must clear, than the checks."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def like(self, name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """An array of the shape of `x` [N, …] under a name; what it held is gone."""
        kept = self._arrays.get(name)
        if kept is None or kept.shape[1:] != x.shape[1:] or len(kept) < len(x):
            kept = self._arrays[name] = np.empty(x.shape, np.float32)
        return kept[: len(x)]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came through the checks: `x` and `columns` as in `Perturbed`, and how many items were changed."""

    x: "Tensor"
    columns: Columns
    changed: int


@dataclass(frozen=True)
class Verified:
    """A probe whose every batch is checked.

    `perturb` runs on a copy that shares nothing with the probe: what it does to itself changes neither what it
    promised nor what another thread does. Raises BrokenProbeError where there can be no copy.
    """

    probe: Probe
    rng: Rng
    scratch: Scratch
    victim: Victim | None = None
    """The model that it is made on, of a probe that is aimed at one."""
    _copy: Probe = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_copy", copy.deepcopy(self.probe))
        except (Exception, SystemExit) as error:  # code of others
            raise self._broken("probe-crashed", f"cannot be copied ({type(error).__name__}: {error})") from error

    def perturb(self, batch: Batch) -> Checked:
        """The perturbed batch, good until the next; raises BrokenProbeError where it is not what the probe promised."""
        import torch

        original = batch.x.numpy()
        own = self.scratch.like("own", original)
        np.copyto(own, original)
        y = None if batch.y is None else batch.y.clone()
        handed = replace(batch, ids=batch.ids.copy(), x=torch.from_numpy(own), y=y)
        try:
            made = self._made(handed)
            if isinstance(getattr(made, "x", None), torch.Tensor):
                made = Perturbed(made.x.detach().contiguous(), made.columns)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # code of others: whatever it does, it must not decide by crashing
            raise self._broken("probe-crashed", f"{type(error).__name__}: {error}") from error
        self._require_alike(made, batch)
        # Of items left as they are, one pass in place of three; it stops at the first difference.
        changed = 0 if torch.equal(made.x, batch.x) else self._changed(made, batch)
        columns = {name: values.copy() for name, values in made.columns.items()}  # they outlive the scratch arrays
        return Checked(made.x, columns, changed)

    def _made(self, handed: Batch) -> Perturbed:
        if self.victim is None:
            return self._copy.perturb(handed, self.rng)
        with self.victim.running():
            return cast(Aimed, self._copy).attack(handed, self.rng, self.victim)

    def _require_alike(self, made: Perturbed, batch: Batch) -> None:
        import torch

        x = getattr(made, "x", None)
        if not isinstance(x, torch.Tensor) or x.shape != batch.x.shape or x.dtype != batch.x.dtype:
            found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
            raise self._broken("wrong-shape", f"gave {found} for {batch.x.dtype} {tuple(batch.x.shape)}")
        if x.layout is not torch.strided or x.device != batch.x.device:
            raise self._broken("wrong-shape", f"gave a tensor of layout {x.layout} on {x.device}")
        self._require_columns(getattr(made, "columns", None), len(batch.ids))

    def _require_columns(self, columns: object, items: int) -> None:
        if not isinstance(columns, Mapping):
            raise self._broken("wrong-columns", f"gave {type(columns).__name__} for its columns")
        for name, values in columns.items():
            good = isinstance(values, np.ndarray) and values.ndim in (1, 2) and values.dtype.kind in "biuf"
            if name in RESERVED or not good or len(values) != items:
                raise self._broken("wrong-columns", f"column {name!r} is reserved, or has not one number per item")

    def _changed(self, made: Perturbed, batch: Batch) -> int:
        """How many items were changed, none of them out of bounds or beyond the budget."""
        found = tuple(float(end) for end in made.x.aminmax())
        low, high = bounds_of(self.probe)
        if not (found[0] >= low and found[1] <= high):  # false for NaN as well
            raise self._broken(
                "out-of-bounds", f"gave values from {found[0]:g} to {found[1]:g}, outside [{low:g}, {high:g}]"
            )
        original = batch.x.numpy()
        moved = self.scratch.like("moved", original)
        np.subtract(made.x.numpy(), original, out=moved)
        rows = moved.reshape(len(moved), -1)
        farthest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        budget = self.probe.budget
        if budget is not None:
            distance = float(farthest.max() if budget.norm == "linf" else np.linalg.norm(rows, axis=1).max())
            if not distance <= budget.radius:
                raise self._broken(
                    "budget-exceeded",
                    f"moved an item by {distance:.6g} in {budget.norm}, more than {budget.radius:.6g}",
                )
        return int((farthest > 0).sum())

    def _broken(self, reason: str, detail: str) -> BrokenProbeError:
        return _broken(self.probe, reason, detail)


class Effect:
    """What a probe did to the items in their order, whichever threads they came from."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self._seen = self._changed = 0
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] | None = None

    def add(self, made: Columns, changed: int, items: int) -> None:
        """Count a batch; raises BrokenProbeError where the probe's own columns are not those of the batch before."""
        kinds = {name: (values.dtype, values.shape[1:]) for name, values in made.items()}
        if self._kinds is not None and kinds != self._kinds:
            raise _broken(self.probe, "wrong-columns", "its columns differ from batch to batch")
        self._kinds = kinds
        self._seen += items
        self._changed += changed

    def end_chunk(self) -> None:
        """Raise BrokenProbeError where too few items of the chunk were changed: a dead perturbation is a free PASS.

        A probe that promises no effect must have none: it is the data set as it is.
        """
        changed, seen = self._changed, self._seen
        self._seen = self._changed = 0
        promised = self.probe.min_effect
        if changed and not promised:
            detail = f"promises to change nothing, and changed {changed} of {seen} items"
            raise _broken(self.probe, "not-clean", detail)
        if changed < math.ceil(promised * seen):
            detail = f"changed {changed} of {seen} items; at least {promised:.0%} must change"
            raise _broken(self.probe, "dead-perturbation", detail)


def _broken(probe: Probe, reason: str, detail: str) -> BrokenProbeError:
    return BrokenProbeError(reason, f"probe {probe.name!r}: {detail}")
