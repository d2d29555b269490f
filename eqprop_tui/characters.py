"""What lines go through as they are drawn: characters that a terminal lacks, or that steer it, are replaced.

Cell for cell, so that nothing moves from its place. Screens are written with the characters that they mean,
and text from files is made printable where it is read; what a screen forgets, a terminal is not told either.
"""

from __future__ import annotations

from unicodedata import normalize

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from eqprop_core.names import can_be_shown
from eqprop_tui.charts.glyphs import ASCII, BRAILLE, Glyphs

LACKING, INSTEAD = "✓✗✕●◐◌‖≠▸▾━╸╌┄┈", "vxx*+o=!>v=>--."  # in fonts without braille
OTHERS, IN_SEVEN_BIT = "│┤└─┬…–−±×·•β∂σ■→←↑↓▌█▎▁▂▃▄▅▆▇", "|++-+~--~x.*bdo#><^v|#|       "
FEW = str.maketrans(LACKING, INSTEAD)
SEVEN_BIT = dict(zip(LACKING + OTHERS, INSTEAD + IN_SEVEN_BIT, strict=True))


def shown(text: str, glyphs: Glyphs) -> str:
    """The text with characters that go with these glyphs and do nothing to a terminal, in as many cells."""
    if not can_be_shown(text):
        text = "".join(c if can_be_shown(c) else "?" * cell_len(c) for c in text)
    if text.isascii() or glyphs is BRAILLE:
        return text
    if glyphs is ASCII:
        return "".join(character if character.isascii() else _seven_bit(character) for character in text)
    return text.translate(FEW)


def _seven_bit(character: str) -> str:
    plain = SEVEN_BIT.get(character) or normalize("NFKD", character)[0]
    return plain if plain.isascii() and cell_len(character) == 1 else "?" * cell_len(character)


class Characters(LineFilter):
    """Replaces them in every line that is sent to the terminal."""

    def __init__(self, glyphs: Glyphs) -> None:
        super().__init__()
        self.glyphs = glyphs

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line with other characters."""
        return [
            segment
            if segment.control or (segment.text.isascii() and segment.text.isprintable())
            else Segment(shown(segment.text, self.glyphs), *segment[1:])
            for segment in segments
        ]
