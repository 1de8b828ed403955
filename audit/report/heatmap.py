"""The heat map: what each corruption costs at each severity, a number in every cell."""

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
MOST_COLUMNS = 8
_STEPS = 10  # colours on each side of zero
_GAIN, _ZERO, _LOSS = ("#5b9bd8", "#1f5f9e"), ("#ffffff", "#14171a"), ("#ef8f3a", "#944a0c")
"""By day and by night: text in `INK` has a contrast of at least 4.5 : 1 on these and on everything between."""
_SIZE = 7.6
_PITCH, _TOP, _KEY, _NAME, _CELL, _GAP = 0.25, 0.36, 0.42, 1.42, 0.9, 0.45  # inches
_FEW = 6  # lines that are not set side by side
_BAR = (1.6, 0.11)  # inches
_PER_LINE = 6
_DASH = Marker("_", "none")
_HATCH = 0.07  # inches between two lines


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

    @property
    def per_block(self) -> int:
        return math.ceil(self.lines / self.blocks)

    @property
    def height(self) -> float:
        return _TOP + self.per_block * _PITCH + _KEY

    def left(self, block: int) -> float:
        return block * (_NAME + self.columns * self.cell + _GAP)

    def corner(self, line: int, column: int) -> tuple[float, float]:
        """The upper left corner of a cell."""
        block, below = divmod(line, self.per_block)
        return self.left(block) + _NAME + column * self.cell, _TOP + below * _PITCH


def draw(grid: Grid) -> str:
    """The cells as SVG, coloured symmetrically around zero, hatched where a criterion failed.

    Draws at most `MOST_LINES` corruptions and `MOST_COLUMNS` severities; the table has all of them.
    """
    lines, severities = grid.lines[:MOST_LINES], grid.severities[:MOST_COLUMNS]
    sheet = _sheet(len(lines), len(severities) + grid.with_means)
    with drawing.settings():
        figure = Figure(figsize=(WIDTH, sheet.height), facecolor="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, WIDTH)
        axes.set_ylim(sheet.height, 0)
        axes.set_axis_off()
        for block in range(sheet.blocks):
            _heading(axes, sheet, block, (*severities, *["mean"] * grid.with_means))
        for number, line in enumerate(lines):
            _line(axes, sheet, number, line, grid)
        if grid.extent:
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


def _sheet(lines: int, columns: int) -> _Sheet:
    cell = min(_CELL, (WIDTH - _NAME) / columns)
    fitting = int((WIDTH + _GAP) / (_NAME + columns * cell + _GAP))
    return _Sheet(lines, columns, max(1, min(fitting, math.ceil(lines / _FEW))), cell)


def _heading(axes: Axes, sheet: _Sheet, block: int, names: Sequence[str]) -> None:
    left = sheet.left(block)
    _write(axes, left, _TOP - 0.09, "corruption", FAINT[0], "left")
    _write(axes, left + _NAME, _TOP - 0.25, "severity", FAINT[0], "left")
    for column, name in enumerate(names):
        _write(axes, left + _NAME + (column + 0.5) * sheet.cell, _TOP - 0.09, name, FAINT[0])


def _line(axes: Axes, sheet: _Sheet, number: int, line: Line, grid: Grid) -> None:
    """One corruption: its name, its cells, its mean."""
    left, top = sheet.corner(number, 0)
    middle = top + _PITCH / 2
    name = drawing.fit(line.name, _SIZE, (_NAME - 0.08) * 72)
    _write(axes, left - _NAME, middle, name, INK[0], "left")
    for column, point in enumerate(islice(line.cells, MOST_COLUMNS)):
        _cell(axes, sheet.corner(number, column), sheet.cell, point, grid)
    if grid.with_means:
        right = sheet.corner(number, sheet.columns - 1)[0] + sheet.cell / 2
        _write(axes, right, middle, numbers.measured(line.mean, grid.unit), INK[0])


def _cell(axes: Axes, corner: tuple[float, float], width: float, point: Point | None, grid: Grid) -> None:
    """A coloured box with a number and, where its criterion is no PASS, the mark of the verdict."""
    left, top = corner
    value = None if point is None else point.value
    colour = "none" if value is None else COLOURS[shade(value, grid.extent)][0]
    axes.add_patch(Rectangle(corner, width, _PITCH, facecolor=colour, edgecolor=TINT[0], linewidth=0.6))
    text = numbers.measured(value, grid.unit)
    if point is not None and point.failed:
        _hatch(axes, corner, width)
        room = drawing.width(text, _SIZE) / 72 + 0.06
        axes.add_patch(
            Rectangle((left + (width - room) / 2, top + 0.05), room, _PITCH - 0.1, facecolor=colour, zorder=2)
        )
    _write(axes, left + width / 2, top + _PITCH / 2, text, INK[0])
    if point is not None and point.row is not None and point.row.word != "PASS":
        look = drawing.looks(drawing.marker(point.row), INK[0])
        axes.plot(left + 0.87 * width, top + _PITCH / 2, zorder=5, **look)


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
