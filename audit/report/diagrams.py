"""Reliability diagrams and risk–coverage curves of both models, side by side."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, MaxNLocator, NullLocator

from audit.report import drawing
from audit.report.drawing import FAINT, INK, WIDTH, font
from audit.report.reliability import Side

_SIZE, _TICK = 7.6, 7.0
_LEFT, _GAP, _RIGHT = 0.44, 0.62, 0.1  # inches
_TITLE, _PLOT, _APART, _STRIP, _BELOW = 0.22, 2.0, 0.12, 0.5, 0.56
_PANEL = (WIDTH - _LEFT - _GAP - _RIGHT) / 2
_HEIGHT = _TITLE + _PLOT + _APART + _STRIP + _BELOW
_BEYOND = 0.03  # of an axis beyond its ends
_PERCENT = (0, 20, 40, 60, 80, 100)
LOOKS: dict[str, dict[str, Any]] = {
    "reference": {"color": FAINT[0], "linestyle": (0, (4, 2)), "marker": "s", "fillstyle": "none", "markersize": 4.4},
    "candidate": {"color": INK[0], "linestyle": "-", "marker": "o", "fillstyle": "full", "markersize": 3.2},
}
"""The models told apart by shape, filling and line."""
_AS_SURE_AS_RIGHT: dict[str, Any] = {"color": FAINT[0], "linewidth": 0.8, "linestyle": (0, (1, 2))}


def draw(sides: Sequence[Side]) -> str:
    """What there is of both diagrams as SVG; raises ValueError where there is nothing to draw."""
    if not any(side.bins or side.risks for side in sides):
        raise ValueError("there is no bin and no coverage to draw")
    left, binned = _LEFT, any(side.bins for side in sides)
    with drawing.settings():
        figure = Figure(figsize=(WIDTH, _HEIGHT), facecolor="none")
        if binned:
            _reliability(figure, left, sides)
            left += _PANEL + _GAP
        if any(side.risks for side in sides):
            _risk(figure, left, sides)
        drawing.legend(figure, list(_legend(sides, binned)), 3)
        return drawing.svg(figure)


def _reliability(figure: Figure, left: float, sides: Sequence[Side]) -> None:
    """Accuracy over confidence, bin by bin; below it which share of the items lies there, by powers of ten."""
    axes = _axes(figure, left, _BELOW + _STRIP + _APART, _PLOT, (0, 100))
    axes.plot((0, 100), (0, 100), zorder=1, **_AS_SURE_AS_RIGHT)
    axes.tick_params(labelbottom=False)
    _words(axes, FixedLocator(_PERCENT), "Accuracy of the items in a bin, %", "", _PLOT)
    smallest = min(share for side in sides for share, _, _ in side.bins)
    strip = _axes(figure, left, _BELOW, _STRIP, (0, 100))
    strip.set_yscale("log")
    floor = 10 ** math.floor(math.log10(smallest) - 0.1)
    strip.set_ylim(floor, 100)
    strip.yaxis.set_minor_locator(NullLocator())
    _words(
        strip, FixedLocator((floor, 1, 100)), "", "mean confidence in the bin, %; bars: its share of the items, %", 1
    )
    for side in sides:
        share, confidence, accuracy = zip(*side.bins, strict=True) if side.bins else ((), (), ())
        look = LOOKS[side.role]
        axes.plot(confidence, accuracy, linewidth=1.0, clip_on=False, zorder=3, **look)
        strip.vlines(confidence, floor, share, colors=look["color"], linestyles=look["linestyle"], linewidth=1.0)
        strip.plot(confidence, share, clip_on=False, zorder=3, **look | {"linestyle": "none"})


def _risk(figure: Figure, left: float, sides: Sequence[Side]) -> None:
    """Errors among the most confident items over how many these are."""
    height = _STRIP + _APART + _PLOT
    highest = max(risk for side in sides for _, risk in side.risks) or 1.0
    axes = _axes(figure, left, _BELOW, height, (0, highest))
    _words(axes, MaxNLocator(5), "Errors among the items that are accepted, %",
           "coverage: accepted items, those of the highest confidence, %", height)  # fmt: skip
    for side in sides:
        coverage, risk = zip(*side.risks, strict=True) if side.risks else ((), ())
        axes.plot(coverage, risk, linewidth=1.0, clip_on=False, zorder=3, **LOOKS[side.role])


def _axes(figure: Figure, left: float, bottom: float, height: float, extent: tuple[float, float]) -> Axes:
    """Axes from 0 to 100 percent, placed in inches."""
    axes: Axes = figure.add_axes((left / WIDTH, bottom / _HEIGHT, _PANEL / WIDTH, height / _HEIGHT))
    axes.patch.set_visible(False)
    pad = _BEYOND * (extent[1] - extent[0])
    axes.set_xlim(-100 * _BEYOND, 100 + 100 * _BEYOND)
    axes.set_ylim(extent[0] - pad, extent[1] + pad)
    for name, spine in axes.spines.items():
        spine.set_visible(name in {"left", "bottom"})
        spine.set_color(FAINT[0])
    axes.tick_params(colors=FAINT[0], labelcolor=FAINT[0], length=3, pad=2, width=0.8)
    return axes


def _words(axes: Axes, ticks: Locator, title: str, label: str, height: float) -> None:
    """Ticks, a title above axes that are `height` inches high, and what they run over."""
    axes.xaxis.set_major_locator(FixedLocator(_PERCENT))
    axes.yaxis.set_major_locator(ticks)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{round(value, 9):g}"))
    for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        tick.set_fontproperties(font(_TICK))
    axes.text(0, 1 + 0.07 / height, title, transform=axes.transAxes, color=INK[0], fontproperties=font(_SIZE))
    axes.set_xlabel(label, fontproperties=font(_TICK), color=FAINT[0], labelpad=2)


def _legend(sides: Sequence[Side], binned: bool) -> Iterator[Line2D]:
    """What is in the diagrams, and nothing else."""
    for side in sides:
        yield Line2D([], [], label=side.role, linewidth=1.0, **LOOKS[side.role])
    if binned:
        yield Line2D([], [], label="as sure as right", **_AS_SURE_AS_RIGHT)
