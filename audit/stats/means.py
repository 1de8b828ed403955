"""Mean of independent values with a known support, by betting; exact for every n and every distribution.

Under "mean ≥ m" the capital K_t = Π (1 + λ_i (m − x_i)) of a gambler who fixes λ_i before seeing x_i is a
non-negative supermartingale, so P(max_t K_t ≥ 1/α) ≤ α (Ville) and 1 / max_t K_t is a p-value. The bets are
the predictable plug-in ones for a fixed n of Waudby-Smith & Ramdas (JRSS B 86 (2024) 1, §4): tuned to the
empirical-Bernstein bound at level alpha and truncated at 0.9 / (1 − m).

ORDER MATTERS. The caller promises that x stands in a random order drawn independently of the values and fixed
before they were seen; choosing among orders afterwards voids the guarantee. Dependent values (several
measurements of one item) must be averaged per item first.
"""

from collections.abc import Sequence
from math import ceil, exp, log, sqrt

import numpy as np

from audit.stats.domain import Floats, require_alpha, require_between, sample

TRUNCATION = 0.9  # share of the capital at stake at most; the default of the authors' experiments
PRIOR_MEAN, PRIOR_VARIANCE = 0.5, 0.25  # one imagined observation before the first real one
BOUND_TOLERANCE = 2.0**-30  # of a bound, as a share of the support
NEWTON_STEPS = 12  # towards a bound, before bisection
_PARTS = 2**30


def log_capital(x: Sequence[float] | Floats, m: float, alpha: float) -> Floats:
    """ln K_1 … ln K_n against "mean ≥ m", for x in [0, 1] in the promised order and 0 < m < 1.

    >>> x = np.arange(37, 3701, 37) % 100 / 1000
    >>> round(float(log_capital(x, 0.1, 0.05)[-1]), 9)
    4.818812113
    """
    require_between("m", m, 0.0, 1.0)
    values = _unit(x, 0.0, 1.0)
    return _log_capital(values, _bets(values, alpha), m)


def p_at_most(x: Sequence[float] | Floats, limit: float, alpha: float, low: float = 0.0, high: float = 1.0) -> float:
    """P-value of "mean ≥ limit" for x in [low, high]; alpha only tunes the bets, any level may be read off.

    Raises ValueError unless low < limit < high: at or beyond the ends the claim is vacuous or unprovable.

    >>> round(p_at_most([0.0] * 100, 0.05, 0.05), 4)
    0.0103
    """
    require_between("limit", limit, low, high)
    values = _unit(x, low, high)
    return _p(values, _bets(values, alpha), (limit - low) / (high - low))


def p_at_least(x: Sequence[float] | Floats, limit: float, alpha: float, low: float = 0.0, high: float = 1.0) -> float:
    """P-value of "mean ≤ limit": `p_at_most` of the mirrored values.

    >>> p_at_least([0.5] * 40, 0.5, 0.05)
    1.0
    """
    require_between("limit", limit, low, high)
    mirrored = 1.0 - _unit(x, low, high)
    return _p(mirrored, _bets(mirrored, alpha), (high - limit) / (high - low))


def upper(x: Sequence[float] | Floats, alpha: float, low: float = 0.0, high: float = 1.0) -> float:
    """One-sided 1 − alpha upper confidence bound of the mean, `high` when nothing smaller is proven.

    The smallest limit with p_at_most ≤ alpha, to BOUND_TOLERANCE of the support and never below it.

    >>> round(upper([0.0] * 100, 0.05), 4)
    0.0331
    """
    return min(high, low + _unit_upper(_unit(x, low, high), alpha) * (high - low))


def lower(x: Sequence[float] | Floats, alpha: float, low: float = 0.0, high: float = 1.0) -> float:
    """One-sided 1 − alpha lower confidence bound of the mean: `upper` of the mirrored values.

    >>> round(lower([1.0] * 100, 0.05), 4)
    0.9669
    """
    return max(low, high - _unit_upper(1.0 - _unit(x, low, high), alpha) * (high - low))


def _unit(x: Sequence[float] | Floats, low: float, high: float) -> Floats:
    """The sample rescaled from [low, high] to [0, 1], or ValueError."""
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"support must be finite with low < high, got [{low!r}, {high!r}]")
    values = sample(x)
    outside = (values < low) | (values > high)
    if outside.any():
        raise ValueError(f"value must lie in [{low!r}, {high!r}], got {float(values[outside][0])!r}")
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _bets(x: Floats, alpha: float) -> Floats:
    """λ_i before truncation: sqrt(2 ln(1/α) / (n σ̂²_{i−1})), where σ̂²_{i−1} knows x_1 … x_{i−1} only."""
    require_alpha(alpha)
    weight = np.arange(2, x.size + 2)
    running_mean = (PRIOR_MEAN + np.cumsum(x)) / weight
    variance = (PRIOR_VARIANCE + np.cumsum((x - running_mean) ** 2)) / weight
    known = np.concatenate(([PRIOR_VARIANCE], variance[:-1]))
    return np.asarray(np.sqrt(2.0 * np.log(1.0 / alpha) / (x.size * known)))


def _log_capital(x: Floats, bets: Floats, m: float) -> Floats:
    return np.cumsum(np.log1p(np.minimum(bets, TRUNCATION / (1.0 - m)) * (m - x)))


def _p(x: Floats, bets: Floats, m: float) -> float:
    return float(np.exp(-max(0.0, float(_log_capital(x, bets, m).max()))))


def _unit_upper(x: Floats, alpha: float) -> float:
    """Where the limits not rejected end, rounded up to a multiple of BOUND_TOLERANCE.

    Every factor 1 + min(λ_i, 0.9 / (1 − m)) (m − x_i) increases with m, hence so does each K_t and their
    maximum: the limits not rejected form one interval. The logarithm of that maximum is nearly linear in m, so that
    Newton's steps find its end; bisection does where they fail.
    """
    bets, goal = _bets(x, alpha), log(1.0 / alpha)
    accepted, rejected, tried = 0, _PARTS, 0
    guess = float(x.mean()) + sqrt(2.0 * goal * float(x.var()) / x.size)
    while rejected - accepted > 1:
        part = min(max(ceil(guess * _PARTS), accepted + 1), rejected - 1)
        if tried >= NEWTON_STEPS:
            part = (accepted + rejected) // 2
        m, tried = part * BOUND_TOLERANCE, tried + 1
        capital = _log_capital(x, bets, m)
        last = int(capital.argmax())
        highest = float(capital[last])
        accepted, rejected = (accepted, part) if exp(-max(0.0, highest)) <= alpha else (part, rejected)
        stakes = np.minimum(bets[: last + 1], TRUNCATION / (1.0 - m))
        guess = m + (goal - highest) / float((stakes / (1.0 + stakes * (m - x[: last + 1]))).sum())
    return rejected * BOUND_TOLERANCE
