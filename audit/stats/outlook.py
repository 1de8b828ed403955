"""After a verdict that is still open: about how many items in all would probably settle it.

A forecast from observed rates is as uncertain as they are. So it is made three times: at the rates observed, and
at those that one forecast in ten finds too good, or too bad. It is searched no closer than to WITHIN.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np

from audit.stats import paired, proportions
from audit.stats.domain import Floats, require_alpha, require_counts, sample
from audit.stats.planning import Design, PairedDesign, ProportionDesign, fewest_items
from audit.stats.planning_means import MeanDesign

CHANCE = 0.8  # of the proof that is forecast
WITHIN = 0.01  # of a forecast, of which two digits are shown
TENTH = 0.1  # of the forecasts lie beyond either end of the range
TENTH_QUANTILE = 1.2815515655446004  # of the standard normal


@dataclass(frozen=True, slots=True)
class Outlook:
    """Items in all for a CHANCE of a proof; None is more than `planning.MOST`, or never."""

    about: int | None
    low: int | None
    high: int | None


def proportion(k: int, n: int, limit: float, alpha: float) -> Outlook | None:
    """Of "θ ≤ limit" after k events in n items; None where the estimate does not keep the limit.

    >>> proportion(8, 500, 0.02, 0.05)
    Outlook(about=6919, low=845, high=None)
    """
    require_counts(n, k=k)
    if k / n >= limit:
        return None
    rates = proportions.lower(k, n, TENTH), k / n, proportions.upper(k, n, TENTH)
    return _outlook([ProportionDesign(limit, rate) for rate in rates], ProportionDesign(limit, 0.0), n, alpha)


def paired_difference(b: int, c: int, n: int, limit: float, alpha: float) -> Outlook | None:
    """Of "δ ≤ limit" after b harms and c gains in n items; None where the estimate does not keep the limit.

    >>> paired_difference(28, 25, 2500, 0.005, 0.05)
    Outlook(about=9287, low=2501, high=None)
    """
    require_counts(n, b=b, c=c)
    if (b - c) / n >= limit:
        return None
    drops = paired.tango_lower(b, c, n, TENTH), (b - c) / n, paired.tango_upper(b, c, n, TENTH)
    designs = [PairedDesign(limit, drop, max((b + c) / n, abs(drop))) for drop in drops]
    return _outlook(designs, PairedDesign(limit, 0.0, 0.0), n, alpha)


def mean(values: Floats, limit: float, alpha: float, low: float, high: float) -> Outlook | None:
    """Of "mean ≤ limit" after `values` [N] in [low, high]; None where the estimate does not keep the limit.

    >>> mean(np.arange(100) / 200, 0.3, 0.05, 0.0, 1.0)
    Outlook(about=101, low=101, high=163)
    """
    measured = sample(values)
    if fsum(measured) / measured.size >= limit:
        return None
    shift = TENTH_QUANTILE * measured.std() / sqrt(measured.size)
    shifted = (np.clip(measured + by, low, high) for by in (-shift, 0.0, shift))
    designs = [MeanDesign.like(each, limit, low, high) for each in shifted]
    return _outlook(designs, MeanDesign(limit, (low,), (1.0,), low, high), measured.size, alpha)


def _outlook(designs: Sequence[Design], best: Design, n: int, alpha: float) -> Outlook:
    """At good, observed and bad rates; never fewer items than there are, or than the limit takes at best."""
    require_alpha(alpha)
    least = max(n + 1, fewest_items(best, alpha) or 0)
    low, about, high = (_from(least, design, alpha) for design in designs)
    if about is None:
        return Outlook(None, low, None)
    return Outlook(about, min(low or about, about), None if high is None else max(high, about))


def _from(least: int, design: Design, alpha: float) -> int | None:
    """How many items it takes, where it takes `least` at least: mostly no more than these."""
    return least if design.power(least, alpha) >= CHANCE else design.items(alpha, CHANCE, least, WITHIN)
