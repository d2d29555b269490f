"""The pictures of a run: accuracy curves, histograms of neural activity, EP against BPTT.

Numbers and numpy arrays in, files out; knows nothing of torch, of runs, or of how the numbers came about. A
file takes its place when all of it is written, so that a reader never sees half a picture.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from eqprop_core.events import LayerActivity
from eqprop_core.files import open_to_read, replacing
from eqprop_core.worker.drawing import (
    AS_IT_IS,
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    VERMILION,
    drawable,
    entitle,
    label,
    legend,
    note,
    number,
    panels,
    remark_inside,
    within_reach,
    write,
)
from eqprop_core.worker.sealed import sealed, unsealed

Array = NDArray[Any]

CURVES = 5  # elements drawn of a row of a GDU check; each needs a colour
SIDES = ("ep", "bptt", "ep_plus", "ep_minus")  # of a check, in the files of its arrays
DISTANCES = ("rmse", "sign_error", "cosine", "norm_ratio", "size")

CALLED = {"validation": "val"}  # in the legend
ACCURACIES: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "marker": "o"},
    "validation": {"color": GREEN, "marker": "s"},
    "test": {"color": VERMILION, "marker": "D"},
}


@dataclass(frozen=True)
class GduArrays:
    """A GDU check in numpy: EP and BPTT updates [T2, ...] by row, and how far apart they are.

    `ep_plus` and `ep_minus` are the one-sided updates at ±β, read only where the check was `symmetric`;
    `readout` names the rows of a softmax readout, of which the theorem claims nothing.
    """

    ep: dict[str, Array]
    bptt: dict[str, Array]
    ep_plus: dict[str, Array]
    ep_minus: dict[str, Array]
    beta: float
    symmetric: bool
    rmse: dict[str, float] = field(default_factory=dict)
    sign_error: dict[str, float] = field(default_factory=dict)
    cosine: dict[str, float] = field(default_factory=dict)
    norm_ratio: dict[str, float] = field(default_factory=dict)
    size: dict[str, float] = field(default_factory=dict)
    readout: tuple[str, ...] = ()


def draw_accuracy(
    path: Path,
    histories: Mapping[str, Sequence[float | None]],
    *,
    title: str = "",
    expected: float | None = None,
) -> None:
    """Draw accuracies in per cent by epoch, the first value being that of epoch 1, as a PNG.

    `histories` may hold `train` (running accuracy while training), `validation` and `test`; `None` and NaN
    stand for epochs without a measurement, which the line passes over. `expected` is a published figure.
    """
    figure, (ax,) = panels(6.4, 4.0)
    for name, history in histories.items():
        values = within_reach([nan if value is None else value for value in history])
        measured = np.flatnonzero(np.isfinite(values))
        if len(measured):
            style = {"color": INK, "marker": "o", **ACCURACIES.get(name, {})}
            style["markersize"] = 4.5 if len(measured) <= 40 else 0
            last = f"{CALLED.get(name, name)} last {values[measured[-1]]:.2f} %"
            ax.plot(measured + 1, values[measured], linewidth=1.6, label=last, **style)
    if not ax.lines:
        note(ax, "nothing measured yet")
        ax.set_ylim(0, 100)
    if expected is not None and isfinite(expected):
        published = f"published {expected:g} %"
        ax.axhline(expected, color=INK, linewidth=1, linestyle=(0, (5, 3)), zorder=1, label=published)
    epochs = max([1, *map(len, histories.values())])
    ax.set_xlim(0.5, epochs + max(0.5, epochs / 60))
    _count_along(ax)
    label(ax, x="epoch", y="accuracy (%)", title=title)
    legend(figure, *ax.get_legend_handles_labels())
    write(figure, path)


def draw_activity(path: Path, layers: Sequence[LayerActivity], *, title: str = "") -> None:
    """Draw one histogram a layer as a PNG: share of the layer's neurons by activity, on a common scale.

    The scale is logarithmic where a few bins (neurons stuck at a bound, as a rule) would hide the others.
    """
    columns = 2 if len(layers) == 4 else min(3, max(1, len(layers)))
    rows = max(1, ceil(len(layers) / columns))
    figure, axes = panels(0.6 + 2.9 * columns, 0.6 + 2.1 * rows, rows, columns)
    shares = [_shares(layer) for layer in layers]
    filled = np.concatenate([np.zeros(0), *(values[values > 0] for values in shares)])
    top = float(filled.max()) if len(filled) else 100.0
    logarithmic = len(filled) > 0 and top > 30 * float(np.median(filled))
    for index, (ax, layer, values) in enumerate(zip(axes, layers, shares, strict=False)):
        if logarithmic:
            ax.set_yscale("log")
            ax.yaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.set_ylim(float(filled.min()) / 2, top * 1.6)
        else:
            ax.set_ylim(0, top * 1.05)
        if values.any():
            ax.stairs(values, layer.edges, fill=True, color=BLUE, linewidth=0)
        else:
            note(ax, "nothing to show")
        first, lowest = index % columns == 0, index + columns >= len(layers)
        ax.tick_params(axis="y", labelleft=first)
        label(
            ax,
            x="activity" if lowest else "",
            y="neurons (%)" if first else "",
            title=layer.name,
        )
        remark_inside(ax, _stuck(layer))
    for ax in axes[len(layers) :]:
        ax.set_visible(False)
    entitle(figure, title)
    write(figure, path)


def draw_gdu_row(
    path: Path,
    name: str,
    *,
    ep: Array,
    bptt: Array,
    ep_plus: Array | None = None,
    ep_minus: Array | None = None,
    symmetric: bool,
    beta: float,
    cumulative: bool,
    rmse: float,
    sign_error: float,
    cosine: float,
    readout: bool = False,
) -> None:
    """Draw EP (dashed) and BPTT (solid) over the time steps, [T2, elements], as a PNG.

    The first five elements at most, each with its colour. `cumulative` draws running sums: the gradient
    estimate as it accumulates, which is what one wants to see of parameters; of neurons it is the update of
    each step. Where the check was `symmetric`, `ep_plus` and `ep_minus` are the one-sided updates at +β and
    −β, dotted. `sign_error` is a share, 0 to 1; `readout` says that the row is a softmax readout's.
    """
    figure, (ax,) = panels(6.4, 4.2)
    steps = len(bptt)
    few = steps <= 2
    kinds: dict[str, tuple[Array, dict[str, Any]]] = {
        "EP": (
            ep,
            {"linewidth": 1.5, "linestyle": (0, (4, 2)), "marker": ".", "markersize": 5 if few else 0},
        ),
        "BPTT": (bptt, {"linewidth": 3.5, "alpha": 0.4, "marker": "o", "markersize": 7 if few else 0}),
    }
    if symmetric and ep_plus is not None and ep_minus is not None:
        dotted = {"linewidth": 1.0, "linestyle": (0, (1, 1.5)), "markevery": max(1, steps // 6)}
        kinds["EP at +β"] = (ep_plus, {**dotted, "marker": "+", "markersize": 6})
        kinds["EP at −β"] = (ep_minus, {**dotted, "marker": "_", "markersize": 6})
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    for order, (values, style) in enumerate(reversed(kinds.values())):
        times, curves = _over_time(values[:, :CURVES], cumulative)
        for column, colour in zip(curves.T, COLOURS, strict=False):
            ax.plot(times, column, color=colour, zorder=2 + order, **style)
    margin = max(0.2, steps / 60)
    ax.set_xlim(-margin if cumulative else 1 - margin, steps + margin)
    _count_along(ax)
    strength = f"β = ±{abs(beta):g}" if symmetric else f"β = {beta:g}"
    remark = (
        f"relative RMSE {number(rmse)} · sign error {number(100 * sign_error)} % · "
        f"cosine {number(cosine)} · {strength}"
    )
    what = "sum of the updates up to step t" if cumulative else "update of step t"
    label(ax, x="time step t of the nudged phase", y=what, title=name, remark=remark)
    handles = [Line2D([], [], color=INK, **style) for _, style in kinds.values()]
    apart = "; a softmax readout, of which the theorem claims nothing" if readout else ""
    legend(figure, handles, list(kinds), title=f"each colour is one element{apart}")
    write(figure, path)


def draw_gdu_distances(
    path: Path,
    rows: Sequence[tuple[str, float, float]],
    *,
    title: str = "",
    readout: Collection[str] = (),
) -> None:
    """Draw (row, relative RMSE, sign error from 0 to 1) of each row of a GDU check as bars, as a PNG.

    Layers of neurons (`neurons_…`) have a colour of their own; rows named in `readout`, of which the theorem
    claims nothing, are grey. A value that is not finite is written as a dash.
    """
    figure, axes = panels(7.0, 1.3 + 0.2 * max(2, len(rows)), 1, 2)
    colours = {"parameters": BLUE, "layers of neurons": ORANGE, "softmax readout": GREY}
    kinds = ["softmax readout" if name in readout else _kind(name) for name, _, _ in rows]
    places = np.arange(len(rows))
    columns = {"relative RMSE": [row[1] for row in rows], "sign error (%)": [100 * row[2] for row in rows]}
    for ax, (what, values) in zip(axes, columns.items(), strict=True):
        lengths = np.nan_to_num(within_reach(values))
        ax.barh(places, lengths, height=0.7, color=[colours[kind] for kind in kinds])
        for place, length, value in zip(places, lengths, values, strict=True):
            text = ax.annotate(number(value), (length, place), (3, 0), textcoords="offset points")
            text.set(verticalalignment="center", fontsize=7, color=INK, in_layout=False)
        ax.set_xlim(0, 1.2 * (max(lengths, default=0.0) or 1.0))
        ax.set_ylim(max(1, len(rows)) - 0.4, -0.6)
        ax.grid(False, axis="y")
        ax.set_yticks([])
        label(ax, x=what)
    axes[0].set_yticks(places, [drawable(name) for name, _, _ in rows], **AS_IT_IS)
    axes[0].tick_params(axis="y", length=0)
    if not rows:
        note(axes[0], "nothing compared yet")
    entitle(figure, title)
    used = [kind for kind in colours if kind in kinds]
    if len(used) > 1:
        legend(figure, [Patch(color=colours[kind]) for kind in used], used)
    write(figure, path)


def save_gdu(
    folder: Path, result: GduArrays, *, seed: int, all_elements: bool = False, limit: int = 2000
) -> None:
    """Write the arrays of a GDU check into `folder`, made if need be: `<row>.npz` for each row.

    It holds `ep`, `bptt` (and `ep_plus`, `ep_minus` where symmetric), [T2, elements]; `elements`, their
    places in the flattened row; `shape`, the row's own; the numbers `rmse`, `sign_error`, `cosine`,
    `norm_ratio`, `size` (|BPTT|), `beta`; and what `draw_gdu` needs: `row`, its number, `drawn`, the columns
    of its picture, and whether it is of the `readout`. Of a row with more than `limit` elements it holds a
    sample drawn from `seed` (0 or more), or with `all_elements` all. Pictures show elements of the sample
    that are among those with the largest updates.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for row, name in enumerate(result.ep):
        sources = {"ep": result.ep[name], "bptt": result.bptt[name]}
        if result.symmetric:
            sources |= {"ep_plus": result.ep_plus[name], "ep_minus": result.ep_minus[name]}
        shape = result.ep[name].shape[1:]
        count = int(np.prod(shape))
        draws = np.random.default_rng([seed, zlib.crc32(name.encode())])
        elements = np.arange(count)
        if count > limit:
            elements = np.sort(draws.choice(count, limit, replace=False, shuffle=False))
        kept = {key: _elements(values, elements) for key, values in sources.items()}
        drawn = _largest(kept["ep"], kept["bptt"], draws)
        if all_elements and count > limit:
            kept = {key: values.reshape(len(values), -1) for key, values in sources.items()}
            drawn, elements = elements[drawn], np.arange(count)
        numbers = {key: float(getattr(result, key).get(name, nan)) for key in DISTANCES}
        arrays = {**kept, "elements": elements, "drawn": drawn, "shape": np.array(shape, dtype=np.int64)}
        facts = {"row": row, "readout": name in result.readout, "beta": result.beta}
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays, **numbers, **facts)
        with replacing(folder / f"{name}.npz") as file:
            file.write(sealed(buffer))


def draw_gdu(folder: Path) -> list[Path]:
    """Draw what `save_gdu` wrote: `<row>.png` for each row and `distances.png`; returns the pictures.

    Raises `OSError`, or `ValueError` where arrays are damaged; those of before they said what to draw are
    left out, with their pictures as they are.
    """
    paths = list(folder.glob("*.npz"))
    rows = sorted(row for path in paths for row in _rows_in(path))
    if paths and not rows:
        return []
    for row in rows:
        draw_gdu_row(
            folder / f"{row.name}.png",
            row.name,
            ep=row.ep,
            bptt=row.bptt,
            ep_plus=row.ep_plus,
            ep_minus=row.ep_minus,
            symmetric=row.ep_plus is not None,
            beta=row.numbers["beta"],
            cumulative=_kind(row.name) == "parameters",
            rmse=row.numbers["rmse"],
            sign_error=row.numbers["sign_error"],
            cosine=row.numbers["cosine"],
            readout=row.readout,
        )
    distances = [(row.name, row.numbers["rmse"], row.numbers["sign_error"]) for row in rows]
    readout = [row.name for row in rows if row.readout]
    draw_gdu_distances(folder / "distances.png", distances, title="EP against BPTT", readout=readout)
    return [*(folder / f"{row.name}.png" for row in rows), folder / "distances.png"]


@dataclass(frozen=True, order=True)
class _Row:
    """A row of a GDU check as a file holds it: the elements that are drawn, [T2, elements]."""

    number: int
    name: str
    ep: Array = field(compare=False)
    bptt: Array = field(compare=False)
    numbers: dict[str, float] = field(compare=False)
    readout: bool = field(compare=False)
    ep_plus: Array | None = field(default=None, compare=False)
    ep_minus: Array | None = field(default=None, compare=False)


def _rows_in(path: Path) -> Iterator[_Row]:
    """The row in a file, if it says what to draw of it. Raises `OSError` or `ValueError`."""
    try:
        with open_to_read(path) as file, np.load(unsealed(file.read()), allow_pickle=False) as arrays:
            if "drawn" not in arrays:
                return
            drawn = arrays["drawn"]
            parts: dict[str, Any] = {name: arrays[name][:, drawn] for name in SIDES if name in arrays}
            numbers = {name: float(arrays[name]) for name in (*DISTANCES, "beta")}
            yield _Row(
                int(arrays["row"]), path.stem, **parts, numbers=numbers, readout=bool(arrays["readout"])
            )
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: is damaged ({error})") from None


def _kind(row: str) -> str:
    return "layers of neurons" if row.startswith("neurons_") else "parameters"


def _count_along(ax: Axes) -> None:
    """Mark whole numbers only along the horizontal axis."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))


def _stuck(layer: LayerActivity) -> str:
    """How many of a layer's neurons are stuck at a bound, in words."""
    shares = {"low": layer.at_low, "high": layer.at_high}
    parts = [f"{bound} {number(100 * share)} %" for bound, share in shares.items() if share is not None]
    return "stuck " + ", ".join(parts) if parts else ""


def _shares(layer: LayerActivity) -> Array:
    """Share of a layer's neurons in each bin, in per cent: [bins]; zeros where the edges can't be drawn."""
    counts = np.asarray(layer.counts, dtype=float)
    if not (np.diff(within_reach(layer.edges)) > 0).all():
        return np.zeros_like(counts)
    return 100 * counts / max(1.0, float(counts.sum()))


def _over_time(values: Array, cumulative: bool) -> tuple[Array, Array]:
    """Times and curves [times, elements] of updates [T2, elements]; running sums begin with 0 at time 0."""
    curves = np.asarray(values, dtype=np.float64)
    if not cumulative:
        return np.arange(1, len(curves) + 1), within_reach(curves)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.cumsum(curves, axis=0)
    return np.arange(len(curves) + 1), within_reach(np.concatenate([np.zeros_like(sums[:1]), sums]))


def _elements(values: Array, places: Array) -> Array:
    """Elements of [T2, ...] at those places of the flattened row, [T2, elements]; copies only these."""
    within: tuple[Any, ...] = np.unravel_index(places, values.shape[1:])
    return np.asarray(values[(slice(None), *within)])


def _largest(ep: Array, bptt: Array, draws: np.random.Generator) -> Array:
    """Columns to draw: up to five of the quarter that has the largest norm over time, of EP or of BPTT."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = [np.square(values, dtype=np.float64).sum(axis=0) for values in (ep, bptt)]
    order = np.argsort(-np.nan_to_num(np.maximum(*norms), nan=-1), kind="stable")
    quarter = order[: max(CURVES, len(order) // 4)]
    return np.sort(draws.choice(quarter, min(CURVES, len(quarter)), replace=False))
