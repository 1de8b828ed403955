"""Where the page's template, style and font lie: beside the package, in a checkout and when installed."""

import base64
import io
import string
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

import audit

FOLDER = Path(audit.__file__).parent.parent / "templates"
FONTS = {weight: FOLDER / "fonts" / f"AuditSans-{weight}.ttf" for weight in ("Regular", "Bold")}

_USUAL = frozenset(string.printable + "\N{NO-BREAK SPACE}÷…ℓ−")
"""Signs of most figures, so that one part of the font serves all of them: to take it out takes long."""


@cache
def font_faces(*weights: str) -> str:
    """CSS that brings the font along, so that page and figure look the same on every machine."""
    return "".join(_face(weight, FONTS[weight].read_bytes()) for weight in weights)


def font_face_of(text: Iterable[str]) -> str:
    """CSS with as much of the regular font as this text and what figures usually say take: a page holds several."""
    return _reduced(frozenset(text) | _USUAL)


@cache
def _reduced(signs: frozenset[str]) -> str:
    font = TTFont(FONTS["Regular"], recalcTimestamp=False)
    subsetter = subset.Subsetter(subset.Options(layout_features=["kern", "mark", "ccmp"], hinting=False))
    subsetter.populate(text="".join(sorted(signs)))
    subsetter.subset(font)
    target = io.BytesIO()
    font.save(target)
    return _face("Regular", target.getvalue())


def _face(weight: str, font: bytes) -> str:
    return (
        f'@font-face{{font-family:"Audit Sans";font-weight:{weight.lower().replace("regular", "normal")};'
        f"src:url(data:font/ttf;base64,{base64.b64encode(font).decode()})}}"
    )
