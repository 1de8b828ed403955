"""Difference of two error rates measured on the same items: exact unconditional test and Tango's interval.

Of n independent items b are harmed (reference right, candidate wrong) and c gained (reference wrong,
candidate right), with probabilities p12 and p21; δ = p12 − p21 is estimated by (b − c) / n.

Tango's interval (Stat. Med. 17 (1998) 891) holds its level only asymptotically: it is for display. A verdict
rests on the p-values, which enumerate every table that could have been seen, ordered by Tango's score
(unconditional: Hsueh, Liu & Chen, Biometrics 57 (2001) 478), and take the largest probability over the
nuisance p21 inside its 1 − γ Clopper–Pearson interval, plus γ (Berger & Boos, JASA 89 (1994) 1012). The
largest is searched on a refined grid, without an interval-arithmetic proof.

Near a limit the two can disagree: show the p-value next to the interval. A p-value is exact at its own limit,
but as tables change order with the limit, it need not fall steadily when the limit is relaxed.
"""

import sys
from math import sqrt

from scipy.optimize import brentq
from scipy.special import ndtri

from audit.stats import proportions
from audit.stats.domain import require_alpha, require_between, require_counts
from audit.stats.region import Region

GAMMA = 1e-4  # probability that the nuisance lies outside its interval
FAR = 6.0  # |z| from which on no table is enumerated, while
FAR_LIMIT = 0.5  # the limit is at most this: nearer to 1 the score is too skewed, and
FAR_TAIL = 1e-6  # this exceeds the probability of a score that far on the wrong side, whatever the nuisance
EDGE = 1e-12  # distance the interval keeps from ±1, where the variance of the score vanishes
_TINY = sys.float_info.min


def tango_z(b: int, c: int, n: int, limit: float) -> float:
    """Score of "δ = limit" for −1 < limit < 1: standard normal there for large n, increasing in b.

    >>> round(tango_z(1, 0, 44, 0.1), 6)
    -1.708564
    """
    require_counts(n, b=b, c=c)
    require_between("limit", limit, -1.0, 1.0)
    return _z(b, c, n, limit)


def tango_upper(b: int, c: int, n: int, alpha: float) -> float:
    """One-sided 1 − alpha upper confidence bound of δ, asymptotic: where the score is the alpha quantile.

    >>> round(tango_upper(105, 95, 10_000, 0.05), 6)
    0.003347
    """
    require_counts(n, b=b, c=c)
    require_alpha(alpha)
    quantile = float(ndtri(alpha))
    low, high = EDGE - 1.0, 1.0 - EDGE
    if _z(b, c, n, high) >= quantile:
        return 1.0
    if _z(b, c, n, low) <= quantile:
        return -1.0
    return float(brentq(lambda limit: _z(b, c, n, limit) - quantile, low, high))


def tango_lower(b: int, c: int, n: int, alpha: float) -> float:
    """One-sided 1 − alpha lower confidence bound of δ, asymptotic: minus the upper one with b and c swapped.

    >>> round(tango_lower(16, 6, 161, 0.025), 4)
    0.0054
    """
    return -tango_upper(c, b, n, alpha)


def p_at_most(b: int, c: int, n: int, limit: float, gamma: float = GAMMA) -> float:
    """Exact unconditional p-value of "δ ≥ limit" for −1 < limit < 1; never below gamma + FAR_TAIL.

    Where |z| ≥ FAR and |limit| ≤ FAR_LIMIT it is stated without enumeration: as gamma + FAR_TAIL, or as 1 on
    the other side; both are at least what the enumeration gives. gamma = 0 searches every nuisance value.

    >>> round(p_at_most(5, 3, 500, 0.02), 6)
    0.013764
    """
    _require_test(b, c, n, limit, gamma)
    if limit < 0.0:
        return _p_value(c, b, n, -limit, gamma, few_harms=False)
    return _p_value(b, c, n, limit, gamma, few_harms=True)


def p_at_least(b: int, c: int, n: int, limit: float, gamma: float = GAMMA) -> float:
    """Exact unconditional p-value of "δ ≤ limit": `p_at_most` with b and c swapped and the limit negated.

    >>> round(p_at_least(60, 20, 1000, 0.02), 6)
    0.012283
    """
    _require_test(b, c, n, limit, gamma)
    return p_at_most(c, b, n, -limit, gamma)


def _z(b: int, c: int, n: int, limit: float) -> float:
    """`region.score` of one table at any limit, in Python's floats: arrays of one value take twenty times as long."""
    if limit < 0.0:
        return -_z(c, b, n, -limit)
    linear = (2 * n - b + c) * limit - (b + c)
    spread = limit * (1.0 - limit)
    nuisance = max(sqrt(linear * linear + 8.0 * n * c * spread) - linear, 0.0) / (4.0 * n)
    variance = n * (2.0 * nuisance + spread)
    return (b - c - n * limit) / sqrt(max(variance, _TINY))


def _p_value(b: int, c: int, n: int, limit: float, gamma: float, *, few_harms: bool) -> float:
    """P-value of "δ ≥ limit" (few_harms) or "δ ≤ limit" for limit ≥ 0, on the boundary p12 = p21 + limit.

    The boundary suffices. Fewer harms never leave the region of few_harms, more harms never the other, and a
    point inside the hypothesis comes from a boundary point of the same p21 by moving mass from "no change" to
    harm, or back: its probability is the smaller. Only "δ ≤ limit" has points with p21 > (1 − limit) / 2, and
    they lie below the last boundary point, hence the interval of p21 is clipped rather than intersected.
    """
    z = tango_z(b, c, n, limit)
    if abs(z) >= FAR and limit <= FAR_LIMIT:
        return gamma + FAR_TAIL if (z < 0.0) == few_harms else 1.0
    ceiling = (1.0 - limit) / 2.0
    low, high = 0.0, ceiling
    if gamma > 0.0:
        low = min(ceiling, proportions.lower(c, n, gamma / 2.0))
        high = min(ceiling, proportions.upper(c, n, gamma / 2.0))
    region = Region.beyond(z, n, limit, (low, high), few_harms=few_harms)
    return min(1.0, max(region.largest_probability(low, high), FAR_TAIL) + gamma)


def _require_test(b: int, c: int, n: int, limit: float, gamma: float) -> None:
    require_counts(n, b=b, c=c)
    require_between("limit", limit, -1.0, 1.0)
    if not 0.0 <= gamma < 0.5:
        raise ValueError(f"gamma must lie in [0, 0.5), got {gamma!r}")
