"""Curves as dots: connected, nothing lost, dashed by their own length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_tui.charts.canvas import Dots
from eqprop_tui.charts.strokes import dots, joined

WIDTH, HEIGHT = 40, 24
PLACES = st.one_of(st.floats(-5, 60), st.floats(-1e12, 1e12), st.just(float("nan")))


def drawn(x: list[float], y: list[float], dash: tuple[float, float] | None = None) -> Dots:
    return dots(joined(np.array(x, dtype=float), np.array(y, dtype=float)), WIDTH, HEIGHT, dash)


def inside(x: float, y: float) -> bool:
    return -0.5 < x < WIDTH - 0.51 and -0.5 < y < HEIGHT - 0.51


def near(grid: Dots, x: float, y: float) -> bool:
    """Whether a dot is at a place or beside it."""
    column, row = round(x), round(y)
    return bool(grid[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].any())


@given(st.lists(st.tuples(PLACES, PLACES), max_size=60))
def test_every_point_in_sight_has_a_dot_beside_it(points: list[tuple[float, float]]) -> None:
    grid = drawn([x for x, _ in points], [y for _, y in points])
    assert grid.shape == (HEIGHT, WIDTH)
    assert all(near(grid, x, y) for x, y in points if inside(x, y))


def test_a_spike_among_ten_thousand_points_is_drawn_to_its_top() -> None:
    x = np.linspace(0, WIDTH - 1, 10_000)
    y = np.full(10_000, 20.0)
    y[5_003] = 2
    grid = drawn(x.tolist(), y.tolist())
    assert grid[2:21, round(x[5_003])].all()


@given(st.lists(st.floats(0, HEIGHT - 1), min_size=2, max_size=30))
def test_a_solid_line_has_a_dot_in_every_column_and_no_break(heights: list[float]) -> None:
    grid = drawn(np.linspace(0, WIDTH - 1, len(heights)).tolist(), heights)
    for column in range(WIDTH):
        rows = np.flatnonzero(grid[:, column])
        assert len(rows)
        assert np.all(np.diff(rows) == 1)
        if column:
            before = np.flatnonzero(grid[:, column - 1])
            assert rows[0] <= before[-1] + 1 and before[0] <= rows[-1] + 1


def test_many_points_on_a_gentle_slope_are_as_thin_as_two() -> None:
    x = np.linspace(0, WIDTH - 1, 5_000)
    assert (drawn(x.tolist(), (x / 4).tolist()).sum(axis=0) == 1).all()


def test_no_line_crosses_a_gap() -> None:
    grid = drawn([0, 10, 20, 30, 39], [5, 5, np.nan, 5, 5])
    assert grid[5, :11].all() and grid[5, 30:].all()
    assert not grid[:, 11:30].any()


def test_a_lone_point_is_one_dot() -> None:
    assert np.argwhere(drawn([7], [3])).tolist() == [[3, 7]]


@pytest.mark.parametrize(("x", "y"), [([0, 39], [10, 10]), ([10, 10], [0, 23])])
def test_flat_and_steep_pieces_are_dashed_alike(x: list[float], y: list[float]) -> None:
    line = drawn(x, y, (5, 8))
    pattern = (line[10] if y[0] == y[1] else line[:, 10]).astype(int)
    assert "".join(map(str, pattern)).startswith("111110001111100011111000")


def test_points_on_the_way_do_not_begin_a_dash_anew() -> None:
    two = drawn([0, 39], [7, 7], (5, 8))
    assert (drawn(list(range(40)), [7] * 40, (5, 8)) == two).all()
    assert (drawn(np.linspace(0, 39, 1_000).tolist(), [7] * 1_000, (5, 8)) == two).all()


@pytest.mark.parametrize("moved", [3, 13, 50])
def test_dashes_move_with_the_curve_where_its_beginning_is_out_of_sight(moved: int) -> None:
    here = drawn([0, 100], [7, 7], (5, 8))
    beyond = drawn([-moved, 100 - moved], [7, 7], (5, 8))
    expected = [(column + moved) % 8 < 5 for column in range(WIDTH)]
    assert here[7].tolist() == [column % 8 < 5 for column in range(WIDTH)]
    assert beyond[7].tolist() == expected


@given(st.lists(st.tuples(PLACES, PLACES), max_size=30))
def test_a_dashed_line_is_part_of_the_solid_one(points: list[tuple[float, float]]) -> None:
    x, y = [x for x, _ in points], [y for _, y in points]
    solid = drawn(x, y)
    for dash in ((5, 8), (1, 3)):
        assert not (drawn(x, y, dash) & ~solid).any()


@given(st.lists(st.floats(0, HEIGHT - 1), min_size=3, max_size=30), st.integers(1, 10))
def test_points_that_arrive_later_leave_the_dashes_before_them(heights: list[float], more: int) -> None:
    x = np.arange(len(heights), dtype=float).tolist()
    short = drawn(x, heights, (5, 8))
    longer = drawn([*x, x[-1] + more], [*heights, 0.0], (5, 8))
    assert (short[:, : len(x) - 1] == longer[:, : len(x) - 1]).all()
