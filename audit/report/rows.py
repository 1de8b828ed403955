"""A criterion as it prints: its mark, its numbers, its place on the common axis."""

import math
import re
from dataclasses import dataclass
from enum import Enum

from audit.evidence import DecisionRecord, VerdictName, WaiverRecord
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

INAPPLICABLE = Mark("–", "unknown", "#4b5563", "#b4bcc8")


class Part(Enum):
    """The tables of results in their order; the overall verdict rests on the first alone."""

    REQUIRED = "required"
    WAIVED = "waived"
    ADVISORY = "advisory"
    INAPPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Row:
    """A criterion as it prints.

    `number` is its place in the tables of results, `waiver` what the policy says about the waiver that it
    names, `condition` the heading that it stands under where a table is long, `name` what tells it apart there
    if the heading says the rest of its title.
    """

    number: int
    record: DecisionRecord
    waiver: WaiverRecord | None = None
    condition: str = ""
    name: str = ""

    @property
    def part(self) -> Part:
        """The table that it belongs to."""
        if not self.record.applicable:
            return Part.INAPPLICABLE
        if not self.record.required:
            return Part.ADVISORY
        return Part.REQUIRED if self.record.waiver is None else Part.WAIVED

    @property
    def mark(self) -> Mark:
        return MARKS[self.record.verdict] if self.record.applicable else INAPPLICABLE

    @property
    def word(self) -> str:
        """The verdict, or that there is none to give."""
        return self.record.verdict if self.record.applicable else Part.INAPPLICABLE.value

    @property
    def measured(self) -> bool:
        """Whether there is a valid measurement that a verdict rests on."""
        return self.record.applicable and self.record.verdict != "NOT EVALUATED"

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
        if self.record.margin is None or not self.measured:
            return "–"
        return numbers.decimal(self.record.margin, self._decimals, signed=True)

    @property
    def margin_with_unit(self) -> str:
        """The margin with its unit: the difference of two percentages is in points."""
        unit = "points" if self.record.unit == "%" else self.record.unit
        return self.margin if self.margin == "–" else numbers.with_unit(self.margin, unit)

    @property
    def explanation(self) -> str:
        """What the engine says about this result; without a measurement at least the reason code."""
        return self.record.detail or ("" if self.measured else self.record.reason)

    @property
    def sentence(self) -> str:
        """The whole result in one line of plain text."""
        title = clean(self.record.title)
        if not self.measured:
            word = "not evaluated" if self.record.applicable else self.word
            return f"{title}: limit {self.limit}, {word} ({clean(self.explanation)})"
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
        if value is None or guard is None or not self.measured:
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
