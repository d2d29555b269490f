"""The picture that holds runs against each other: accuracy and loss by epoch, a colour a run.

Numbers in, a file out, like the other pictures; knows nothing of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from eqprop_core.events import EpochFinished
from eqprop_core.worker.drawing import (
    COLOURS,
    drawable,
    label,
    legend_below,
    note,
    panels,
    within_reach,
    write,
)

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))  # as colours come again
FEW = 5  # runs whose training accuracies are drawn as well
MOST_CURVES = len(COLOURS) * len(DASHES)


@dataclass(frozen=True)
class Curve:
    """One run in the picture: what it is called, and its finished epochs."""

    name: str
    epochs: Sequence[EpochFinished]


def draw_comparison(path: Path, curves: Sequence[Curve], *, title: str = "") -> None:
    """Draw test accuracy in per cent and training loss by epoch as a PNG; of few runs, training accuracy too.

    The legend gives each run's last test accuracy. At most `MOST_CURVES` runs can be told apart; more raise
    `ValueError`.
    """
    if len(curves) > MOST_CURVES:
        raise ValueError(f"{len(curves)} runs in one picture; {MOST_CURVES} can be told apart")
    figure, (accuracy, loss) = panels(9.6, 4.2 + 0.16 * max(0, len(curves) - 4), 1, 2)
    handles: list[Line2D] = []
    labels: list[str] = []
    few = len(curves) <= FEW
    for index, curve in enumerate(curves):
        style = style_of(index)
        numbers = np.array([epoch.epoch for epoch in curve.epochs], dtype=np.float64)
        test = _values([epoch.test_accuracy for epoch in curve.epochs])
        dots = len(numbers) == 1 or (few and len(numbers) <= 40)
        thick = {**style, "linewidth": 1.8 if few else 1.4, "marker": "o", "markersize": 3.5 if dots else 0}
        if few:
            train = _values([epoch.train_accuracy for epoch in curve.epochs])
            alone = "." if len(numbers) == 1 else ""
            accuracy.plot(numbers, train, alpha=0.45, linewidth=0.9, marker=alone, **style)
        accuracy.plot(numbers, test, **thick)
        loss.plot(numbers, _values([epoch.loss for epoch in curve.epochs]), **thick)
        last = test[np.isfinite(test)][-1:]
        named = f"{_short(curve.name)} {last[0]:.2f} %" if len(last) else _short(curve.name)
        handles.append(Line2D([], [], **thick))
        labels.append(drawable(named))
    for ax in (accuracy, loss):
        count_epochs(ax)
    if not any(curve.epochs for curve in curves):
        note(accuracy, "nothing measured yet")
        note(loss, "nothing measured yet")
    positive = [line.get_ydata() for line in loss.lines]
    if positive and spans_decades(np.concatenate([np.asarray(values, float) for values in positive])):
        loss.set_yscale("log")
    remark = "test; training thin" if few else "test"
    label(accuracy, x="epoch", y="accuracy (%)", title=title, remark=remark)
    label(loss, x="epoch", y="training loss")
    legend_of_names(figure, handles, labels)
    write(figure, path)


def style_of(index: int) -> dict[str, Any]:
    """Colour and dashes of the curve at this place, told apart from those of all others."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS)]}


def count_epochs(ax: Axes) -> None:
    """Whole numbers along the x axis."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    ax.margins(x=0.03)


def legend_of_names(figure: Figure, handles: Sequence[Line2D], labels: Sequence[str]) -> None:
    """A legend below the panels, in as many columns as have room for the longest name."""
    longest = max(map(len, labels), default=0)
    columns = max(1, int(14 * figure.get_figwidth()) // (longest + 10))
    legend_below(figure, handles, labels, columns, handlelength=3.4)


def _values(values: Sequence[float | None]) -> NDArray[np.float64]:
    return within_reach([nan if value is None else value for value in values])


def spans_decades(values: NDArray[np.float64]) -> bool:
    """Whether values are all positive and differ by so much that a common scale would hide the small."""
    found = values[np.isfinite(values)]
    return len(found) > 1 and bool(found.min() > 0) and bool(found.max() > 50 * found.min())


def _short(name: str) -> str:
    return name if len(name) <= 32 else name[:31] + "…"
