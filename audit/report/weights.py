"""What the weights really are, as the certificate prints it: a notice, a line for each model, a table of the layers."""

from dataclasses import dataclass
from itertools import zip_longest

from audit.evidence import Evidence
from audit.records import ModelRecord, StructureRecord
from audit.report import numbers
from audit.report.view import model
from audit.structure import Layer

MOST_LAYERS = 200
_UNCHANGED = 0.001
"""Prune ratio below which a candidate is called not pruned: rounding of folded normalisations makes some zeros."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of the candidate beside the reference's in the same place, '' where there is none."""

    name: str
    kind: str
    shape: str
    zeros: str
    reference: str
    dead: str


def told(record: ModelRecord) -> str:
    """The parameters of one model in a line: as stored, and as its operators receive them where a check asked."""
    stored, found = _zeros_of(record.parameters, record.nonzero), record.structure
    if found is None:
        return stored
    if found.unknown:
        return f"{stored}; in effect: not known ({found.unknown})"
    in_effect = _zeros_of(found.parameters, found.nonzero)
    return f"{stored}, also in effect" if in_effect == stored else f"{stored}; in effect {in_effect}"


def _zeros_of(parameters: int, nonzero: int) -> str:
    return f"{numbers.count(parameters)}, of which zero: {numbers.share(parameters - nonzero, parameters)}"


def notice(evidence: Evidence) -> str:
    """What a reader must know before anything else: that nothing was pruned; '' otherwise."""
    pair = _pair(evidence)
    if pair is None or not pair[0].nonzero:
        return ""
    ratio = 1 - pair[1].nonzero / pair[0].nonzero
    if ratio >= _UNCHANGED:
        return ""
    return (
        "The candidate is not pruned: as its operators receive them, "
        f"{numbers.count(pair[1].nonzero)} of its values are not zero, and {numbers.count(pair[0].nonzero)} of the "
        "reference’s."
    )


def layers(evidence: Evidence) -> list[LayerRow]:
    """The candidate's layers in their order; [] where they are not known."""
    pair = _pair(evidence)
    if pair is None:
        return []
    reference, candidate = (found.layers for found in pair)
    alike = len(reference) == len(candidate)
    pairs = zip_longest(candidate[:MOST_LAYERS], reference[: MOST_LAYERS if alike else 0])
    return [_row(mine, other) for mine, other in pairs if mine is not None]


def _row(mine: Layer, other: Layer | None) -> LayerRow:
    return LayerRow(
        name=mine.name,
        kind=mine.kind,
        shape=" × ".join(map(str, mine.shape)),
        zeros=_zeros(mine),
        reference="" if other is None else _zeros(other),
        dead=f"{numbers.count(mine.dead_filters)} of {numbers.count(mine.shape[0])}",
    )


def _zeros(layer: Layer) -> str:
    return numbers.share(layer.weights - layer.nonzero, layer.weights)


def _pair(evidence: Evidence) -> tuple[StructureRecord, StructureRecord] | None:
    """Reference and candidate, where both are known."""
    found = [record.structure for role in ("reference", "candidate") if (record := model(evidence, role))]
    known = [each for each in found if each is not None and not each.unknown]
    return (known[0], known[1]) if len(known) == 2 else None
