"""The words of the project as types: no torch, no numpy, nothing of ours imported.

Every other module speaks in these. Rates are fractions in [0, 1] inside the program; a unit says how a
person reads and writes them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

Scope = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs that say where a metric was measured; () is the clean test set."""


class Role(StrEnum):
    """The part a model plays.

    `REFERENCE` is the trusted parent, `CANDIDATE` wants to ship in its place; `BASELINE`, where there is one, has
    the reference's architecture and was trained separately: the yard-stick of *Lost in Pruning*.
    """

    REFERENCE = "reference"
    CANDIDATE = "candidate"
    BASELINE = "baseline"


PAIR = (Role.REFERENCE, Role.CANDIDATE)
"""The two roles of every audit."""


class DataRole(StrEnum):
    """What a data set is for: the test set; inputs from elsewhere, labelled or not; inputs to calibrate on."""

    TEST = "test"
    SHIFTED = "shifted"
    OUT_OF_DISTRIBUTION = "out-of-distribution"
    CALIBRATION = "calibration"


class OutputKind(StrEnum):
    """What a model's output row holds; `AUTO` is settled from the observed outputs."""

    AUTO = "auto"
    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log-probabilities"


class Unit(StrEnum):
    """How people read a value: percentages and points are the inner fraction × 100."""

    PERCENT = "%"
    POINTS = "points"
    DISTANCE = "distance"
    ITEMS = "items"

    @property
    def scale(self) -> float:
        """Factor from the inner value to the printed one."""
        return 100.0 if self in (Unit.PERCENT, Unit.POINTS) else 1.0


class Sense(StrEnum):
    """Which side of the limit is good."""

    AT_MOST = "at_most"
    AT_LEAST = "at_least"


class Verdict(Enum):
    """The five verdicts of ILAC-G8:09/2019 §4.2.3 plus NOT EVALUATED, from best to worst."""

    PASS = "PASS"
    CONDITIONAL_PASS = "CONDITIONAL PASS"
    CONDITIONAL_FAIL = "CONDITIONAL FAIL"
    NOT_EVALUATED = "NOT EVALUATED"
    FAIL = "FAIL"

    @property
    def rank(self) -> int:
        """0 for PASS up to 4 for FAIL: an overall verdict is the highest rank among its parts."""
        return list(Verdict).index(self)


class Claim(NamedTuple):
    """A metric in a scope, for example `accuracy.drop@corruption=fog,severity=5`."""

    metric: str
    scope: Scope = ()

    @property
    def id(self) -> str:
        """The claim as one writes it in a policy."""
        scope = ",".join(f"{key}={value}" for key, value in self.scope)
        return f"{self.metric}@{scope}" if scope else self.metric

    @property
    def series(self) -> tuple[str, tuple[str, ...]]:
        """What the levels of one condition have in common: the metric and the keys of the scope."""
        return self.metric, tuple(key for key, _ in self.scope)

    @classmethod
    def parse(cls, text: str) -> "Claim":
        """Read a claim id; raises ValueError on a scope that is not `key=value,…`.

        >>> Claim.parse("accuracy.drop@severity=5,corruption=fog").id
        'accuracy.drop@corruption=fog,severity=5'
        """
        metric, at, scope = text.partition("@")
        pairs = [part.partition("=") for part in scope.split(",")] if at else []
        if not metric or any(not key or not equals or not value for key, equals, value in pairs):
            raise ValueError(f"{text!r} is not of the form metric or metric@key=value,key=value")
        if len({key for key, _, _ in pairs}) < len(pairs):
            raise ValueError(f"{text!r} names a scope key twice")
        return cls(metric, tuple(sorted((key, value) for key, _, value in pairs)))


class Kind(StrEnum):
    """How a value is decided; the texts are those of the certificate."""

    PROPORTION = "proportion"
    PAIRED = "paired-difference"
    MEAN = "bounded-mean"
    QUANTILE = "order-statistic"
    COUNTED = "exact"

    @property
    def method(self) -> str:
        """The method in words."""
        return _METHODS[self]


_METHODS = {
    Kind.PROPORTION: "exact binomial test, Clopper–Pearson bounds",
    Kind.PAIRED: "paired on the same items; exact unconditional test (Tango ordering, Berger–Boos), Tango bounds shown",
    Kind.MEAN: "mean over items; betting test on items in a pre-registered order (Waudby-Smith & Ramdas 2024)",
    Kind.QUANTILE: "quantile over items; order statistic, exact and distribution-free",
    Kind.COUNTED: "counted; exact for the items of this audit, no statement beyond them",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """Catalogue entry of what a check can claim; `low` and `high` bound every value the metric can take.

    `kind` is how it is decided where every item is seen once; over several draws of an item a proportion or a
    paired difference becomes a mean over items. `gains` is the share of items on which a candidate that decides
    everything like its reference typically wins by this metric; plans assume it. A metric that is not `of_pair` says
    nothing about the candidate: no audit passes by such alone.
    """

    name: str
    title: str
    unit: Unit
    low: float
    high: float
    better: Sense
    kind: Kind
    meaning: str
    gains: float = 0.0
    of_pair: bool = True


def _counts(*values: int) -> bool:
    """Whether all are whole numbers from 0 on: code of others hands over floats, and NaN among them."""
    return all(type(value) is int and value >= 0 for value in values)


@dataclass(frozen=True, slots=True)
class Proportion:
    """`k` of `n` items have the property."""

    k: int
    n: int

    def __post_init__(self) -> None:
        if not _counts(self.k, self.n) or self.k > self.n or self.n == 0:
            raise ValueError(f"{self.k} of {self.n} is not a proportion")

    @property
    def kind(self) -> Kind:
        return Kind.PROPORTION

    @property
    def estimate(self) -> float:
        return self.k / self.n


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean of a per-item difference in {-1, 0, 1}: `b` items at +1 (harm), `c` at -1 (gain), of `n`."""

    b: int
    c: int
    n: int

    def __post_init__(self) -> None:
        if not _counts(self.b, self.c, self.n) or self.b + self.c > self.n or self.n == 0:
            raise ValueError(f"b={self.b}, c={self.c}, n={self.n} is not a paired table")

    @property
    def kind(self) -> Kind:
        return Kind.PAIRED

    @property
    def estimate(self) -> float:
        return (self.b - self.c) / self.n


@dataclass(frozen=True, slots=True)
class BoundedMean:
    """Mean of per-item `values` in [low, high], given in the pre-registered random order of the items."""

    values: Sequence[float]
    low: float
    high: float

    def __post_init__(self) -> None:
        # Written so that a NaN, for which every comparison is false, is refused too.
        if len(self.values) == 0 or not all(self.low <= value <= self.high for value in self.values):
            raise ValueError(f"a bounded mean needs values, all within [{self.low}, {self.high}]")

    @property
    def kind(self) -> Kind:
        return Kind.MEAN

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def estimate(self) -> float:
        return min(max(math.fsum(self.values) / len(self.values), self.low), self.high)


@dataclass(frozen=True, slots=True)
class OrderStatistic:
    """The `q`-quantile of per-item `values` (any order)."""

    values: Sequence[float]
    q: float

    def __post_init__(self) -> None:
        if len(self.values) == 0 or not all(map(math.isfinite, self.values)) or not 0 < self.q < 1:
            raise ValueError(f"the {self.q}-quantile needs finite values and 0 < q < 1")

    @property
    def kind(self) -> Kind:
        return Kind.QUANTILE

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def estimate(self) -> float:
        """The smallest value with at least a share `q` of the values at or below it."""
        return sorted(self.values)[math.ceil(self.q * len(self.values)) - 1]


@dataclass(frozen=True, slots=True)
class Exact:
    """A value without sampling error: a statement about these `n` items only."""

    value: float
    n: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or not _counts(self.n) or self.n == 0:
            raise ValueError(f"{self.value} over {self.n} items is not an exact value")

    @property
    def kind(self) -> Kind:
        return Kind.COUNTED

    @property
    def estimate(self) -> float:
        return self.value


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no value: `reason` is a stable code, `detail` a sentence for people."""

    reason: str
    detail: str


Statistic = Proportion | PairedDifference | BoundedMean | OrderStatistic | Exact


@dataclass(frozen=True, slots=True)
class Presupposition:
    """The reference's own `accuracy` under a finding's probe, and its `clean` accuracy where that is another.

    `chance` is the share of the items that one gets right by always naming the most frequent class.
    """

    accuracy: Proportion | BoundedMean
    clean: Proportion | None = None
    chance: float = 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with what was measured for it.

    `presupposes` is set where the claim says nothing about a reference that is broken itself (a drop from
    2 % to 0 % is a drop of 2 points).
    """

    claim: Claim
    statistic: Statistic | Missing
    presupposes: Presupposition | None = None


@dataclass(frozen=True, slots=True)
class Criterion:
    """A limit that the policy sets on a claim; `limit` is an inner value (0.01 is one point).

    A `standing` criterion belongs to every policy; like one that is not `of_pair`, it says nothing about the
    candidate. One that counts
    `only_where_reference_holds` does not apply where the reference itself fails. A `waived` one is decided and
    printed, and left out of the overall verdict.
    """

    claim: Claim
    sense: Sense
    limit: float
    required: bool = True
    why: str = ""
    standing: bool = False
    only_where_reference_holds: bool = False
    waived: bool = False
    of_pair: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of an audit, resolved against its plan: every criterion names a promised claim.

    `floor` is the accuracy that the reference must be proven to have on clean data; elsewhere it is
    `floor_share` of its clean accuracy.
    """

    id: str
    alpha: float
    accept: frozenset[Verdict]
    floor: float
    criteria: tuple[Criterion, ...]
    floor_share: float = 0.5


@dataclass(frozen=True, slots=True)
class Decision:
    """One criterion, decided; the p-values are None where nothing was measured.

    `p_pass_adverse` is p_pass with every near tie counted against the candidate. A decision that does not
    apply (`applicable`) takes no part in the overall verdict.
    """

    criterion: Criterion
    verdict: Verdict
    reason: str
    detail: str = ""
    p_pass: float | None = None
    p_fail: float | None = None
    p_fail_holm: float | None = None
    p_pass_adverse: float | None = None
    applicable: bool = True

    @property
    def counts(self) -> bool:
        """Whether the overall verdict rests on it."""
        return self.criterion.required and self.applicable and not self.criterion.waived


@dataclass(frozen=True, slots=True)
class Decisions:
    """All criteria decided, and the overall verdict with the reason code that led to it."""

    overall: Verdict
    reason: str
    parts: tuple[Decision, ...]
    counts: Mapping[Verdict, int]
