"""How does the candidate do in the rain, by one sensor, at one site, and at one site in the rain?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audit.contracts import Ask, Condition, Context, LedgerView, Probe
from audit.errors import AuditError
from audit.findings import BoundedMean, Exact, Finding, Kind, Metric, Missing, PairedDifference, Presupposition
from audit.traces import Trace
from audit.types import PAIR, Claim, DataRole, Scope, Sense, Unit, role_of, scope_value
from checks.accuracy import working
from checks.methods import paired, share
from checks.perturbations.clean import CLEAN

_MOST: Final = 20_000
"""Claims: each takes a line of the evidence."""
_COLUMNS: Final = ("right_reference", "right_candidate", "lost", "won")
_OF_SLICE: Final = "Items of one value of an attribute that the user gave, or of one value each of two attributes."

ACCURACY: Final = Metric(
    name="slices.accuracy", title="Accuracy in a slice", unit=Unit.PERCENT, low=0.0, high=1.0, better=Sense.AT_LEAST,
    kind=Kind.PROPORTION, of_pair=False,
    meaning=f"Share of the items of a slice that one model gets right. {_OF_SLICE}",
)  # fmt: skip
DROP: Final = Metric(
    name="slices.accuracy_drop", title="Loss of accuracy in a slice", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PAIRED,
    meaning="Accuracy of the reference minus accuracy of the candidate, on the items of a slice. It presupposes that "
    f"the reference works in that slice. {_OF_SLICE}",
)  # fmt: skip
NEGATIVE: Final = Metric(
    name="slices.negative_flips", title="Right before, wrong now, in a slice", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.PROPORTION,
    meaning="Share of the items of a slice that the reference gets right and the candidate gets wrong.",
)  # fmt: skip
POSITIVE: Final = Metric(
    name="slices.positive_flips", title="Wrong before, right now, in a slice", unit=Unit.PERCENT, low=0.0, high=1.0,
    better=Sense.AT_LEAST, kind=Kind.PROPORTION,
    meaning="Share of the items of a slice that the reference gets wrong and the candidate gets right.",
)  # fmt: skip
WORST: Final = Metric(
    name="slices.worst_drop", title="Largest loss in any slice", unit=Unit.POINTS, low=-1.0, high=1.0,
    better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="The largest of the slices' losses of accuracy on clean items, as counted. The largest of many estimates "
    "proves nothing: what is proven is each slice, by its own criterion.",
)  # fmt: skip
SMALL: Final = Metric(
    name="slices.small_crossings", title="Crossings too small to be looked at", unit=Unit.ITEMS, low=0.0, high=1e6,
    better=Sense.AT_MOST, kind=Kind.COUNTED, of_pair=False,
    meaning="How many pairs of values of two attributes have items, and too few of them to be a slice: of their items "
    "only the slices of either value tell.",
)  # fmt: skip
_ON_CLEAN: Final = (DROP, NEGATIVE, POSITIVE)


@dataclass(frozen=True, slots=True)
class Slice:
    """The items that have all of these values, given by their places: (attribute, place); `scope` is their name."""

    scope: Scope
    values: tuple[tuple[str, int], ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What is claimed of it on clean items."""
        own = [Claim(ACCURACY.name, _scope(self, ("role", role.value))) for role in PAIR]
        return (*own, *(Claim(metric.name, self.scope) for metric in _ON_CLEAN))

    def under(self, condition: Condition) -> Claim:
        """The claim under a condition."""
        return Claim(DROP.name, _scope(self, *condition.scope))


@dataclass(frozen=True)
class Slices:
    """Accuracy, its loss and flips by value of each attribute, and by pair of values; the loss under every condition.

    `attributes` are those that are looked at, all of them where none is named. Pairs of values (`crossings`) are looked
    at on clean items, where they have at least `least`; how many have fewer is counted.
    """

    attributes: tuple[str, ...] = ()
    crossings: bool = True
    least: Annotated[int, Field(ge=1)] = 30

    def __post_init__(self) -> None:
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"{self.attributes} names an attribute twice")

    name: ClassVar[str] = "slices"
    summary: ClassVar[str] = "loss of accuracy and flips by attributes of the items such as weather, sensor, site"
    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY, DROP, NEGATIVE, POSITIVE, WORST, SMALL)

    def ask(self, context: Context, /) -> Ask:
        found, small = self._slices(context)
        if not found:
            return Ask((), ())
        claims = [claim for each in found for claim in each.claims]
        claims += [Claim(WORST.name), *(Claim(SMALL.name, scope) for scope in small)]
        claims += [each.under(condition) for condition in _conditions(context) for each in found if _single(each)]
        if len(claims) > _MOST:
            raise AuditError(
                f"slices: {len(found)} slices make {len(claims)} claims, more than {_MOST}",
                "Name fewer attributes in [settings.slices], or set crossings = false.",
            )
        return Ask((CLEAN,), tuple(claims))

    def measure(self, context: Context, ledger: LedgerView, /) -> Iterator[Finding]:
        found, small = self._slices(context)
        if not found:
            return
        names = self._names(context)
        clean = Seen.of(ledger, CLEAN, names)
        drops = []
        for each in found:
            for finding in _on_clean(each, clean):
                yield finding
                drops += [finding] if finding.claim.metric == DROP.name else []
        yield _worst(drops, clean)
        items = len(context.attributes[0].codes)
        yield from (Finding(Claim(SMALL.name, scope), Exact(float(count), items)) for scope, count in small.items())
        for condition in _conditions(context):
            seen = Seen.of(ledger, condition.probe, names)
            yield from (_under(condition, each, seen, clean) for each in found if _single(each))

    def _names(self, context: Context) -> tuple[str, ...]:
        """The attributes that are looked at; raises AuditError for one that nobody gave."""
        known = [attribute.name for attribute in context.attributes]
        if unknown := [name for name in self.attributes if name not in known]:
            raise AuditError(
                f"slices: nothing is said of the {unknown[0]} of the test items",
                f"There are {', '.join(known)}." if known else "Add attributes to [data.test].",
            )
        return tuple(name for name in known if name in (self.attributes or known))

    def _slices(self, context: Context) -> tuple[list[Slice], dict[Scope, int]]:
        """Every slice, single values first; and by pair of attributes how many crossings are too small to be one."""
        names = self._names(context)
        chosen = [attribute for attribute in context.attributes if attribute.name in names]
        found = [_slice((own.name, own.values, place)) for own in chosen for place in range(len(own.values))]
        small = {}
        for one, other in combinations(chosen, 2) if self.crossings else ():
            among = len(other.values)
            counts = np.bincount(one.codes.astype(np.intp) * among + other.codes)
            small[_named("attribute", one.name, other.name)] = int(((counts > 0) & (counts < self.least)).sum())
            for place in np.flatnonzero(counts >= self.least).tolist():
                first, second = divmod(place, among)
                found.append(_slice((one.name, one.values, first), (other.name, other.values, second)))
        return found, small


@dataclass(frozen=True, slots=True)
class Seen:
    """What both models left under a probe, and which value of each attribute every item has [N]."""

    trace: Trace
    codes: Mapping[str, NDArray[Any]]

    @classmethod
    def of(cls, ledger: LedgerView, probe: Probe, names: tuple[str, ...]) -> "Seen | Missing":
        """As the ledger holds it."""
        trace, codes = ledger.trace(probe), {}
        if isinstance(trace, Missing):
            return trace
        for name in names:
            found = ledger.attribute(probe, name)
            if isinstance(found, Missing):
                return found
            codes[name] = found
        return cls(trace, codes)

    def part(self, each: Slice) -> Trace | Missing:
        """The items of a slice."""
        rows = np.logical_and.reduce([self.codes[name] == place for name, place in each.values])
        if not rows.any():
            return Missing("empty-slice", f"no item of these has {Claim('', each.scope).id.removeprefix('@')}")
        return self.trace.of_rows(rows.repeat(self.trace.draws), *_COLUMNS)


def _conditions(context: Context) -> tuple[Condition, ...]:
    """Those under which the test items are shown, of which alone something is said."""
    of_test = (DataRole.TEST, DataRole.CORRUPTED)
    return tuple(each for each in context.conditions if role_of(each.probe.data) in of_test)


def _slice(*values: tuple[str, tuple[str, ...], int]) -> Slice:
    """Of (attribute, its values, place of one of them)."""
    places = tuple((name, place) for name, _, place in values)
    scope = (*_named("attribute", *(name for name, _, _ in values)), *_named("value", *(v[at] for _, v, at in values)))
    return Slice(scope, places)


def _named(key: str, *names: str) -> Scope:
    """Names of others as the value of a key."""
    return ((key, "+".join(map(scope_value, names))),)


def _single(each: Slice) -> bool:
    return len(each.values) == 1


def _scope(each: Slice, *more: tuple[str, str]) -> Scope:
    return tuple(sorted((*each.scope, *more)))


def _working(part: Trace, clean: Trace) -> Presupposition:
    """That the reference works on the items of a slice."""
    return replace(working(part, clean), what="accuracy in that slice")


def _drop(part: Trace) -> PairedDifference | BoundedMean:
    return paired(part, part.columns["right_reference"], part.columns["right_candidate"])


def _on_clean(each: Slice, clean: Seen | Missing) -> Iterator[Finding]:
    part = clean if isinstance(clean, Missing) else clean.part(each)
    if isinstance(part, Missing) or isinstance(clean, Missing):
        assert isinstance(part, Missing)
        yield from (Finding(claim, part) for claim in each.claims)
        return
    works = (_working(part, clean.trace),)
    for role in PAIR:
        yield Finding(
            Claim(ACCURACY.name, _scope(each, ("role", role.value))), share(part, part.columns[f"right_{role}"])
        )
    yield Finding(Claim(DROP.name, each.scope), _drop(part), works)
    yield Finding(Claim(NEGATIVE.name, each.scope), share(part, part.columns["lost"]), works)
    yield Finding(Claim(POSITIVE.name, each.scope), share(part, part.columns["won"]))


def _worst(drops: Sequence[Finding], clean: Seen | Missing) -> Finding:
    """The largest of the losses; Missing where one of them is."""
    found = [finding.statistic for finding in drops]
    missing = next((each for each in (clean, *found) if isinstance(each, Missing)), None)
    if missing is not None or isinstance(clean, Missing):
        assert missing is not None
        return Finding(Claim(WORST.name), missing)
    most = max(each.estimate for each in found if not isinstance(each, Missing))
    return Finding(Claim(WORST.name), Exact(most, len(clean.trace)), (working(clean.trace),))


def _under(condition: Condition, each: Slice, seen: Seen | Missing, clean: Seen | Missing) -> Finding:
    """The loss under a condition, where the reference must work in the slice and on the whole."""
    part = seen if isinstance(seen, Missing) else seen.part(each)
    why = next((found for found in (part, clean) if isinstance(found, Missing)), None)
    if why is not None:
        return Finding(each.under(condition), why)
    assert isinstance(part, Trace) and isinstance(seen, Seen) and isinstance(clean, Seen)
    works = (_working(part, clean.trace), working(seen.trace, clean.trace))
    return Finding(each.under(condition), _drop(part), works)
