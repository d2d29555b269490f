"""Line charts: curves over linear or logarithmic axes, with a legend that covers no data.

The same data, view and size give the same cells. Drawn in this order, later over earlier: references, raw
lines behind smoothed ones, the curves in the order of the series, their markers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from eqprop_tui.charts.canvas import (
    SMALLEST_HEIGHT,
    SMALLEST_WIDTH,
    Area,
    Canvas,
    Picture,
    shortened,
    too_small,
)
from eqprop_tui.charts.data import Axes, Chart, Series, axes_of, drawn_values
from eqprop_tui.charts.glyphs import BRAILLE, INKS, Glyphs
from eqprop_tui.charts.legend import Entry, title_line
from eqprop_tui.charts.scale import LARGEST, Array, Scale, Tick, number, numbers, ticks
from eqprop_tui.charts.strokes import DASHES, dots, joined

SAMPLES = {"solid": "──", "dashed": "╌╌", "dotted": "┈┈"}
REFERENCE_SAMPLE = "┄┄"
LONE = "•"  # a point without neighbours, of a series without a marker


class Reading(NamedTuple):
    """The point of a series that is nearest to a column; `drawn` is its y after smoothing."""

    series: str
    x: float
    y: float
    drawn: float


def draw(
    chart: Chart, width: int, height: int, *, glyphs: Glyphs = BRAILLE, cursor: int | None = None
) -> Picture:
    """The chart in exactly `width` × `height` cells; `cursor` is a column to be read out in the legend."""
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        return too_small(width, height, glyphs)
    area, axes, y_ticks = _layout(chart, width, height)
    canvas = Canvas(width, height, glyphs)
    _y_axis(canvas, area, axes.y, y_ticks)
    _x_axis(canvas, area, axes.x, chart.whole_x)
    _references(canvas, area, axes.y, chart)
    _curves(canvas, area, axes, chart)
    readings: list[Reading] = []
    x_text = ""
    if cursor is not None:
        readings = read_out(chart, width, height, cursor)
        x_text = _nearest_x(readings, axes, _place(area, cursor))
        _cursor(canvas, area, cursor)
    x_label = f"{chart.x_label} {x_text}".strip()
    title_line(
        canvas, chart.title, _entries(chart, readings, x_text, glyphs), x_label, reading=bool(readings)
    )
    return canvas.frozen(remarks(chart), area)


def read_out(chart: Chart, width: int, height: int, column: int) -> list[Reading]:
    """For a column of the picture the nearest point of each series that has one, in their order."""
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        return []
    area, axes, _ = _layout(chart, width, height)
    place = _place(area, column)
    found = []
    for series in chart.series:
        distance = np.abs(axes.x.share(series.x) - place)
        distance[np.isinf(series.x) | np.isnan(axes.y.share(series.y))] = np.nan
        if not np.isnan(distance).all():
            nearest = int(np.nanargmin(distance))
            drawn = drawn_values(chart, series)[nearest]
            found.append(
                Reading(series.name, float(series.x[nearest]), float(series.y[nearest]), float(drawn))
            )
    return found


def _place(area: Area, column: int) -> float:
    """The share of the x axis at the middle of a column."""
    return min(max((column - area.left + 0.5) / area.width, 0.0), 1.0)


def remarks(chart: Chart) -> list[str]:
    """What of the data could not be drawn as it is, one line a series and reason."""
    said = []
    for series in chart.series:
        there = ~np.isnan(series.x) & ~np.isnan(series.y)
        for log, values in ((chart.log_x, series.x), (chart.log_y, series.y)):
            hidden = int(np.count_nonzero(there & (values <= 0))) if log else 0
            if hidden:
                verb = "value is" if hidden == 1 else "values are"
                said.append(f"{series.name}: {hidden} {verb} not above zero, left out on a logarithmic axis")
        infinite = there & (np.abs(series.y) > LARGEST)
        if chart.log_y:
            infinite &= series.y > 0
        count = int(np.count_nonzero(infinite))
        if count:
            verb = "value is" if count == 1 else "values are"
            said.append(f"{series.name}: {count} {verb} infinite, drawn at the edge")
        placeless = int(np.count_nonzero(there & (np.abs(series.x) > LARGEST)))
        if placeless:
            said.append(f"{series.name}: {placeless} with an infinite x left out")
    for reference in chart.references:
        if not np.isfinite(reference.y) or (chart.log_y and reference.y <= 0):
            said.append(f"{reference.name}: {number(reference.y)} has no place on the axis")
    return said


def _layout(chart: Chart, width: int, height: int) -> tuple[Area, Axes, list[Tick]]:
    rows = height - 1 - (height >= 5) - (height >= 6)
    most = max(1, min(10, rows // 2))
    axes = axes_of(chart, most)
    y_ticks = ticks(axes.y, most)
    while (
        most > 2 and not axes.y.log and not _apart(axes.y, y_ticks, rows)
    ):  # rather fewer ticks than one left out
        most -= 1
        y_ticks = ticks(axes.y, most)
    margin = max((len(tick.label) for tick in y_ticks), default=0) + 3
    if width - margin < max(5, width // 3):
        y_ticks, margin = [], 1  # rather no numbers than cut ones
    return Area(margin, 1, width - margin, rows), axes, y_ticks


def _apart(scale: Scale, y_ticks: list[Tick], rows: int) -> bool:
    """Whether ticks on so many rows have a free row between any two."""
    shares = sorted(scale.share(numbers([tick.value for tick in y_ticks])).tolist())
    return all((later - earlier) * (rows - 1) >= 2 for earlier, later in pairwise(shares))


def _y_axis(canvas: Canvas, area: Area, scale: Scale, y_ticks: list[Tick]) -> None:
    for row in range(area.top, area.top + area.height):
        canvas.write(row, area.left - 1, "│", "axis")
    taken: set[int] = set()
    for tick in y_ticks:
        row = area.top + int(_dot_rows(scale, numbers([tick.value]), area, canvas.glyphs)[0] + 0.5) // (
            canvas.glyphs.down
        )
        if area.top <= row < area.top + area.height and not taken & {row - 1, row, row + 1}:
            taken.add(row)
            canvas.write(row, area.left - 2 - len(tick.label), tick.label, "axis")
            canvas.write(row, area.left - 1, "┤", "axis")


def _x_axis(canvas: Canvas, area: Area, scale: Scale, whole: bool) -> None:
    row = area.top + area.height
    if row >= canvas.height:
        return
    canvas.write(row, area.left - 1, "└" + "─" * area.width, "axis")
    free = 0
    for tick in ticks(scale, max(1, min(10, area.width // 8)), whole=whole):
        share = float(scale.share(numbers([tick.value]))[0])
        column = area.left + min(max(round(share * (area.width - 1)), 0), area.width - 1)
        first = min(max(0, column - (len(tick.label) - 1) // 2), canvas.width - len(tick.label))
        if first >= free:
            canvas.write(row, column, "┬", "axis")
            canvas.write(row + 1, first, tick.label, "axis")
            free = first + len(tick.label) + 2


def _dot_rows(scale: Scale, values: Array, area: Area, glyphs: Glyphs) -> Array:
    return (1 - scale.share(values)) * (area.height * glyphs.down - 1)


def _dot_columns(scale: Scale, values: Array, area: Area, glyphs: Glyphs) -> Array:
    shares = scale.share(values)
    shares[np.abs(values) > LARGEST] = np.nan
    return shares * (area.width * glyphs.across - 1)


def _references(canvas: Canvas, area: Area, scale: Scale, chart: Chart) -> None:
    glyphs = canvas.glyphs
    size = area.width * glyphs.across, area.height * glyphs.down
    for reference in chart.references:
        if not np.isfinite(reference.y):
            continue
        row = _dot_rows(scale, numbers([reference.y]), area, glyphs)[0]
        if -0.5 <= row <= size[1] - 0.5:  # not so for NaN
            grid = np.zeros((size[1], size[0]), dtype=bool)
            grid[min(round(row), size[1] - 1), ::2] = True
            canvas.lay(grid, area, "reference", ink="-" if glyphs.ascii else None)


def _curves(canvas: Canvas, area: Area, axes: Axes, chart: Chart) -> None:
    glyphs = canvas.glyphs
    size = area.width * glyphs.across, area.height * glyphs.down
    columns = [_dot_columns(axes.x, series.x, area, glyphs) for series in chart.series]
    rows = [_dot_rows(axes.y, drawn_values(chart, series), area, glyphs) for series in chart.series]
    if not any((np.isfinite(x) & np.isfinite(y)).any() for x, y in zip(columns, rows, strict=True)):
        text = shortened(chart.empty, area.width)
        canvas.write(area.top + area.height // 2, area.left + (area.width - len(text)) // 2, text, "dim")
    curves = [
        dots(joined(x, y), *size, DASHES[glyphs.name].get(series.line))
        for series, x, y in zip(chart.series, columns, rows, strict=True)
    ]
    if chart.smoothing > 0:
        for series, x in zip(chart.series, columns, strict=True):
            raw = dots(joined(x, _dot_rows(axes.y, series.y, area, glyphs)), *size)
            canvas.lay(raw, area, f"{series.style}-raw", ink="." if glyphs.ascii else None)
        for curve in curves:  # a smoothed line is not blurred by the raw dots of the cells that it passes
            canvas.clear(curve, area)
    for series, curve in zip(chart.series, curves, strict=True):
        canvas.lay(curve, area, series.style, ink=_ink(series) if glyphs.ascii else None)
    for series, x, y in zip(chart.series, columns, rows, strict=True):
        _markers(canvas, area, series, x, y)


def _ink(series: Series) -> str:
    plain = series.marker.isascii() and series.marker.isprintable() and series.marker.strip()
    return series.marker[0] if plain else INKS[(series.colour - 1) % len(INKS)]


def _markers(canvas: Canvas, area: Area, series: Series, x: Array, y: Array) -> None:
    """A character at the last point, where the series has a marker, and at points that no line leads to."""
    there = np.isfinite(x) & np.isfinite(y)
    if not there.any():
        return
    padded = np.concatenate([[False], there, [False]])
    lone = np.flatnonzero(there & ~padded[:-2] & ~padded[2:])
    chosen = set(lone.tolist()) if len(lone) <= area.width // 2 else set()
    if series.marker:
        chosen.add(int(np.flatnonzero(there)[-1]))
    glyphs = canvas.glyphs
    character = _ink(series) if glyphs.ascii else series.marker[:1] or LONE
    for index in sorted(chosen):
        column, row = x[index], y[index]
        if (
            -0.5 <= column <= area.width * glyphs.across - 0.5
            and -0.5 <= row <= area.height * glyphs.down - 0.5
        ):
            across = min(round(column) // glyphs.across, area.width - 1)
            down = min(round(row) // glyphs.down, area.height - 1)
            canvas.write(area.top + down, area.left + across, character, series.style)


def _cursor(canvas: Canvas, area: Area, column: int) -> None:
    column = min(max(column, area.left), area.left + area.width - 1)
    for row in range(area.top, area.top + area.height):
        if canvas.is_blank(row, column):
            canvas.write(row, column, "│", "cursor")


def _entries(chart: Chart, readings: list[Reading], x_text: str, glyphs: Glyphs) -> list[Entry]:
    """The named curves and references; with readings, each with its y, and its x where that is another."""
    values = {}
    for reading in readings:
        x = number(reading.x, 5)
        values[reading.series] = number(reading.y) + (f" at {x}" if x != x_text else "")
    entries = []
    for series in chart.series:
        if series.name:
            sample = _ink(series) * 2 if glyphs.ascii else SAMPLES[series.line] + series.marker[:1]
            entries.append(Entry(series.name, sample, series.style, values.get(series.name, "")))
    for reference in chart.references:
        if reference.name:
            entries.append(Entry(reference.name, REFERENCE_SAMPLE, "reference", number(reference.y)))
    return entries


def _nearest_x(readings: list[Reading], axes: Axes, place: float) -> str:
    """The x of the point that is nearest to a share of the axis, in text; nothing without points."""
    distances = np.abs(axes.x.share(numbers([reading.x for reading in readings])) - place)
    return number(readings[int(np.argmin(distances))].x, 5) if readings else ""
