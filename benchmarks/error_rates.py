"""How often a verdict is wrong on outputs of real networks, beside what else one could have used.

    python benchmarks/error_rates.py AUDIT_FOLDER … --audits 20000 --items 500 2000 5000 --seed 0

Each folder is the output folder of a finished audit. What that audit stored of the clean test set is a **pool**. A
sample of n items of the pool, with replacement, is an audit whose truth is known: its items are independent, and
the truth is the pool's own value. The limit of every criterion is set exactly at the truth. There both a PASS and a
FAIL are wrong: the PASS, because it comes just as often where the limit is broken by a hair; the FAIL, because the
limit is kept. Whoever claims a proof at 5 % may do either in at most 5 % of all audits.

- **ours**: the verdict of the program itself (`audit.verdict.decide`) at alpha = 5 %, one-sided, by a policy of one
  criterion, where Holm's correction changes nothing. The 99 % quantile of a pool is the smallest value with at least
  99 % of the items at or below it. A pool is refused unless exactly 1 % lie beyond: with ties there, the limit would
  not be at the edge of the claim.
- **point estimate**: PASS where the loss that was measured is within the limit, else FAIL.
- **McNemar**: the exact two-sided test of "no difference" at 5 %. FAIL where the candidate is significantly worse,
  else PASS. It does not know the limit.
- **percentile bootstrap** (2,000 resamples), **t interval** (Student), **unpaired interval** (two independent
  accuracies; Newcombe 1998, method 10): PASS where the one-sided 95 % upper bound is within the limit, FAIL where
  the lower bound is beyond.

All methods see the same audits. Figures are percent of the audits ± one binomial standard error. ▲ marks what is
above 5 % by more than three standard errors; the script exits 1 where one of ours is, and 2 where a folder cannot be
used. A figure far below 5 % is no merit: the method proves less than the items allow. All speak of these pools only.
"""

import argparse
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isclose, sqrt
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import stats

from audit import plan, verdict
from audit.contracts import Context
from audit.errors import AuditError
from audit.findings import Finding, Metric, Missing, OrderStatistic, PairedDifference, Proportion, Statistic
from audit.ledger import Ledger
from audit.pipeline import View
from audit.tasks.classification import Classification
from audit.types import Claim, Criterion, DataRole, Policy, Role, Unit, Verdict
from checks.accuracy import CANDIDATE, DROP, REFERENCE, Accuracy
from checks.functional import AGREEMENT, EXCESS, SOFTMAX_L2, SOFTMAX_L2_Q99, Functional
from checks.methods import bounded
from checks.perturbations.clean import CLEAN

ALPHA = 0.05
TOLERANCE = 3.0  # standard errors above alpha that chance may explain
RESAMPLES = 2000  # of every bootstrap
CHUNK = 500  # audits in memory together
SIDES = {Verdict.PASS: -1, Verdict.FAIL: 1}
Q = 0.99  # the quantile of the softmax distance that the checks claim
SHARE = attrgetter("share")

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Outcomes = NDArray[np.int64]  # [audits] as in SIDES, 0 where nothing is proven
Bounds = NDArray[np.floating]  # [2, audits]: lower ones, upper ones


@dataclass(frozen=True, slots=True)
class Pool:
    """What one audit stored: `flags` bool [N] by name, `distances` [N], and each metric's value in the pool."""

    candidate: str
    sha256: str
    flags: Mapping[str, NDArray[np.bool_]]
    distances: Floats
    truths: Mapping[str, float]

    def criterion(self, metric: Metric) -> Criterion:
        """The metric with its limit exactly at the truth."""
        return Criterion(Claim(metric.name), metric.better, self.truths[metric.name])


class Row(NamedTuple):
    """One method, as the tables name it."""

    metric: str
    method: str
    ours: bool = False


class Rate(NamedTuple):
    """So many audits of `items` were PASS, or FAIL (`side`), and wrong; `pool` is the candidate's digest."""

    pool: str
    items: int
    row: Row
    side: Verdict
    wrong: int
    audits: int

    @property
    def share(self) -> float:
        return self.wrong / self.audits

    @property
    def beyond(self) -> bool:
        """Whether chance does not explain it: TOLERANCE standard errors are those of a true share alpha."""
        return self.share > ALPHA + TOLERANCE * _error(ALPHA, self.audits)

    def __str__(self) -> str:
        text = f"{100 * self.share:.2f} ± {100 * _error(self.share, self.audits):.2f}"
        return f"**{text}** ▲" if self.beyond else text


def _error(share: float, audits: int) -> float:
    """Binomial standard error."""
    return sqrt(share * (1.0 - share) / audits)


def main() -> int:
    arguments = _arguments()
    try:
        pools = [read(folder) for folder in arguments.folders]
    except AuditError as error:
        print(error, file=sys.stderr)
        return 2
    rates: list[Rate] = []
    for pool in pools:
        for n in arguments.items:
            rates += measure(pool, n, arguments.audits, arguments.seed)
            print(f"{pool.candidate}: {arguments.audits:,} audits of {n:,} items", file=sys.stderr)
    text = page(pools, rates, arguments.seed)
    print(text)
    if arguments.write:
        arguments.write.write_text(text, encoding="utf-8")
    return int(any(rate.beyond for rate in rates if rate.row.ours))


def read(folder: Path) -> Pool:
    """The pool that an audit left; raises AuditError where it is none, or no limit can be exactly at its values."""
    fixed = plan.load(folder)
    view = View(fixed, Ledger(folder / "ledger"), Classification())
    context, checks = Context(fixed.dataset(DataRole.TEST).classes), (Accuracy(), Functional())
    found = {each.claim.id: each.statistic for check in checks for each in check.measure(context, view)}
    trace, quantile = view.trace(CLEAN), found[SOFTMAX_L2_Q99.name]
    if isinstance(trace, Missing) or not isinstance(quantile, OrderStatistic):
        raise AuditError(f"{folder}: the outputs of its models were not compared", "Name an audit that ended well.")
    values = np.clip(quantile.values, SOFTMAX_L2.low, SOFTMAX_L2.high)
    right, still = trace.columns["rank_reference"] == 0, trace.columns["rank_candidate"] == 0
    agree, beyond = trace.columns["agree"], values > quantile.estimate
    flags = {
        "right": right, "still": still, "agree": agree, "beyond": beyond, "harm": right & ~still,
        "gain": ~right & still, "odd harm": ~agree & right, "odd gain": agree & ~right,
    }  # fmt: skip
    k = {name: int(has.sum()) for name, has in flags.items()}
    tables = [PairedDifference(k[f"{odd}harm"], k[f"{odd}gain"], len(trace)) for odd in ("", "odd ")]
    if tables != [found[DROP.name], found[EXCESS.name]] or quantile.q != Q:
        raise AuditError(f"{folder}: its items do not add up to what the checks find", "Run the audit again.")
    # Exceedances of a tied quantile are rarer than 1 − q: the limit would not be at the edge of the claim.
    if not isclose(k["beyond"] / len(trace), 1.0 - Q, abs_tol=1e-12):
        raise AuditError(f"{folder}: no limit is exactly at the 99 % quantile", "Name an audit without ties there.")
    truths = {name: each.estimate for name, each in found.items() if not isinstance(each, Missing)}
    model = fixed.model(Role.CANDIDATE)
    return Pool(fixed.names.get("candidate", model.sha256[:12]), model.sha256, flags, values, truths)


def measure(pool: Pool, n: int, audits: int, seed: int) -> Iterator[Rate]:
    """The rates of every method over `audits` samples of `n` items each."""
    # Named by the candidate, the samples of a pool do not depend on the other pools of the call.
    seeds = np.random.SeedSequence([seed, n, int(pool.sha256[:16], 16)])
    draw, resample = (np.random.default_rng(each) for each in seeds.spawn(2))
    chunks: list[dict[str, Counts]] = []
    parts: dict[Row, list[Outcomes]] = {}
    for start in range(0, audits, CHUNK):
        items = draw.integers(0, len(pool.distances), (min(CHUNK, audits - start), n))
        chunks.append({name: np.asarray(has[items].sum(axis=1)) for name, has in pool.flags.items()})
        for row, outcomes in _of_chunk(pool, pool.distances[items], chunks[-1], resample):
            parts.setdefault(row, []).append(outcomes)
    k = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in pool.flags}
    drop, excess, agreement = (pool.criterion(metric) for metric in (DROP, EXCESS, AGREEMENT))
    same = judged(agreement, k["agree"], lambda i: Proportion(int(k["agree"][i]), n))
    found = {
        Row(DROP.name, "exact unconditional test", ours=True): paired(drop, k["harm"], k["gain"], n),
        Row(EXCESS.name, "exact unconditional test", ours=True): paired(excess, k["odd harm"], k["odd gain"], n),
        Row(AGREEMENT.name, "exact binomial test", ours=True): same,
        **{row: np.concatenate(part) for row, part in parts.items()},
    }
    for row, outcomes in found.items():
        for side, sign in SIDES.items():
            yield Rate(pool.sha256, n, row, side, int((outcomes == sign).sum()), audits)


def _of_chunk(pool: Pool, values: Floats, k: Mapping[str, Counts], rng: Generator) -> Iterator[tuple[Row, Outcomes]]:
    """The methods that differ from audit to audit, on distances [audits, n] and counts k [audits] of flags."""
    (audits, n), b, c = values.shape, k["harm"], k["gain"]
    limit, mean, quantile = pool.criterion(DROP).limit, pool.criterion(SOFTMAX_L2), pool.criterion(SOFTMAX_L2_Q99)
    yield Row(DROP.name, "point estimate"), against(np.stack([b - c, b - c]) / n, limit)
    yield Row(DROP.name, "McNemar"), mcnemar(b, c)
    yield Row(DROP.name, "percentile bootstrap"), against(drop_bootstrap(b, c, n, rng), limit)
    yield Row(DROP.name, "unpaired interval"), against(newcombe(k["right"], k["still"], n), limit)
    betting = judged(mean, np.arange(audits), lambda i: bounded(values[i], SOFTMAX_L2.low, SOFTMAX_L2.high))
    yield Row(SOFTMAX_L2.name, "betting test", ours=True), betting
    yield Row(SOFTMAX_L2.name, "percentile bootstrap"), against(mean_bootstrap(values - mean.limit, rng), 0.0)
    yield Row(SOFTMAX_L2.name, "t interval"), against(t_interval(values), mean.limit)
    # Both the p-values and the side of the limit that the estimate lies on hang on the number of exceedances alone.
    order = judged(quantile, k["beyond"], lambda i: OrderStatistic(tuple(values[i].tolist()), Q))
    yield Row(SOFTMAX_L2_Q99.name, "order statistic", ours=True), order


def judge(criterion: Criterion, statistic: Statistic) -> int:
    """The product's verdict by a policy of this criterion alone, as in SIDES."""
    policy = Policy("error-rates", ALPHA, frozenset({Verdict.PASS}), 0.5, (criterion,))
    decisions = verdict.decide(policy, {criterion.claim: Finding(criterion.claim, statistic)})
    return SIDES.get(decisions.parts[0].verdict, 0)


def judged(criterion: Criterion, keys: Counts, statistic: Callable[[int], Statistic]) -> Outcomes:
    """The product's verdicts on `statistic` of every audit; of those with equal `keys` [audits] one is judged."""
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray([judge(criterion, statistic(i)) for i in first.tolist()])[which]


def paired(criterion: Criterion, b: Counts, c: Counts, n: int) -> Outcomes:
    """The product's verdicts on paired tables b, c [audits] of n items, by an upper limit.

    The nuisance interval of the test hangs on one count only (`audit.stats.paired`): among tables that share it the
    p-values rise, or fall, with the difference, so that only the tables where the verdict turns need be judged.
    """
    nuisance, difference = (c if criterion.limit >= 0.0 else b), b - c
    outcomes = np.zeros_like(b)
    turns = [int(difference.min()), int(difference.max())]  # of the last count: those of the next are near
    for count in np.unique(nuisance).tolist():
        alike = nuisance == count

        def before(side: int, d: int, count: int = count) -> bool:
            table = (d + count, count) if criterion.limit >= 0.0 else (count, count - d)
            return judge(criterion, PairedDifference(*table, n)) < side

        seen = np.unique(difference[alike]).tolist()
        turns = [_last(seen, partial(before, side), turn) for side, turn in zip((0, 1), turns, strict=True)]
        outcomes[alike] = (difference[alike] > turns[1]).astype(int) - (difference[alike] <= turns[0])
    return outcomes


def _last(values: Sequence[int], holds: Callable[[int], bool], guess: int) -> int:
    """The last of the sorted values for which `holds`, or one below all; what holds for one holds for all smaller."""
    i = bisect_left(values, guess)
    while i < len(values) and holds(values[i]):
        i += 1
    while i > 0 and not holds(values[i - 1]):
        i -= 1
    return values[i - 1] if i else values[0] - 1


def against(bounds: Bounds, limit: float) -> Outcomes:
    """PASS where the upper bound keeps the limit, FAIL where the lower one is beyond it."""
    lower, upper = bounds
    return np.asarray((lower > limit).astype(int) - (upper <= limit))


def mcnemar(b: Counts, c: Counts) -> Outcomes:
    """McNemar, Psychometrika 12 (1947) 153, by the exact binomial test, as it is often used."""
    p = np.minimum(1.0, 2.0 * stats.binom.cdf(np.minimum(b, c), b + c, 0.5))
    return np.where((p <= ALPHA) & (b > c), SIDES[Verdict.FAIL], SIDES[Verdict.PASS])


def newcombe(k1: Counts, k2: Counts, n: int) -> Bounds:
    """One-sided bounds of p1 − p2 for independent samples of n (Newcombe, Stat. Med. 17 (1998) 873, method 10)."""
    z, k = stats.norm.ppf(1.0 - ALPHA), np.stack([k1, k2])
    centre, half = k + z**2 / 2.0, z * np.sqrt(k * (n - k) / n + z**2 / 4.0)
    (p1, p2), (l1, l2), (u1, u2) = k / n, (centre - half) / (n + z**2), (centre + half) / (n + z**2)
    return np.asarray(p1 - p2 + np.stack([-np.hypot(p1 - l1, u2 - p2), np.hypot(u1 - p1, p2 - l2)]))


def t_interval(values: Floats) -> Bounds:
    """One-sided bounds of the mean of each row [audits, n] by Student's t."""
    n = values.shape[1]
    half = stats.t.ppf(1.0 - ALPHA, n - 1) * values.std(axis=1, ddof=1) / sqrt(n)
    return np.asarray(values.mean(axis=1) + np.stack([-half, half]))


def drop_bootstrap(b: Counts, c: Counts, n: int, rng: Generator) -> Bounds:
    """Percentile bootstrap (Efron 1979) of (b − c) / n [audits]: resampled items give multinomial counts."""
    harms = rng.binomial(n, b[:, None] / n, (len(b), RESAMPLES))
    gains = rng.binomial(n - harms, (c / np.maximum(n - b, 1))[:, None])
    return np.asarray(np.quantile((harms - gains) / n, [ALPHA, 1.0 - ALPHA], axis=1))


def mean_bootstrap(values: Floats, rng: Generator) -> Bounds:
    """Percentile bootstrap of the mean of each row [audits, n]; the rows, independent, share the resampled places."""
    n = values.shape[1]
    places = rng.integers(0, n, (RESAMPLES, n)) + n * np.arange(RESAMPLES)[:, None]
    weights = np.bincount(places.ravel(), minlength=RESAMPLES * n).reshape(RESAMPLES, n)
    means = values.astype(np.float32) @ weights.astype(np.float32).T / n
    return np.asarray(np.quantile(means, [ALPHA, 1.0 - ALPHA], axis=1))


def page(pools: Sequence[Pool], rates: Sequence[Rate], seed: int) -> str:
    """What this module says of itself, and the rates of all pools at the same sizes, in Markdown."""
    title, _, text = (__doc__ or "").partition("\n")
    ours, sizes = [rate for rate in rates if rate.row.ours], dict.fromkeys(rate.items for rate in rates)
    audits, marked = rates[0].audits, sum(rate.beyond for rate in ours)
    lines = [
        f"# {title.rstrip('.')}\n{text}\n## The largest rates over all pools and sizes\n",
        f"{audits:,} audits each, seed {seed}; ▲ above {100 * (ALPHA + TOLERANCE * _error(ALPHA, audits)):.2f} %. "
        f"Of {len(ours)} rates of ours {marked} are marked; the largest is {max(ours, key=SHARE)} %.\n",
        *_table({f"false {side.value}": [rate for rate in rates if rate.side is side] for side in SIDES}),
    ]
    for pool in pools:
        lines.append(f"\n## `{pool.candidate}`: {len(pool.distances):,} items\n\nThe true values, and so the limits:\n")
        for metric in (REFERENCE, CANDIDATE, DROP, EXCESS, AGREEMENT, SOFTMAX_L2, SOFTMAX_L2_Q99):
            unit = "" if metric.unit is Unit.DISTANCE else f" {metric.unit}"
            lines.append(f"- `{metric.name}`: {metric.unit.scale * pool.truths[metric.name]:.4g}{unit}")
        own = [rate for rate in rates if rate.pool == pool.sha256]
        columns = {
            f"n = {n:,}: false {side.value}": [rate for rate in own if rate.items == n and rate.side is side]
            for n in sizes
            for side in SIDES
        }
        lines += ["", *_table(columns)]
    return "\n".join(lines) + "\n"


def _table(columns: Mapping[str, Sequence[Rate]]) -> Iterator[str]:
    """A line per method; each column shows the largest of its rates."""
    yield f"| criterion | method | {' | '.join(columns)} |"
    yield "|---" * (2 + len(columns)) + "|"
    rows = dict.fromkeys(rate.row for rates in columns.values() for rate in rates)
    for row in sorted(rows, key=lambda row: (row.metric, not row.ours)):
        cells = (str(max((rate for rate in rates if rate.row == row), key=SHARE)) for rates in columns.values())
        yield f"| `{row.metric}` | {'**ours**: ' * row.ours}{row.method} | {' | '.join(cells)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="AUDIT_FOLDER")
    parser.add_argument("--audits", type=int, default=20_000)
    parser.add_argument("--items", type=int, nargs="+", default=[500, 2000, 5000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="the page to write")
    arguments = parser.parse_args()
    if min(arguments.audits, *arguments.items) < 2 or arguments.seed < 0:
        parser.error("--audits and --items begin at 2, --seed at 0")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
