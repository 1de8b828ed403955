"""Items that are no images: features with bounds, which the program handles as shares of their ranges."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit.errors import AuditError
from audit.models.adapter import Features


def bounded(item: tuple[int, ...], low: NDArray[Any], high: NDArray[Any], name: str) -> Features:
    """Features of this shape between `low` and `high`: one number each, or one per feature in the shape of an item.

    Raises AuditError for bounds that are none.
    """
    try:
        ends = [np.broadcast_to(np.asarray(end, np.float64), item).reshape(-1) for end in (low, high)]
    except (ValueError, TypeError) as error:
        raise AuditError(
            f"{name}: its bounds do not fit items of shape {item}", "Give low and high once, or for every feature."
        ) from error
    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(ends).all() and np.isfinite(np.subtract(*ends)).all() and (ends[0] < ends[1]).all()
    if not item or 0 in item or not sound:
        raise AuditError(
            f"{name}: its bounds are not low < high for every feature of items of shape {item}",
            "Give the least and the greatest value that a feature can have in operation; leave constants out.",
        )
    return Features(item, tuple(ends[0].tolist()), tuple(ends[1].tolist()))


def shares(x: NDArray[Any], features: Features, where: Callable[[int], str]) -> NDArray[np.float32]:
    """Items [n, *item] as shares of the ranges of their features: float32 [n, F, 1, 1] in [0, 1].

    Raises AuditError, naming the item, for what is no number, of another shape, or out of bounds.
    """
    if x.shape[1:] != features.item or x.dtype.kind not in "iuf":
        raise AuditError(
            f"{where(0)}: is {x.dtype.name} of shape {x.shape[1:]}, not numbers of shape {features.item}",
            "All items need one shape.",
        )
    low, high = np.asarray(features.low), np.asarray(features.high)
    values = x.reshape(len(x), -1).astype(np.float64)
    outside = ~((values >= low) & (values <= high))  # this way round, a NaN is outside as well
    if outside.any():
        row, place = (int(index) for index in np.argwhere(outside)[0])
        raise AuditError(
            f"{where(row)}: feature {place} is {values[row, place]:g}, not in {low[place]:g} … {high[place]:g}",
            "Correct the item, or the bounds.",
        )
    found: NDArray[np.float32] = ((values - low) / (high - low)).astype(np.float32)
    return (found + np.float32(0)).reshape(len(x), -1, 1, 1)
