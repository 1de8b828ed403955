"""One proportion θ from k events in n independent items: exact binomial test and Clopper–Pearson bounds.

Clopper & Pearson, Biometrika 26 (1934) 404. The bounds invert the tests:
`upper(k, n, alpha) ≤ limit` exactly when `p_at_most(k, n, limit) ≤ alpha`.
Items drawn with unequal θ (a class-balanced sample) leave both valid and make them conservative.
"""

from math import ceil, log, log1p

from scipy.special import betainc, betaincc, betainccinv, betaincinv

from audit.stats.domain import require_alpha, require_between, require_counts


def upper(k: int, n: int, alpha: float) -> float:
    """One-sided 1 − alpha upper confidence bound of θ; 1 when every item is an event.

    >>> round(upper(10, 1000, 0.05), 6)
    0.016903
    """
    require_counts(n, k=k)
    require_alpha(alpha)
    return 1.0 if k == n else float(betainccinv(k + 1, n - k, alpha))


def lower(k: int, n: int, alpha: float) -> float:
    """One-sided 1 − alpha lower confidence bound of θ; 0 when no item is an event.

    >>> round(lower(13, 16, 0.025), 4)
    0.5435
    """
    require_counts(n, k=k)
    require_alpha(alpha)
    return 0.0 if k == 0 else float(betaincinv(k, n - k + 1, alpha))


def p_at_most(k: int, n: int, limit: float) -> float:
    """P-value of "θ ≥ limit", P(X ≤ k) for X ~ Bin(n, limit); 0 ≤ limit ≤ 1.

    >>> round(p_at_most(5, 523, 0.02), 7)
    0.0499322
    """
    require_counts(n, k=k)
    _require_proportion(limit)
    return 1.0 if k == n else float(betaincc(k + 1, n - k, limit))


def p_at_least(k: int, n: int, limit: float) -> float:
    """P-value of "θ ≤ limit", P(X ≥ k) for X ~ Bin(n, limit); 0 ≤ limit ≤ 1.

    >>> p_at_least(0, 50, 0.02), p_at_least(1, 50, 0.0)
    (1.0, 0.0)
    """
    require_counts(n, k=k)
    _require_proportion(limit)
    return 1.0 if k == 0 else float(betainc(k, n - k + 1, limit))


def smallest_n_at_most(limit: float, alpha: float) -> int:
    """Fewest items that can prove "θ ≤ limit" at all: with no event, (1 − limit)^n ≤ alpha (Wilks 1941).

    >>> smallest_n_at_most(0.02, 0.05)
    149
    """
    require_between("limit", limit, 0.0, 1.0)
    require_alpha(alpha)
    # The quotient of logarithms can round up beyond an integer (limit 1/2, alpha 2⁻²⁹).
    n = max(1, ceil(log(alpha) / log1p(-limit)) - 1)
    while p_at_most(0, n, limit) > alpha:
        n += 1
    return n


def _require_proportion(limit: float) -> None:
    if not 0.0 <= limit <= 1.0:
        raise ValueError(f"limit must lie in [0, 1], got {limit!r}")
