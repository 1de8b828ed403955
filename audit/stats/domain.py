"""Domain checks shared by the tests: a value outside its domain is refused by name and value."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def require_alpha(alpha: float) -> None:
    """Refuse a level outside (0, 0.5].

    >>> require_alpha(0.7)
    Traceback (most recent call last):
    ValueError: alpha must lie in (0, 0.5], got 0.7
    """
    if not 0.0 < alpha <= 0.5:
        raise ValueError(f"alpha must lie in (0, 0.5], got {alpha!r}")


def require_between(name: str, value: float, low: float, high: float) -> None:
    """Refuse a value that is not strictly between `low` and `high`; NaN never is.

    >>> require_between("limit", float("nan"), -1, 1)
    Traceback (most recent call last):
    ValueError: limit must lie strictly between -1 and 1, got nan
    """
    if not low < value < high:
        raise ValueError(f"{name} must lie strictly between {low!r} and {high!r}, got {value!r}")


def require_counts(n: int, **parts: int) -> None:
    """Refuse n < 1, a part that is negative or not an integer, and parts that together exceed n.

    >>> require_counts(10, b=7, c=4)
    Traceback (most recent call last):
    ValueError: b + c must not exceed n = 10, got 11
    """
    for name, value in {"n": n, **parts}.items():
        if not isinstance(value, Integral) or value < (name == "n"):
            raise ValueError(f"{name} must be an integer of at least {int(name == 'n')}, got {value!r}")
    if sum(parts.values()) > n:
        raise ValueError(f"{' + '.join(parts)} must not exceed n = {n}, got {sum(parts.values())}")


def sample(x: ArrayLike | Sequence[float]) -> Floats:
    """One-dimensional, non-empty float64 sample without NaN (infinities are kept).

    >>> sample([0.0, float("nan")])
    Traceback (most recent call last):
    ValueError: sample has NaN at position 1
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"sample must be one-dimensional and not empty, got shape {values.shape}")
    missing = np.isnan(values)
    if missing.any():
        raise ValueError(f"sample has NaN at position {int(missing.argmax())}")
    return values
