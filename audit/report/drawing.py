"""What the figures share: equal input gives equal bytes, and no state of matplotlib outside a call is changed."""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.lines import Line2D

from audit.evidence import VerdictName
from audit.report import templates
from audit.report.rows import INAPPLICABLE, MARKS, Row

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
NOT_APPLICABLE = Marker("D", "none")
_SHORT = {"CONDITIONAL PASS": "COND. PASS", "CONDITIONAL FAIL": "COND. FAIL"}


def settings() -> AbstractContextManager[None]:
    """Everything that a figure would take from the user's configuration.

    Text stays text: as outlines the same figure takes WeasyPrint four times as long.
    """
    return rc_context({"svg.fonttype": "none", "svg.hashsalt": "certificate", "text.parse_math": False})


def looks(marker: Marker, colour: str, size: float = 5.6) -> dict[str, Any]:
    """What matplotlib is told to draw a marker alone."""
    return {
        "marker": marker.shape, "fillstyle": marker.fill, "color": colour, "markerfacecoloralt": "none",
        "markersize": size, "markeredgewidth": 0 if marker.fill == "full" else 1.0, "linestyle": "none",
    }  # fmt: skip


def marker(row: Row) -> Marker:
    """The shape of a criterion's verdict, or that it has none."""
    return MARKERS[row.record.verdict] if row.record.applicable else NOT_APPLICABLE


def verdicts(rows: Sequence[Row], colour: str = "") -> Iterator[Line2D]:
    """A key to the shapes of those verdicts that the rows have, in their own colours or all in one."""
    for verdict, shape in MARKERS.items():
        if any(row.word == verdict for row in rows):
            look = looks(shape, colour or MARKS[verdict].light)
            yield Line2D([], [], label=_SHORT.get(verdict, verdict), **look)
    if any(not row.record.applicable for row in rows):
        yield Line2D([], [], label="not applicable", **looks(NOT_APPLICABLE, colour or INAPPLICABLE.light))


def legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """A key below everything else, if there is anything to tell."""
    figure.legend(
        handles=handles, loc="lower center", ncols=min(columns, len(handles)) or 1, frameon=False, prop=font(7),
        labelcolor=INK[0], borderpad=0, borderaxespad=0.1, columnspacing=1.6, handlelength=1.8,
    )  # fmt: skip


def font(size: float) -> FontProperties:
    """The font of the page, in points."""
    return FontProperties(family="Audit Sans", size=size, fname=templates.FONTS["Regular"])


def width(text: str, size: float) -> float:
    """How many points a text takes at that size."""
    return _measured(text) * size / _MEASURED


@lru_cache(maxsize=4096)
def _measured(text: str) -> float:
    """How many points it takes at the size at which it is measured: figures repeat their numbers."""
    face = get_font(str(templates.FONTS["Regular"]))
    face.set_size(_MEASURED, 72)
    face.set_text(text)
    return float(face.get_width_height()[0]) / 64


def fit(text: str, size: float, room: float, suffix: str = "") -> str:
    """As much of `text` as `room` (points) holds at that size and the font can draw, and the whole `suffix`.

    What is left out is the middle: titles begin with the metric and end with the condition.
    """
    drawable = get_font(str(templates.FONTS["Regular"])).get_charmap()
    text = "".join(char if ord(char) in drawable else "□" for char in text)

    def cut(kept: int) -> str:
        ahead = kept // 2
        return f"{text[:ahead].rstrip()}…{text[len(text) - kept + ahead :].lstrip()}{suffix}"

    if width(text + suffix, size) <= room:
        return text + suffix
    shorter = (cut(kept) for kept in range(min(len(text), _LONGEST) - 1, 0, -1))
    return next((candidate for candidate in shorter if width(candidate, size) <= room), "…")


def svg(figure: Figure, colours: Sequence[tuple[str, str]] = ()) -> str:
    """The figure with its own font, and in the dark colours of the page where the reader asks for them.

    `colours` by day and by night are those that this figure has beside the common ones. An image sees neither the
    fonts nor the style of the page that shows it.
    """
    target = io.StringIO()
    FigureCanvasSVG(figure).print_figure(target, format="svg", metadata={"Date": None, "Creator": None})
    pairs = [(mark.light, mark.dark) for mark in MARKS.values()] + [INK, FAINT, BAND, TINT, *colours]
    dark = "".join(
        f'[style*="{kind}: {day}"]{{{kind}:{night}!important}}' for day, night in pairs for kind in ("fill", "stroke")
    )
    head, tag, rest = target.getvalue().partition("<defs>")
    style = f"{templates.font_face_of(target.getvalue())}@media screen and (prefers-color-scheme:dark){{{dark}}}"
    return f"{head}<style>{style}</style>{tag}{rest}"
