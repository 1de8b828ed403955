"""Which decisions pruning turned, as the certificate prints it: how hard they were, and some of them one by one."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from audit.evidence import Evidence, ExemplarRecord, FindingRecord
from audit.report import numbers, scopes
from audit.types import Claim

_LISTED = "flips.exemplars"
_METRICS = ("flips.new_damage", "flips.hard", "flips.hardness", _LISTED)
MOST = 24
"""Items that the page lists; evidence.json has all of them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item: its picture as base64 of a PNG, '' where there is none."""

    record: ExemplarRecord
    picture: str

    @property
    def digest(self) -> str:
        """As much of it as tells it from the others."""
        return self.record.id[:12]

    @property
    def lost(self) -> bool:
        """Whether the reference alone names it as it is labelled."""
        return self.record.reference == self.record.label != self.record.candidate


@dataclass(frozen=True, slots=True)
class Turned:
    """The items on which the two disagree, some of them, and what is said of all."""

    count: str
    share: tuple[str, ...]
    items: tuple[Item, ...]
    more: int
    pictures: bool
    claims: frozenset[str]


def told(evidence: Evidence, pictures: Mapping[str, bytes]) -> Turned | None:
    """What the certificate says of turned decisions; None where nobody looked. `pictures` are PNG, by digest."""
    found = {r.claim: r for r in evidence.body.findings if r.claim.partition("@")[0] in _METRICS}
    listed = found.get(_LISTED)
    if listed is None:
        return None
    shown = tuple(Item(each, _encoded(pictures.get(each.id))) for each in listed.exemplars[:MOST])
    count = numbers.measured(listed.estimate, listed.unit) if listed.missing is None else ""
    more = 0 if listed.estimate is None else int(listed.estimate) - len(shown)
    said = tuple(_said(found))
    return Turned(count, said, shown, more, any(item.picture for item in shown), frozenset(found))


def _said(found: Mapping[str, FindingRecord]) -> Iterator[str]:
    for claim, record in found.items():
        metric, scope = scopes.parsed(claim)
        if metric == "flips.new_damage":
            hard = found[Claim("flips.hard", scope).id]
            margin = numbers.with_unit(dict(scope)["margin"], "%")
            yield (
                f"of all items {_value(record)} are lost where the reference’s two largest probabilities lie {margin} "
                f"apart or more, and {_value(hard)} where they lie closer together"
            )
    hardness = found.get("flips.hardness")
    if hardness is not None and hardness.estimate is not None:
        share = numbers.with_unit(numbers.measured(hardness.estimate, hardness.unit), hardness.unit)
        yield f"of the pairs of a lost item and a kept one the lost one was the harder in {share} (any items: 50 %)"


def _value(record: FindingRecord) -> str:
    if record.missing is not None:
        return f"an unknown share ({record.detail or record.missing})"
    value = numbers.with_unit(numbers.measured(record.estimate, record.unit), record.unit)
    return f"{value} {numbers.bounds(record.lower, record.upper, record.unit)}"


def _encoded(picture: bytes | None) -> str:
    return "" if picture is None else base64.b64encode(picture).decode()
