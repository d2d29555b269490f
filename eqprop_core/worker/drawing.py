"""What the pictures of a run share: colours, panels, labels, legends, and how they reach the disk.

Uses matplotlib's objects directly and none of its global state (no pyplot, no settings that outlive a call).
Knows nothing of what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from numpy.typing import NDArray

from eqprop_core.files import replacing
from eqprop_core.names import can_be_shown

# Okabe & Ito's colours, which the colour-blind tell apart, without those too light for thin lines.
BLUE, VERMILION, GREEN, PURPLE, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE)
INK, GREY, FAINT = "#333333", "#999999", "#DDDDDD"

# Where it is loaded, matplotlib obeys the `matplotlibrc` of the working folder: LaTeX with a preamble of
# somebody's, another size of everything. Pictures are the same everywhere.
matplotlib.rcdefaults()

FONT = "DejaVu Sans"  # comes with matplotlib, so that a picture looks the same everywhere
# Words are never read as mathematics ($) or LaTeX, whatever a run is called and matplotlib is told elsewhere.
AS_IT_IS: dict[str, Any] = {"parse_math": False, "usetex": False}
WORDS: dict[str, Any] = {"color": INK, "fontfamily": FONT, **AS_IT_IS}
DPI = 130


def panels(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of that many inches, and its panels from left to right, then down."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    axes = [figure.add_subplot(rows, columns, index + 1) for index in range(rows * columns)]
    for ax in axes:
        ax.set_facecolor("white")
        ax.set_axisbelow(True)
        ax.grid(True, color=FAINT, linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(INK)
        ax.tick_params(labelsize=8.5, colors=INK, labelfontfamily=FONT)
        ax.yaxis.get_offset_text().set(fontsize=8.5, **WORDS)
    return figure, axes


def entitle(figure: Figure, title: str) -> None:
    """Write a title above all panels, if there is one."""
    if title:
        text = drawable(title, figure.get_figwidth())
        figure.suptitle(text, fontsize=10.5, fontweight="bold", **WORDS)


def label(ax: Axes, *, x: str = "", y: str = "", title: str = "", remark: str = "") -> None:
    """Label a panel: its axes, a bold title above it on the left, and a small remark on the right."""
    ax.set_xlabel(drawable(x), fontsize=9.5, **WORDS)
    ax.set_ylabel(drawable(y), fontsize=9.5, **WORDS)
    if title:
        figure = ax.get_figure(root=True)
        assert figure is not None
        text = drawable(title, figure.get_figwidth())
        ax.set_title(text, loc="left", fontsize=10, fontweight="bold", **WORDS)
    if remark:
        ax.set_title(drawable(remark, 20), loc="right", fontsize=8, **WORDS)


def remark_inside(ax: Axes, text: str) -> None:
    """A small remark in the upper right of a panel that is too narrow to have it beside its title."""
    ax.text(
        0.98,
        0.97,
        text,
        ha="right",
        va="top",
        transform=ax.transAxes,
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


def note(ax: Axes, text: str) -> None:
    """Say in the middle of a panel why it is empty."""
    ax.text(0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize=9, **WORDS)


def legend(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], *, title: str | None = None
) -> None:
    """A legend below the panels, where it covers nothing, in as many rows as its texts need."""
    if not handles:
        return
    letters = 15 * figure.get_figwidth()  # about as many fit side by side, a line sample taking eight
    rows = max(1, -(-sum(8 + len(text) for text in labels) // int(letters)))
    found = legend_below(
        figure, handles, labels, -(-len(handles) // rows), handlelength=2.8, borderaxespad=0.1
    )
    if title is not None:
        found.set_title(title, font_manager.FontProperties(family=FONT, size=8))
        found.get_title().set(**WORDS)


def legend_below(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int, **style: Any
) -> Legend:
    """A legend below the panels; matplotlib would leave out labels that begin with `_`."""
    found = figure.legend(
        handles,
        ["?"] * len(handles),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        columnspacing=1.6,
        prop={"family": FONT, "size": 8.5},
        **style,
    )
    for text, words in zip(found.get_texts(), labels, strict=True):
        text.set(text=drawable(words, 20), **WORDS)
    return found


def within_reach(values: Any) -> NDArray[np.float64]:
    """The values as floats, with NaN for those that no axis can show: not finite, or beyond 1e100."""
    found = np.asarray(values, dtype=np.float64)
    return np.where(np.abs(found) < 1e100, found, np.nan)


def number(value: float) -> str:
    """Three digits; a dash for what is not finite."""
    return f"{value:.3g}" if isfinite(value) else "–"


@cache
def _characters() -> frozenset[int]:
    """Code points that the font can draw."""
    path = font_manager.findfont(font_manager.FontProperties(family=FONT))
    return frozenset(font_manager.get_font(path).get_charmap())


def drawable(text: str, width: float = 8.0) -> str:
    """The text on one line of that many inches, with a question mark for each character that is not drawn."""
    line = "".join(c if ord(c) in _characters() and can_be_shown(c) else "?" for c in " ".join(text.split()))
    limit = int(11 * width)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def write(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=DPI)
