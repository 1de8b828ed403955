"""`prune-audit plan`: what an audit would cost, and what could come out of it, before it is run."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from audit import planning, policy, preparation, runtime, subjects
from audit.asking import Asked
from audit.contracts import Model
from audit.dataset import DataSource, Manifest
from audit.evidence import ProbeRecord
from audit.planning import Cost, Forecast, Load, Typical
from audit.report import numbers, sentences
from audit.request import AuditFile
from audit.types import Claim, Criterion, DataName, DataRole, Role, Sense, TaskKind, role_of, scope_value

_REPEATS = 3


@dataclass(frozen=True)
class Rehearsal:
    """The forecast of an audit."""

    items: int
    probes: tuple[ProbeRecord, ...]
    cost: Cost
    forecasts: tuple[Forecast, ...]

    @property
    def impossible(self) -> tuple[Forecast, ...]:
        """Required criteria that these items cannot prove: with one of them the audit cannot PASS."""
        return planning.impossible(self.forecasts)

    def summary(self) -> dict[str, object]:
        """What a script wants to know, as plain JSON values."""
        return {
            "items": self.items,
            "probes": [probe.model_dump(mode="json") for probe in self.probes],
            "passes": {role.value: count for role, count in self.cost.passes.items()},
            "attack_passes": {role.value: count for role, count in self.cost.attacks.items()},
            "seconds": self.cost.seconds,
            "disk_bytes": self.cost.disk,
            "memory_bytes": self.cost.memory,
            "criteria": [_plain(each) for each in self.forecasts],
            "can_pass": not self.impossible,
        }

    def lines(self) -> Iterator[str]:
        """The same for people."""
        draws = sum(probe.draws for probe in self.probes)
        yield f"{self.items:,} items, {len(self.probes)} probes, {draws} draws"
        passes = ", ".join(f"{role} {count:,}" for role, count in self.cost.passes.items())
        yield f"forward passes  {passes}"
        if any(self.cost.attacks.values()):
            attacks = ", ".join(f"{role} {count:,}" for role, count in self.cost.attacks.items() if count)
            yield f"attacks         at most as long as further forward passes of {attacks}"
        if self.cost.seconds is not None:
            yield f"time            about {_duration(self.cost.seconds)} in the networks, as measured just now"
        yield f"disk            {self.cost.disk / 1e6:,.1f} MB"
        yield f"memory          about {self.cost.memory / 1e6:,.0f} MB beside program and networks"
        if text := sentences.lost_reuse(self.probes):
            yield f"note            {text}"
        yield ""
        yield from _table(self.forecasts)
        for each in self.impossible:
            least = "more than a million" if each.n_min is None else f"{each.n_min:,}"
            yield (
                f"{each.criterion.claim.id}: with {each.n:,} items not even a candidate that changes nothing could be "
                f"proven to keep the limit; it takes at least {least}"
            )


def rehearse(request: AuditFile, base: Path, *, trust_code: bool = False) -> Rehearsal:
    """Open everything, time a few batches, and forecast each criterion; nothing is written."""
    runtime.prepare()
    agreed = preparation.agree(request.policy, base)
    opened = subjects.load(request, base, trust_code=trust_code)
    asked, fixed = preparation.prepare(opened, subjects.terms_of(request), agreed)
    test = opened.data[DataRole.TEST]
    counts = {record.role: record.items for record in fixed.data}
    seconds = {role: _seconds(model, test, fixed.plan.batch) for role, model in opened.models.items()}
    rules = policy.rules(fixed.policy)
    draws = _draws(tuple(asked.claims), fixed.plan.probes, asked.context.task)
    typical = {name: Typical(wins=metric.gains) for name, metric in asked.metrics.items() if metric.gains}
    return Rehearsal(
        items=counts["test"],
        probes=fixed.plan.probes,
        cost=planning.cost(
            [
                Load(
                    counts[probe.data],
                    probe.draws,
                    probe.kept,
                    frozenset(opened.roles) - {*fixed.shown(probe)},
                    None if probe.target is None else Role(probe.target),
                    probe.passes,
                    fixed.watched_values(probe),
                )
                for probe in fixed.plan.probes
            ],
            tuple(opened.models),
            seconds,
            outputs=fixed.plan.outputs,
            shape=test.shape,
            chunk=fixed.plan.chunk,
            batch=fixed.plan.batch,
            lanes=opened.lanes,
        ),
        forecasts=planning.forecast(
            rules.criteria,
            asked.metrics,
            counts["test"],
            rules.alpha,
            draws=draws,
            items=_parts(asked, test.manifest) | _sampled(asked, counts),
            typical=typical,
        ),
    )


def _parts(asked: Asked, test: Manifest) -> dict[Claim, int]:
    """How many items belong to the claims of a class, or of values of attributes; at least one, for the forecast."""
    named = {scope_value(name): number for number, name in enumerate(asked.context.classes)}
    attributes = {scope_value(each.name): each for each in asked.context.attributes}
    found = {}
    for claim in asked.claims:
        scope = dict(claim.scope)
        if "shift" in scope or asked.metrics[claim.metric].beyond_class:
            continue
        if (number := named.get(scope.get("class", ""))) is not None:
            found[claim] = max(int((test.labels == number).sum()), 1)
        names, values = (scope.get(key, "").split("+") for key in ("attribute", "value"))
        if "value" in scope and attributes.keys() >= {*names}:
            chosen = [attributes[name].has(value) for name, value in zip(names, values, strict=True)]
            found[claim] = max(int(np.logical_and.reduce(chosen).sum()), 1)
    return found


def _sampled(asked: Asked, counts: Mapping[DataName, int]) -> dict[Claim, int]:
    """How many items belong to the claims of checks that look at a sample alone."""
    found: dict[Claim, int] = {}
    for check in asked.checks:
        data = {probe.data for probe in check.ask(asked.context).probes}
        if len(data) == 1 and role_of(only := data.pop()) is DataRole.SAMPLE:
            found |= {claim: counts[only] for claim, owner in asked.claims.items() if owner is check}
    return found


def _draws(claims: tuple[Claim, ...], probes: tuple[ProbeRecord, ...], task: TaskKind) -> Mapping[Claim, int]:
    """How often an item is seen for a claim at a level: at most as often as by any probe.

    An image counts by parts, as an item does that is seen twice, where its pixels are classified.
    """
    least = 2 if task is TaskKind.SEGMENTATION else 1
    most = max((probe.draws for probe in probes), default=1)
    return {claim: max(least, most if "level" in dict(claim.scope) else 1) for claim in claims}


def _seconds(model: Model, source: DataSource, batch: int) -> float:
    """Measured seconds of a forward pass, per item, without the first one, which warms up."""
    wanted = np.arange(len(source.manifest.ids)) < batch
    x = next(source.batches(batch, wanted)).x
    stamps = [time.perf_counter()]
    for _ in range(_REPEATS + 1):
        model(x)
        stamps.append(time.perf_counter())
    return median(after - before for before, after in list(pairwise(stamps))[1:]) / len(x)


def _table(forecasts: tuple[Forecast, ...]) -> Iterator[str]:
    head = ("criterion", "limit", "can pass", "can fail", "power", "items for 90 %", "counts")
    rows = [head, *(_row(each) for each in forecasts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for claim, *figures, counts in rows:
        cells = (figure.rjust(width) for figure, width in zip(figures, widths[1:-1], strict=True))
        yield "  ".join([claim.ljust(widths[0]), *cells, counts])


def _row(each: Forecast) -> tuple[str, ...]:
    vacuous = each.vacuous
    return (
        each.criterion.claim.id, _limit(each), _yes(each.reachable), _yes(None if vacuous is None else not vacuous),
        _power(each), _items(each), _counts(each.criterion),
    )  # fmt: skip


def _limit(each: Forecast) -> str:
    sign = "≤" if each.criterion.sense is Sense.AT_MOST else "≥"
    return f"{sign} {numbers.limit(each.criterion.limit * each.unit.scale, each.unit)}"


def _counts(criterion: Criterion) -> str:
    """What a criterion means for the overall verdict."""
    if criterion.standing:
        return "every policy"
    return "waived" if criterion.waived else "required" if criterion.required else "advisory"


def _yes(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "NO"


def _power(each: Forecast) -> str:
    return "" if each.power is None else f"{each.power:.0%}"


def _items(each: Forecast) -> str:
    if each.power is None:
        return ""
    return "more than a million" if each.items is None else f"{each.items:,}"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _plain(each: Forecast) -> dict[str, object]:
    found = asdict(each)
    criterion = found.pop("criterion")
    return {
        "claim": each.criterion.claim.id,
        "limit": criterion["limit"] * each.unit.scale,
        "required": criterion["required"],
        **found,
        "unit": each.unit.value,
        "truth": None if each.truth is None else each.truth * each.unit.scale,
    }
