"""What charts draw with: characters for the dots of a cell, and the number of colours. Loads no numpy."""

from __future__ import annotations

from dataclasses import dataclass

COLOURS = 8  # that a palette has; a ninth series takes the first again
INKS = "*+ox#@%&"  # of curves in ASCII that have no marker of their own


@dataclass(frozen=True)
class Glyphs:
    """Characters that a cell's `across` × `down` dots make; `bits` [down][across] are a dot's value."""

    name: str
    across: int
    down: int
    bits: tuple[tuple[int, ...], ...]
    characters: tuple[str, ...]

    @property
    def ascii(self) -> bool:
        """Whether 7-bit characters alone are drawn."""
        return self is ASCII


BRAILLE = Glyphs(
    "braille", 2, 4, ((1, 8), (2, 16), (4, 32), (64, 128)), tuple(chr(0x2800 + bits) for bits in range(256))
)
BLOCKS = Glyphs("blocks", 1, 2, ((1,), (2,)), (" ", "▀", "▄", "█"))
ASCII = Glyphs("ascii", 1, 1, ((1,),), (" ", "*"))
GLYPHS = {glyphs.name: glyphs for glyphs in (BRAILLE, BLOCKS, ASCII)}
