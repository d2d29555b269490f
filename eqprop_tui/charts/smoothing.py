"""Exponential smoothing of a curve, corrected so that its beginning is not pulled towards zero."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from eqprop_tui.charts.scale import LARGEST, Array, numbers


def smoothed(values: Iterable[float | None], weight: float) -> Array:
    """The weighted mean of all values so far, each `weight` times as heavy as the one after it.

    `weight` from 0 (the values themselves) to 1 (their plain mean so far); beyond, it is taken as the nearer
    end. Gaps and infinities stay where they are and weigh nothing.
    """
    raw = numbers(values)
    weight = min(max(weight, 0.0), 1.0) if math.isfinite(weight) else 0.0
    usable = np.abs(raw) <= LARGEST
    if weight == 0 or not usable.any():
        return raw
    means: list[float] = []
    add = means.append
    mean, mass = 0.0, 0.0
    for value in raw[usable].tolist():
        mass = weight * mass + 1.0
        mean += (value - mean) / mass
        add(mean)
    raw[usable] = means
    return raw
