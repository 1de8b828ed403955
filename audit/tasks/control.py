"""Control: of several outputs the smallest, or the largest, decides what is done, as in collision avoidance.

Outputs are values, such as costs of advisories (Katz et al., 2017, on ACAS Xu), so that no softmax is taken of them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from audit.contracts import Batch
from audit.dataset import Manifest
from audit.findings import Missing
from audit.tasks.classification import RIGHT, Classification, most_frequent, outcome
from audit.tasks.regression import Regression, Tolerance, distances
from audit.traces import Columns, Side
from audit.types import OutputKind

if TYPE_CHECKING:
    from torch import Tensor

Rule = Literal["argmin", "argmax"]
_LARGEST = Classification()


@dataclass(frozen=True, slots=True)
class Control:
    """The task of deciding for one of K actions: outputs are float32 [N, K], labels int64 [N]."""

    rule: Rule
    tolerance: Tolerance
    ordered: ClassVar[frozenset[str]] = frozenset({"agree", *RIGHT})

    def chance(self, found: Manifest, /) -> float:
        """Share of the most frequent decision; 0 without labels."""
        return most_frequent(found.labels)

    def observe(self, out: "Tensor", batch: Batch, /) -> Columns:
        """Keep the outputs: {"output": float32 [N, K]}."""
        return {"output": out.numpy()}

    def settle(self, columns: Columns, declared: OutputKind, /) -> OutputKind | Missing:
        """Values, as in regression."""
        return Regression(self.tolerance).settle(columns, declared)

    def near_ties(
        self, out: NDArray[np.float32], noise: float, labels: NDArray[Any] | None = None, /
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Items [N] whose two best outputs are closer than the runtime can move them, twice."""
        near = _LARGEST.near_ties(self._turned(out), noise)[0]
        return near, near

    def compare(self, labels: NDArray[Any], reference: Side, other: Side, /, *, adverse: bool = False) -> Columns:
        """Pair columns [N]: `agree` on the decision, flags, and distances as in regression.

        Among equal outputs the first one decides. With `adverse` a near tie is right for the reference, wrong for the
        other, and no agreement.
        """
        raw = [side.columns["output"] for side in (reference, other)]
        taken = [self._turned(out).argmax(axis=1) for out in raw]
        ties = [self.near_ties(side.columns["output"], side.noise)[0] & adverse for side in (reference, other)]
        columns = distances(raw[0], raw[1], self.tolerance)
        columns["agree"] = (taken[0] == taken[1]) & ~ties[0] & ~ties[1]
        if (labels < 0).any():
            return columns
        return {**columns, **outcome((taken[0] == labels) | ties[0], (taken[1] == labels) & ~ties[1])}

    def _turned(self, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """The outputs, so that the largest decides."""
        return -out if self.rule == "argmin" else out
