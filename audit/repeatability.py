"""How far a runtime's own noise reaches: by what an item's outputs differ when only its company changes."""

from typing import TYPE_CHECKING

import numpy as np

from audit.contracts import DataSource, Model
from audit.errors import AuditError

if TYPE_CHECKING:
    from torch import Tensor

ITEMS = 16
_TOLERANCE = 1e-3  # far above rounding, far below what another batch does to a network in training mode


def noise(model: Model, source: DataSource, batch: int) -> float:
    """Largest absolute difference of an output over repetition, reversal and halving of the first items.

    Raises AuditError for a network that answers the same items differently: a borderline one could be run until
    it passes.
    """
    wanted = np.arange(len(source.manifest.ids)) < ITEMS
    x = next(source.batches(batch, wanted)).x
    whole = _answers(model, x)
    if not np.array_equal(whole, _answers(model, x), equal_nan=True):
        raise AuditError(
            f"{model.role}: gives different outputs for the same items",
            "A random or stateful network cannot be audited.",
        )
    half = len(x) // 2
    others = [_answers(model, x.flip(0))[::-1]]
    if half:
        others.append(np.concatenate([_answers(model, x[:half]), _answers(model, x[half:])]))
    if not all(np.allclose(whole, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True) for other in others):
        raise AuditError(
            f"{model.role}: its outputs for an item depend on the other items of the batch",
            "Export the network in evaluation mode.",
        )
    with np.errstate(invalid="ignore"):
        return max(float(np.nan_to_num(np.abs(whole - other), posinf=0.0).max()) for other in others)


def _answers(model: Model, x: "Tensor") -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    answers: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = model(x.contiguous()).numpy()
    return answers
