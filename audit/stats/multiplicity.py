"""Several tests at once: the family-wise error of "at least one of these claims is violated".

A PASS of a conjunction needs nothing from here: it stands when every part passes at level α, for any number
of parts and any dependence (intersection–union, Berger 1982). A FAIL singles out one part of many, and does.
"""

from collections.abc import Sequence

import numpy as np

from audit.stats.domain import Floats, sample


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm-adjusted p-values in the order given; rejecting where ≤ α errs at all with probability ≤ α.

    Valid under any dependence (Holm, Scand. J. Statist. 6 (1979) 65).
    Raises ValueError for an empty family or a p-value outside [0, 1].

    >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.06, 0.06]
    """
    p = sample(p_values)
    outside = (p < 0.0) | (p > 1.0)
    if outside.any():
        raise ValueError(f"p-value must lie in [0, 1], got {float(p[outside][0])!r}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted
