"""What the figures share: equal input gives equal bytes, and no state of matplotlib outside a call is changed."""

import io
from contextlib import AbstractContextManager
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font

from audit.evidence import VerdictName
from audit.report import templates
from audit.report.rows import MARKS

WIDTH = 6.85  # inches: the text width of the page, so that type in the figure has its true size
INK, FAINT, BAND, TINT = ("#1a1d21", "#e8eaed"), ("#5c6470", "#a7afba"), ("#eef0f3", "#262b31"), ("#d3dce8", "#324054")
"""Colours by day and by night."""

_LONGEST = 120
_MEASURED = 200  # points: widths of small type are rounded to its pixels


class Marker(NamedTuple):
    """A shape of matplotlib and how much of it is filled."""

    shape: str
    fill: str


MARKERS: dict[VerdictName, Marker] = {
    "FAIL": Marker("X", "full"),
    "NOT EVALUATED": Marker("o", "none"),
    "CONDITIONAL FAIL": Marker("^", "full"),
    "CONDITIONAL PASS": Marker("o", "left"),
    "PASS": Marker("o", "full"),
}
"""Verdicts told apart by shape and filling, never by colour alone."""


def settings() -> AbstractContextManager[None]:
    """Everything that a figure would take from the user's configuration.

    Text stays text: as outlines the same figure takes WeasyPrint four times as long.
    """
    return rc_context({"svg.fonttype": "none", "svg.hashsalt": "certificate", "text.parse_math": False})


def font(size: float) -> FontProperties:
    """The font of the page, in points."""
    return FontProperties(family="Audit Sans", size=size, fname=templates.FONTS["Regular"])


def fit(text: str, size: float, room: float, suffix: str = "") -> str:
    """As much of `text` as `room` (points) holds at that size and the font can draw, and the whole `suffix`.

    What is left out is the middle: titles begin with the metric and end with the condition.
    """
    face = get_font(str(templates.FONTS["Regular"]))
    face.set_size(_MEASURED, 72)
    drawable = face.get_charmap()
    text = "".join(char if ord(char) in drawable else "□" for char in text)

    def width(candidate: str) -> float:
        face.set_text(candidate)
        return float(face.get_width_height()[0]) / 64 * size / _MEASURED

    def cut(kept: int) -> str:
        ahead = kept // 2
        return f"{text[:ahead].rstrip()}…{text[len(text) - kept + ahead :].lstrip()}{suffix}"

    if width(text + suffix) <= room:
        return text + suffix
    return next((cut(kept) for kept in range(min(len(text), _LONGEST) - 1, 0, -1) if width(cut(kept)) <= room), "…")


def svg(figure: Figure) -> str:
    """The figure with its own font, and in the dark colours of the page where the reader asks for them.

    An image sees neither the fonts nor the style of the page that shows it.
    """
    target = io.StringIO()
    FigureCanvasSVG(figure).print_figure(target, format="svg", metadata={"Date": None, "Creator": None})
    pairs = [(mark.light, mark.dark) for mark in MARKS.values()] + [INK, FAINT, BAND, TINT]
    dark = "".join(
        f'[style*="{kind}: {day}"]{{{kind}:{night}!important}}' for day, night in pairs for kind in ("fill", "stroke")
    )
    head, tag, rest = target.getvalue().partition("<defs>")
    style = f"{templates.font_face_of(target.getvalue())}@media screen and (prefers-color-scheme:dark){{{dark}}}"
    return f"{head}<style>{style}</style>{tag}{rest}"
