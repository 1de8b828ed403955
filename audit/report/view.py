"""What every rendering of an evidence shares: the order of the results and the sentences about them."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from audit.errors import AuditError
from audit.evidence import DecisionRecord, Evidence, ModelRecord, RoleName, VerdictName
from audit.report import numbers

_DECEPTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(text: str) -> str:
    """Text without characters that print nothing but change what is read.

    Line ends become spaces; control characters, lone surrogates and bidirectional overrides become U+FFFD.
    Right-to-left letters stay.
    """
    return _DECEPTIVE.sub("\N{REPLACEMENT CHARACTER}", re.sub(r"[\t\r\n]+", " ", text))


@dataclass(frozen=True, slots=True)
class Mark:
    """How a verdict looks: told apart by glyph and word, never by colour alone.

    Contrast of the colours is at least 4.5 : 1 on #ffffff (`light`) and on #14171a (`dark`).
    """

    glyph: str
    slug: str
    light: str
    dark: str


MARKS: dict[VerdictName, Mark] = {
    "FAIL": Mark("✕", "fail", "#a3123c", "#ff6f91"),
    "NOT EVALUATED": Mark("○", "unknown", "#4b5563", "#b4bcc8"),
    "CONDITIONAL FAIL": Mark("▲", "conditional", "#a06a00", "#ffd866"),
    "CONDITIONAL PASS": Mark("◐", "conditional", "#a06a00", "#ffd866"),
    "PASS": Mark("●", "pass", "#00569d", "#58a6ff"),
}
"""Every verdict in the order of the results: what blocks first."""

_ORDER = list(MARKS)


@dataclass(frozen=True, slots=True)
class Row:
    """A criterion as it prints, `number` being its place in the table of results."""

    number: int
    record: DecisionRecord

    @property
    def mark(self) -> Mark:
        return MARKS[self.record.verdict]

    @property
    def limit(self) -> str:
        relation = "≤" if self.record.sense == "at_most" else "≥"
        return f"{relation}\N{NO-BREAK SPACE}{numbers.limit(self.record.limit, self.record.unit)}"

    @property
    def estimate(self) -> str:
        """The estimate without its unit; a dash where nothing was measured."""
        return self._print(self.record.estimate)

    @property
    def bounds(self) -> str:
        """`[lower, upper]`, one-sided bounds; empty where there are none."""
        if self.record.lower is None and self.record.upper is None:
            return ""
        return f"[{self._print(self.record.lower)},\N{NO-BREAK SPACE}{self._print(self.record.upper)}]"

    @property
    def margin(self) -> str:
        """Signed distance to the limit, without its unit; negative is beyond it, a dash where none counts."""
        if self.record.margin is None or self.record.verdict == "NOT EVALUATED":
            return "–"
        return numbers.decimal(self.record.margin, self._decimals, signed=True)

    @property
    def margin_with_unit(self) -> str:
        """The margin with its unit: the difference of two percentages is in points."""
        unit = "points" if self.record.unit == "%" else self.record.unit
        return self.margin if self.margin == "–" else numbers.with_unit(self.margin, unit)

    @property
    def explanation(self) -> str:
        """What the engine says about this result; of one that was not evaluated at least the reason code."""
        return self.record.detail or (self.record.reason if self.record.verdict == "NOT EVALUATED" else "")

    @property
    def sentence(self) -> str:
        """The whole result in one line of plain text."""
        title = clean(self.record.title)
        if self.record.verdict == "NOT EVALUATED":
            return f"{title}: limit {self.limit}, not evaluated ({clean(self.explanation)})"
        estimate = numbers.with_unit(self.estimate, self.record.unit)
        bounds = f" {self.bounds}" if self.bounds else ""
        return f"{title}: {estimate}{bounds}, limit {self.limit}, margin {self.margin_with_unit}"

    @property
    def position(self) -> float | None:
        """The margin in guard bands; None where none is known.

        The guard band is the distance from the estimate to the one-sided bound that faces the limit: at 1 or
        more that bound lies within the limit, at −1 or less the limit is exceeded even by the bound. An exact
        value has no guard band: it keeps its limit, or not, by infinitely many.
        """
        return self.in_guard_bands(self.record.estimate)

    def in_guard_bands(self, value: float | None) -> float | None:
        """The place of `value` (in the unit of the record) on the axis of `position`."""
        record, guard = self.record, self._guard
        if value is None or guard is None or record.verdict == "NOT EVALUATED":
            return None
        margin = (record.limit - value) * (1.0 if record.sense == "at_most" else -1.0)
        if guard == 0:
            return math.inf if margin >= 0 else -math.inf
        return margin / guard

    @property
    def _guard(self) -> float | None:
        """Distance to the bound that faces the limit; where a method has one bound only, to that one."""
        record = self.record
        if record.estimate is None:
            return None
        upper, lower = record.upper, record.lower
        facing, averted = (upper, lower) if record.estimate <= record.limit else (lower, upper)
        bound = facing if facing is not None else averted
        return None if bound is None else abs(bound - record.estimate)

    @property
    def _decimals(self) -> int:
        record = self.record
        return numbers.decimals(record.unit, record.limit, (record.estimate, record.lower, record.upper))

    def _print(self, value: float | None) -> str:
        return "–" if value is None else numbers.decimal(value, self._decimals)


@dataclass(frozen=True, slots=True)
class Results:
    """All criteria, numbered through: the required ones first, in each part what blocks first."""

    required: tuple[Row, ...]
    advisory: tuple[Row, ...]

    @property
    def reasons(self) -> tuple[Row, ...]:
        """The three required results that stand most in the way of a PASS."""
        return tuple(row for row in self.required if row.record.verdict != "PASS")[:3]

    @property
    def narrowest(self) -> Row | None:
        """The required PASS that is nearest to its limit in guard bands."""
        return next((row for row in self.required if row.record.verdict == "PASS"), None)


def results(evidence: Evidence) -> Results:
    """The decisions: FAIL, NOT EVALUATED, CONDITIONAL FAIL, CONDITIONAL PASS, PASS; then by margin."""
    ranked = sorted(evidence.body.decisions, key=lambda record: (not record.required, *_rank(record)))
    rows = [Row(number, record) for number, record in enumerate(ranked, start=1)]
    return Results(
        tuple(row for row in rows if row.record.required),
        tuple(row for row in rows if not row.record.required),
    )


def _rank(record: DecisionRecord) -> tuple[int, float, str]:
    position = Row(0, record).position
    return _ORDER.index(record.verdict), -math.inf if position is None else position, record.claim


def model(evidence: Evidence, role: RoleName) -> ModelRecord | None:
    """The model in that role, if the evidence names one."""
    return next((record for record in evidence.body.models if record.role == role), None)


def name(evidence: Evidence, role: RoleName | Literal["test"]) -> str:
    """What the file of a model or of the data is called; a label, which no digest covers."""
    return evidence.run.names.get(role, f"The {role}")


def not_for_release(evidence: Evidence) -> bool:
    """Whether the page must say that no release may rest on it, whatever its verdict."""
    return evidence.body.verdict.exploratory or bool(evidence.body.deviations)


def issued(evidence: Evidence) -> datetime:
    """When the run ended, in UTC; raises AuditError where the evidence does not say so in ISO 8601."""
    try:
        moment = datetime.fromisoformat(evidence.run.finished)
    except ValueError as error:
        raise AuditError(
            f"evidence.json: run.finished is {evidence.run.finished!r}, not a time in ISO 8601",
            "Render the evidence.json that `prune-audit run` wrote.",
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def certificate_number(evidence: Evidence) -> str:
    """The first 16 hex digits of the id, in groups."""
    return numbers.groups(evidence.id[:16])
