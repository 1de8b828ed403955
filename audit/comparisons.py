"""What is kept of two models where their whole outputs would burst the ledger's budget: how they compare.

The outputs of both are compared while they are at hand, with near ties as they fell and counted against the other
model. Everything that is decided comes out the same; what is lost is reuse.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Task
from audit.findings import Missing
from audit.traces import Columns, Side
from audit.types import OutputKind, Role

_PLAIN, _ADVERSE = "plain.", "adverse."  # how the names of stored pair columns begin
_OTHER = "other"
OWN = "own."
"""How the names of the probe's own columns begin."""
_NORMALISED = (OutputKind.PROBABILITIES, OutputKind.LOG_PROBABILITIES)


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known of a model's outputs before they are compared: their kind, if it is clear, and the noise."""

    kind: OutputKind | Missing
    noise: float


@dataclass(frozen=True, slots=True)
class Census:
    """What one model left under one probe: rows, rows with NaN or infinity, rows with a near tie, in parts if need be.

    `turning`: some order of two outputs hangs on the noise of the runtime, be it of the first or of the last ones. Ties
    and turns mean nothing, and are not counted, where any row is not finite.
    """

    rows: int
    bad: int
    ties: float
    turning: bool

    @classmethod
    def of_flags(cls, flags: Columns) -> "Census":
        """Counted from what `flags` found of every row."""
        bad = int(flags["bad"].sum())
        ties, turning = (0.0, False) if bad else (float(flags["tie"].sum()), bool(flags["turning"].any()))
        return cls(len(flags["bad"]), bad, ties, turning)


def flags(task: Task, out: NDArray[np.float32], noise: float, labels: NDArray[Any]) -> Columns:
    """Which rows of outputs [N, …] are not finite, hold a near tie, could be ordered otherwise; bool [N] each."""
    bad = np.logical_not(np.isfinite(out).reshape(len(out), -1).all(axis=1))
    sound = _sound(out, bad)
    tie, turning = task.near_ties(sound, noise, labels)
    return {"bad": bad, "tie": tie, "turning": turning}


def compared(
    task: Task, labels: NDArray[Any], outputs: tuple[NDArray[np.float32], NDArray[np.float32]],
    settled: tuple[Settled, Settled],
) -> Columns:  # fmt: skip
    """What is stored of the rows [N] of a batch: the flags of the reference and of the other model, and pair columns.

    `labels` [N, …]; `outputs` of both, [N, …] each. Where the kind of either is unclear there are no pair columns; rows
    that are not finite have some, which nobody may read: one such row, and nothing of the probe is evaluated. So is it
    with `odd` ones, which look like another kind of output than what was settled.
    """
    found: dict[str, NDArray[np.generic]] = {}
    sides = []
    for name, out, known in zip((Role.REFERENCE.value, _OTHER), outputs, settled, strict=True):
        own = flags(task, out, known.noise, labels)
        own = {**own, "odd": _odd(task, _sound(out, own["bad"]), known.kind)}
        found |= {f"{name}.{flag}": values for flag, values in own.items()}
        if not isinstance(known.kind, Missing):
            sides.append(Side({"output": _sound(out, own["bad"])}, known.kind, known.noise))
    if len(sides) == len(outputs):
        plain, adverse = (task.compare(labels, *sides, adverse=adverse) for adverse in (False, True))
        found |= {_PLAIN + name: values for name, values in plain.items()}
        found |= {_ADVERSE + name: values for name, values in adverse.items() if name in task.ordered}
    return found


def pair_columns(stored: Columns, *, adverse: bool) -> Columns:
    """The pair columns of one view among what `compared` gave."""
    turned = _with_prefix(stored, _ADVERSE) if adverse else {}
    return {**_with_prefix(stored, _PLAIN), **turned}


def own_columns(stored: Columns) -> Columns:
    """The probe's own columns."""
    return _with_prefix(stored, OWN)


def census(stored: Columns, role: Role) -> Census:
    """What `compared` counted of the reference, or of the other model, whichever `role` that has."""
    return Census.of_flags(_with_prefix(stored, f"{role.value if role is Role.REFERENCE else _OTHER}."))


def odd(stored: Columns) -> bool:
    """Whether an output was of another kind than settled."""
    return any(bool(stored[f"{name}.odd"].any()) for name in (Role.REFERENCE.value, _OTHER))


def _with_prefix(stored: Columns, prefix: str) -> Columns:
    return {name.removeprefix(prefix): values for name, values in stored.items() if name.startswith(prefix)}


def _sound(out: NDArray[np.float32], bad: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(bad.reshape(-1, *[1] * (out.ndim - 1)), np.float32(0), out) if bad.any() else out


def _odd(task: Task, out: NDArray[np.float32], kind: OutputKind | Missing) -> NDArray[np.bool_]:
    """All rows of a batch, or none: probabilities may be settled by a few items, and must be that for all."""
    odd = kind in _NORMALISED and isinstance(task.settle({"output": out}, kind), Missing)
    return np.full(len(out), odd)
