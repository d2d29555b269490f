"""A grid of terminal cells, each a character and the name of a style; what charts are drawn on.

A canvas is filled and then frozen into a `Picture`. Names of styles become colours in `text`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from eqprop_tui.charts.glyphs import BRAILLE, Glyphs

Cell = tuple[str, str]
Dots = NDArray[np.bool_]

SMALLEST_WIDTH = 10
SMALLEST_HEIGHT = 3


@dataclass(frozen=True)
class Area:
    """A rectangle of cells: its first column and row, and how many."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """`height` rows of `width` cells (character, name of style); `plot` is where data are drawn.

    `remarks` say in words what could not be drawn as it is.
    """

    width: int
    height: int
    rows: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...] = ()
    plot: Area | None = None


_SEVEN_BIT = str.maketrans(
    {"│": "|", "┤": "+", "└": "+", "─": "-", "┬": "+", "…": "~", "–": "-", "−": "-", "±": "+-", "×": "x"}
    | {"·": ".", "•": "*", "β": "beta", "∂": "d", "╌": "-", "┄": "-", "┈": "."}
)


def clean(text: str, *, ascii: bool = False) -> str:
    """`text` with one cell a character: what is wider, narrower or no character becomes "?"."""
    if text.isascii() and text.isprintable():
        return text
    if ascii:
        text = text.translate(_SEVEN_BIT)
        return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return "".join(c if _is_one_cell(c) else "?" for c in text)


@lru_cache(maxsize=4096)
def _is_one_cell(character: str) -> bool:
    return character.isprintable() and cell_len(character) == 1


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` cells, its end replaced by … where it is longer."""
    if len(text) <= width:
        return text
    return text[: width - 1] + "…" if width > 0 else ""


class Canvas:
    """Cells to be filled. What lies outside is left out, never an error."""

    def __init__(self, width: int, height: int, glyphs: Glyphs = BRAILLE) -> None:
        self.width, self.height, self.glyphs = max(0, width), max(0, height), glyphs
        self._characters = np.full((self.height, self.width), " ", dtype="<U1")
        self._styles = np.zeros((self.height, self.width), dtype=np.int16)
        self._names = [""]
        self._dots = np.zeros((self.height, self.width), dtype=np.uint8)
        self._table = np.array(glyphs.characters, dtype="<U1")

    def write(self, row: int, column: int, text: str, style: str = "") -> None:
        """Put `text` from a cell on; control characters and wide ones become "?"."""
        text = clean(text, ascii=self.glyphs.ascii)
        if column < 0:
            text, column = text[-column:], 0
        text = text[: max(0, self.width - column)]
        if text and 0 <= row < self.height:
            self._characters[row, column : column + len(text)] = list(text)
            self._styles[row, column : column + len(text)] = self._index(style)
            self._dots[row, column : column + len(text)] = 0

    def lay(self, dots: Dots, area: Area, style: str, *, ink: str | None = None) -> None:
        """Draw `dots` [rows · down, columns · across] over an area; a cell takes the style of the latest.

        Cells drawn before keep their dots, so that curves that cross are both seen. With `ink` each cell that
        has a dot shows that character instead.
        """
        bits = _folded(dots, area, self.glyphs)
        touched = bits > 0
        box = np.s_[area.top : area.top + area.height, area.left : area.left + area.width]
        bits = np.where(touched, self._dots[box] | bits, bits)
        self._dots[box][touched] = bits[touched]
        self._characters[box][touched] = self._table[bits[touched]] if ink is None else ink
        self._styles[box][touched] = self._index(style)

    def clear(self, dots: Dots, area: Area) -> None:
        """Empty the cells of an area in which `dots` has any."""
        touched = _folded(dots, area, self.glyphs) > 0
        box = np.s_[area.top : area.top + area.height, area.left : area.left + area.width]
        self._dots[box][touched] = 0
        self._characters[box][touched] = " "
        self._styles[box][touched] = 0

    def is_blank(self, row: int, column: int) -> bool:
        """Whether nothing was drawn in a cell."""
        return bool(self._characters[row, column] == " ")

    def frozen(self, remarks: Sequence[str] = (), plot: Area | None = None) -> Picture:
        """The picture as it is now."""
        names = self._names
        rows = tuple(
            tuple((character, names[style]) for character, style in zip(characters, styles, strict=True))
            for characters, styles in zip(self._characters.tolist(), self._styles.tolist(), strict=True)
        )
        return Picture(self.width, self.height, rows, tuple(remarks), plot)

    def _index(self, style: str) -> int:
        if style not in self._names:
            self._names.append(style)
        return self._names.index(style)


def _folded(dots: Dots, area: Area, glyphs: Glyphs) -> NDArray[np.uint8]:
    """Dots to one number a cell [rows, columns]."""
    cells = dots.reshape(area.height, glyphs.down, area.width, glyphs.across)
    weights = np.array(glyphs.bits, dtype=np.uint8)
    bits: NDArray[np.uint8] = np.einsum("rdca,da->rc", cells.view(np.uint8), weights)
    return bits


def too_small(width: int, height: int, glyphs: Glyphs = BRAILLE) -> Picture:
    """What is shown where a chart has no room: a message as far as it fits."""
    canvas = Canvas(width, height, glyphs)
    canvas.write(0, 0, shortened("too small", canvas.width), "dim")
    return canvas.frozen()
