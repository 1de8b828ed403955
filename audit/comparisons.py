"""What is kept of two models where their whole outputs would burst the ledger's budget: how they compare.

The outputs of both are compared while they are at hand, with near ties as they fell and counted against the other
model. Everything that is decided comes out the same; what is lost is reuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Columns, Side, Task
from audit.types import Role

PLAIN, ADVERSE = "plain.", "adverse."
"""How the names of stored pair columns begin."""
_BAD, _TIE, _TURNING = "bad", "tie", "turning"


@dataclass(frozen=True, slots=True)
class Census:
    """What one model left under one probe: rows, rows with NaN or infinity, rows with a near tie.

    `turning`: some order of two outputs hangs on the noise of the runtime, be it of the first or of the last ones.
    """

    rows: int
    bad: int
    ties: int
    turning: bool

    @classmethod
    def of(cls, task: Task, out: NDArray[np.float32], noise: float) -> "Census":
        """Counted in whole outputs [N, K]; ties mean nothing where some are NaN or infinite."""
        bad = int(_unsound(out).sum())
        ties = 0 if bad else int(task.near_ties(out, noise).sum())
        return cls(len(out), bad, ties, not bad and task.could_turn(out, noise))


def compared(task: Task, labels: NDArray[np.int64], reference: Side, other: Side) -> Columns:
    """What is stored of the rows of a batch: pair columns in both views, and per model what its census needs."""
    sides = {Role.REFERENCE.value: reference, "other": other}
    sound = [_sound(side) for side in sides.values()]
    views = {PLAIN: task.compare(labels, *sound), ADVERSE: task.compare(labels, *sound, adverse=True)}
    pairs = {prefix + name: values for prefix, view in views.items() for name, values in view.items()}
    return {**pairs, **{f"{name}.{flag}": v for name, side in sides.items() for flag, v in _flags(task, side).items()}}


def view(columns: Columns, *, adverse: bool) -> Columns:
    """The pair columns of one view among stored comparisons."""
    prefix = ADVERSE if adverse else PLAIN
    return {name.removeprefix(prefix): values for name, values in columns.items() if name.startswith(prefix)}


def census(columns: Columns, role: Role) -> Census:
    """What stored comparisons say of the reference, or of the other model."""
    name = role.value if role is Role.REFERENCE else "other"
    bad, ties, turning = (columns[f"{name}.{flag}"] for flag in (_BAD, _TIE, _TURNING))
    if total := int(bad.sum()):
        return Census(len(bad), total, 0, False)
    return Census(len(bad), 0, int(ties.sum()), bool(turning.any()))


def _flags(task: Task, side: Side) -> Mapping[str, NDArray[Any]]:
    out = side.columns["output"]
    bad = _unsound(out)
    turning = not bad.any() and task.could_turn(out, side.noise)
    return {_BAD: bad, _TIE: task.near_ties(_finite(out, bad), side.noise), _TURNING: np.full(len(out), turning)}


def _sound(side: Side) -> Side:
    """The side without NaN and infinity: with one of them nothing of the probe is evaluated, but it is counted."""
    out = side.columns["output"]
    return replace(side, columns={"output": _finite(out, _unsound(out))})


def _unsound(out: NDArray[np.float32]) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = np.logical_not(np.isfinite(out).all(axis=1))
    return bad


def _finite(out: NDArray[np.float32], bad: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(bad[:, None], np.float32(0), out) if bad.any() else out
