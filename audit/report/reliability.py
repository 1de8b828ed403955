"""How far confidence can be trusted, as the certificate prints it: a line for each figure, and two diagrams as data."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from audit.evidence import Evidence
from audit.report import numbers, printed, scopes
from audit.report.levels import Point
from audit.report.printed import Criteria
from audit.report.rows import clean
from audit.report.view import results
from audit.types import Scope

ROLES = ("reference", "candidate")
_CHECK = "calibration."
_INCREASE = "_increase"
_FIGURES = (
    "brier", "log_loss", "ece", "ece_increase_bound", "classwise_ece", "reliability", "resolution",
    "confidence_when_wrong", "confident_errors", "aurc", "accepted_errors", "rejection", "temperature",
)  # fmt: skip
"""What the lines tell, in their order; of bins and coverages they tell what has a limit."""
_OF_BIN = ("bin_share", "bin_confidence", "bin_accuracy")
_RISK = "risk"
_METRICS = {*_FIGURES, *_OF_BIN, _RISK}
_WORDS = {"bins": "bins of equal {}", "confidence": "from {} % on", "coverage": "coverage {} %",
          "threshold": "threshold: {}", "temperature": "temperature: {}", "bin": "bin {}"}  # fmt: skip
_KEYS = {"role", *_WORDS}
"""What a scope names on clean data; under a condition it has other keys."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of both models and what it changed by, as they print, and why something was not measured."""

    title: str
    reference: str
    candidate: str
    change: str
    criteria: Criteria
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """What is drawn of one model, in percent.

    `bins` hold share of the items, mean confidence and accuracy; `risks` coverage and errors among what it covers.
    """

    role: str
    bins: tuple[tuple[float, float, float], ...]
    risks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Confidence:
    """All figures of an audit, and what is drawn, as a picture and in words."""

    lines: tuple[Line, ...]
    sides: tuple[Side, ...]
    bins: tuple[tuple[str, tuple[str, ...]], ...]
    risks: tuple[tuple[str, tuple[str, ...]], ...]
    claims: frozenset[str]

    @property
    def described(self) -> str:
        """The diagrams for those who cannot see them."""
        shown = [
            f"the {side.role} at {coverage:g} % {numbers.measured(risk, '%')} %"
            for side in self.sides
            for coverage, risk in side.risks[-1:]
        ]
        errors = f" Errors by coverage: {', '.join(shown)}." if shown else ""
        return f"Accuracy over confidence, and errors over coverage.{errors} The tables below have every value."

    @property
    def decided(self) -> bool:
        """Whether any figure has a limit."""
        return any(line.criteria for line in self.lines)


_Points = Mapping[tuple[str, Scope], Mapping[str, Point]]
"""By metric and scope without the role, then by role; '' is the pair."""


def told(evidence: Evidence) -> Confidence | None:
    """What the certificate says of confidence; None where nothing of it was measured on clean data."""
    found = _found(evidence)
    if not found:
        return None
    figures = [key for key, points in found.items() if key[0] in _FIGURES or any(it.row for it in points.values())]
    drawn = tuple(Side(role, tuple(_bins(found, role)), tuple(_risks(found, role))) for role in ROLES)
    return Confidence(
        lines=tuple(_line(*key, found[key]) for key in sorted(figures, key=_order)),
        sides=tuple(side for side in drawn if side.bins or side.risks),
        bins=tuple((scope[0][1], tuple(_cells(found, _OF_BIN, scope))) for scope in _scopes(found, *_OF_BIN)),
        risks=tuple((scope[0][1], tuple(_cells(found, (_RISK,), scope))) for scope in _scopes(found, _RISK)),
        claims=frozenset(point.finding.claim for points in found.values() for point in points.values()),
    )


def _found(evidence: Evidence) -> _Points:
    rows = {row.record.claim: row for row in results(evidence).rows}
    found: dict[tuple[str, Scope], dict[str, Point]] = defaultdict(dict)
    for record in evidence.body.findings:
        claim = scopes.parsed(record.claim)
        metric = claim.metric.removeprefix(_CHECK).removesuffix(_INCREASE)
        if claim.metric.startswith(_CHECK) and metric in _METRICS and dict(claim.scope).keys() <= _KEYS:
            scope = tuple(pair for pair in claim.scope if pair[0] != "role")
            point = Point(Fraction(0), "", record, rows.get(record.claim))
            found[metric, scope][dict(claim.scope).get("role", "")] = point
    return found


def _order(key: tuple[str, Scope]) -> tuple[int, object]:
    metric, scope = key
    return _FIGURES.index(metric) if metric in _FIGURES else len(_FIGURES), scopes.order(scope)


def _line(metric: str, scope: Scope, found: Mapping[str, Point]) -> Line:
    reference, candidate, change = (found.get(role) for role in (*ROLES, ""))
    named = reference or candidate or change
    assert named is not None  # a line is of what was found
    title = clean(scopes.apart(named.finding.title, named.finding.claim)[0])
    return Line(
        title=", ".join((title, *(clean(_WORDS[key].format(value)) for key, value in scope))),
        reference=_measured(reference),
        candidate=_measured(candidate),
        change=_measured(change),
        criteria=printed.criteria((point is change, point) for point in found.values()),
        notes=printed.notes(found.values()),
    )


def _measured(point: Point | None) -> str:
    """The estimate in its unit, and bounds where it has any."""
    if point is None or point.value is None:
        return "–"
    estimate, _, bounds = printed.bounded(point).partition(" ")
    return " ".join(filter(None, (numbers.with_unit(estimate, point.finding.unit), bounds)))


def _scopes(found: _Points, *metrics: str) -> list[Scope]:
    """The bins or the coverages that there are, in their order; without what says more."""
    return sorted({scope for metric, scope in found if metric in metrics and len(scope) == 1}, key=scopes.order)


def _cells(found: _Points, metrics: tuple[str, ...], scope: Scope) -> Iterator[str]:
    """The values of a bin or at a coverage, of each model."""
    for role in ROLES:
        yield from (printed.estimate(found.get((metric, scope), {}).get(role)) for metric in metrics)


def _values(found: _Points, metrics: tuple[str, ...], role: str) -> Iterator[tuple[Scope, list[float]]]:
    """What is known in full of each bin or coverage; an empty bin has no accuracy."""
    for scope in _scopes(found, *metrics):
        points = [found.get((metric, scope), {}).get(role) for metric in metrics]
        values = [point.value for point in points if point is not None and point.value is not None]
        if len(values) == len(metrics):
            yield scope, values


def _bins(found: _Points, role: str) -> Iterator[tuple[float, float, float]]:
    for _, (share, confidence, accuracy) in _values(found, _OF_BIN, role):
        if share > 0:
            yield share, confidence, accuracy


def _risks(found: _Points, role: str) -> Iterator[tuple[float, float]]:
    for ((_, coverage),), (risk,) in _values(found, (_RISK,), role):
        level = scopes.level(coverage)
        if level is not None:
            yield float(level), risk
