"""Axes: readable numbers beside them, and a range for every kind of data."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_tui.charts.scale import Scale, apart, covering, number, numbers, rounded_out, ticks

ANY = st.floats(allow_nan=True, allow_infinity=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (0.0012, "1.2e-3"),
        (88.4, "88.4"),
        (-6e-4, "-6e-4"),
        (0, "0"),
        (100, "100"),
        (12345.6, "12346"),
        (2.5e7, "2.5e7"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_is_written_one_way(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("scale", "most", "labels"),
    [
        (Scale(0, 100), 5, ["0", "20", "40", "60", "80", "100"]),
        (Scale(0, 1), 4, ["0", "0.5", "1.0"]),
        (Scale(83.1, 88.9), 3, ["84", "86", "88"]),
        (Scale(-6e-4, 1.2e-3), 4, ["-5e-4", "0", "5e-4", "1e-3"]),
        (Scale(1e-4, 10, log=True), 8, ["1e-4", "1e-3", "0.01", "0.1", "1", "10"]),
        (Scale(1e-4, 10, log=True), 3, ["1e-4", "0.01", "1"]),
        (Scale(0.15, 2.3, log=True), 8, ["0.2", "0.5", "1", "2"]),
    ],
)
def test_ticks_are_readable(scale: Scale, most: int, labels: list[str]) -> None:
    assert [tick.label for tick in ticks(scale, most)] == labels


def test_ticks_of_whole_numbers_have_no_fractions() -> None:
    assert [tick.label for tick in ticks(Scale(0, 2), 10, whole=True)] == ["0", "1", "2"]


@given(st.lists(ANY, max_size=5), st.booleans(), st.integers(1, 12))
def test_every_data_gets_an_axis_with_different_labels_within_it(
    values: list[float], log: bool, most: int
) -> None:
    for scale in (covering(numbers(values), log=log), rounded_out(covering(numbers(values), log=log), most)):
        assert scale.low < scale.high
        assert math.isfinite(scale.low) and math.isfinite(scale.high)
        chosen = ticks(scale, most)
        labels = [tick.label for tick in chosen]
        assert len(set(labels)) == len(labels) <= 2 * most + 8
        shares = scale.share(numbers([tick.value for tick in chosen]))
        assert np.all((shares >= -1e-6) & (shares <= 1 + 1e-6))
        for tick in chosen:
            assert float(tick.label) == pytest.approx(tick.value, rel=1e-6, abs=1e-300)


@given(st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=5), st.integers(1, 12))
def test_rounding_out_keeps_all_data_within(values: list[float], most: int) -> None:
    scale = rounded_out(covering(numbers(values)), most)
    shares = scale.share(numbers(values))
    assert np.all((shares >= -1e-8) & (shares <= 1 + 1e-8))


@given(ANY, ANY, st.booleans())
def test_the_ends_of_an_axis_are_always_apart(low: float, high: float, log: bool) -> None:
    scale = Scale(*apart(low, high, log=log), log)
    assert scale.low < scale.high
    finest = 0 if log else 1e-12 * max(abs(scale.low), abs(scale.high))
    assert scale.value(0) == pytest.approx(scale.low, rel=1e-6, abs=finest)
    assert scale.value(1) == pytest.approx(scale.high, rel=1e-6, abs=finest)


def test_infinities_lie_at_the_ends_and_what_has_no_logarithm_nowhere() -> None:
    shares = Scale(1, 100, log=True).share(numbers([math.inf, 10, 0, -5, None]))
    assert shares[:2].tolist() == [1, 0.5]
    assert np.isnan(shares[2:]).all()
    assert Scale(0, 1).share(numbers([-math.inf, 1e301])).tolist() == [0, 1]


def test_what_is_no_number_is_a_gap_and_huge_integers_are_infinite() -> None:
    values = numbers([1, None, "no", 10**400, -(10**400)])
    assert values[0] == 1
    assert np.isnan(values[1:3]).all()
    assert values[3:].tolist() == [math.inf, -math.inf]
