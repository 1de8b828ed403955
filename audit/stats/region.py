"""Tables of paired outcomes at least as extreme as one observed, and the largest probability of seeing one.

A table counts b harmed and c gained items among n; its order is Tango's score (Stat. Med. 17 (1998) 891) at a
difference `limit` ≥ 0. Everything here is the machinery of `paired`, which checks the arguments.
"""

from dataclasses import dataclass
from math import asin, ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, gammaln, xlog1py, xlogy

from audit.stats.domain import Floats

Counts = NDArray[np.int64]

TIE = 1e-9  # scores closer than this are equal
RARE = 25.0  # all numbers of gains left out together have probability ≤ 2 exp(−25), and count as extreme
CHUNK = 32  # nuisance values evaluated together; bounds the memory
GRID_STEP = 0.25  # first step of the nuisance search, in standard errors of the nuisance
REFINEMENTS = 4  # times the step is quartered around a peak
STEEP = 8  # harms by which a threshold may rise from row to row, so that rows are summed up from one another
OFFSETS = np.array([-0.75, -0.5, -0.25, 0.25, 0.5, 0.75])
PEAK_SHARE = 0.8  # a peak lower than this share of the highest cannot overtake it between two grid points


def score(b: Counts, c: Counts, n: int, limit: float) -> Floats:
    """Tango's z for 0 ≤ limit < 1, with the maximum-likelihood p21 restricted to p12 − p21 = limit.

    >>> score(np.array([1, 0]), np.array([0, 0]), 44, 0.1).round(6).tolist()
    [-1.708564, -2.211083]
    """
    linear = (2 * n - b + c) * limit - (b + c)
    spread = limit * (1.0 - limit)
    nuisance = np.maximum(np.sqrt(linear**2 + 8.0 * n * c * spread) - linear, 0.0) / (4.0 * n)
    variance = n * (2.0 * nuisance + spread)
    # Without spread and without discordant items the variance is 0, and so is the numerator.
    return np.asarray((b - c - n * limit) / np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny)))


@dataclass(frozen=True, slots=True)
class Region:
    """Tables beyond a cut of the score, as one threshold of harms per number of gains.

    Row i stands for gains[i] gains and holds the tables with fewer than harms[i] harms (few_harms), or the
    others; gains follow one another. log_choices[i] is ln (n over gains[i]), log_steps[i] ln (n − gains[i + 1] over
    harms[i]), -inf where there are not as many.
    """

    n: int
    limit: float
    few_harms: bool
    gains: Counts
    harms: Counts
    log_choices: Floats
    log_steps: Floats

    @classmethod
    def beyond(cls, z: float, n: int, limit: float, nuisance: tuple[float, float], *, few_harms: bool) -> "Region":
        """Tables with score ≤ z (few_harms) or ≥ z, for every number of gains that `nuisance` makes likely.

        >>> Region.beyond(-1.7, 44, 0.1, (0.0, 0.1), few_harms=True).harms[:4].tolist()
        [2, 2, 3, 3]
        """
        first, last = _likely_gains(n, *nuisance)
        gains = np.arange(first, last + 1)
        harms = _harms_up_to(z + TIE if few_harms else z - TIE, gains, n, limit)
        return cls.of(gains, harms, n, limit, few_harms=few_harms)

    @classmethod
    def of(cls, gains: Counts, harms: Counts, n: int, limit: float, *, few_harms: bool) -> "Region":
        """Tables with fewer than `harms`, or as many and more, for each of these numbers of gains."""
        return cls(n, limit, few_harms, gains, harms, _log_choose(n, gains), _log_choose(n - gains[1:], harms[:-1]))

    def probability(self, nuisance: Floats) -> Floats:
        """Probability under (p12, p21) = (q + limit, q) for each q, too high by 2 exp(−RARE) at most."""
        if nuisance.size <= CHUNK:
            return self._block(nuisance)
        blocks = np.array_split(nuisance, ceil(nuisance.size / CHUNK))
        return np.concatenate([self._block(q) for q in blocks])

    def largest_probability(self, low: float, high: float) -> float:
        """Largest `probability` for p21 in [low, high], a part of [0, (1 − limit) / 2].

        Searched in the angle a with p21 = (1 − limit) / 2 · sin² a: there the Fisher information of the table
        is at most 4n, so that no feature of the probability is narrower than the grid.
        """
        ceiling = (1.0 - self.limit) / 2.0
        start, stop = (asin(sqrt(q / ceiling)) for q in (low, high))

        def probability(angles: Floats) -> Floats:
            return self.probability(ceiling * np.sin(angles) ** 2)

        angles = np.linspace(start, stop, 2 + ceil(2.0 * sqrt(self.n) * (stop - start) / GRID_STEP))
        values = probability(angles)
        padded = np.concatenate(([0.0], values, [0.0]))
        peaks = (values >= padded[:-2]) & (values >= padded[2:]) & (values >= PEAK_SHARE * values.max())
        best = float(values.max())
        for peak in angles[peaks]:
            centre, height, step = peak, 0.0, angles[1] - angles[0]
            for _ in range(REFINEMENTS):
                nearby = np.clip(centre + step * OFFSETS, start, stop)
                found = probability(nearby)
                if found.max() > height:
                    centre, height = nearby[found.argmax()], found.max()
                step /= 4.0
            best = max(best, float(height))
        return best

    def _block(self, nuisance: Floats) -> Floats:
        q = nuisance[:, None]
        mass = np.exp(self.log_choices + _times_log(self.gains, q) + _times_log1p(self.n - self.gains, -q))
        share = self._shares(np.minimum((q + self.limit) / (1.0 - q), 1.0))
        return np.asarray((mass * share).sum(axis=1) + 2.0 * np.exp(-RARE))

    def _shares(self, harm: Floats) -> Floats:
        """Of the tables of each row how probable those of the region are [q, rows], where an item that is not gained
        is harmed with probability `harm` [q, 1].

        A row follows from the one beside it, by sums of what is not negative: of m items that are not gained fewer than
        h are harmed with probability F(m, h), and exactly h with f(m, h); then F(m − 1, h) = F(m, h) + harm · f(m − 1,
        h − 1), and F(m, h + 1) = F(m, h) + f(m, h).
        """
        others, rises = self.n - self.gains, np.diff(self.harms)
        plain = harm.min() > 0.0 and harm.max() < 1.0 and np.isfinite(self.log_steps).all()
        if not plain or rises.min(initial=0) < 0 or rises.max(initial=0) > STEEP:
            beyond = bdtrc(self.harms - 1.0, others, harm)
            return np.asarray(1.0 - beyond if self.few_harms else beyond)
        first, last = 0, len(others) - 1
        steps = self._steps(harm, rises)
        if self.few_harms:
            start = 1.0 - bdtrc(self.harms[first] - 1.0, others[first], harm)
            return np.asarray(np.minimum(np.cumsum(np.concatenate((start, steps), axis=1), axis=1), 1.0))
        end = bdtrc(self.harms[last] - 1.0, others[last], harm)
        back = np.cumsum(np.concatenate((end, steps[:, ::-1]), axis=1), axis=1)
        return np.asarray(np.minimum(back[:, ::-1], 1.0))

    def _steps(self, harm: Floats, rises: Counts) -> Floats:
        """How much more probable fewer harms than the threshold are in a row than in the one before [q, rows − 1]."""
        others, harms = self.n - self.gains[1:], self.harms[:-1]
        exactly = np.exp(self.log_steps + harms * np.log(harm) + (others - harms) * np.log1p(-harm))
        steps = exactly * (harms / (others - harms + 1)) * (1.0 - harm)
        for more in range(rises.max(initial=0)):
            steps += exactly * (rises > more)
            exactly *= (others - harms - more) / (harms + more + 1) * (harm / (1.0 - harm))
        return np.asarray(steps)


def _log_choose(n: int | Counts, k: Counts) -> Floats:
    """ln (n over k); -inf where k exceeds n."""
    return np.asarray(np.where(k > n, -np.inf, gammaln(n + 1) - gammaln(k + 1) - gammaln(np.maximum(n - k, 0) + 1)))


def _times_log(k: Counts, q: Floats) -> Floats:
    """k · ln q, 0 for 0 · ln 0."""
    return np.asarray(xlogy(k, q) if q.min() <= 0.0 else k * np.log(q))


def _times_log1p(k: Counts, q: Floats) -> Floats:
    """k · ln (1 + q), 0 for 0 · ln 0."""
    return np.asarray(xlog1py(k, q) if q.min() <= -1.0 else k * np.log1p(q))


def _harms_up_to(cut: float, gains: Counts, n: int, limit: float) -> Counts:
    """For each number of gains, how many of the possible numbers of harms 0 … n − gains score ≤ cut."""
    low, high = np.zeros_like(gains), n - gains + 1
    while (searching := low < high).any():
        middle = (low + high) // 2
        below = score(middle, gains, n, limit) <= cut
        low, high = np.where(searching & below, middle + 1, low), np.where(searching & ~below, middle, high)
    return low


def _likely_gains(n: int, low: float, high: float) -> tuple[int, int]:
    """Range outside which Bin(n, q), low ≤ q ≤ high, falls with probability ≤ 2 exp(−RARE) (Bernstein)."""
    below, above = (RARE / 3.0 + sqrt(RARE**2 / 9.0 + 2.0 * RARE * n * q * (1.0 - q)) for q in (low, high))
    return max(0, int(n * low - below)), min(n, ceil(n * high + above))
