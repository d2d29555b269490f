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
EDGE = 1e-6  # dots; so that the last place within is not rounded to one outside
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


def dots(pieces: Segments, width: int, height: int, dash: tuple[float, float] | None = None) -> Dots:
    """A curve as dots [height, width]; `dash` is (dots drawn, dots from one dash to the next).

    A piece has one dot for each whole number on the axis along which it is longer, so that a curve that is
    moved by whole dots keeps its dots, and its dashes, wherever it is cut.
    """
    drawn = np.zeros((height, width), dtype=bool)
    enter, leave = _in_sight(pieces, width, height)
    seen = enter <= leave
    pieces, enter, leave = pieces.only(seen), enter[seen], leave[seen]
    dx, dy = pieces.x1 - pieces.x0, pieces.y1 - pieces.y0
    flat = np.abs(dx) >= np.abs(dy)
    start, along = np.where(flat, pieces.x0, pieces.y0), np.where(flat, dx, dy)
    first, last = np.rint(start + enter * along), np.rint(start + leave * along)
    counts = np.abs(last - first).astype(np.int64) + 1
    piece = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(piece)) - np.repeat(np.cumsum(counts) - counts, counts)
    place = first[piece] + within * np.sign(last - first)[piece]
    share = np.clip((place - start[piece]) / np.where(along == 0, 1.0, along)[piece], 0.0, 1.0)
    x = np.clip(np.rint(pieces.x0[piece] + share * dx[piece]), 0, width - 1).astype(np.int64)
    y = np.clip(np.rint(pieces.y0[piece] + share * dy[piece]), 0, height - 1).astype(np.int64)
    if dash is not None:
        drawn_length, period = dash
        length = pieces.begun[piece] + share * np.hypot(dx, dy)[piece]
        on = np.mod(length + 1e-6, period) < drawn_length  # whole lengths come out a little short
        x, y = x[on], y[on]
    drawn[y, x] = True
    return drawn


def _in_sight(pieces: Segments, width: int, height: int) -> tuple[Array, Array]:
    """The shares of each piece at which it enters and leaves a rectangle of dots (Liang and Barsky 1984).

    A piece that is not seen enters after it leaves.
    """
    enter, leave = np.zeros(len(pieces.x0)), np.ones(len(pieces.x0))
    for start, end, size in ((pieces.x0, pieces.x1, width), (pieces.y0, pieces.y1, height)):
        most = size - 0.5 - EDGE
        along = end - start
        moves = np.abs(along) > 1e-9
        safe = np.where(moves, along, 1.0)
        first, second = (-0.5 - start) / safe, (most - start) / safe
        inside = (start >= -0.5) & (start <= most)
        enter = np.maximum(enter, np.where(moves, np.minimum(first, second), np.where(inside, 0.0, 2.0)))
        leave = np.minimum(leave, np.where(moves, np.maximum(first, second), 1.0))
    return enter, leave
