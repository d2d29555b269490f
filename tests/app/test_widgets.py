"""The lines of a screen: they fit any width, and what has not changed is not sent again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.widgets import Input

from app.made import GDU, STARTED, batch, epoch
from app.world import World
from eqprop_core.events import Event, PhaseProgress, Record
from eqprop_core.runs.listing import RunSummary
from eqprop_tui.app import EqpropApp, Options
from eqprop_tui.characters import shown
from eqprop_tui.charts.glyphs import ASCII, BLOCKS, BRAILLE
from eqprop_tui.keys import TABLE
from eqprop_tui.looks import SIGNS, Looks, glyphs_for
from eqprop_tui.preferences import Preferences, load_preferences, preferences_file, save_preferences
from eqprop_tui.watching.view import RunView
from eqprop_tui.widgets.progress import batch_line, epoch_line, said_line, waiting_line
from eqprop_tui.widgets.text_lines import TextLines, key_line

LOOKS = Looks("dark", BRAILLE)
RUN = RunSummary(
    path=Path("run"),
    id="7f3a0000",
    name="digits",
    state="running",
    preset=None,
    model="MLP",
    task="digits",
    alg="EP",
    loss="mse",
    epoch=37,
    epochs=120,
    best=86.91,
    last=86.44,
    device="cpu",
    created=None,
    seconds_an_epoch=752.0,
    ahead=None,
)


SCREENS = [place for place in TABLE if place != "everywhere" and any(key.footer for key in TABLE[place])]


def seen(*events: Event) -> RunView:
    view = RunView()
    for seq, event in enumerate(events, 1):
        view.add(Record(seq, 0.0, event))
    return view


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_progress_fits_the_width_and_leaves_out_what_has_no_room(width: int) -> None:
    view = seen(STARTED, batch(4), PhaseProgress(epoch=1, batch=5, phase="nudged −β", step=12, steps=25))
    first = epoch_line(view, RUN, 88.3, width, LOOKS)
    second = batch_line(view, RUN, width, LOOKS)
    assert first.cell_len <= width and second.cell_len <= width
    assert first.plain.startswith(" epoch  37/120 ")
    assert "nudged −β 12/25" in second.plain
    if width >= 120:
        assert "best test 86.91 %   test last 86.44 %   paper 88.30 %   17 h 20 left" in first.plain


def test_a_bar_is_as_long_as_its_share() -> None:
    def filled(number: int) -> float:
        text = batch_line(seen(batch(number)), RUN, 100, LOOKS).plain
        return text.count("━") + text.count("╸") / 2

    full = filled(10)
    assert [round(filled(number) / full, 1) for number in (1, 5, 10)] == [0.1, 0.5, 1.0]


def test_a_run_that_waits_or_starts_says_so() -> None:
    queued = waiting_line(replace(RUN, state="queued", ahead=2), LOOKS, None)
    starting = waiting_line(replace(RUN, state="starting"), LOOKS, None)
    assert queued is not None and queued.plain == " waits for cpu: 2 runs before it"
    assert starting is not None and "starting" in starting.plain
    assert waiting_line(RUN, LOOKS, None) is None


def test_what_was_asked_is_said_until_it_is_answered() -> None:
    view = seen(epoch(1, 50.0), GDU)
    assert said_line(view, "pause", LOOKS).plain == " asked: pause …"
    assert "GDU check at epoch 1, batch 4" in said_line(view, None, LOOKS).plain


@pytest.mark.parametrize("place", SCREENS)
@pytest.mark.parametrize("width", [60, 80, 120, 240])
def test_the_line_of_keys_fits_and_always_tells_of_the_help(place: str, width: int) -> None:
    line = key_line(TABLE[place], width, {})
    assert cell_len(line.plain) <= width
    assert line.plain.endswith("ctrl+p palette   ? help")
    first = min((key for key in TABLE[place] if key.footer is not None), key=lambda key: key.footer or 0)
    assert f"{first.written} {first.label}" in line.plain


def test_no_two_keys_of_a_screen_are_the_same() -> None:
    for place in TABLE:
        together = TABLE[place] if place == "everywhere" else (*TABLE[place], *TABLE["everywhere"])
        keys = [name for key in together for name in key.keys.split(",")]
        assert len(keys) == len(set(keys)), place


def test_only_cells_that_have_changed_are_drawn_again() -> None:
    drawn: list[Any] = []

    class Lines(TextLines):
        def refresh(self, *regions: Any, **given: Any) -> Any:
            drawn.extend(regions)
            return super().refresh(*regions, **given)

    class Small(App[None]):
        def compose(self) -> ComposeResult:
            yield Lines(["epoch 1", "best 90.1 %", "same"])

    async def script() -> None:
        app = Small()
        async with app.run_test(size=(40, 10)) as pilot:
            await pilot.pause()
            lines = app.query_one(Lines)
            drawn.clear()
            lines.show("epoch 1", "best 90.4 %", "same")
            await pilot.pause()
            assert [tuple(region) for region in drawn] == [(8, 1, 1, 1)]
            assert lines.plain() == "epoch 1\nbest 90.4 %\nsame"

    asyncio.run(script())


def test_states_have_a_sign_each_also_where_a_terminal_can_show_little() -> None:
    for glyphs in (BLOCKS, ASCII):
        signs = {shown(Looks("16", glyphs).sign(state)[0], glyphs) for state in SIGNS}
        assert len(signs) == len({sign for sign, _ in SIGNS.values()})
        assert glyphs is BLOCKS or all(sign.isascii() for sign in signs)


@given(st.text())
def test_in_ascii_any_text_takes_as_many_cells_as_before(text: str) -> None:
    plain = shown(text, ASCII)
    assert plain.isascii() and cell_len(plain) == cell_len(text)


def test_in_ascii_no_screen_shows_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_preferences(glyphs="ascii")
    world = World(tmp_path, monkeypatch)

    async def script() -> None:
        run = world.run(STARTED, epoch(1, 50.0), GDU)
        async with world.open(run, size=(80, 24)) as app:
            for key, text in (("3", "> synapses.0.weight"), ("d", "v start here"), ("tab", "sort started v")):
                await world.press(key)
                await world.sees(text)
                assert world.screen().isascii()
            app.open_configure({"task": "digits", "archi": [64, 9]}, "preset")
            await world.sees("[network]x1", "x must end with 10")
            await world.press("question_mark")
            assert world.screen().isascii()

    asyncio.run(script())


@pytest.mark.parametrize("low", [True, False])
def test_no_cursor_blinks_where_the_bandwidth_is_low(low: bool) -> None:
    async def script() -> None:
        app = EqpropApp(Options(low_bandwidth=low))
        async with app.run_test() as pilot:
            await pilot.press("slash")
            assert isinstance(app.focused, Input) and app.focused.cursor_blink is not low

    asyncio.run(script())


def test_a_terminal_without_braille_gets_what_it_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locale.getpreferredencoding", lambda _=True: "UTF-8")
    assert glyphs_for("auto", {"TERM": "xterm-256color"}).name == "braille"
    assert glyphs_for("auto", {"TERM": "linux"}).name == "blocks"
    assert glyphs_for("ascii", {"TERM": "xterm-256color"}).name == "ascii"
    monkeypatch.setattr("locale.getpreferredencoding", lambda _=True: "ANSI_X3.4-1968")
    assert glyphs_for("auto", {"TERM": "xterm-256color"}).name == "ascii"


def test_choices_are_remembered_and_wrong_ones_take_their_defaults() -> None:
    assert load_preferences() == Preferences()
    assert save_preferences(theme="light", bell=True)
    assert load_preferences() == Preferences(theme="light", bell=True)
    assert save_preferences(glyphs="ascii")  # by another application, which began before
    assert load_preferences() == Preferences(theme="light", bell=True, glyphs="ascii")
    preferences_file().write_text('{"theme": "pink", "bell": true, "of tomorrow": 1}')
    assert load_preferences() == Preferences(bell=True)
    assert save_preferences(bell=False)
    assert '"of tomorrow": 1' in preferences_file().read_text()
    preferences_file().write_text("not JSON")
    assert load_preferences() == Preferences()
    preferences_file().unlink()
    preferences_file().mkdir()
    assert not save_preferences()
