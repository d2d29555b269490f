"""Pictures as text: every style has a colour, and colours can be told apart."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from rich.color import Color
from rich.console import Console

from eqprop_tui.charts.data import Chart, Reference, Series
from eqprop_tui.charts.lines import draw
from eqprop_tui.charts.text import DARK, GROUNDS, LIGHT, PALETTES, to_plain, to_rich, to_segments

CHART = Chart(
    "accuracy",
    (Series("train", range(40), range(40)), Series("test", range(40), range(40, 0, -1), 2, line="dashed")),
    (Reference("paper", 20),),
    smoothing=0.5,
)


def linear(colour: str) -> tuple[float, ...]:
    parts = [part / 255 for part in Color.parse(colour).get_truecolor()]
    return tuple(c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)


def luminance(colour: str) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("theme", "colours"), [("dark", DARK), ("light", LIGHT)])
def test_curves_stand_out_from_the_ground(theme: str, colours: tuple[str, ...]) -> None:
    ground = luminance(GROUNDS[theme])
    for colour in colours:
        light, dark = sorted((luminance(colour), ground), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour  # WCAG 2.1, 1.4.11
    assert all(one != other for one, other in combinations(colours, 2))


# Machado, Oliveira and Fernandes 2009, severity 1: what is seen without one kind of cone, in linear RGB.
WITHOUT = {
    "red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def lab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of linear RGB."""
    red, green, blue = (min(max(part, 0.0), 1.0) for part in rgb)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (c ** (1 / 3) if c > 0.008856 else 7.787 * c + 16 / 116 for c in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("missing", list(WITHOUT))
@pytest.mark.parametrize("colours", [DARK, LIGHT], ids=["dark", "light"])
def test_the_first_curves_differ_for_colour_blind_eyes(colours: tuple[str, ...], missing: str) -> None:
    seen = []
    for colour in colours[:5]:
        rgb = linear(colour)
        seen.append(lab(tuple(sum(m * c for m, c in zip(row, rgb, strict=True)) for row in WITHOUT[missing])))
    for (first, one), (second, other) in combinations(zip(colours, seen, strict=False), 2):
        assert math.dist(one, other) >= 15, (first, second)


def test_palettes_name_the_same_styles_and_every_drawn_style_is_named() -> None:
    assert len({frozenset(palette) for palette in PALETTES.values()}) == 1
    drawn = {style for row in draw(CHART, 80, 20, cursor=40).rows for _, style in row}
    assert drawn <= set(PALETTES["dark"])


@pytest.mark.parametrize("palette", list(PALETTES))
def test_segments_and_rich_text_hold_the_same_characters(palette: str) -> None:
    picture = draw(CHART, 80, 20)
    plain = to_plain(picture)
    assert "\n".join("".join(s.text for s in row) for row in to_segments(picture, palette)) == plain
    assert to_rich(picture, palette).plain == plain


def test_a_console_prints_it_line_by_line_without_wrapping() -> None:
    console = Console(width=80, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(to_rich(draw(CHART, 80, 20), "16"))
    assert captured.get().count("\n") in (19, 20)
