"""The picture of several runs shows each of them, whatever was measured."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import epoch

from eqprop_core.worker.comparison import MOST_CURVES, Curve, draw_comparison

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
