"""The conditions under which a claim was measured, as people read and sort them."""

import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

from audit.types import Claim, Scope

CLEAN = "clean data"
BY = "by "
"""How a heading begins that several conditions share."""
_LEVEL = re.compile(r"\d{1,6}(\.\d{1,6})?(/\d{1,6})?", re.ASCII)
_SHARED = 3  # conditions that fewer criteria share make no heading of their own
_MOST_HEADINGS = 20  # of one kind of condition: more of them would hide what they are to set apart
CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur",
    "snow", "frost", "fog", "brightness", "spatter",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate",
)  # fmt: skip
"""The published corruptions in the order that keeps noise, blur, weather and digital ones together."""


@lru_cache(maxsize=2**15)
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
    """A key that sorts scopes: no scope first, numbers by value, corruptions by their kind, all else by its letters."""
    return tuple((key, _place(key, value), value) for key, value in sorted(scope, key=_level_last))


def numbered(scope: Scope) -> bool:
    """Whether a part of the scope is a number, such as a level or a severity."""
    return any(level(value) is not None for _, value in scope)


def apart(title: str, claim: str) -> tuple[str, str]:
    """The title of a claim as the title of its metric and its scope in words; '' for a scope that is not in it.

    >>> apart("Loss of accuracy (class cat)", "accuracy.drop@class=cat"), apart("Loss", "accuracy.drop@class=cat")
    (('Loss of accuracy', 'class cat'), ('Loss', ''))
    """
    scope = words(parsed(claim).scope)
    metric = title.removesuffix(f" ({scope})")
    return metric, scope if metric != title else ""


def headings(claims: Iterable[str]) -> dict[str, str]:
    """For each claim the condition that it is listed under in a long table.

    >>> sorted(headings(["a@class=cat", "a@class=dog", "a", "b"]).items())[1:3]
    [('a@class=cat', 'by class'), ('a@class=dog', 'by class')]
    >>> set(headings(f"a@corruption=fog,severity={n}" for n in range(1, 6)).values())
    {'by corruption'}
    """
    found = {claim: parsed(claim).scope for claim in claims}
    sharing = Counter(found.values())
    shared = [scope for scope, claims in sharing.items() if claims >= _SHARED]
    kinds = Counter(map(_keys, shared))
    own = {scope for scope in shared if kinds[_keys(scope)] <= _MOST_HEADINGS}
    return {claim: words(scope) if scope in own or not scope else _by(scope) for claim, scope in found.items()}


def _keys(scope: Scope) -> tuple[str, ...]:
    return tuple(key for key, _ in scope)


def _by(scope: Scope) -> str:
    """What the conditions of one kind are told apart by; numbers do no more than sort them, where there are names."""
    named = [key for key, value in scope if level(value) is None]
    return BY + " and ".join(named or _keys(scope))


def _place(key: str, value: str) -> Fraction:
    if key == "corruption":
        return Fraction(CORRUPTIONS.index(value) if value in CORRUPTIONS else len(CORRUPTIONS))
    return level(value) or Fraction(0)


def _level_last(pair: tuple[str, str]) -> bool:
    return pair[0] == "level"
