"""What a line chart shows: series, reference lines, and the part of them that is looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np

from eqprop_tui.charts.glyphs import COLOURS
from eqprop_tui.charts.scale import Array, Range, Scale, apart, covering, numbers, rounded_out
from eqprop_tui.charts.smoothing import smoothed
from eqprop_tui.charts.strokes import Line


@dataclass(frozen=True, eq=False)
class Series:
    """A named curve through the points (x, y), in their order.

    None and NaN are gaps. A series without a name is not in the legend. `colour` counts from 1; `marker` (one
    character, or none) stands at the last point and in the legend, and draws the curve in ASCII. ValueError
    where x and y are of different lengths.
    """

    name: str
    x: Array
    y: Array
    colour: int = 1
    marker: str = ""
    line: Line = "solid"

    def __init__(
        self,
        name: str,
        x: Iterable[Any],
        y: Iterable[Any],
        colour: int = 1,
        marker: str = "",
        line: Line = "solid",
    ) -> None:
        """Takes x and y as any numbers; keeps them as arrays of floats."""
        given = {"name": name, "x": numbers(x), "y": numbers(y), "colour": colour, "marker": marker}
        for key, value in (given | {"line": line}).items():
            object.__setattr__(self, key, value)
        if len(self.x) != len(self.y):
            raise ValueError(f"series {name!r}: {len(self.x)} x for {len(self.y)} y")

    @property
    def style(self) -> str:
        """The name of its style."""
        return f"series-{(self.colour - 1) % COLOURS + 1}"


@dataclass(frozen=True)
class Reference:
    """A horizontal line at a known value, such as a published figure."""

    name: str
    y: float


@dataclass(frozen=True)
class View:
    """The part that is looked at; None is all there is."""

    x: Range | None = None
    y: Range | None = None


@dataclass(frozen=True, eq=False)
class Chart:
    """A line chart, without its size. `smoothing` from 0 (none) to 1; `whole_x`: x ticks are integers.

    `steady` leaves up to a twentieth of the x axis free on the right, so that a curve that grows there is not
    moved by every point. `empty` is said in place of curves.
    """

    title: str = ""
    series: tuple[Series, ...] = ()
    references: tuple[Reference, ...] = ()
    x_label: str = ""
    log_x: bool = False
    log_y: bool = False
    smoothing: float = 0.0
    view: View = View()
    whole_x: bool = False
    steady: bool = False
    empty: str = "no data"


@dataclass(frozen=True)
class Axes:
    """The two axes of a chart as drawn."""

    x: Scale
    y: Scale


def drawn_values(chart: Chart, series: Series) -> Array:
    """The y of the main line of a series: smoothed where the chart is."""
    return smoothed(series.y, chart.smoothing) if chart.smoothing > 0 else series.y


def axes_of(chart: Chart, steps: int = 8) -> Axes:
    """The axes of a chart: its view, and all data (for y: all within the view's x) where that is open.

    `steps` is about how many ticks the y axis has room for. References are always within the y axis.
    """
    shown = [series for series in chart.series if len(series.x)]
    everywhere = np.concatenate([_placed(chart, series) for series in shown]) if shown else np.zeros(0)
    x = _given(chart.view.x, chart.log_x) or covering(everywhere, log=chart.log_x)
    if chart.steady and chart.view.x is None and not chart.log_x:
        step = 10.0 ** floor(log10(x.high - x.low)) / 20
        x = Scale(x.low, step * ceil(x.high / step))
    y = _given(chart.view.y, chart.log_y)
    if y is None:
        ys = [series.y[_within(series.x, x, chart.view.x)] for series in shown]
        if not any(np.isfinite(values).any() for values in ys):
            ys = [series.y for series in shown]
        references = numbers([reference.y for reference in chart.references])
        y = rounded_out(covering(np.concatenate([*ys, references]), log=chart.log_y), steps)
    return Axes(x, y)


def _placed(chart: Chart, series: Series) -> Array:
    """The x of points that have a y that can be drawn."""
    usable = ~np.isnan(series.y)
    if chart.log_y:
        usable &= series.y > 0
    return series.x[usable]


def _given(ends: Range | None, log: bool) -> Scale | None:
    return None if ends is None else Scale(*apart(*ends, log=log), log)


def _within(x: Array, scale: Scale, view: Range | None) -> Any:
    if view is None:
        return slice(None)
    return (x >= scale.low) & (x <= scale.high)


def zoomed(
    view: View, axes: Axes, factor: float, *, x_at: float | None = 0.5, y_at: float | None = None
) -> View:
    """A view `factor` times closer (below 1: further away) around shares of the axes; None leaves an axis.

    `axes` are those that the view gives now, which `axes_of` tells.
    """
    return View(
        view.x if x_at is None else _closer(axes.x, factor, x_at),
        view.y if y_at is None else _closer(axes.y, factor, y_at),
    )


def _closer(scale: Scale, factor: float, at: float) -> Range:
    span = 1 / min(max(factor, 1e-6), 1e6)
    part = scale.part(at - at * span, at + (1 - at) * span)
    return part.low, part.high


def panned(view: View, axes: Axes, *, x_by: float = 0.0, y_by: float = 0.0) -> View:
    """A view moved by shares of the axes, to larger numbers where positive; 0 leaves an axis as it is."""
    return View(
        view.x if x_by == 0 else _moved(axes.x, x_by),
        view.y if y_by == 0 else _moved(axes.y, y_by),
    )


def _moved(scale: Scale, by: float) -> Range:
    part = scale.part(by, 1 + by)
    return part.low, part.high
