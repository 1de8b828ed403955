"""Whether a network is a function of the item, and how far its runtime's own noise reaches."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from audit.contracts import DataSource, Model
from audit.errors import AuditError

if TYPE_CHECKING:
    from torch import Tensor

FEW = 16
"""Items of the small batches."""
SOME = 64
"""Items that come once more in reverse order."""
_TOLERANCE = 1e-3  # far above rounding, far below what another batch does to a network in training mode

Floats = NDArray[np.float32]


def first_batch(source: DataSource, batch: int) -> "Tensor":
    """The items that networks are tried on [N ≤ batch, C, H, W]."""
    return next(source.batches(batch, np.arange(len(source.manifest.ids)) < batch)).x


def require_function(model: Model, first: "Tensor") -> float:
    """Raise AuditError for a network that answers the same few items differently; else the largest difference.

    A borderline one could be run until it passes.
    """
    x = first[:FEW]
    whole = _answers(model, x)
    if not np.array_equal(whole, _answers(model, x), equal_nan=True):
        raise AuditError(
            f"{model.role}: gives different outputs for the same items",
            "A random or stateful network cannot be audited.",
        )
    return _differences(model, whole, _small(model, x))


def noise(model: Model, first: "Tensor", stored: Floats) -> float:
    """Largest absolute difference of an output between what was `stored` of the `first` batch and other batches.

    Some of the items come again in one batch in reverse order, and a few in small batches. Raises AuditError where an
    answer depends on the size or the other items of its batch, or differs from time to time.
    """
    others = [_answers(model, first[:SOME].flip(0))[::-1], *_small(model, first[:FEW])]
    return _differences(model, stored, others, ", or the ledger holds those of another network")


def _small(model: Model, x: "Tensor") -> list[Floats]:
    """Answers to the same few items: together, in halves, and the first alone."""
    half = len(x) // 2
    halves = [_answers(model, part) for part in (x[:half], x[half:]) if len(part)]
    return [_answers(model, x), np.concatenate(halves), _answers(model, x[:1])]


def _differences(model: Model, whole: Floats, others: list[Floats], otherwise: str = "") -> float:
    """Largest difference of any of `others` from the beginning of `whole`; `otherwise` is what else could be wrong."""
    largest = 0.0
    for other in others:
        same = whole[: len(other)]
        if not np.allclose(same, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            raise AuditError(
                f"{model.role}: its outputs for an item depend on the other items of the batch{otherwise}",
                "Export the network in evaluation mode, without a random part; use another --out, without --reuse.",
            )
        with np.errstate(invalid="ignore"):
            largest = max(largest, float(np.nan_to_num(np.abs(same - other), posinf=0.0).max()))
    return largest


def _answers(model: Model, x: "Tensor") -> Floats:
    answers: Floats = model(x.contiguous()).numpy()
    return answers
