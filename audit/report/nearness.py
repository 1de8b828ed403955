"""Whether the candidate stays nearer to its parent than a separately trained network, in a sentence."""

from collections import defaultdict
from fractions import Fraction

from audit.evidence import Evidence
from audit.report import scopes
from audit.types import Scope

_EXCESS = {"baseline.excess_distance", "baseline.excess_deviation"}
_NAMED = 4
"""How many levels the sentence names; more are counted."""


def told(evidence: Evidence) -> str:
    """At which levels of each condition the candidate is the nearer one, by the estimates; '' if none is known."""
    found: dict[Scope, dict[tuple[Fraction, str], bool]] = defaultdict(dict)
    for record in evidence.body.findings:
        metric, scope = scopes.parsed(record.claim)
        text = dict(scope).get("level", "")
        level = scopes.level(text)
        if metric in _EXCESS and level is not None and record.estimate is not None:
            found[tuple(pair for pair in scope if pair[0] != "level")][level, text] = record.estimate < 0
    parts = [f"under {scopes.words(rest)} {_where(found[rest])}" for rest in sorted(found, key=scopes.order)]
    if not parts:
        return ""
    return f"By the estimates the candidate is nearer to the reference than the baseline is: {'; '.join(parts)}."


def _where(nearer: dict[tuple[Fraction, str], bool]) -> str:
    """The levels at which it is, or fewer: those at which it is not.

    >>> _where({(Fraction(1), "1"): True, (Fraction(2), "2"): True, (Fraction(3), "3"): False})
    'at all but 1 of 3 levels (3)'
    """
    levels = f"{len(nearer)} level{'s' if len(nearer) > 1 else ''}"
    here, elsewhere = ([text for (_, text), is_nearer in sorted(nearer.items()) if is_nearer is which]
                       for which in (True, False))  # fmt: skip
    if not elsewhere or not here:
        return f"at {'all' if here else 'none of'} {levels}"
    if len(elsewhere) <= len(here):
        return f"at all but {len(elsewhere)} of {levels}{_named(elsewhere)}"
    return f"at {len(here)} of {levels}{_named(here)}"


def _named(levels: list[str]) -> str:
    return f" ({', '.join(levels)})" if len(levels) <= _NAMED else ""
