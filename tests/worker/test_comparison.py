"""The picture of several runs shows each of them, whatever was measured."""

from __future__ import annotations

import importlib
from math import inf, nan
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from small_runs import epoch

from eqprop_core.worker import drawing
from eqprop_core.worker.bands import Band, draw_bands
from eqprop_core.worker.comparison import MOST_CURVES, Curve, draw_comparison
from eqprop_core.worker.figures import draw_gdu_distances

BLUE, VERMILION = (0, 114, 178), (213, 94, 0)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def painted(path: Path, colour: tuple[int, int, int]) -> int:
    return int((pixels(path) == colour).all(axis=2).sum())


def test_each_run_has_a_colour_in_both_panels(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    curves = [
        Curve(name, [epoch(n, 50.0 + n + 20 * k, loss=n + k) for n in range(1, 9)])
        for k, name in enumerate("ab")
    ]
    draw_comparison(path, curves, title="2 runs")
    picture = pixels(path)
    half = picture.shape[1] // 2
    for colour in (BLUE, VERMILION):
        for side in (picture[:, :half], picture[:, half:]):
            assert int((side == colour).all(axis=2).sum()) > 50


@pytest.mark.parametrize(
    "epochs",
    [
        [],
        [epoch(1)],
        [epoch(5, 10.0), epoch(9, 20.0)],
        [epoch(1, loss=None), epoch(2, loss=None)],
        [epoch(1, loss=0.0), epoch(2, loss=1e300)],
        [epoch(n, loss=10.0**-n) for n in range(1, 6)],
    ],
    ids=["none", "one", "gaps", "no-loss", "huge", "decades"],
)
def test_whatever_was_measured_makes_a_picture(epochs: list[Any], tmp_path: Path) -> None:
    draw_comparison(
        tmp_path / "a.png", [Curve("$x^2$ \x07 数 " + "long " * 30, epochs), Curve("b", [epoch(1)])]
    )
    assert 300 < pixels(tmp_path / "a.png").shape[1] < 2000


def test_the_settings_of_a_folder_that_one_works_in_are_not_those_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\ntext.latex.preamble: \\input{/etc/passwd}\nfigure.dpi: 7\n"
    )
    with matplotlib.rc_context(fname=tmp_path / "matplotlibrc"):
        assert matplotlib.rcParams["text.usetex"]
        importlib.reload(drawing)
        assert not matplotlib.rcParams["text.usetex"]
        draw_comparison(tmp_path / "a.png", [Curve("a", [epoch(1, 10.0), epoch(2, 50.0)])])
    assert painted(tmp_path / "a.png", BLUE) > 10


@pytest.mark.parametrize("value", [nan, inf, -inf, 1e200])
def test_values_that_no_axis_can_show_are_left_out(value: float, tmp_path: Path) -> None:
    draw_comparison(tmp_path / "a.png", [Curve("a", [epoch(1, value, loss=value), epoch(2, 50.0)])])
    assert painted(tmp_path / "a.png", BLUE) > 10


def test_as_many_runs_as_can_be_told_apart_are_drawn_and_no_more(tmp_path: Path) -> None:
    curves = [Curve(f"run {n}", [epoch(1, n), epoch(2, n + 1)]) for n in range(MOST_CURVES + 1)]
    draw_comparison(tmp_path / "a.png", curves[:-1])
    with pytest.raises(ValueError, match="can be told apart"):
        draw_comparison(tmp_path / "b.png", curves)
    assert not (tmp_path / "b.png").exists()


ODD = ["lr=$LR_$seed", "_hidden", "$$", "$\\badcommand$", "\\", "a\nb", "\u202eabc", "\x1b[31m", "\ud800", "x" * 5000, "%s {0}", " ", "\u0301", "سلام"]  # fmt: skip


def test_names_are_words_in_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    written = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *words, **more: (figures.append(self), written(self, *words, **more)))  # fmt: skip
    draw_comparison(tmp_path / "a.png", [Curve(name, [epoch(1), epoch(2)]) for name in ODD], title=ODD[0])
    draw_bands(tmp_path / "b.png", [Band(name, [[1.0, 2.0]], name) for name in ODD], title=ODD[0])
    draw_gdu_distances(tmp_path / "c.png", [(name, 0.1, 0.1) for name in ODD], title=ODD[0])
    shown = [text.get_text() for figure in figures[:2] for legend in figure.legends for text in legend.get_texts()]  # fmt: skip
    assert len(shown) == 2 * len(ODD)
    for name in ("lr=$LR_$seed", "_hidden", "$$", "$\\badcommand$", "a b", "?abc", "?[31m"):
        assert any(text.startswith(name) for text in shown[: len(ODD)]), name
    assert figures[0].axes[0].get_title(loc="left") == ODD[0]
