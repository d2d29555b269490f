"""Curves as dots: a path through points, dashed by its own length, clipped to a rectangle of dots.

A curve's dots depend on its own points and on the axes alone, never on other curves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from eqprop_tui.charts.canvas import Dots
from eqprop_tui.charts.scale import Array

Line = Literal["solid", "dashed", "dotted"]

FAR = 1e12  # dots; a point further away than the closest zoom can put one is drawn from there
DASHES: dict[str, dict[Line, tuple[float, float]]] = {  # dots drawn, and dots from one dash to the next
    "braille": {"dashed": (5, 8), "dotted": (1, 3)},
    "blocks": {"dashed": (3, 5), "dotted": (1, 3)},
    "ascii": {"dashed": (3, 5), "dotted": (1, 3)},
}


@dataclass(frozen=True)
class Segments:
    """Straight pieces in dots, each array [pieces]; `begun` is the length of the curve before each."""

    x0: Array
    y0: Array
    x1: Array
    y1: Array
    begun: Array

    def only(self, chosen: Dots) -> Segments:
        """The pieces for which `chosen` [pieces] is true."""
        return Segments(
            self.x0[chosen], self.y0[chosen], self.x1[chosen], self.y1[chosen], self.begun[chosen]
        )


def joined(x: Array, y: Array) -> Segments:
    """The pieces of a curve through points in dots; NaN is a gap that no piece crosses.

    Points that follow each other in one column of dots become one stroke from the least to the largest, so
    that many points cost no more than the columns they fill and no spike is lost. A lone point is a piece of
    length zero.
    """
    there = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(there):
        nothing = np.zeros(0)
        return Segments(nothing, nothing, nothing, nothing, nothing)
    columns = np.rint(np.clip(x[there], -FAR, FAR))
    heights = np.clip(y[there], -FAR, FAR)
    follows = np.diff(there) == 1
    new = np.concatenate([[True], ~follows | (columns[1:] != columns[:-1])])
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(there)) - 1
    least, most = np.minimum.reduceat(heights, starts), np.maximum.reduceat(heights, starts)
    first, last = heights[starts], heights[ends]
    upward = np.abs(first - least) <= np.abs(first - most)
    path = np.stack([first, np.where(upward, least, most), np.where(upward, most, least), last], axis=1)
    flat = most - least < 1  # less than a dot: one point instead of a step within the column
    path[flat] = ((least + most) / 2)[flat, None]
    ys, xs = path.ravel(), np.repeat(columns[starts], 4)
    linked = np.ones(len(ys) - 1, dtype=bool)
    linked[3::4] = follows[ends[:-1]]
    lengths = np.where(linked, np.hypot(np.diff(xs), np.diff(ys)), 0.0)
    begun = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    pieces = Segments(xs[:-1], ys[:-1], xs[1:], ys[1:], begun)
    between = np.arange(len(linked)) % 4 == 3
    lone = np.repeat(flat, 4)[:-1] & ~between
    lone[1::4] = lone[2::4] = False  # of the pieces of no length in a flat column one is enough
    moving = (lengths > 0) | lone
    return pieces.only(linked & moving)


def clipped(pieces: Segments, width: int, height: int) -> Segments:
    """The parts of the pieces within a rectangle of dots (Liang and Barsky 1984)."""
    dx, dy = pieces.x1 - pieces.x0, pieces.y1 - pieces.y0
    enter, leave = np.zeros(len(dx)), np.ones(len(dx))
    for start, along, most in ((pieces.x0, dx, width - 0.5), (pieces.y0, dy, height - 0.5)):
        moves = np.abs(along) > 1e-9
        safe = np.where(moves, along, 1.0)
        first, second = (-0.5 - start) / safe, (most - start) / safe
        inside = (start >= -0.5) & (start <= most)
        enter = np.maximum(enter, np.where(moves, np.minimum(first, second), np.where(inside, 0.0, 2.0)))
        leave = np.minimum(leave, np.where(moves, np.maximum(first, second), 1.0))
    parts = Segments(
        pieces.x0 + enter * dx,
        pieces.y0 + enter * dy,
        pieces.x0 + leave * dx,
        pieces.y0 + leave * dy,
        pieces.begun + enter * np.hypot(dx, dy),
    )
    return parts.only(enter <= leave)


def dots(pieces: Segments, width: int, height: int, dash: tuple[float, float] | None = None) -> Dots:
    """A curve as dots [height, width]; `dash` is (dots drawn, dots from one dash to the next)."""
    drawn = np.zeros((height, width), dtype=bool)
    parts = clipped(pieces, width, height)
    dx, dy = parts.x1 - parts.x0, parts.y1 - parts.y0
    steps = np.ceil(np.maximum(np.abs(dx), np.abs(dy))).astype(np.int64)
    counts = steps + 1
    piece = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = within / np.maximum(steps, 1)[piece]
    x = np.clip(np.rint(parts.x0[piece] + share * dx[piece]), 0, width - 1).astype(np.int64)
    y = np.clip(np.rint(parts.y0[piece] + share * dy[piece]), 0, height - 1).astype(np.int64)
    if dash is not None:
        drawn_length, period = dash
        length = parts.begun[piece] + share * np.hypot(dx, dy)[piece]
        on = np.mod(length + 1e-6, period) < drawn_length  # whole lengths come out a little short
        x, y = x[on], y[on]
    drawn[y, x] = True
    return drawn
