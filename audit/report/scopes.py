"""The conditions under which a claim was measured, as people read and sort them."""

import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from audit.types import Claim, Scope

CLEAN = "clean data"
_LEVEL = re.compile(r"\d{1,6}(\.\d{1,6})?(/\d{1,6})?", re.ASCII)
_SHARED = 3  # conditions that fewer criteria share make no heading of their own


def parsed(claim: str) -> Claim:
    """A claim id in its parts; of a text that is none, all of it as the metric."""
    try:
        return Claim.parse(claim)
    except ValueError:
        return Claim(claim)


def level(text: str) -> Fraction | None:
    """The value of a level such as "8/255", "0.05" or "3"; None for what is not a number of that form.

    >>> level("8/255"), level("0.5"), level("high"), level("1/0")
    (Fraction(8, 255), Fraction(1, 2), None, None)
    """
    if not _LEVEL.fullmatch(text):
        return None
    above, _, below = text.partition("/")
    return Fraction(above) / int(below or 1) if int(below or 1) else None


def words(scope: Scope) -> str:
    """A scope in words, the level last.

    >>> words((("level", "8/255"), ("noise", "uniform"))), words(())
    ('noise uniform, level 8/255', 'clean data')
    """
    return ", ".join(f"{key} {value}" for key, value in sorted(scope, key=_level_last)) or CLEAN


def order(scope: Scope) -> tuple[tuple[str, Fraction, str], ...]:
    """A key that sorts scopes: no scope first, numbers by value, all else by its letters."""
    return tuple((key, level(value) or Fraction(0), value) for key, value in sorted(scope, key=_level_last))


def headings(claims: Iterable[str]) -> dict[str, str]:
    """For each claim the condition that it is listed under in a long table.

    >>> sorted(headings(["a@class=cat", "a@class=dog", "a", "b"]).items())[1:3]
    [('a@class=cat', 'by class'), ('a@class=dog', 'by class')]
    """
    found = {claim: parsed(claim).scope for claim in claims}
    shared = Counter(found.values())
    return {claim: _heading(scope, shared[scope]) for claim, scope in found.items()}


def _heading(scope: Scope, sharing: int) -> str:
    if not scope or sharing >= _SHARED:
        return words(scope)
    return "by " + " and ".join(key for key, _ in scope)


def _level_last(pair: tuple[str, str]) -> bool:
    return pair[0] == "level"
