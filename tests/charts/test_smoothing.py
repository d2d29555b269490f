"""Exponential smoothing, corrected at its beginning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqprop_tui.charts.smoothing import smoothed

VALUES = [3.0, 1.0, 4.0, 1.0, 5.0]


@pytest.mark.parametrize("weight", [0.1, 0.6, 0.99])
def test_it_is_the_mean_with_weights_that_fade(weight: float) -> None:
    expected = []
    for end in range(1, len(VALUES) + 1):
        weights = [weight ** (end - 1 - place) for place in range(end)]
        expected.append(sum(w * v for w, v in zip(weights, VALUES, strict=False)) / sum(weights))
    assert smoothed(VALUES, weight) == pytest.approx(expected)


def test_no_smoothing_changes_nothing_and_full_smoothing_is_the_running_mean() -> None:
    assert smoothed(VALUES, 0).tolist() == VALUES
    assert smoothed(VALUES, 1) == pytest.approx([3, 2, 8 / 3, 9 / 4, 14 / 5])


@given(st.floats(-1e6, 1e6), st.integers(1, 50), st.floats(0, 1))
def test_a_constant_stays_what_it_is(value: float, count: int, weight: float) -> None:
    assert smoothed([value] * count, weight) == pytest.approx([value] * count)


def test_gaps_and_infinities_stay_and_weigh_nothing() -> None:
    values = smoothed([1, None, math.inf, 3], 0.5)
    assert np.isnan(values[1])
    assert values[2] == math.inf
    assert values[3] == pytest.approx((0.5 * 1 + 3) / 1.5)
