"""Which items are read together."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def spans(size: int, wanted: NDArray[np.bool_], items: int) -> list[tuple[int, int]]:
    """(start, stop) of the batches that hold the `items` marked in `wanted` bool [items]; see `DataSource.batches`.

    Raises ValueError for a size below 1, or a mask of another shape or type.
    """
    if size < 1 or wanted.dtype != np.bool_ or wanted.shape != (items,):
        raise ValueError(f"batches of {size} of {items} items, wanted: {wanted.dtype} {wanted.shape}")
    return list(runs(np.flatnonzero(wanted), size))


def runs(rows: NDArray[np.intp], size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the runs of consecutive numbers in ascending `rows`; none reaches over a multiple of `size`."""
    first = np.ones(len(rows) + 1, np.bool_)
    first[1:-1] = (np.diff(rows) != 1) | (rows[1:] % size == 0)
    for begin, end in pairwise(np.flatnonzero(first)):
        yield int(rows[begin]), int(rows[end - 1]) + 1
