"""Pictures as text: every style has a colour, and colours can be told apart."""

from __future__ import annotations

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


def luminance(colour: str) -> float:
    parts = [part / 255 for part in Color.parse(colour).get_truecolor()]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("theme", "colours"), [("dark", DARK), ("light", LIGHT)])
def test_curves_stand_out_from_the_ground(theme: str, colours: tuple[str, ...]) -> None:
    ground = luminance(GROUNDS[theme])
    for colour in colours:
        light, dark = sorted((luminance(colour), ground), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour  # WCAG 2.1, 1.4.11
    assert all(one != other for one, other in combinations(colours, 2))


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
