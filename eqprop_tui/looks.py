"""How the application looks: its themes, the palette of its charts, the characters that it draws with."""

from __future__ import annotations

import locale
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.theme import Theme

from eqprop_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE, Glyphs

if TYPE_CHECKING:
    from collections.abc import Mapping

GLYPHS = {"braille": BRAILLE, "blocks": BLOCKS, "ascii": ASCII}
WITHOUT_BRAILLE = ("linux", "vt100", "vt102", "vt220", "dumb", "cons25", "ansi")

# Blue is what is selected, orange what is live: a pair that most colour-blind people tell apart.
THEMES = {
    "dark": Theme(
        name="eqprop-dark",
        primary="#56B4E9",
        secondary="#56B4E9",
        accent="#E69F00",
        success="#2BB38A",
        warning="#E69F00",
        error="#E0673A",
        foreground="#D8D8D8",
        background="#121212",
        surface="#121212",
        panel="#1E1E1E",
        dark=True,
    ),
    "light": Theme(
        name="eqprop-light",
        primary="#0072B2",
        secondary="#0072B2",
        accent="#A85A00",
        success="#00704F",
        warning="#A85A00",
        error="#B33A00",
        foreground="#202020",
        background="#FFFFFF",
        surface="#FFFFFF",
        panel="#F0F0F0",
        dark=False,
    ),
}
TEXTUAL_NAMES = {"dark": "eqprop-dark", "light": "eqprop-light", "16": "ansi-dark"}
MEANINGS = ("good", "waiting", "bad", "dim", "selected")
COLOURS = {  # of the meanings, by theme
    "dark": ("#2BB38A", "#E69F00", "#E0673A", "#8C8C8C", "#56B4E9"),
    "light": ("#00704F", "#A85A00", "#B33A00", "#6C6C6C", "#0072B2"),
    "16": ("green", "yellow", "red", "bright_black", "cyan"),
}
SIGNS = {
    "running": ("●", "good"),
    "starting": ("◐", "waiting"),
    "queued": ("◌", "waiting"),
    "paused": ("‖", "waiting"),
    "finished": ("✓", "dim"),
    "stopped": ("■", "dim"),
    "waiting": ("·", "dim"),
    "pruned": ("■", "dim"),
    "changed": ("≠", "waiting"),
    "failed": ("✕", "bad"),
    "lost": ("✕", "bad"),
    "unreachable": ("?", "bad"),
}


@dataclass(frozen=True)
class Looks:
    """The theme (`dark`, `light`, `16`) and the glyphs of charts."""

    palette: str
    glyphs: Glyphs

    @classmethod
    def of(cls, app: Any) -> Looks:
        """Those of an application; dark and braille where it says nothing."""
        looks = getattr(app, "looks", None)
        return looks if isinstance(looks, Looks) else cls("dark", BRAILLE)

    def colour(self, name: str) -> str:
        """The colour for `good`, `waiting`, `bad`, `dim` or `selected`."""
        return COLOURS[self.palette][MEANINGS.index(name)]

    def sign(self, state: str) -> tuple[str, str]:
        """A character and a colour for the state of a run."""
        sign, colour = SIGNS.get(state, ("?", "bad"))
        return sign, self.colour(colour)


def glyphs_for(wanted: str, environment: Mapping[str, str] = os.environ) -> Glyphs:
    """The characters to draw with: those wanted, or for `auto` what the terminal and the locale can show."""
    if wanted in GLYPHS:
        return GLYPHS[wanted]
    if "utf" not in locale.getpreferredencoding(False).lower():
        return ASCII
    return BLOCKS if environment.get("TERM", "") in WITHOUT_BRAILLE else BRAILLE
