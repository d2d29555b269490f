"""Histograms of activity: bars in eighths, the share at either bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_tui.charts.glyphs import ASCII, GLYPHS, Glyphs
from eqprop_tui.charts.histogram import Histogram, bar_heights, draw_histograms
from eqprop_tui.charts.text import to_plain

LAYER = Histogram("layer 1", [8, 4, 2, 1, 0, 0, 1, 3], 0, 1, 0.61, 0.09, "128×16×16")


def lines_of(*histograms: Histogram, width: int, height: int) -> list[str]:
    return [line.rstrip() for line in to_plain(draw_histograms(histograms, width, height)).split("\n")]


def test_a_layer_cell_by_cell() -> None:
    assert lines_of(LAYER, width=22, height=5) == [
        " layer 1  128×16×16",
        " ██▄▄▂▂▁▁    ▁▁▃▃",
        " 0              1",
        " at 0 61 %",
        " at 1 9 %",
    ]


def test_bins_are_spread_over_columns_or_added_up() -> None:
    assert bar_heights([1, 2], 4).tolist() == [0.5, 0.5, 1, 1]
    assert bar_heights([1, 1, 2, 2], 2).tolist() == [0.5, 1]
    assert bar_heights([], 3).tolist() == [0, 0, 0]


def test_the_fewest_neurons_still_show() -> None:
    assert "▁" in lines_of(Histogram("", [10_000, 1], 0, 1), width=20, height=3)[1]


def test_layers_that_do_not_fit_are_counted() -> None:
    picture = draw_histograms([LAYER] * 9, 40, 5)
    assert picture.remarks == ("7 more layers are not shown",)
    assert draw_histograms([LAYER] * 4, 40, 20).remarks == ()


ANY = st.none() | st.floats() | st.integers(-3, 10**400)
HISTOGRAMS = st.builds(
    Histogram,
    st.text(max_size=9),
    st.lists(ANY, max_size=20),
    st.floats(),
    st.floats(),
    st.none() | st.floats(),
    st.none() | st.floats(),
    st.text(max_size=9),
)


@settings(deadline=None)
@given(
    st.lists(HISTOGRAMS, max_size=7),
    st.integers(0, 130),
    st.integers(0, 30),
    st.sampled_from(list(GLYPHS.values())),
)
def test_any_counts_are_drawn_in_the_exact_size(
    histograms: list[Histogram], width: int, height: int, glyphs: Glyphs
) -> None:
    picture = draw_histograms(histograms, width, height, glyphs=glyphs)
    assert len(picture.rows) == height
    assert all(len(row) == width for row in picture.rows)
    assert all(len(character) == 1 for row in picture.rows for character, _ in row)
    if glyphs is ASCII:
        assert to_plain(picture).isascii()


def test_nothing_counted_is_said() -> None:
    assert "no data" in lines_of(Histogram("layer 1", [0, 0], 0, 1), width=30, height=4)[1]


@pytest.mark.parametrize("height", [4, 5])
def test_both_shares_are_said_where_there_is_a_row_for_them(height: int) -> None:
    text = "\n".join(lines_of(LAYER, width=19, height=height))
    assert "0 61 %" in text and "1 9 %" in text
