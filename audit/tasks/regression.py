"""Regression: outputs are values, right within a tolerance, and two models are compared in tolerances."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch
from audit.dataset import Manifest
from audit.findings import Missing
from audit.tasks.classification import RIGHT, outcome
from audit.traces import Columns, Side
from audit.types import OutputKind

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
_ULPS = 4


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a value may lie from another, y, and still be the same: `absolute` + `relative` · |y|."""

    absolute: float
    relative: float

    def of(self, y: NDArray[Any]) -> Floats:
        """float64, of the shape of `y`."""
        with np.errstate(over="ignore"):  # wider than a float reaches is wide enough
            allowed: Floats = self.absolute + self.relative * np.abs(y.astype(np.float64))
        return allowed

    def distance(self, x: NDArray[Any], y: NDArray[Any], moved: float | Floats = 0.0) -> Floats:
        """The largest |x − y| + `moved` of a row in tolerances of y, from 0 on: [N, D] twice → [N].

        Where the tolerance of a value is 0, it is 0 for equal values and else infinite.
        """
        apart = np.abs(x.astype(np.float64) - y.astype(np.float64)) + moved
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            parts = np.where(apart <= 0, 0.0, apart / self.of(y))
        largest: Floats = parts.max(axis=1)
        return largest


@dataclass(frozen=True, slots=True)
class Regression:
    """The task of estimating D values: outputs and labels are float32 [N, D].

    An item is right where every value is within the `tolerance` of its target.
    """

    tolerance: Tolerance
    ordered: ClassVar[frozenset[str]] = frozenset({"agree", *RIGHT})

    def chance(self, found: Manifest, /) -> float:
        """The most items that one constant gets right, of the value where that is hardest; 0 without targets."""
        if found.labels.ndim != 2:
            return 0.0
        return min(self._guessed(found.labels[:, place]) for place in range(found.labels.shape[1]))

    def _guessed(self, y: NDArray[Any]) -> float:
        """The largest number of the intervals y ± tolerance that share a point, of all of them."""
        reach, centre = self.tolerance.of(y), y.astype(np.float64)
        edges = np.concatenate([centre - reach, centre + reach])
        opening = np.repeat([0, 1], len(y))  # intervals are closed: at one place they open before others end
        order = np.lexsort((opening, edges))
        return float(np.where(opening[order] == 0, 1, -1).cumsum().max() / len(y))

    def observe(self, out: "Tensor", batch: Batch, /) -> Columns:
        """Keep the outputs: {"output": float32 [N, D]}."""
        return {"output": out.numpy()}

    def settle(self, columns: Columns, declared: OutputKind, /) -> OutputKind | Missing:
        """Values are values; whoever declares anything else means another task."""
        return _values(declared)

    def near_ties(
        self, out: NDArray[np.float32], noise: float, labels: NDArray[Any], /
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """No item by itself is near a tie: whether it is depends on its target. So any may turn."""
        return np.zeros(len(out), np.bool_), np.ones(len(out), np.bool_)

    def compare(self, labels: NDArray[Any], reference: Side, other: Side, /, *, adverse: bool = False) -> Columns:
        """Pair columns [N]: `agree` within the tolerance of the reference's output, flags, and distances.

        `deviation` is the distance of the two outputs in tolerances, and `relative_error` ‖g − f‖₂ / ‖f‖₂. With
        `adverse` what noise can move an output by counts for the reference and against the other.
        """
        f, g = (side.columns["output"] for side in (reference, other))
        moved = [reach(side) if adverse else 0.0 for side in (reference, other)]
        columns = distances(f, g, self.tolerance)
        columns["agree"] = self.tolerance.distance(g, f, moved[0] + moved[1]) <= 1.0
        if labels.ndim != 2:
            return columns
        right = [self.tolerance.distance(out, labels, by) <= 1.0 for out, by in ((f, -moved[0]), (g, moved[1]))]
        return {**columns, **outcome(*right)}


def reach(side: Side) -> Floats:
    """How far the runtime can move an output [N, 1]."""
    largest = np.abs(side.columns["output"]).max(axis=1, keepdims=True).astype(np.float64)
    moved: Floats = side.noise + _ULPS * float(np.finfo(np.float32).eps) * largest
    return moved


def distances(f: NDArray[np.float32], g: NDArray[np.float32], tolerance: Tolerance) -> dict[str, NDArray[Any]]:
    """How far the outputs g lie from f [N, D]: in tolerances, and relative to their length; [N] each."""
    length = np.linalg.norm(f.astype(np.float64), axis=1)
    apart = np.linalg.norm(g.astype(np.float64) - f.astype(np.float64), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(apart == 0, 0.0, apart / length)
    return {"deviation": tolerance.distance(g, f), "relative_error": relative}


def _values(declared: OutputKind) -> OutputKind | Missing:
    if declared in (OutputKind.AUTO, OutputKind.VALUES):
        return OutputKind.VALUES
    return Missing("wrong-output-declaration", f"outputs are declared {declared}, but the task is to estimate values")
