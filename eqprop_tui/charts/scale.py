"""Axes: which part of the numbers is shown, where a number lies on it, which numbers stand beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Range = tuple[float, float]

LARGEST = 1e300  # beyond it a number counts as infinite, so that no sum or difference overflows
SMALLEST = 1e-290  # the least span of an axis
FINEST = 1e-9  # the least span of an axis in relation to its numbers: labels stay short enough to read


def numbers(values: Iterable[Any]) -> Array:
    """`values` as floats; NaN for None and for what is no number, ±inf for integers too large for a float."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values.astype(np.float64)
    listed = list(values)
    try:
        return np.array(listed, dtype=np.float64).reshape(len(listed))
    except (OverflowError, TypeError, ValueError):
        return np.array([_number(value) for value in listed], dtype=np.float64)


def _number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        return math.nan


def number(value: float | None, digits: int = 3) -> str:
    """One way to write a number everywhere: 0.25, 88.4, 1.2e-3, with up to `digits` significant digits."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    if not 0.01 <= abs(value) < 1e5:
        return _with_exponent(value, digits - 1)
    return _without_zeros(f"{value:.{max(0, digits - 1 - _exponent(value))}f}")


def _with_exponent(value: float, decimals: int) -> str:
    mantissa, exponent = f"{value:.{max(0, decimals)}e}".split("e")
    return f"{_without_zeros(mantissa)}e{int(exponent)}"


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)) + 1e-9)


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, both finite, low < high; both above zero where it is logarithmic."""

    low: float
    high: float
    log: bool = False

    def share(self, values: Array) -> Array:
        """Where each value lies, 0 at `low` and 1 at `high`; infinities at the nearer end.

        NaN stays NaN, and so does what has no place on a logarithmic axis.
        """
        values = np.where(np.abs(values) > LARGEST, np.copysign(np.inf, values), values)
        infinite = np.isinf(values)
        if self.log:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(values > 0, np.log10(values), np.nan)
        low, high = self._ends()
        with np.errstate(over="ignore"):
            shares = (values - low) / (high - low)
        if infinite.any():
            shares[infinite] = np.clip(shares[infinite], 0, 1)
        return shares

    def value(self, share: float) -> float:
        """The number at a share of the axis; the inverse of `share`."""
        low, high = self._ends()
        place = low + share * (high - low)
        return float(10.0 ** min(max(place, -300), 300)) if self.log else place

    def part(self, first: float, last: float) -> Scale:
        """The axis from share `first` to share `last` of this one; never narrower than can be labelled."""
        ends = (self.value(min(first, last)), self.value(max(first, last)))
        return Scale(*apart(*ends, log=self.log), self.log)

    def _ends(self) -> Range:
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)


def apart(low: float, high: float, *, log: bool = False) -> Range:
    """Ends in order, finite, and far enough apart for an axis; equal ones get room on both sides."""
    low, high = sorted((_within_reach(low, log), _within_reach(high, log)))
    if log:
        if math.log10(high) - math.log10(low) < FINEST:
            low, high = low / 2, high * 2
        return max(low, 1 / LARGEST), min(high, LARGEST)
    if high - low < max(FINEST * max(abs(low), abs(high)), SMALLEST):
        middle = low / 2 + high / 2
        room = 0.1 * abs(middle) if abs(middle) > 10 * SMALLEST else 1.0
        return middle - room, middle + room
    return low, high


def _within_reach(value: float, log: bool) -> float:
    if math.isnan(value):
        return 1.0 if log else 0.0
    return min(max(value, 10 / LARGEST), LARGEST / 10) if log else min(max(value, -LARGEST), LARGEST)


def covering(values: Array, *, log: bool = False) -> Scale:
    """The axis from the least to the largest finite value; 0 to 1 (0.1 to 1) where there is none."""
    usable = values[np.abs(values) <= LARGEST]
    if log:
        usable = usable[usable > 0]
    if not len(usable):
        return Scale(0.1, 1.0, True) if log else Scale(0.0, 1.0)
    return Scale(*apart(float(usable.min()), float(usable.max()), log=log), log)


def rounded_out(scale: Scale, most: int) -> Scale:
    """The axis widened to readable ends, so that a curve that grows does not move it at every step."""
    if scale.log:
        low, high = math.log10(scale.low), math.log10(scale.high)
        if high - low < 3:
            return Scale(_log_floor(scale.low), _log_ceil(scale.high), True)
        ends = 10.0 ** math.floor(low + 1e-9), 10.0 ** math.ceil(high - 1e-9)
        return Scale(*apart(*ends, log=True), True)
    step = _step(scale, most) / 2
    return Scale(
        *apart(math.floor(scale.low / step + 1e-9) * step, math.ceil(scale.high / step - 1e-9) * step)
    )


def _log_floor(value: float) -> float:
    power = 10.0 ** _exponent(value)
    return max(m * power for m in (1, 2, 5) if m == 1 or m * power <= value * (1 + 1e-9))


def _log_ceil(value: float) -> float:
    power = 10.0 ** _exponent(value)
    return min(m * power for m in (1, 2, 5, 10) if m == 10 or m * power >= value * (1 - 1e-9))


@dataclass(frozen=True)
class Tick:
    """A number written beside an axis."""

    value: float
    label: str


def ticks(scale: Scale, most: int, *, whole: bool = False) -> list[Tick]:
    """About `most` readable numbers within the axis (1-2-5 steps, or decades); `whole`: integers only."""
    if scale.log:
        values = _log_values(scale, most)
        if len(values) >= 2 or scale.high > 10 * scale.low:
            return [Tick(value, number(value, 1)) for value in values]
    step = _step(scale, most)
    if whole and not scale.log:
        step = max(1.0, step)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    values = [count * step for count in range(first, last + 1)]
    return [Tick(value, label) for value, label in zip(values, _labels(values, step), strict=True)]


def _step(scale: Scale, most: int) -> float:
    least = (scale.high - scale.low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10, 20) if m * power >= least * (1 - 1e-9))


def _log_values(scale: Scale, most: int) -> list[float]:
    first, last = math.log10(scale.low), math.log10(scale.high)
    decades = range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)
    stride = max(1, math.ceil(len(decades) / max(1, most)))
    if len(decades) >= 3 or (last - first) * 3 > most:
        return [10.0**exponent for exponent in decades if (exponent - decades[0]) % stride == 0]
    around = range(math.floor(first), math.ceil(last) + 1)
    finer = [m * 10.0**exponent for exponent in around for m in (1, 2, 5)]
    return [value for value in finer if scale.low * (1 - 1e-9) <= value <= scale.high * (1 + 1e-9)]


def _labels(values: Sequence[float], step: float) -> list[str]:
    """The same decimals for all, as many as the step needs."""
    largest = max((abs(value) for value in values), default=0.0)
    last_place = _exponent(step)
    if largest == 0 or 0.01 <= largest < 1e5:
        return [f"{value:.{max(0, -last_place)}f}" if value else "0" for value in values]
    return [_with_exponent(value, _exponent(value) - last_place) if value else "0" for value in values]
