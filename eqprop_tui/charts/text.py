"""Pictures as plain text, as rich text and as segments; the palettes that give names of styles their colours.

Colours are those of Okabe and Ito (2008), told apart by most colour-blind people; on a light ground the pale
ones are darkened until they stand out from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from eqprop_tui.charts.canvas import Cell, Picture  # numpy, which the first screen does without

DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0080CC", "#BBBBBB")
LIGHT = ("#0072B2", "#D55E00", "#00845F", "#B8558B", "#000000", "#3A86B5", "#B07000", "#8A6D00")
SIXTEEN = ("cyan", "yellow", "green", "magenta", "bright_blue", "red", "white", "bright_black")
GROUNDS = {"dark": "#121212", "light": "#FFFFFF"}
RAW_SHARE = 0.45  # of its colour that a raw line keeps behind the smoothed one


def _mixed(colour: str, ground: str) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(RAW_SHARE * a + (1 - RAW_SHARE) * b):02X}" for a, b in pairs)


def _palette(theme: str, colours: tuple[str, ...], grey: str, dark_grey: str) -> Mapping[str, str]:
    styles = {"": "", "text": "", "title": "bold", "axis": grey, "dim": grey, "reference": grey}
    styles["cursor"] = dark_grey
    for place, colour in enumerate(colours, 1):
        styles[f"series-{place}"] = colour
        ground = GROUNDS.get(theme)
        styles[f"series-{place}-raw"] = _mixed(colour, ground) if ground else f"dim {colour}"
    return MappingProxyType(styles)


PALETTES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "dark": _palette("dark", DARK, "#8C8C8C", "#6C6C6C"),
        "light": _palette("light", LIGHT, "#6C6C6C", "#8C8C8C"),
        "16": _palette("16", SIXTEEN, "dim", "dim"),
    }
)


def to_plain(picture: Picture) -> str:
    """The characters alone, rows joined by newlines, every row of full width."""
    return "\n".join("".join(character for character, _ in row) for row in picture.rows)


def to_segments(picture: Picture, palette: str = "dark") -> list[list[Segment]]:
    """One list of segments a row, neighbours of one style joined; `palette` is a key of PALETTES."""
    return [
        [Segment("".join(c for c, _ in cells), _style(palette, name)) for name, cells in groupby(row, _name)]
        for row in picture.rows
    ]


def to_rich(picture: Picture, palette: str = "dark") -> Text:
    """One text, to be printed by a rich console or shown in a widget."""
    text = Text(no_wrap=True, end="")
    for place, row in enumerate(to_segments(picture, palette)):
        if place:
            text.append("\n")
        for segment in row:
            text.append(segment.text, segment.style)
    return text


def _name(cell: Cell) -> str:
    return cell[1]


@lru_cache(maxsize=256)
def _style(palette: str, name: str) -> Style:
    return Style.parse(PALETTES[palette].get(name, ""))
