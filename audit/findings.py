"""What a check can find: the metrics of its catalogue, and the statistics that are decided; nothing but words too.

Values are inner ones: fractions, not percent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from audit.types import Claim, Role, Sense, Unit


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
    Kind.COUNTED: "the value itself, computed from the items of this audit; no statement beyond them unless its "
    "definition makes one",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """Catalogue entry of what a check can claim; `low` and `high` bound every value the metric can take.

    `kind` is how it is decided where every item is seen once; over several draws of an item a proportion or a
    paired difference becomes a mean over items. `gains` is the share of items on which a candidate that decides
    everything like its reference typically wins by this metric; plans assume it. A metric that is not `of_pair` says
    nothing about the candidate: no audit passes by such alone. `q` is the level of a quantile. In the scope of a class
    a metric is of its items alone, but for one `beyond_class`.
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
    q: float = 0.0
    beyond_class: bool = False

    def __post_init__(self) -> None:
        if (self.kind is Kind.QUANTILE) is not (0.0 < self.q < 1.0):
            raise ValueError(f"{self.name}: a quantile has a level between 0 and 1, and nothing else has")


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
    """That a model works: its own `accuracy` under a finding's probe, and its `clean` accuracy where that is another.

    `chance` is the share of the items that one gets right by always naming the most frequent class. `what` says what
    takes the place of accuracy, such as the share of foreign items that a monitor finds.
    """

    accuracy: Proportion | BoundedMean
    clean: Proportion | BoundedMean | None = None
    chance: float = 0.0
    role: Role = Role.REFERENCE
    what: str = "accuracy"


@dataclass(frozen=True, slots=True)
class Exemplar:
    """An item that shows a finding: its digest, its place among the distinct items of its data set, and the names.

    `label` is what it is, the others what each model names it, with the probability that it gives to that name.
    """

    id: str
    place: int
    label: str
    reference: str
    candidate: str
    sure_reference: float
    sure_candidate: float


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim with what was measured for it.

    `presupposes` names the models that must work for the claim to say anything: a drop from 2 % to 0 % is a drop of
    2 points, and nobody is as far from its parent as an untrained baseline. A `doubt` says why it may look better than
    it is: then it can fail its limit, and not keep it. `exemplars` are some of the items behind it, for people to see.
    """

    claim: Claim
    statistic: Statistic | Missing
    presupposes: tuple[Presupposition, ...] = ()
    doubt: Missing | None = None
    exemplars: tuple[Exemplar, ...] = ()
