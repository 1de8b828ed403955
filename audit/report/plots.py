"""The forest plot: all criteria on one axis of margins."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audit.evidence import Evidence
from audit.report import drawing
from audit.report.drawing import BAND, FAINT, INK, MARKERS, TINT, WIDTH, font
from audit.report.numbers import MINUS
from audit.report.rows import MARKS, Part, Row, clean
from audit.report.view import results

MOST_ROWS = 60
_Side = Literal["left", "center", "right"]


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
        axes.figure.text(
            x, y / self.height, text, ha=side, va="center_baseline", color=colour, fontproperties=font(size)
        )


def forest(evidence: Evidence) -> str:
    """All criteria on one axis: margin in guard bands, limit at 0, what blocks on top.

    Draws at most `MOST_ROWS` criteria; the table beside the figure has all of them.
    """
    rows = results(evidence).drawn[:MOST_ROWS]
    lines = max(len(rows), 1)
    sheet = _Sheet(lines, pitch=min(0.205, 7.4 / lines), reach=_reach(rows))
    with drawing.settings():
        figure = Figure(figsize=(WIDTH, sheet.height), facecolor="none")
        axes = figure.add_axes(sheet.axes)
        _prepare(axes, sheet)
        for line, row in enumerate(rows):
            _label(axes, sheet, line, row)
        for line, (row, below) in enumerate(pairwise(rows)):
            if (row.part, row.condition) != (below.part, below.condition):
                axes.axhline(line + 0.5, color=TINT[0], linewidth=0.6, zorder=0.5)
        for verdict in MARKS:
            _marks(axes, sheet, [(line, row) for line, row in enumerate(rows) if row.record.verdict == verdict])
        return drawing.svg(figure)


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
    axes.set_xticks(ticks, [str(tick).replace("-", MINUS) for tick in ticks], fontproperties=font(7))
    axes.tick_params(colors=FAINT[0], length=3, pad=2)
    axes.set_xlabel("margin ÷ guard band", fontproperties=font(7), color=FAINT[0], labelpad=2)
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
    shape, fill = MARKERS[verdict]
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
    """The title as far as the column holds it; the table has it in full."""
    room = (sheet.axis_left - sheet.name) * WIDTH * 72 - 6
    part = "" if row.part is Part.REQUIRED else f" ({row.part.value})"
    return drawing.fit(clean(row.record.title), sheet.size, room, part)
