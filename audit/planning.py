"""Planning: what can come out of an audit, and what it costs, before the first forward pass.

A forecast assumes a truth; nothing here enters a verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod

import numpy as np

from audit.evidence import Kept, MoreItems
from audit.findings import BoundedMean, Exact, Kind, Metric, OrderStatistic, PairedDifference, Proportion, Statistic
from audit.sizes import FLOAT, WAITING, row_bytes
from audit.stats import outlook
from audit.stats.domain import require_alpha
from audit.stats.planning import Design, PairedDesign, ProportionDesign, fewest_items
from audit.stats.planning_means import MeanDesign
from audit.types import Claim, Criterion, Role, Sense, Unit

POWER = 0.9  # at which the items needed are counted
PART_OF_LIMIT = 0.2  # a typical loss, as a part of the loss allowed
PART_OF_BEYOND = 0.5  # of the items allowed beyond a quantile's limit, typically fewer by this part
BETTER_BY = 0.01  # where none is allowed: a typical distance from the limit
PRODUCTS = 4 * 8  # bytes of each product of two values of layers, float64, while those are compared
COPIES = 3  # of a chunk while it is stored, and of a trace while it is joined: parts, whole, encoded or compared
INPUT_COPIES = 4  # of a batch: as read, as handed to the probe, as perturbed, and how far it was moved
BACKWARD = 2  # forward passes that take as long as a backward one
FAMILIES = 2  # uniform and Gaussian: all levels of a kind of noise share its numbers, kept for each draw of a batch,
FAMILY = 2**25  # as far as this many bytes reach: what `audit.randomness` has room for


@dataclass(frozen=True, slots=True)
class Typical:
    """What a well-pruned network does to a difference between the models; shares of the items.

    `changed` of them go from right to wrong or back. `wins` go from wrong to right at best: 0 for a candidate that
    decides every item like its reference; more where the metric itself credits such a candidate.
    """

    changed: float = 0.06
    wins: float = 0.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.changed <= 1.0 and 0.0 <= self.wins <= 1.0):
            raise ValueError(f"shares of the items must lie in [0, 1], got {self.changed!r} and {self.wins!r}")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What `n` items can do for one criterion; `criterion.limit` and `truth` are inner values.

    `reachable`: the best data pass (of a paired difference: see `PairedDesign`); `n_min` is the fewest items with
    which they do. `vacuous`: not even the worst data fail. `power` is the chance of PASS at the `truth` assumed,
    `items` the number at which it is POWER; all but `reachable`, `n_min` and `vacuous` are None for what is counted.
    Each number of items is None beyond a million, `truth` for a quantile, of which only the share beyond is assumed.
    """

    criterion: Criterion
    unit: Unit
    n: int
    reachable: bool | None = None
    n_min: int | None = None
    vacuous: bool | None = None
    truth: float | None = None
    power: float | None = None
    items: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """A probe that still has to run: on `items`, `draws` times each; `kept` is what the ledger will hold of it.

    The models of `without` do not see it. Making it takes at most `passes` of the `target`, forward and backward, an
    item. Of each item every model leaves so many values of a layer as `watched` says, beside its outputs.
    """

    items: int
    draws: int = 1
    kept: Kept = "outputs"
    without: frozenset[Role] = frozenset()
    target: Role | None = None
    passes: tuple[int, int] = (0, 0)
    watched: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        return self.items * self.draws

    def attacks(self, role: Role) -> int:
        """Forward passes of a model that making it takes at most, or what takes as long."""
        return self.rows * (self.passes[0] + BACKWARD * self.passes[1]) if role is self.target else 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What an audit takes: forward passes by role, bytes on disk, bytes of memory beside program and networks.

    `attacks` are those that attacks take beside, at most; a backward one counts as BACKWARD. `seconds` is None where
    the time of a pass was not measured for every role.
    """

    passes: Mapping[Role, int]
    disk: int
    memory: int
    seconds: float | None
    attacks: Mapping[Role, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Numbers:
    reachable: bool
    n_min: int | None
    vacuous: bool
    power: float
    items: int | None

    def of(self, criterion: Criterion, metric: Metric, n: int, truth: float | None) -> Forecast:
        """As a forecast of one criterion."""
        return Forecast(
            criterion, metric.unit, n, reachable=self.reachable, n_min=self.n_min, vacuous=self.vacuous,
            truth=truth, power=self.power, items=self.items,
        )  # fmt: skip


def forecast(
    criteria: Sequence[Criterion],
    metrics: Mapping[str, Metric],
    n: int,
    alpha: float,
    draws: Mapping[Claim, int] | None = None,
    items: Mapping[Claim, int] | None = None,
    typical: Mapping[str, Typical] | None = None,
) -> tuple[Forecast, ...]:
    """What `n` items can do for each criterion at level `alpha`.

    `draws` (1 where absent) says how often a claim's probe sees an item; `items` how many belong to a claim over a
    part of the data or over other data, such as one class (`n` where absent); `typical` what to assume, by metric.
    Raises ValueError for a metric that is not in the catalogue, a limit that no test knows, and counts below 1.
    """
    require_alpha(alpha)
    draws, items, typical = draws or {}, items or {}, typical or {}
    found = []
    for criterion in criteria:
        claim = criterion.claim
        count, times = items.get(claim, n), draws.get(claim, 1)
        if claim.metric not in metrics or min(count, times) < 1:
            raise ValueError(f"{claim.id}: no forecast for {count} items, {times} draws, {len(metrics)} metrics")
        assumed = typical.get(claim.metric, Typical())
        found.append(_forecast(criterion, metrics[claim.metric], count, times, alpha, assumed))
    return tuple(found)


def impossible(forecasts: Sequence[Forecast]) -> tuple[Forecast, ...]:
    """The criteria by which the audit cannot be expected to PASS: required, not waived, and not `reachable`.

    Of most designs not even the best data prove such a one. A paired difference with a positive limit is the
    exception: a candidate that wins more items than `Typical.wins` could still be proven (see `PairedDesign`).
    """
    counting = (each for each in forecasts if each.criterion.required and not each.criterion.waived)
    return tuple(each for each in counting if each.reachable is False)


def more_items(statistic: Statistic, criterion: Criterion, alpha: float) -> MoreItems | None:
    """About how many items in all give an 80 % chance of PASS at the rates observed; for conditional verdicts.

    None where no further items can matter: what was counted is counted.
    """
    at_most = criterion.sense is Sense.AT_MOST
    limit = criterion.limit
    match statistic:
        case Exact():
            return None
        case Proportion(k, n):
            found = _share(k, n, limit, alpha, at_most=at_most)
        case OrderStatistic(values, q):
            above = sum(value > limit for value in values)
            found = _share(above, len(values), 1.0 - q, alpha, at_most=at_most)
        case PairedDifference(b, c, n):
            found = outlook.paired_difference(*((b, c, n, limit) if at_most else (c, b, n, -limit)), alpha)
        case BoundedMean(values, low, high):
            x = np.asarray(values, np.float64)
            found = outlook.mean(*((x, limit, alpha, low, high) if at_most else (-x, -limit, alpha, -high, -low)))
    if found is None:
        return MoreItems(hopeless=True)
    return MoreItems(hopeless=False, about=found.about, low=found.low, high=found.high)


def cost(
    loads: Sequence[Load],
    roles: Sequence[Role],
    seconds: Mapping[Role, float],
    *,
    outputs: tuple[int, ...],
    shape: tuple[int, int, int],
    chunk: int,
    batch: int,
    lanes: int,
) -> Cost:
    """What the probes in `loads` take, where a pass of one item through a model takes `seconds`, measured.

    Stored outputs are float32, of shape `outputs`, or a row of comparisons for each pair; an item is float32 of `shape`
    (channels, height, width). A batch goes through many probes, so that memory holds a chunk of each; judging holds one
    whole probe, of two models, and of layers the products of their values. Each of the `lanes` has batches of its own,
    one more waits, and each keeps the noise of FAMILIES beside its batch, in as many draws as any probe has: too much
    where there is no noise.
    """
    if min(*outputs, chunk, batch, lanes, *shape) < 1 or any(load.items < 0 or load.draws < 1 for load in loads):
        raise ValueError(f"no cost for outputs of {outputs}, shape {shape}, chunk {chunk}, batch {batch}, {loads}")
    if not all(0.0 <= time < float("inf") for time in seconds.values()):
        raise ValueError(f"seconds per item must be finite and not negative, got {dict(seconds)}")
    rows = {role: sum(load.rows for load in loads if role not in load.without) for role in roles}
    stored = [(load, row_bytes(load.kept, outputs, len({*roles} - load.without), sum(load.watched))) for load in loads]
    waiting = [min(chunk, load.items) * load.draws * size for load, size in stored]
    observing = max(min(sum(waiting), WAITING), *waiting, 0)
    measuring = max((load.rows * row_bytes(load.kept, outputs, 2) for load in loads), default=0)
    products = PRODUCTS * max((width for load in loads for width in load.watched), default=0) ** 2
    images = batch * prod(shape) * FLOAT
    noise = FAMILIES * min(images * max((load.draws for load in loads), default=0), FAMILY)
    measured = all(role in seconds for role in roles)
    attacks = {role: sum(load.attacks(role) for load in loads) for role in roles}
    return Cost(
        passes=rows,
        disk=sum(load.rows * size for load, size in stored),
        memory=lanes * (INPUT_COPIES * images + noise) + images + COPIES * max(observing, measuring) + products,
        seconds=sum((rows[role] + attacks[role]) * seconds[role] for role in roles) / lanes if measured else None,
        attacks=attacks,
    )


def _forecast(criterion: Criterion, metric: Metric, n: int, draws: int, alpha: float, typical: Typical) -> Forecast:
    match metric.kind:
        case Kind.QUANTILE:
            beyond = 1.0 - metric.q if criterion.sense is Sense.AT_MOST else metric.q
            share = ProportionDesign(beyond, beyond * (1.0 - PART_OF_BEYOND))
            return _numbers(share, n, alpha).of(criterion, metric, n, None)
        case Kind.COUNTED:
            worst = metric.high if criterion.sense is Sense.AT_MOST else metric.low
            vacuous = worst <= criterion.limit if criterion.sense is Sense.AT_MOST else worst >= criterion.limit
            return Forecast(criterion, metric.unit, n, reachable=True, n_min=1, vacuous=vacuous)
    sign = 1.0 if criterion.sense is Sense.AT_MOST else -1.0
    low, high = sorted((sign * metric.low, sign * metric.high))
    limit = sign * criterion.limit
    truth = _truth(limit, low, high)
    design = _design(metric.kind, limit, truth, low, high, draws, typical)
    return _numbers(design, n, alpha).of(criterion, metric, n, sign * truth)


def _truth(limit: float, low: float, high: float) -> float:
    """A typical truth, all stated as "at most limit": half way to the best; of a difference, a part of the limit."""
    if not low < 0.0 < high:
        return (low + limit) / 2.0
    return limit * PART_OF_LIMIT if limit > 0.0 else max(limit - BETTER_BY * high, (low + limit) / 2.0)


def _design(
    kind: Kind, limit: float, truth: float, low: float, high: float, draws: int, typical: Typical
) -> ProportionDesign | PairedDesign | MeanDesign:
    """How a claim "at most limit" is decided, and the truth; means spread as widely as what is assumed allows.

    Averages over draws spread less than single draws; that they do not at all is the worst case.
    """
    if kind is Kind.PROPORTION and draws == 1:
        # "At least t" of a proportion came as "at most −t" on [−1, 0]: it allows 1 − t of the contrary.
        return ProportionDesign(limit - low, truth - low)
    if not low < 0.0 < high:
        share = (truth - low) / (high - low)
        return MeanDesign(limit, (low, high), (1.0 - share, share), low, high)
    changed = max(typical.changed, truth / high, truth / low)
    if kind is Kind.PAIRED and draws == 1:
        return PairedDesign(limit, truth, changed, typical.wins)
    harmed = min(changed, (truth - changed * low) / (high - low))
    return MeanDesign(limit, (low, 0.0, high), (changed - harmed, 1.0 - changed, harmed), low, high)


def _share(k: int, n: int, limit: float, alpha: float, *, at_most: bool) -> outlook.Outlook | None:
    return outlook.proportion(*((k, n, limit) if at_most else (n - k, n, 1.0 - limit)), alpha)


@lru_cache(maxsize=4096)
def _numbers(design: Design, n: int, alpha: float) -> _Numbers:
    """A policy has many criteria with the same limit."""
    return _Numbers(
        reachable=design.reachable(n, alpha),
        n_min=fewest_items(design, alpha),
        vacuous=not design.can_fail(n, alpha),
        power=design.power(n, alpha),
        items=design.items(alpha, POWER),
    )
