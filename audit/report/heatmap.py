"""The heat map: what a corruption costs at a severity, or a condition in a class, a number in every cell."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from audit.report import drawing, numbers
from audit.report.cells import Grid, Line
from audit.report.drawing import FAINT, INK, TINT, WIDTH, Marker, font
from audit.report.levels import Point
from audit.report.rows import MARKS

MOST_LINES = 24
MOST_COLUMNS = 11
_STEPS = 10  # colours on each side of zero
_GAIN, _ZERO, _LOSS = ("#5b9bd8", "#1f5f9e"), ("#ffffff", "#14171a"), ("#ef8f3a", "#944a0c")
"""By day and by night: text in `INK` has a contrast of at least 4.5 : 1 on these and on everything between."""
_SIZE = 7.6
_PITCH, _TOP, _KEY, _NAME, _CELL, _GAP = 0.25, 0.36, 0.42, 1.42, 0.9, 0.45  # inches
_FEW = 6  # lines that are not set side by side
_SLANT = 45  # degrees, of headings that are wider than their columns
_LONGEST = 1.15  # inches of a heading
_BAR = (1.6, 0.11)  # inches
_PER_LINE = 6
_DASH = Marker("_", "none")
_HATCH = 0.07  # inches between two lines
_MARK = 0.87  # where in its cell a verdict is marked


def _mix(full: tuple[str, str], share: float) -> tuple[str, str]:
    """The colours by day and by night at that share of the way from zero to an end."""
    day, night = (_between(*ends, share) for ends in zip(_ZERO, full, strict=True))
    return day, night


def _between(start: str, stop: str, share: float) -> str:
    red, green, blue = (a + share * (b - a) for a, b in zip(to_rgb(start), to_rgb(stop), strict=True))
    return to_hex((red, green, blue))


COLOURS = tuple(_mix(_GAIN if step < 0 else _LOSS, abs(step) / _STEPS) for step in range(-_STEPS, _STEPS + 1))
"""Blue, white, orange; each by day and by night."""


class _Sheet(NamedTuple):
    """Where things lie, in inches from the upper left: blocks of lines side by side where there are few columns."""

    lines: int
    columns: int
    blocks: int
    cell: float
    top: float = _TOP
    slanted: bool = False

    @property
    def per_block(self) -> int:
        return math.ceil(self.lines / self.blocks)

    @property
    def height(self) -> float:
        return self.top + self.per_block * _PITCH + _KEY

    def left(self, block: int) -> float:
        return block * (_NAME + self.columns * self.cell + _GAP)

    def corner(self, line: int, column: int) -> tuple[float, float]:
        """The upper left corner of a cell."""
        block, below = divmod(line, self.per_block)
        return self.left(block) + _NAME + column * self.cell, self.top + below * _PITCH


def draw(grid: Grid, down: str = "corruption", across: str = "severity") -> str:
    """The cells as SVG, coloured symmetrically around zero, hatched where a criterion failed.

    Draws at most `MOST_LINES` lines and `MOST_COLUMNS` columns; the table has all of them. `down` and `across` say what
    they are.
    """
    lines = grid.lines[:MOST_LINES]
    every = (*grid.severities[:MOST_COLUMNS], *["mean"] * grid.with_means)
    headings = [drawing.fit(name, _SIZE, _LONGEST * 72) for name in every]
    sheet = _sheet(len(lines), headings)
    with drawing.settings():
        figure = Figure(figsize=(WIDTH, sheet.height), facecolor="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(sheet.height, 0)
        axes.set_axis_off()
        for block in range(sheet.blocks):
            _heading(axes, sheet, block, headings, (down, across))
        extent = grid.extent
        for number, line in enumerate(lines):
            _line(axes, sheet, number, line, grid, extent)
        if extent:
            _scale(axes, sheet, grid)
        drawing.legend(figure, list(_marks(grid)), _PER_LINE)
        return drawing.svg(figure, COLOURS)


def shade(value: float, extent: float) -> int:
    """The place in `COLOURS` of a value between −`extent` and `extent`; the colour of zero is for zero alone.

    >>> shade(0.0, 5.0), shade(-5.0, 5.0), shade(5.0, 5.0), shade(0.001, 5.0)
    (10, 0, 20, 11)
    """
    if value == 0:
        return _STEPS
    return _STEPS + int(math.copysign(math.ceil(round(_STEPS * abs(value) / extent, 9)), value))


def _sheet(lines: int, headings: Sequence[str]) -> _Sheet:
    columns = len(headings)
    cell = min(_CELL, (WIDTH - _NAME) / columns)
    widest = max(drawing.width(heading, _SIZE) for heading in headings) / 72
    if widest > cell:
        aside = widest * math.cos(math.radians(_SLANT))
        cell = min(_CELL, (WIDTH - _NAME - aside) / (columns - 0.5))
        return _Sheet(lines, columns, 1, cell, 0.18 + aside, slanted=True)
    fitting = int((WIDTH + _GAP) / (_NAME + columns * cell + _GAP))
    return _Sheet(lines, columns, max(1, min(fitting, math.ceil(lines / _FEW))), cell)


def _heading(axes: Axes, sheet: _Sheet, block: int, names: Sequence[str], kinds: tuple[str, str]) -> None:
    left, (down, across) = sheet.left(block), kinds
    _write(axes, left, sheet.top - 0.09, down, FAINT[0], "left")
    _write(axes, left + _NAME, sheet.top - 0.25, across, FAINT[0], "right" if sheet.slanted else "left")
    for column, name in enumerate(names):
        middle = left + _NAME + (column + 0.5) * sheet.cell
        if sheet.slanted:
            axes.text(
                middle, sheet.top - 0.05, name, rotation=_SLANT, ha="left", va="baseline", rotation_mode="anchor",
                color=FAINT[0], fontproperties=font(_SIZE),
            )  # fmt: skip
        else:
            _write(axes, middle, sheet.top - 0.09, name, FAINT[0])


def _line(axes: Axes, sheet: _Sheet, number: int, line: Line, grid: Grid, extent: float) -> None:
    """One corruption: its name, its cells, its mean."""
    left, top = sheet.corner(number, 0)
    middle = top + _PITCH / 2
    name = drawing.fit(line.name, _SIZE, (_NAME - 0.08) * 72)
    _write(axes, left - _NAME, middle, name, INK[0], "left")
    for column, point in enumerate(islice(line.cells, MOST_COLUMNS)):
        _cell(axes, sheet.corner(number, column), sheet.cell, point, grid.unit, extent)
    if grid.with_means:
        right = sheet.corner(number, sheet.columns - 1)[0] + sheet.cell / 2
        _write(axes, right, middle, numbers.measured(line.mean, grid.unit), INK[0])


def _cell(axes: Axes, corner: tuple[float, float], width: float, point: Point | None, unit: str, extent: float) -> None:
    """A coloured box with a number and, where its criterion is no PASS, the mark of the verdict."""
    left, top = corner
    value = None if point is None else point.value
    colour = "none" if value is None else COLOURS[shade(value, extent)][0]
    # As artists, not as patches: the limits of the axes are set, and patches would look for them again.
    axes.add_artist(Rectangle(corner, width, _PITCH, facecolor=colour, edgecolor=TINT[0], linewidth=0.6))
    text = numbers.measured(value, unit)
    room = drawing.width(text, _SIZE) / 72
    row = None if point is None else point.row
    marked = row is not None and row.word != "PASS"
    middle = left + (min(width / 2, _MARK * width - 0.06 - room / 2) if marked else width / 2)
    if point is not None and point.failed:
        _hatch(axes, corner, width)
        box = (middle - room / 2 - 0.03, top + 0.05)
        axes.add_artist(Rectangle(box, room + 0.06, _PITCH - 0.1, facecolor=colour, zorder=2))
    _write(axes, middle, top + _PITCH / 2, text, INK[0])
    if row is not None and marked:
        look = drawing.looks(drawing.marker(row), INK[0])
        axes.plot(left + _MARK * width, top + _PITCH / 2, zorder=5, **look)


def _hatch(axes: Axes, corner: tuple[float, float], width: float) -> None:
    """Rising lines across the cell; a pattern of SVG is not drawn alike everywhere."""
    segments = list(_rising(corner, width))
    axes.add_collection(LineCollection(segments, colors=MARKS["FAIL"].light, linewidths=0.7, zorder=1.5))


def _rising(corner: tuple[float, float], width: float) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Where lines at 45°, evenly apart, meet the edges of the cell."""
    left, top = corner
    for step in range(1, math.ceil((width + _PITCH) / _HATCH)):
        along = step * _HATCH
        start, stop = max(0.0, along - _PITCH), min(width, along)
        yield (left + start, top + along - start), (left + stop, top + along - stop)


def _scale(axes: Axes, sheet: _Sheet, grid: Grid) -> None:
    """The colours from the largest gain to the largest loss, with their ends."""
    top, width = sheet.height - _KEY + 0.1, _BAR[0] / len(COLOURS)
    for place, (day, _) in enumerate(COLOURS):
        axes.add_patch(Rectangle((_NAME + place * width, top), width, _BAR[1], facecolor=day, linewidth=0))
    axes.add_patch(Rectangle((_NAME, top), *_BAR, facecolor="none", edgecolor=TINT[0], linewidth=0.6))
    low, high = (numbers.measured(end, grid.unit) for end in (-grid.extent, grid.extent))
    middle = top + _BAR[1] / 2
    _write(axes, _NAME - 0.06, middle, low, FAINT[0], "right")
    _write(axes, _NAME + _BAR[0] + 0.06, middle, f"{numbers.with_unit(high, grid.unit)} lost", FAINT[0], "left")


def _marks(grid: Grid) -> Iterator[Line2D]:
    """A key to the marks that there are beside plain numbers."""
    yield from drawing.verdicts([row for row in grid.rows if row.word != "PASS"], INK[0])
    if any(point is None or point.value is None for line in grid.lines for point in line.cells):
        yield Line2D([], [], label="not measured", **drawing.looks(_DASH, INK[0]))


def _write(axes: Axes, x: float, y: float, text: str, colour: str, side: str = "center") -> None:
    axes.text(x, y, text, ha=side, va="center_baseline", color=colour, fontproperties=font(_SIZE), zorder=4)
