"""The picture of a sweep: each cell's mean over its seeds by epoch, in a band of one standard deviation.

Numbers in, a file out, like the other pictures; knows nothing of torch, of sweeps or of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from eqprop_core.worker.comparison import MOST_CURVES, count_epochs, legend_of_names, spans_decades, style_of
from eqprop_core.worker.drawing import GREY, drawable, label, note, panels, within_reach, write

LONGEST_NAME = 56  # characters of a name in the legend
DOTS_UP_TO = 30  # epochs


@dataclass(frozen=True)
class Band:
    """One cell in the picture.

    `seeds` holds the values in per cent of each seed that is averaged, the first being that of epoch 1, None
    for an epoch without a measurement; `said` is what the legend adds to the name; `published` is a figure to
    hold the mean against. `place` chooses the look of its line among those of `MOST_CURVES`, so that a cell
    looks the same whichever others are drawn.
    """

    name: str
    seeds: Sequence[Sequence[float | None]]
    said: str = ""
    published: float | None = None
    place: int | None = None


def draw_bands(path: Path, bands: Sequence[Band], *, title: str = "", y: str = "", remark: str = "") -> None:
    """Draw means by epoch with bands of ±1 sample standard deviation as a PNG; of one seed its own line.

    A mean goes as far as all its seeds do, so that none of them leaves it on the way. At most `MOST_CURVES`
    cells can be told apart; more raise `ValueError`.
    """
    if len(bands) > MOST_CURVES:
        raise ValueError(f"{len(bands)} cells in one picture; {MOST_CURVES} can be told apart")
    figure, (ax,) = panels(8.0, 4.6 + 0.2 * max(0, len(bands) - 3))
    handles: list[Line2D] = []
    labels: list[str] = []
    drawn: list[NDArray[np.float64]] = []
    looks = looks_of(bands)
    for band, style in zip(bands, looks, strict=True):
        seeds = common(band.seeds)
        numbers = np.arange(1, seeds.shape[1] + 1)
        alone = 4.0 if len(numbers) == 1 else 2.6 if len(numbers) <= DOTS_UP_TO else 0
        line = {**style, "linewidth": 1.7, "marker": "o", "markersize": alone}
        if seeds.size:
            mean = seeds.mean(axis=0)
            ax.plot(numbers, mean, zorder=3, **line)
            drawn.append(seeds)
            if len(seeds) > 1:
                sd = seeds.std(axis=0, ddof=1)
                if len(numbers) == 1:
                    ax.errorbar(numbers, mean, sd, color=style["color"], capsize=3, linewidth=1)
                else:
                    ax.fill_between(
                        numbers, mean - sd, mean + sd, color=style["color"], alpha=0.2, linewidth=0
                    )
        handles.append(Line2D([], [], **line))
        labels.append(drawable(_named(band), 20))
    _published(ax, bands, looks)
    count_epochs(ax)
    if not drawn:
        note(ax, "nothing measured yet")
    elif spans_decades(values := np.concatenate([seeds.ravel() for seeds in drawn])):
        ax.set_yscale("log")
        ax.set_ylim(values.min() / 1.3, values.max() * 1.2)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    label(ax, x="epoch", y=y, title=title, remark=remark)
    legend_of_names(figure, handles, labels)
    write(figure, path)


def common(seeds: Sequence[Sequence[float | None]]) -> NDArray[np.float64]:
    """The values [seeds, epochs] of the epochs that every seed has measured one after the other from the
    first; seeds that have none are left out."""
    rows = [[np.nan if value is None else value for value in values] for values in seeds if len(values)]
    if not rows:
        return np.zeros((0, 0))
    epochs = min(map(len, rows))
    table = within_reach([row[:epochs] for row in rows])
    holes = np.flatnonzero(~np.isfinite(table).all(axis=0))
    return table[:, : holes[0]] if len(holes) else table


def _named(band: Band) -> str:
    name = band.name if len(band.name) <= LONGEST_NAME else band.name[: LONGEST_NAME - 1] + "…"
    return f"{name}: {band.said}" if band.said else name


def looks_of(bands: Sequence[Band]) -> list[dict[str, Any]]:
    """Colour and dashes of each line; by their order where two cells would look the same."""
    places = [index if band.place is None else band.place for index, band in enumerate(bands)]
    if len(set(places)) < len(places) or max(places, default=0) >= MOST_CURVES:
        places = list(range(len(bands)))
    return [style_of(place) for place in places]


def _published(ax: Axes, bands: Sequence[Band], looks: Sequence[dict[str, Any]]) -> None:
    """A thin line at each published figure, in the colour of its cell; grey where several have the same."""
    figures: dict[float, list[int]] = {}
    for index, band in enumerate(bands):
        if band.published is not None and isfinite(band.published):
            figures.setdefault(band.published, []).append(index)
    for value, of in figures.items():
        colour = looks[of[0]]["color"] if len(of) == 1 else GREY
        ax.axhline(value, color=colour, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
