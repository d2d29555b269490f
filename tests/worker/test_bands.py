"""The picture of a sweep shows each cell's mean in its band, whatever was measured."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from eqprop_core.worker import bands
from eqprop_core.worker.bands import Band, common, draw_bands
from eqprop_core.worker.comparison import MOST_CURVES


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Draws bands; returns the figure."""
    figures: list[Figure] = []
    write = bands.write
    monkeypatch.setattr(bands, "write", lambda figure, path: (figures.append(figure), write(figure, path)))

    def draw(*shown: Band, **words: str) -> Figure:
        draw_bands(tmp_path / "a.png", shown, **words)
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
        return figures[-1]

    return draw


def test_the_line_is_the_mean_and_the_band_one_sample_standard_deviation(drawn: Any) -> None:
    figure = drawn(Band("a", [[40, 20, 10], [42, 24, 12], [44, 28, 17]]))
    (ax,) = figure.axes
    assert list(ax.lines[0].get_ydata()) == [42, 24, 13]
    (band,) = (found for found in ax.collections if isinstance(found, PolyCollection))
    edges = band.get_paths()[0].vertices
    at_two = sorted({float(y) for x, y in edges if x == 2})
    assert at_two == pytest.approx([20, 28])  # 24 ± 4


def test_one_seed_is_a_line_without_a_band(drawn: Any) -> None:
    (ax,) = drawn(Band("a", [[40, 20]])).axes
    assert list(ax.lines[0].get_ydata()) == [40, 20]
    assert not ax.collections


def test_the_legend_names_each_cell_and_what_is_missing(drawn: Any) -> None:
    figure = drawn(Band("a" * 90, [[1, 2]], "2 of 3, 1 failed"), Band("b", [], "0 of 3, 3 failed"))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["a" * 55 + "…: 2 of 3, 1 failed", "b: 0 of 3, 3 failed"]


def test_a_published_figure_is_a_dotted_line(drawn: Any) -> None:
    (ax,) = drawn(Band("a", [[40, 20]], published=11.7), Band("b", [[40, 20]], published=11.7)).axes
    assert [line.get_ydata()[0] for line in ax.lines[2:]] == [11.7]


@pytest.mark.parametrize(
    "seeds",
    [
        [],
        [[]],
        [[5.0]],
        [[5.0], [6.0]],
        [[None, None]],
        [[nan, inf]],
        [[0.0, 0.0], [0.0, 0.0]],
        [[90.0, 50.0, 0.5], [95.0, 20.0, 0.4]],
        [[1e300, 1.0], [1.0, 1e300]],
    ],
)
def test_whatever_was_measured_is_drawn(drawn: Any, seeds: Sequence[Sequence[float | None]]) -> None:
    drawn(Band("a", seeds), title="§ $x^2$ 漢", y="test error (%)", remark="mean ± sd")


def test_a_mean_goes_as_far_as_all_of_its_seeds() -> None:
    assert common([[1, 2, 3], [4, 5]]).tolist() == [[1, 2], [4, 5]]
    assert common([[1, None, 3], [4, 5, 6]]).tolist() == [[1], [4]]
    assert np.size(common([[None, 2]])) == 0


def test_a_cell_looks_the_same_whichever_others_are_drawn(drawn: Any) -> None:
    def colours(*places: int | None) -> list[str]:
        (ax,) = drawn(*(Band(f"cell {place}", [[9, 5]], place=place) for place in places)).axes
        return [line.get_color() for line in ax.lines]

    _, second, third = colours(0, 1, 2)
    assert colours(2, 1) == [third, second]
    assert len(set(colours(1, 1, 40))) == 3  # told apart all the same


def test_as_many_cells_as_can_be_told_apart(drawn: Any) -> None:
    figure = drawn(*(Band(f"cell {number}", [[9, 5], [8, 4]]) for number in range(MOST_CURVES)))
    styles = {
        (line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in figure.axes[0].lines
    }
    assert len(styles) == MOST_CURVES
    with pytest.raises(ValueError, match="can be told apart"):
        drawn(*(Band("x", []) for _ in range(MOST_CURVES + 1)))
