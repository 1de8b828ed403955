"""Upper confidence bound of a quantile by an order statistic: no assumption on the distribution.

The claim "the q-quantile is at most a limit fixed beforehand" is a proportion, the share of exceedances, and
is decided by `proportions.p_at_most(exceedances, n, 1 - q)`; the bound below is its inversion (Wilks 1941).
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.special import betaincc

from audit.stats.domain import Floats, require_alpha, require_between, require_counts, sample


def upper_rank(n: int, q: float, alpha: float) -> int | None:
    """Smallest 1-based rank whose order statistic is ≥ the q-quantile with probability ≥ 1 − alpha.

    Smallest r with P(Bin(n, q) ≤ r − 1) ≥ 1 − alpha; None when even the maximum falls short.

    >>> upper_rank(1000, 0.99, 0.05), upper_rank(298, 0.99, 0.05)
    (996, None)
    """
    require_counts(n)
    require_between("q", q, 0.0, 1.0)
    require_alpha(alpha)
    ranks = range(1, n + 1)
    position = bisect_left(ranks, 1.0 - alpha, key=lambda rank: float(betaincc(rank, n - rank + 1, q)))
    return ranks[position] if position < n else None


def upper(x: Sequence[float] | Floats, q: float, alpha: float) -> tuple[float, int] | None:
    """One-sided 1 − alpha upper confidence bound of the q-quantile and its rank, or None when n is too small.

    x is an independent sample in any order and unit; infinite values rank last and may be the bound.

    >>> upper(range(1, 300), 0.99, 0.05)
    (299.0, 299)
    """
    values = sample(x)
    rank = upper_rank(values.size, q, alpha)
    return None if rank is None else (float(np.partition(values, rank - 1)[rank - 1]), rank)
