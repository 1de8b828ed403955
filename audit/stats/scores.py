"""Proper scores of probabilities."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def brier(p: Floats, of_label: Floats) -> Floats:
    """Σ(p − y)²/2 over classes, with y 1 for the label and 0 elsewhere, in [0, 1] (Brier, 1950) [N].

    `p` [N, K] are probabilities, `of_label` [N] that of the label.
    """
    squares = np.einsum("ij,ij->i", p, p)
    found: Floats = ((squares - 2 * of_label + 1) / 2).clip(0.0, 1.0)
    return found
