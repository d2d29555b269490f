"""Line charts, cell by cell on small data, and by what must hold for any data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_tui.charts.canvas import Picture
from eqprop_tui.charts.data import Chart, Reference, Series, View, axes_of, panned, zoomed
from eqprop_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE, GLYPHS, Glyphs
from eqprop_tui.charts.lines import draw, read_out
from eqprop_tui.charts.smoothing import smoothed
from eqprop_tui.charts.text import to_plain

RISE = Chart("accuracy", (Series("train", [0, 10], [0, 100]),), x_label="epochs")
FIXED = View(x=(0, 20), y=(0, 10))

ANY = st.one_of(
    st.none(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.floats(-5, 25),
    st.sampled_from([0.0, 1.0, 5.0]),
)
NAMES = st.text(max_size=12)


@st.composite
def all_series(draw_: Any) -> Series:
    points = draw_(st.lists(st.tuples(ANY, ANY), max_size=25))
    return Series(
        draw_(NAMES),
        [x for x, _ in points],
        [y for _, y in points],
        draw_(st.integers(1, 12)),
        draw_(st.sampled_from(["", "●", "x", "漢", "\n"])),
        draw_(st.sampled_from(["solid", "dashed", "dotted"])),
    )


RANGES = st.none() | st.tuples(st.floats(), st.floats())


@st.composite
def charts(draw_: Any) -> Chart:
    return Chart(
        draw_(NAMES),
        tuple(draw_(st.lists(all_series(), max_size=4))),
        tuple(draw_(st.lists(st.builds(Reference, NAMES, st.floats()), max_size=2))),
        draw_(NAMES),
        draw_(st.booleans()),
        draw_(st.booleans()),
        draw_(st.sampled_from([0.0, 0.6, 1.0])),
        View(draw_(RANGES), draw_(RANGES)),
        draw_(st.booleans()),
    )


def lines_of(picture: Picture) -> list[str]:
    return [line.rstrip() for line in to_plain(picture).split("\n")]


def exact(picture: Picture, width: int, height: int) -> bool:
    return len(picture.rows) == height and all(
        len(row) == width and all(len(character) == 1 for character, _ in row) for row in picture.rows
    )


def test_a_straight_line_cell_by_cell() -> None:
    assert lines_of(draw(RISE, 40, 8)) == [
        " accuracy             train ──   epochs",
        " 100 ┤                           ⢀⣀⡠⠤⠒⠒⠉",
        "     │                    ⢀⣀⡠⠤⠒⠒⠉⠁",
        "  50 ┤             ⢀⣀⠤⠤⠒⠒⠉⠁",
        "     │      ⢀⣀⠤⠤⠒⠊⠉⠁",
        "   0 ┤⣀⠤⠤⠒⠊⠉⠁",
        "     └┬───────────────┬────────────────┬",
        "      0               5               10",
    ]


def test_the_same_line_in_ascii() -> None:
    picture = draw(RISE, 40, 8, glyphs=ASCII)
    assert to_plain(picture).isascii()
    assert lines_of(picture) == [
        " accuracy             train **   epochs",
        " 100 +                             *****",
        "     |                     ********",
        "  50 +             ********",
        "     |     ********",
        "   0 +*****",
        "     ++---------------+----------------+",
        "      0               5               10",
    ]


def test_the_same_line_in_half_blocks() -> None:
    assert lines_of(draw(RISE, 20, 6, glyphs=BLOCKS)) == [
        " accuracy  train ──",
        " 100 ┤          ▄▄▀▀",
        "     │    ▄▄▄▀▀▀",
        "   0 ┤▄▄▀▀",
        "     └┬────────────┬",
        "      0           10",
    ]


def test_a_logarithmic_axis_makes_a_straight_line_of_a_decay() -> None:
    decay = Chart("loss", (Series("", [0, 1, 2, 3], [1, 0.1, 0.01, 0.001]),), log_y=True)
    assert lines_of(draw(decay, 30, 11)) == [
        " loss",
        "    1 ┤⠑⠢⣀",
        "      │   ⠑⠤⡀",
        "  0.1 ┤     ⠈⠑⠤⡀",
        "      │        ⠈⠑⠤⡀",
        "      │           ⠈⠒⢄⡀",
        " 0.01 ┤              ⠈⠒⢄⡀",
        "      │                 ⠈⠒⢄",
        " 1e-3 ┤                    ⠉⠢⢄",
        "      └┬──────────────┬───────",
        "       0              2",
    ]


def test_every_size_is_drawn_exactly() -> None:
    chart = replace(RISE, references=(Reference("paper", 88.3),))
    for width in [*range(40), 80, 120, 240]:
        for height in [*range(13), 24, 36, 70]:
            assert exact(draw(chart, width, height), width, height), (width, height)


def test_where_there_is_no_room_it_says_so() -> None:
    assert to_plain(draw(RISE, 9, 2)).split("\n")[0] == "too small"
    assert to_plain(draw(RISE, 4, 1)) == "too…"


@settings(max_examples=300, deadline=None)
@given(charts(), st.integers(10, 60), st.integers(3, 24), st.sampled_from(list(GLYPHS.values())))
def test_any_data_is_drawn_in_the_exact_size_with_curves_in_the_plot_alone(
    chart: Chart, width: int, height: int, glyphs: Glyphs
) -> None:
    picture = draw(chart, width, height, glyphs=glyphs, cursor=width // 2)
    assert exact(picture, width, height)
    assert picture == draw(chart, width, height, glyphs=glyphs, cursor=width // 2)
    if glyphs is ASCII:
        assert to_plain(picture).isascii()
    plot = picture.plot
    assert plot is not None
    for row, cells in enumerate(picture.rows[1:], 1):  # the first is the legend
        for column, (_, style) in enumerate(cells):
            if style.startswith(("series", "reference", "cursor")):
                assert plot.left <= column < plot.left + plot.width
                assert plot.top <= row < plot.top + plot.height
    read_out(chart, width, height, width // 2)


@settings(max_examples=150, deadline=None)
@given(st.lists(all_series(), min_size=1, max_size=3), all_series(), st.integers(0, 3))
def test_a_series_more_or_less_changes_no_cell_of_the_others_that_it_does_not_touch(
    series: list[Series], another: Series, place: int
) -> None:
    another = replace_style(another, 8)
    series = [Series("", [1], [1], 7), *(replace_style(one, 1 + number) for number, one in enumerate(series))]
    without = draw(Chart(series=tuple(series), view=FIXED), 40, 12)
    with_it = draw(Chart(series=(*series[:place], another, *series[place:]), view=FIXED), 40, 12)
    alone = draw(Chart(series=(another,), view=FIXED), 40, 12)
    for before, after, own in zip(without.rows[1:], with_it.rows[1:], alone.rows[1:], strict=True):
        for cell, now, touched in zip(before, after, own, strict=True):
            assert now == cell or touched[1] == "series-8"


def replace_style(series: Series, colour: int) -> Series:
    return Series(series.name, series.x, series.y, colour, series.marker, series.line)


def test_where_curves_cross_both_are_seen_in_the_colour_of_the_later() -> None:
    flat, steep = Series("", [0, 20], [5, 5], 1), Series("", [10, 10], [0, 10], 2)
    alone = [draw(Chart(series=(series,), view=FIXED), 40, 12) for series in (flat, steep)]
    for order, later in (((flat, steep), "series-2"), ((steep, flat), "series-1")):
        both = draw(Chart(series=order, view=FIXED), 40, 12)
        crossings = 0
        for row, of_flat, of_steep in zip(both.rows, alone[0].rows, alone[1].rows, strict=True):
            for cell, one, other in zip(row, of_flat, of_steep, strict=True):
                if one[1] == "series-1" and other[1] == "series-2":
                    assert cell == (chr(ord(one[0]) | ord(other[0])), later)
                    crossings += 1
        assert crossings == 1


def test_reading_out_tells_the_nearest_point_of_each_series() -> None:
    chart = Chart(
        series=(
            Series("train", range(11), range(0, 110, 10)),
            Series("test", [0, 5, 10], [1, None, 3]),
            Series("none", [], []),
        ),
        smoothing=0.5,
    )
    left = draw(chart, 60, 12).plot.left  # type: ignore[union-attr]
    first = read_out(chart, 60, 12, left)
    assert [(reading.series, reading.x, reading.y) for reading in first] == [("train", 0, 0), ("test", 0, 1)]
    last = read_out(chart, 60, 12, 59)
    assert [(reading.series, reading.x, reading.y) for reading in last] == [
        ("train", 10, 100),
        ("test", 10, 3),
    ]
    assert last[1].drawn == pytest.approx((0.5 * 1 + 3) / 1.5)


def test_the_cursor_puts_the_numbers_in_the_legend() -> None:
    picture = draw(RISE, 60, 8, cursor=59)
    assert lines_of(picture)[0].endswith("train 100 ──   epochs 10")
    assert sum(row[59] == ("│", "cursor") for row in picture.rows) == 4


def test_a_number_that_is_read_out_is_never_cut_and_says_its_x_where_that_is_another() -> None:
    series = (Series("a long name", [0, 100], [1, 0.00123]), Series("short", [0, 50], [1, 0.5]))
    head = lines_of(draw(Chart(series=series, x_label="steps"), 50, 8, cursor=49))[0]
    assert "1.23e-3 ──" in head and "0.5 at 50 ──" in head


def test_where_a_reading_has_little_room_the_title_goes_and_the_numbers_stay() -> None:
    head = lines_of(draw(replace(RISE, title="largest change of the state"), 34, 8, cursor=33))[0]
    assert head.endswith("train 100 ──   epochs 10")
    assert head.startswith(" lar")


def test_a_chart_without_data_says_so() -> None:
    for chart in (Chart(), Chart(series=(Series("loss", [0, 1], [0, -1]),), log_y=True)):
        assert "no data" in to_plain(draw(chart, 30, 9))


def test_a_line_between_points_far_outside_a_close_view_is_where_it_belongs() -> None:
    chart = Chart(series=(Series("", [-1e6, 1e6], [-1e6, 1e6]),), view=View(x=(0.5, 1.5), y=(0.5, 1.5)))
    near = Chart(series=(Series("", [0, 2], [0, 2]),), view=chart.view)
    assert lines_of(draw(chart, 40, 12)) == lines_of(draw(near, 40, 12))


def test_what_cannot_be_drawn_is_counted_in_words() -> None:
    chart = Chart(
        series=(Series("loss", [0, 1, 2, 3, math.inf], [1, 0, -1, math.inf, 1]),),
        references=(Reference("zero", 0),),
        log_y=True,
    )
    assert draw(chart, 40, 10).remarks == (
        "loss: 2 values are not above zero, left out on a logarithmic axis",
        "loss: 1 value is infinite, drawn at the edge",
        "loss: 1 with an infinite x left out",
        "zero: 0 has no place on the axis",
    )


def test_the_legend_is_shortened_before_the_title_and_never_covers_the_plot() -> None:
    names = ["cifar10-cnn-cel-ep-symmetric", "cifar10-cnn-mse-ep-symmetric"]
    chart = Chart("accuracy %", tuple(Series(name, [0, 1], [0, 1]) for name in names), x_label="epochs")
    heads = {width: lines_of(draw(chart, width, 10))[0] for width in (100, 60, 30)}
    assert names[0] in heads[100] and names[1] in heads[100]
    assert heads[60].startswith(" accuracy %") and "…cel… ──  …mse… ──" in heads[60]
    assert heads[30].startswith(" accuracy %")


def test_a_smoothed_line_stands_before_its_raw_one() -> None:
    noisy = [10 * (place % 2) for place in range(200)]
    view = View(x=(0, 199), y=(0, 10))
    both = draw(Chart(series=(Series("", range(200), noisy),), smoothing=0.99, view=view), 40, 12)
    alone = draw(Chart(series=(Series("", range(200), smoothed(noisy, 0.99)),), view=view), 40, 12)
    assert "series-1-raw" in {style for row in both.rows for _, style in row}
    for row, of_alone in zip(both.rows, alone.rows, strict=True):
        for cell, one in zip(row, of_alone, strict=True):
            assert cell == one or (one[1] == "" and cell[1] == "series-1-raw")


def test_a_marker_stands_at_the_last_point_and_lone_points_are_seen() -> None:
    chart = Chart(series=(Series("", [0, 10, 20], [5, None, 5], marker="●"),), view=FIXED)
    characters = "".join(lines_of(draw(chart, 40, 12))[1:])
    assert characters.count("●") == 2
    alone = Chart(series=(Series("", [10], [5]),), view=FIXED)
    assert "•" in to_plain(draw(alone, 40, 12))


def test_zooming_in_and_out_again_gives_the_view_back() -> None:
    axes = axes_of(RISE)
    near = zoomed(View(), axes, 4, x_at=0.25)
    assert near.x == pytest.approx((1.875, 4.375))
    assert near.y is None
    back = zoomed(near, axes_of(replace(RISE, view=near)), 0.25, x_at=0.25)
    assert back.x == pytest.approx((0, 10))


def test_panning_moves_the_view_by_a_share() -> None:
    moved = panned(View(), axes_of(RISE), x_by=0.5, y_by=-0.1)
    assert moved.x == pytest.approx((5, 15))
    assert moved.y == pytest.approx((-10, 90))


@settings(deadline=None)
@given(charts(), st.floats(), st.floats(), st.floats(-10, 10))
def test_any_zoom_and_pan_can_be_drawn(chart: Chart, factor: float, at: float, by: float) -> None:
    view = zoomed(chart.view, axes_of(chart), factor, x_at=at, y_at=at)
    chart = replace(chart, view=view)
    chart = replace(chart, view=panned(view, axes_of(chart), x_by=by, y_by=at))
    assert exact(draw(chart, 30, 9), 30, 9)


def test_the_y_axis_follows_what_is_in_the_view() -> None:
    series = (Series("", range(101), range(101)),)
    axes = axes_of(Chart(series=series, view=View(x=(10, 20))))
    assert (axes.y.low, axes.y.high) == (10, 20)


def test_series_of_different_lengths_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="series 'train': 2 x for 1 y"):
        Series("train", [1, 2], [1])


def test_glyphs_are_chosen_by_name() -> None:
    assert GLYPHS["braille"] is BRAILLE


def test_a_point_that_is_added_to_a_steady_chart_moves_no_other() -> None:
    y = [50 + 40 * ((place * 7919) % 1000) / 1000 for place in range(1100)]

    def drawn(count: int) -> list[str]:
        series = Series("growing", range(count), y[:count])
        return to_plain(draw(Chart("accuracy", (series,), steady=True), 80, 20)).split("\n")

    before, after = drawn(1006), drawn(1011)
    assert before != drawn(1056)
    for old, new in zip(before, after, strict=True):
        assert all(a == b for a, b in zip(old[:70], new[:70], strict=True))
