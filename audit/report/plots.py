"""Figures as SVG: equal input gives equal bytes, and no state of matplotlib outside the call is changed."""

import io
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font

from audit.evidence import Evidence, VerdictName
from audit.report import templates
from audit.report.numbers import MINUS
from audit.report.view import MARKS, Row, clean, results

WIDTH = 6.85  # inches: the text width of the page, so that type in the figure has its true size
INK, FAINT, BAND = ("#1a1d21", "#e8eaed"), ("#5c6470", "#a7afba"), ("#eef0f3", "#262b31")
MOST_ROWS = 60
LABEL_LENGTH = 46
_RC = {
    "svg.fonttype": "path",
    "svg.hashsalt": "certificate",
    "text.parse_math": False,
    "path.simplify": False,
}


_Side = Literal["left", "center", "right"]


class _Marker(NamedTuple):
    shape: str
    fill: str


_MARKERS: dict[VerdictName, _Marker] = {
    "FAIL": _Marker("X", "full"),
    "NOT EVALUATED": _Marker("o", "none"),
    "CONDITIONAL FAIL": _Marker("^", "full"),
    "CONDITIONAL PASS": _Marker("o", "left"),
    "PASS": _Marker("o", "full"),
}


class _Sheet(NamedTuple):
    """Measures of a figure with `rows` lines: inches; x positions are fractions of the width.

    The axis shows −`reach` to `reach` guard bands.
    """

    rows: int
    pitch: float
    reach: float
    top: float = 0.24
    bottom: float = 0.36
    number: float = 0.026
    name: float = 0.036
    axis_left: float = 0.41
    axis_right: float = 0.76
    margin: float = 0.845
    verdict: float = 0.863

    def clip(self, position: float) -> float:
        return min(max(position, -self.reach), self.reach)

    @property
    def height(self) -> float:
        return self.top + self.rows * self.pitch + self.bottom

    @property
    def axes(self) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of the axes as fractions of the figure."""
        return (
            self.axis_left,
            self.bottom / self.height,
            self.axis_right - self.axis_left,
            self.rows * self.pitch / self.height,
        )

    @property
    def size(self) -> float:
        """Type size in points: as large as the line pitch allows, at most that of a table."""
        return min(7.6, self.pitch * 72 * 0.78)

    def write(self, axes: Axes, x: float, line: int, text: str, colour: str, side: _Side) -> None:
        """Text beside or (line −1) above the axes."""
        y = self.height - self.top - (line + 0.5) * self.pitch if line >= 0 else self.height - 0.6 * self.top
        size = self.size if line >= 0 else 7.0
        font = _font(size)
        axes.figure.text(x, y / self.height, text, ha=side, va="center_baseline", color=colour, fontproperties=font)


def forest(evidence: Evidence) -> str:
    """All criteria on one axis: margin in guard bands, limit at 0, what blocks on top.

    Draws at most `MOST_ROWS` criteria; the table beside the figure has all of them.
    """
    found = results(evidence)
    rows = (*found.required, *found.advisory)[:MOST_ROWS]
    lines = max(len(rows), 1)
    sheet = _Sheet(lines, pitch=min(0.205, 7.4 / lines), reach=_reach(rows))
    # Text stays text: as outlines the same figure takes WeasyPrint four times as long.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "certificate", "text.parse_math": False}):
        figure = Figure(figsize=(WIDTH, sheet.height), facecolor="none")
        axes = figure.add_axes(sheet.axes)
        _prepare(axes, sheet)
        for line, row in enumerate(rows):
            _label(axes, sheet, line, row)
        for verdict in MARKS:
            _marks(axes, sheet, [(line, row) for line, row in enumerate(rows) if row.record.verdict == verdict])
        target = io.StringIO()
        FigureCanvasSVG(figure).print_figure(target, format="svg", metadata={"Date": None, "Creator": None})
    return _dressed(target.getvalue())


def _reach(rows: Sequence[Row]) -> float:
    """Half the width of the axis: all finite positions if they fit into 8 guard bands, at least 2.5."""
    finite = [abs(row.position) for row in rows if row.position is not None and math.isfinite(row.position)]
    return min(8.0, max(2.5, 1.25 * max(finite, default=0.0)))


def _prepare(axes: Axes, sheet: _Sheet) -> None:
    """Limit, undecided band, ticks and headings."""
    axes.set_xlim(-sheet.reach, sheet.reach)
    axes.set_ylim(sheet.rows - 0.5, -0.5)
    axes.patch.set_visible(False)
    axes.axvspan(-1, 1, color=BAND[0], linewidth=0, zorder=0)
    axes.axvline(0, color=INK[0], linewidth=1.1, zorder=1)
    for name in ("left", "right", "top"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(FAINT[0])
    axes.set_yticks([])
    step = 1 if sheet.reach <= 4 else 2
    ticks = range(-step * int(sheet.reach // step), int(sheet.reach) + 1, step)
    axes.set_xticks(ticks, [str(tick).replace("-", MINUS) for tick in ticks], fontproperties=_font(7))
    axes.tick_params(colors=FAINT[0], length=3, pad=2)
    axes.set_xlabel("margin ÷ guard band", fontproperties=_font(7), color=FAINT[0], labelpad=2)
    middle = (sheet.axis_left + sheet.axis_right) / 2
    sheet.write(axes, sheet.name, -1, "criterion", FAINT[0], "left")
    sheet.write(axes, sheet.axis_left, -1, "limit exceeded", FAINT[0], "left")
    sheet.write(axes, middle, -1, "undecided", FAINT[0], "center")
    sheet.write(axes, sheet.axis_right, -1, "limit kept", FAINT[0], "right")
    sheet.write(axes, sheet.margin, -1, "margin", FAINT[0], "right")
    sheet.write(axes, sheet.verdict, -1, "verdict", FAINT[0], "left")


def _label(axes: Axes, sheet: _Sheet, line: int, row: Row) -> None:
    """The words of one criterion: number, name, margin, verdict."""
    word = row.record.verdict.replace("CONDITIONAL", "COND.")
    sheet.write(axes, sheet.number, line, str(row.number), FAINT[0], "right")
    sheet.write(axes, sheet.name, line, _fit(row, sheet), INK[0], "left")
    sheet.write(axes, sheet.margin, line, row.margin, INK[0], "right")
    sheet.write(axes, sheet.verdict, line, word, row.mark.light, "left")


def _marks(axes: Axes, sheet: _Sheet, rows: Sequence[tuple[int, Row]]) -> None:
    """Whiskers and glyphs of all criteria with one verdict; an arrow where the margin lies off the axis."""
    if not rows:
        return
    verdict, colour = rows[0][1].record.verdict, rows[0][1].mark.light
    shape, fill = _MARKERS[verdict]
    whiskers: list[tuple[int, float, float]] = []
    glyphs: list[tuple[int, float]] = []
    for line, row in rows:
        if row.position is None:
            _unplaced(axes, sheet, line, colour)
        whiskers += [(line, *ends) for ends in _whiskers(row, sheet)]
        at = row.position or 0.0
        if abs(at) > 0.97 * sheet.reach:
            edge = math.copysign(0.985 * sheet.reach, at)
            axes.plot(edge, line, marker=">" if at > 0 else "<", markersize=3.6, color=colour, clip_on=False)
            at = math.copysign(0.9 * sheet.reach, at)
        glyphs.append((line, at))
    lines, positions = zip(*glyphs, strict=True)
    if whiskers:
        places, starts, stops = zip(*whiskers, strict=True)
        axes.hlines(places, starts, stops, colors=colour, linewidth=1.3)
    axes.plot(
        positions, lines, linestyle="none", marker=shape, fillstyle=fill, markerfacecoloralt="none", color=colour,
        markeredgewidth=0 if fill == "full" else 0.9, markersize=min(5.6, 0.4 * 72 * sheet.pitch), zorder=5,
    )  # fmt: skip


def _whiskers(row: Row, sheet: _Sheet) -> Iterator[tuple[float, float]]:
    """From the estimate to each bound that there is."""
    for bound in (row.record.lower, row.record.upper):
        end = row.in_guard_bands(bound)
        if row.position is not None and end is not None:
            yield sheet.clip(row.position), sheet.clip(end)


def _unplaced(axes: Axes, sheet: _Sheet, line: int, colour: str) -> None:
    """A dotted line all along the axis: nothing says where on it the criterion stands."""
    gap = 0.06 * sheet.reach
    for start, stop in ((-sheet.reach, -gap), (gap, sheet.reach)):
        axes.hlines(line, start, stop, colors=colour, linewidth=0.7, linestyles=(0, (1, 3)))


def _fit(row: Row, sheet: _Sheet) -> str:
    """The title as far as the column holds it and the font can draw it; the table has it in full."""
    font = get_font(str(templates.FONTS["Regular"]))
    drawable = font.get_charmap()
    title = clean(row.record.title)
    text = "".join(char if ord(char) in drawable else "□" for char in title)
    suffix = "" if row.record.required else " (advisory)"
    room = (sheet.axis_left - sheet.name) * WIDTH * 72 - 6
    font.set_size(sheet.size, 72)

    def width(candidate: str) -> float:
        font.set_text(candidate)
        return float(font.get_width_height()[0]) / 64

    if width(text + suffix) <= room:
        return text + suffix
    kept = next(end for end in range(min(len(text), 120), -1, -1) if width(f"{text[:end]}…{suffix}") <= room)
    return f"{text[:kept].rstrip()}…{suffix}"


def _font(size: float) -> FontProperties:
    return FontProperties(family="Audit Sans", size=size, fname=templates.FONTS["Regular"])


def _dressed(svg: str) -> str:
    """The figure with its own font, and in the dark colours of the page where the reader asks for them.

    An image sees neither the fonts nor the style of the page that shows it.
    """
    pairs = [(mark.light, mark.dark) for mark in MARKS.values()] + [INK, FAINT, BAND]
    dark = "".join(
        f'[style*="{kind}: {day}"]{{{kind}:{night}!important}}' for day, night in pairs for kind in ("fill", "stroke")
    )
    head, tag, rest = svg.partition("<defs>")
    style = f"{templates.font_faces('Regular')}@media screen and (prefers-color-scheme:dark){{{dark}}}"
    return f"{head}<style>{style}</style>{tag}{rest}"
