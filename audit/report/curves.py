"""Measures over the level of a condition: estimate, bounds, limits and verdicts, side by side."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from audit.report import drawing
from audit.report.drawing import BAND, FAINT, INK, TINT, WIDTH, Marker, font
from audit.report.levels import PIXEL, Panel, Point
from audit.report.numbers import MINUS
from audit.report.rows import MARKS

_SIZE, _TICK = 7.6, 7.0
_TITLE, _PLOT, _BELOW, _LEGEND, _LEFT, _GAP = 0.34, 1.25, 0.4, 0.17, 0.36, 0.5  # inches
_PER_LINE = 6
_PAD = 0.06  # of the axis beyond the outermost points
_NO_MARK = Marker("o", "full")


def draw(panels: Sequence[Panel]) -> str:
    """The panels of one sheet as SVG, those of one metric on one scale; raises ValueError where there are none."""
    if not panels:
        raise ValueError("there is no curve to draw")
    columns = 2 if len(panels) in {1, 2, 4} else 3
    lines = math.ceil(len(panels) / columns)
    handles = list(_legend(panels))
    legend = _LEGEND * math.ceil(len(handles) / _PER_LINE)
    height = lines * (_TITLE + _PLOT + _BELOW) + legend
    width = (WIDTH - _LEFT - (columns - 1) * _GAP - 0.06) / columns
    with drawing.settings():
        figure = Figure(figsize=(WIDTH, height), facecolor="none")
        for place, panel in enumerate(panels):
            line, column = divmod(place, columns)
            left = _LEFT + column * (width + _GAP)
            bottom = height - (line + 1) * (_TITLE + _PLOT) - line * _BELOW
            axes = figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, _PLOT / height))
            _panel(axes, panel, _extent([other for other in panels if other.metric == panel.metric]), width * 72)
            _title(axes, panel, width * 72)
        drawing.legend(figure, handles, _PER_LINE)
        return drawing.svg(figure)


def _panel(axes: Axes, panel: Panel, extent: tuple[float, float], width: float) -> None:
    """One panel, `width` points wide."""
    places = {point.level: _place(panel, point) for point in (*panel.points, *panel.baseline)}
    ticks = sorted(places.values())
    pad = _PAD * (ticks[-1] - ticks[0])
    axes.set_xlim(ticks[0] - pad, ticks[-1] + pad)
    axes.set_ylim(*extent)
    _frame(axes, panel, legible(ticks, width / (1 + 2 * _PAD)))
    _limits(axes, panel)
    at, values, lows, highs = _track(panel, panel.points)
    axes.fill_between(at, lows, highs, color=TINT[0], linewidth=0, zorder=2)
    axes.plot(at, values, color=INK[0], linewidth=1.1, zorder=4)
    _baseline(axes, panel)
    for point in panel.points:
        _mark(axes, places[point.level], point, floor=extent[0] + 0.05 * (extent[1] - extent[0]))


def _place(panel: Panel, point: Point) -> float:
    """Square roots: levels that double stay apart, and zero keeps a place."""
    return math.sqrt(point.level * PIXEL if panel.in_pixels else point.level)


def _track(panel: Panel, points: Sequence[Point]) -> tuple[list[float], list[float], list[float], list[float]]:
    """Places, estimates, lower and upper ends of all points with a value."""
    measured = [(point, point.value) for point in points if point.value is not None]
    ends = [_ends(point) for point, _ in measured]
    at = [_place(panel, point) for point, _ in measured]
    return at, [value for _, value in measured], [low for low, _ in ends], [high for _, high in ends]


def _ends(point: Point) -> tuple[float, float]:
    """Both bounds; the estimate itself where a method has none."""
    value = point.value or 0.0
    low, high = point.finding.lower, point.finding.upper
    return value if low is None else low, value if high is None else high


def _extent(panels: Sequence[Panel]) -> tuple[float, float]:
    """A scale that holds every value, bound and limit."""
    points = [point for panel in panels for _, curve in panel.curves for point in curve]
    values = [end for point in points if point.value is not None for end in _ends(point)]
    values += [point.row.record.limit for point in points if point.row is not None]
    low, high = min(values), max(values)
    pad = 0.09 * (high - low) or 0.5
    return low - pad, high + pad


def _frame(axes: Axes, panel: Panel, ticks: Sequence[float]) -> None:
    axes.patch.set_visible(False)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(FAINT[0])
    axes.tick_params(colors=FAINT[0], labelcolor=FAINT[0], length=3, pad=2, width=0.8)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _level(place)))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 9):g}".replace("-", MINUS)))
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(_TICK))
    axes.set_xlabel(panel.axis, fontproperties=font(_TICK), color=FAINT[0], labelpad=2)


def legible(ticks: Sequence[float], room: float) -> list[float]:
    """The ticks whose labels do not touch on an axis of `room` points from first to last; the last one always."""
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or _apart(tick, kept[-1]) <= room * (kept[-1] - tick) / (ticks[-1] - ticks[0]):
            kept.append(tick)
    return kept


def _apart(*ticks: float) -> float:
    """Points between the middles of two labels that stand side by side."""
    return sum(drawing.width(_level(tick), _TICK) / 2 for tick in ticks) + _TICK / 2


def _level(place: float) -> str:
    return f"{round(place**2, 6):g}"


def _title(axes: Axes, panel: Panel, room: float) -> None:
    unit = "" if panel.unit == "distance" else f", {panel.unit}"
    for text, colour, above in ((drawing.fit(panel.title, _SIZE, room, unit), INK, 0.17),
                                (drawing.fit(panel.condition, _SIZE, room), FAINT, 0.05)):  # fmt: skip
        axes.text(0, 1 + above / _PLOT, text, transform=axes.transAxes, color=colour[0], fontproperties=font(_SIZE))


def _limits(axes: Axes, panel: Panel) -> None:
    """Each limit from halfway to the level before to halfway to the one after, with the far side shaded."""
    edges, ends = axes.get_xlim(), axes.get_ylim()
    at = [_place(panel, point) for point in panel.points]
    middles = [edges[0], *((one + other) / 2 for one, other in pairwise(at)), edges[1]]
    spans = zip(panel.points, pairwise(middles), strict=True)
    for rule, group in groupby(spans, key=lambda span: _rule(span[0])):
        if rule is not None:
            reach = [end for _, span in group for end in span]
            start, stop, far = reach[0], reach[-1], ends[rule.sense == "at_most"]
            axes.fill_between([start, stop], rule.limit, far, color=BAND[0], linewidth=0, zorder=0)
            axes.plot([start, stop], [rule.limit, rule.limit], color=MARKS["FAIL"].light, linewidth=1.0, zorder=3)


class _Rule(NamedTuple):
    limit: float
    sense: str


def _rule(point: Point) -> _Rule | None:
    return None if point.row is None else _Rule(point.row.record.limit, point.row.record.sense)


def _baseline(axes: Axes, panel: Panel) -> None:
    """The baseline as a dashed line with whiskers."""
    at, values, lows, highs = _track(panel, panel.baseline)
    axes.plot(at, values, color=FAINT[0], linewidth=1.0, linestyle=(0, (4, 2)), marker="s", markersize=3, zorder=3)
    axes.vlines(at, lows, highs, colors=FAINT[0], linewidth=0.9, zorder=3)


def _mark(axes: Axes, place: float, point: Point, floor: float) -> None:
    """The verdict at its point; on the floor of the panel where nothing was measured."""
    if point.row is None and point.value is None:
        return
    value = floor if point.value is None else point.value
    axes.plot(place, value, clip_on=False, zorder=5, **_style(point))


def _style(point: Point) -> dict[str, Any]:
    if point.row is None:
        return drawing.looks(_NO_MARK, INK[0], 2.6)
    return drawing.looks(drawing.marker(point.row), point.row.mark.light)


def _legend(panels: Sequence[Panel]) -> Iterator[Artist]:
    """What is on the panels, and nothing else."""
    rows = [point.row for panel in panels for point in panel.points if point.row is not None]
    yield Line2D([], [], color=INK[0], linewidth=1.1, label="candidate")
    yield Patch(color=TINT[0], label="between one-sided bounds")
    if any(panel.baseline for panel in panels):
        yield Line2D([], [], color=FAINT[0], linestyle=(0, (4, 2)), marker="s", markersize=3, label="baseline")
    if rows:
        yield Line2D([], [], color=MARKS["FAIL"].light, linewidth=1.0, label="limit")
        yield Patch(color=BAND[0], label="beyond the limit")
    yield from drawing.verdicts(rows)
