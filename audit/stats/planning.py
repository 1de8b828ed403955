"""Sample sizes before anything is measured: can a limit be proven, how likely is it, how many items does it take?

Every design is stated as "parameter ≤ limit"; the claim "≥ limit" is its mirror image (1 − θ, or −δ). A claim on
a quantile is a proportion, the share of exceedances, with the limit 1 − q.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Protocol

import numpy as np
from scipy.special import bdtrc, betaincc, ndtri, xlog1py, xlogy

from audit.stats import paired, proportions
from audit.stats.domain import Floats, require_alpha, require_between, require_counts
from audit.stats.region import Region

MOST = 1_000_000  # items; a plan beyond is no plan
FEW = 5.0  # changed items, expected, from which on Tango's score and the exact test pass almost the same tables
RARE_ROW = 1e-4  # probability of a number of gains below which it does not matter which tables pass
TEETH = 20  # numbers of events below the one that a search found which may do as well
FIRST_STEP = 64  # a search starts with steps of this part of its first guess


class Design(Protocol):
    """A claim, decided at one limit, and an assumed truth."""

    def __hash__(self) -> int: ...

    def reachable(self, n: int, alpha: float) -> bool:
        """Whether the best data that one can hope for prove the claim with n items."""
        ...

    def can_fail(self, n: int, alpha: float) -> bool:
        """Whether the worst data prove the contrary with n items; where they cannot, the limit is vacuous."""
        ...

    def power(self, n: int, alpha: float) -> float:
        """Probability of a proof with n items at the assumed truth."""
        ...

    def items(self, alpha: float, power: float, least: int = 1, within: float = 0.0) -> int | None:
        """Fewest items, from `least` on, that reach a power; None beyond MOST.

        At most a share `within` too many, where that takes less of a search.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProportionDesign:
    """θ ≤ limit by the exact binomial test, where θ is `truth`; everything here is exact.

    >>> design = ProportionDesign(0.02, 0.01)
    >>> fewest_items(design, 0.05), design.items(0.05, 0.8), round(design.power(969, 0.05), 4)
    (149, 969, 0.821)
    """

    limit: float
    truth: float

    def __post_init__(self) -> None:
        if not (0.0 <= self.limit <= 1.0 and 0.0 <= self.truth <= 1.0):
            raise ValueError(f"limit and truth must lie in [0, 1], got {self.limit!r} and {self.truth!r}")

    def reachable(self, n: int, alpha: float) -> bool:
        return proportions.p_at_most(0, n, self.limit) <= alpha

    def can_fail(self, n: int, alpha: float) -> bool:
        return proportions.p_at_least(n, n, self.limit) <= alpha

    def power(self, n: int, alpha: float) -> float:
        require_counts(n)
        require_alpha(alpha)
        too_many = first(lambda k: proportions.p_at_most(k, n, self.limit) > alpha, int(n * self.limit), 0, n)
        return self._at_most(too_many - 1, n) if too_many else 0.0

    def items(self, alpha: float, power: float, least: int = 1, within: float = 0.0) -> int | None:
        """As `Design.items`. More events allowed take more items, and the fewest for each number are the best.

        Between them power falls: a few items more than these can mean a little less.
        """
        _require_power(alpha, power)
        if self.truth >= self.limit:
            return None

        def enough(k: int) -> bool:
            return self._at_most(k, self._fewest(k, alpha)) >= power

        found = first(enough, 0, 0, int(MOST * self.limit))
        if found is None:
            return None
        # Items come whole, so that power does not rise with every further event: fewer may do already.
        n = self._fewest(next(k for k in range(max(0, found - TEETH), found + 1) if enough(k)), alpha)
        return max(n, least) if n <= MOST else None

    def _fewest(self, k: int, alpha: float) -> int:
        """Fewest items with which k events still prove the claim."""
        guess = int((k + 1.0 - float(ndtri(alpha)) * sqrt(k + 1.0)) / self.limit)
        found = first(lambda n: proportions.p_at_most(k, n, self.limit) <= alpha, guess, k + 1, 1000 * MOST)
        return 1000 * MOST if found is None else found

    def _at_most(self, k: int, n: int) -> float:
        return 1.0 if k >= n else float(betaincc(k + 1, n - k, self.truth))


@dataclass(frozen=True, slots=True)
class PairedDesign:
    """δ ≤ limit on the same items, where δ is `drop` and a share `changed` of the items is lost or won.

    `reachable` and `can_fail` ask the exact unconditional test. The best data are those of a candidate that wins
    the share `wins` of the items and loses none: by default nothing changes. Where the limit is not positive, only
    wins can prove it, and the best data are all wins. (A candidate that by luck wins more than it loses may pass
    with fewer items than `fewest_items`.)

    `power` enumerates the tables that Tango's score lets pass (Stat. Med. 17 (1998) 891), in the place of the
    exact test's. The two differ where few items change: where fewer than FEW are expected to, the tables are those
    of the exact test. A negative limit always goes by Tango's, which promises a few percent too much.

    >>> design = PairedDesign(0.02, 0.004, 0.05)
    >>> fewest_items(design, 0.05), round(design.power(1272, 0.05), 3)
    (149, 0.803)
    """

    limit: float
    drop: float
    changed: float
    wins: float = 0.0

    def __post_init__(self) -> None:
        require_between("limit", self.limit, -1.0, 1.0)
        if not abs(self.drop) <= self.changed <= 1.0:
            raise ValueError(f"|drop| ≤ changed ≤ 1 does not hold for {self.drop!r} and {self.changed!r}")
        if not 0.0 <= self.wins <= 1.0:
            raise ValueError(f"wins must lie in [0, 1], got {self.wins!r}")

    def reachable(self, n: int, alpha: float) -> bool:
        require_counts(n)
        gains = int(self.wins * n) if self.limit > 0.0 else n
        return paired.p_at_most(0, gains, n, self.limit) <= alpha

    def can_fail(self, n: int, alpha: float) -> bool:
        return paired.p_at_least(n, 0, n, self.limit) <= alpha

    def power(self, n: int, alpha: float) -> float:
        require_counts(n)
        require_alpha(alpha)
        return self._power(n, alpha, exact=self._needs_exact(n))

    def items(self, alpha: float, power: float, least: int = 1, within: float = 0.0) -> int | None:
        """As `Design.items`; where few items change, power comes and goes, and it is a number where it sets in."""
        _require_power(alpha, power)
        distance = self.limit - self.drop
        if distance <= 0.0:
            return None
        spread = ndtri(1.0 - alpha) * sqrt(self.changed) + ndtri(power) * sqrt(self.changed - self.drop**2)
        guess = int(min((spread / distance) ** 2, MOST))
        by_score = first(lambda n: self._power(n, alpha, exact=False) >= power, guess, least, MOST, within)
        if by_score is None or not self._needs_exact(by_score):
            return by_score
        return first(lambda n: self.power(n, alpha) >= power, by_score, least, MOST, within)

    def _needs_exact(self, n: int) -> bool:
        return self.limit >= 0.0 and n * self.changed < FEW

    def _power(self, n: int, alpha: float, *, exact: bool) -> float:
        harm, gain = (self.changed + self.drop) / 2.0, (self.changed - self.drop) / 2.0
        if self.limit < 0.0:
            region = Region.beyond(-float(ndtri(alpha)), n, -self.limit, (harm, harm), few_harms=False)
            return _probability(region, harm, gain)
        region = Region.beyond(float(ndtri(alpha)), n, self.limit, (gain, gain), few_harms=True)
        return _probability(self._exact(region, gain, alpha) if exact else region, gain, harm)

    def _exact(self, region: Region, gain: float, alpha: float) -> Region:
        """The likely rows of the region, with the thresholds of the exact test, searched from where they stand."""
        likely = _masses(region, gain) >= RARE_ROW
        gains, harms = region.gains[likely], region.harms[likely]
        rows = zip(gains.tolist(), harms.tolist(), strict=True)
        exact = np.array([_too_many(c, guess, region.n, self.limit, alpha) for c, guess in rows])
        return Region.of(gains, exact, region.n, region.limit, few_harms=region.few_harms)


@lru_cache(maxsize=256)
def fewest_items(design: Design, alpha: float) -> int | None:
    """Fewest items with which the claim is reachable; None beyond MOST."""
    require_alpha(alpha)
    return first(lambda n: design.reachable(n, alpha), 1, 1, MOST)


def first(holds: Callable[[int], bool], guess: int, low: int, high: int, within: float = 0.0) -> int | None:
    """Smallest integer in [low, high] from which on `holds`, or None; steps that grow from a guess, then bisection.

    Where `holds` comes and goes, a place where it sets in. At most a share `within` of it too large.

    >>> first(lambda n: n * n > 1000, 5, 0, 100), first(lambda n: n > 9, 5, 0, 9)
    (32, None)
    """
    upper, step = min(max(guess, low), high), max(1, guess // FIRST_STEP)
    lower = upper
    while not holds(upper):
        if upper == high:
            return None
        lower, upper, step = upper, min(upper + step, high), 2 * step
    while lower == upper or (lower >= low and holds(lower)):
        lower, upper, step = max(lower - step, low - 1), lower, 2 * step
    while upper - lower > max(1.0, within * upper):
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if holds(middle) else (middle, upper)
    return upper


@lru_cache(maxsize=2**14)
def _too_many(gains: int, guess: int, n: int, limit: float, alpha: float) -> int:
    """Fewest harms that the exact test does not let pass, searched from a guess."""
    most = n - gains
    found = first(lambda b: paired.p_at_most(b, gains, n, limit) > alpha, guess, 0, most)
    return most + 1 if found is None else found


def _probability(region: Region, row: float, other: float) -> float:
    """Of the tables of a region, where an item counts into its row with probability `row`, against it with `other`."""
    share = min(other / (1.0 - row), 1.0) if row < 1.0 else 0.0
    beyond = bdtrc(region.harms - 1.0, region.n - region.gains, share)
    return float((_masses(region, row) * (1.0 - beyond if region.few_harms else beyond)).sum())


def _masses(region: Region, row: float) -> Floats:
    """Probability of every row [rows]."""
    logs = region.log_choices + xlogy(region.gains, row) + xlog1py(region.n - region.gains, -row)
    return np.asarray(np.exp(logs))


def _require_power(alpha: float, power: float) -> None:
    require_alpha(alpha)
    require_between("power", power, 0.0, 1.0)
