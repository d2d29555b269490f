"""Histograms of neural activity, a block a layer, side by side: bars, range, share at either bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eqprop_tui.charts.canvas import (
    SMALLEST_HEIGHT,
    SMALLEST_WIDTH,
    Area,
    Canvas,
    Picture,
    clean,
    shortened,
    too_small,
)
from eqprop_tui.charts.glyphs import BRAILLE, Glyphs
from eqprop_tui.charts.scale import LARGEST, Array, number, numbers

BARS = " ▁▂▃▄▅▆▇█"
ASCII_BARS = " .:-=+*#@"
NARROWEST = 14  # cells of a block that can still be read
WIDEST = 40
GAP = 2
STYLE = "series-1"


@dataclass(frozen=True, eq=False)
class Histogram:
    """`counts` [bins] from `low` to `high`; `at_low` and `at_high` are shares from 0 to 1, None if unbounded.

    `detail` is said beside the name, such as the shape of the layer.
    """

    name: str
    counts: Sequence[float]
    low: float
    high: float
    at_low: float | None = None
    at_high: float | None = None
    detail: str = ""


def draw_histograms(
    histograms: Sequence[Histogram], width: int, height: int, *, glyphs: Glyphs = BRAILLE
) -> Picture:
    """All that fit in exactly `width` × `height` cells, row by row; a remark counts the rest."""
    if width < SMALLEST_WIDTH or height < SMALLEST_HEIGHT:
        return too_small(width, height, glyphs)
    canvas = Canvas(width, height, glyphs)
    across = max(1, min(len(histograms), (width + GAP) // (NARROWEST + GAP)))
    down = max(1, min(-(-len(histograms) // across), (height + 1) // (_least_height(histograms) + 1)))
    across = max(1, min(across, -(-len(histograms) // down)))
    block = min((width - 2 + GAP) // across - GAP if width > NARROWEST else width - 2, WIDEST)
    tall = (height + 1) // down - 1
    shown = histograms[: across * down]
    for place, histogram in enumerate(shown):
        row, column = divmod(place, across)
        _block(canvas, histogram, Area(1 + column * (block + GAP), row * (tall + 1), block, tall))
    left_out = len(histograms) - len(shown)
    if not left_out:
        return canvas.frozen()
    return canvas.frozen([f"{left_out} more {'layer is' if left_out == 1 else 'layers are'} not shown"])


def _least_height(histograms: Sequence[Histogram]) -> int:
    return 4 if any(histogram.at_low is not None for histogram in histograms) else 3


def _block(canvas: Canvas, histogram: Histogram, area: Area) -> None:
    ascii = canvas.glyphs.ascii
    name = shortened(clean(histogram.name, ascii=ascii), area.width)
    detail = clean(histogram.detail, ascii=ascii)
    canvas.write(area.top, area.left, name, "title")
    if detail and len(name) + 2 + len(detail) <= area.width:
        canvas.write(area.top, area.left + len(name) + 2, detail, "dim")
    bins = len(histogram.counts)
    columns = area.width // bins * bins if 0 < bins <= area.width else area.width
    notes = _notes(histogram, columns, max(0, area.height - 2))
    rows = area.height - 1 - len(notes)
    shares = bar_heights(histogram.counts, columns)
    if not shares.any():
        canvas.write(area.top + 1, area.left, shortened("no data", area.width), "dim")
    for place, bar in enumerate(_bars(shares, rows, ASCII_BARS if ascii else BARS)):
        for row, character in enumerate(bar):
            if character != " ":
                canvas.write(area.top + rows - row, area.left + place, character, STYLE)
    for row, note in enumerate(notes, area.top + 1 + rows):
        canvas.write(row, area.left, note, "dim")


def _notes(histogram: Histogram, width: int, most: int) -> list[str]:
    """At most `most` lines under the bars: the range, and the share at either bound."""
    low, high = number(histogram.low), number(histogram.high)
    ends = _apart(low, high, width)
    parts = [(low, histogram.at_low), (high, histogram.at_high)]
    labels = [f"at {name} {_per_cent(share)}" for name, share in parts if share is not None]
    if len(labels) == 2:
        together = _apart(labels[0], labels[1], width)
        if most < 3 and len(together) > width:
            together = _apart(labels[0].replace("at ", "="), labels[1].replace("at ", "="), width)
        labels = [together] if len(together) <= width else labels
    return [shortened(line, width) for line in [ends, *labels]][:most]


def _apart(left: str, right: str, width: int) -> str:
    """One text at either end of a line; longer than `width` where they do not fit."""
    return left + " " * max(2, width - len(left) - len(right)) + right


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f} %" if np.isfinite(share) else "–"


def bar_heights(counts: Sequence[float], columns: int) -> Array:
    """Each column's height [columns] from 0 to 1, the largest being 1.

    A column has what lies over it where each bin is spread evenly over its width: adding up whole bins, of
    which some columns have more than others, would give even counts teeth. What is no count (negative, not
    finite) is none.
    """
    given = numbers(counts)
    given = np.where((given > 0) & (given <= LARGEST), given, 0.0)
    if columns < 1 or not given.any():
        return np.zeros(max(0, columns))
    below = np.concatenate([[0.0], np.cumsum(given / given.max())])
    heights = np.diff(np.interp(np.linspace(0, len(given), columns + 1), np.arange(len(below)), below))
    return np.asarray(heights / heights.max())


def _bars(heights: Array, rows: int, characters: str) -> list[str]:
    """Each bar from its foot upward, [rows] characters; what is not zero shows at least the lowest."""
    bars = []
    for height in heights.tolist():
        eighths = max(round(height * rows * 8), 1) if height > 0 else 0
        full, rest = divmod(eighths, 8)
        bars.append((characters[8] * full + characters[rest] * (rest > 0)).ljust(rows)[:rows])
    return bars
