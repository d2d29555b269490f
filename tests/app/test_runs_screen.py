"""The table of runs keeps its cursor, shows what the listing says, and never breaks on what it finds."""

from __future__ import annotations

import asyncio
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from app.cases_runs import epoch, order, pointed, runs_screen, three
from app.world import World
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.launcher import Launched, Start
from eqprop_core.runs.listing import RunSummary
from eqprop_core.runs.places import Place
from eqprop_tui.marks import Marks
from eqprop_tui.screens import run_actions
from eqprop_tui.watching.lister import Found, Lister
from eqprop_tui.widgets.runs_table import in_order


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def play(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


def test_the_cursor_stays_with_its_run_as_rows_come_and_go(world: World) -> None:
    _a, b, c = three(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "a")
            await world.press("down")
            assert pointed(screen) == "b"
            world.run(name="d")
            screen.lister.look()
            await world.until(lambda: order(screen) == "dcba")
            assert pointed(screen) == "b"
            shutil.rmtree(c.path)
            screen.lister.look()
            await world.until(lambda: order(screen) == "dba")
            assert pointed(screen) == "b"
            shutil.rmtree(b.path)
            screen.lister.look()
            await world.until(lambda: order(screen) == "da")
            assert pointed(screen) == "a"  # where it was

    play(act)


def test_marks_sorting_and_filter_are_kept_on_the_way_to_the_library_and_back(world: World) -> None:
    _a, _b, c = three(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "a")
            await world.press("space", "O", "slash", *"best>0", "enter", "tab")
            screen = await runs_screen(world, app, "a")
            assert list(app.marks) == [c.path]
            assert order(screen) == "abc"
            assert screen.query_one("#filter", Input).value == "best>0"
            await world.sees("1 marked", "sort started ↑")

    play(act)


def test_a_wrong_expression_is_said_beside_it_and_what_is_right_holds(world: World) -> None:
    three(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "a")
            await world.press("slash")
            await world.sees("words, or expressions such as alg=EP")
            await world.press(*"best>92")
            await world.until(lambda: order(screen) == "a")
            await world.press(*" lrx=1")
            await world.sees("lrx=1: is no setting or score; did you mean lrs?")
            assert order(screen) == "a"

    play(act)


def test_keys_typed_into_the_filter_are_letters(world: World) -> None:
    three(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "a")
            await world.press("slash", "s", "q", "R", "space", "delete")
            assert screen.query_one("#filter", Input).value == "sqR "
            assert app.screen is screen and not app.marks
            await world.press("tab")
            assert app.screen is screen and not screen.filtering

    play(act)


def test_settings_that_only_the_configuration_has_are_looked_for_there(world: World) -> None:
    world.run(name="short", T1=5)
    world.run(name="long", T1=60)

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "short", "long")
            await world.press("slash", *"T1<50")
            await world.until(lambda: [run.name for run in screen.table.runs] == ["short"])

    play(act)


def test_no_runs_yet_says_how_to_begin(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            await runs_screen(world, app)
            await world.sees("no runs yet", "choose one, and r starts it")
            await world.press("enter", "space", "v", "s", "delete", "e", "y", "n", "R", "down", "end", "O")
            assert type(app.screen).__name__ == "RunsScreen"

    play(act)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"state": "running", "host": "elsewhere", "heartbeat": 1}', "? unreachable"),
        ('{"state": "runn', "? unknown"),
        ('{"state": "queued", "ahead": 2, "host": "elsewhere", "heartbeat": HERE}', "◌ queued 3"),
        ('{"state": "running", "host": "LOCAL", "pid": 4194305, "process_started": 0.5}', "✕ lost"),
        ('{"state": "[b]x[/b]", "name": "[red]\\u001b[31m"}', "? [b]x[/b]"),
    ],
)
def test_whatever_a_state_says_it_is_shown(world: World, content: str, words: str) -> None:
    run = world.run(name="good")

    (run.path / "state.json").write_text(
        content.replace("HERE", str(time.time())).replace("LOCAL", socket.gethostname())
    )

    async def act() -> None:
        async with world.open() as app:
            await runs_screen(world, app)
            await world.sees(words)
            assert "\x1b" not in world.screen()

    play(act)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48), (240, 70)])
def test_every_row_fits_the_terminal(world: World, size: tuple[int, int]) -> None:
    three(world)

    async def act() -> None:
        async with world.open(size=size) as app:
            screen = await runs_screen(world, app, "a")
            lines = world.screen().splitlines()
            assert len(lines) == size[1]
            assert all(len(line) <= size[0] for line in lines)
            shown = lines[1].split()
            assert [name for name in ("state", "name", "epoch", "best") if name in shown]
            assert ("took" in shown) == (size[0] >= 120)
            assert screen.table.run is not None

    play(act)


def test_the_mouse_points_sorts_and_rolls(world: World) -> None:
    three(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "a")
            await world.pilot.click("#runs", offset=(10, 2))
            assert pointed(screen) == "b"
            at = world.screen().splitlines()[1].index("best") + 1
            await world.pilot.click("#runs", offset=(at, 0))
            assert order(screen) == "acb"
            await world.pilot.click("#runs", offset=(at, 0))
            assert order(screen) == "bca"

    play(act)


def test_a_finished_run_is_asked_for_more_epochs(world: World) -> None:
    run = world.run(epoch(3, 95.0), state="finished")
    wanted: list[Any] = []

    def go_on(folder: RunFolder, start: Start, *, named: str) -> Launched:
        wanted.append((folder.path, start.more_epochs, named))
        return Launched(Place("cpu"), (), ())

    world.monkeypatch.setattr(run_actions, "go_on", go_on)

    async def act() -> None:
        async with world.open() as app:
            await runs_screen(world, app, "one")
            await world.press("R")
            await world.sees("one is complete; how many epochs more?")
            app.screen.query_one("#line", Input).value = "0"
            await world.sees("give a whole number from 1 to 1,000,000")
            app.screen.query_one("#line", Input).value = "4"
            await world.press("enter")
            await world.until(lambda: wanted == [(run.path, 4, "one")])

    play(act)


def test_what_runs_cannot_be_deleted_and_what_rests_cannot_be_stopped(world: World) -> None:
    world.run(name="one")

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "one")
            assert not screen.check_action("delete", ()) and not screen.check_action("resume", ())
            assert screen.check_action("stop", ())
            await world.press("delete")
            assert app.screen is screen

    play(act)


def test_an_action_that_fails_says_so_and_breaks_nothing(world: World) -> None:
    a, _b, _c = three(world)
    said: list[str] = []

    async def act() -> None:
        async with world.open() as app:
            world.monkeypatch.setattr(app, "tell", lambda problem, **_: said.append(str(problem)))
            screen = await runs_screen(world, app, "a")
            await world.press("end", "delete")
            await world.sees("delete a?")
            (a.path / "meta.json").unlink()
            await world.press("d")
            await world.until(lambda: said)
            assert "has no meta.json of a run" in said[0]
            assert a.path.exists() and order(screen) == "cba"

    play(act)


def test_one_results_folder_alone(world: World, tmp_path: Path) -> None:
    world.run(name="here")
    found: list[Found] = []
    lister = Lister([tmp_path / "elsewhere"], found.append)
    assert lister.runs() == []
    assert [run.name for run in Lister([world.results], found.append).runs()] == ["here"]


def test_a_state_that_is_as_it_was_is_not_read_again(world: World) -> None:
    run = world.run(name="rests", state="finished")
    lister = Lister([world.results], lambda _: None)
    first = lister.runs()[0]
    assert lister.runs()[0] is first
    run.write_state({**run.read_state(), "best": 12.0})
    assert lister.runs()[0].best == 12.0


def test_runs_without_a_value_come_last_either_way() -> None:
    def summary(name: str, best: float | None) -> RunSummary:
        known = dict.fromkeys(RunSummary.__dataclass_fields__)
        return RunSummary(**{**known, "path": Path(name), "name": name, "best": best, "state": "finished", "epoch": 0, "tags": ()})  # type: ignore[arg-type]  # fmt: skip

    runs = [summary("none", None), summary("low", 1.0), summary("high", 2.0)]
    assert [run.name for run in in_order(runs, "best test", falling=True)] == ["high", "low", "none"]
    assert [run.name for run in in_order(runs, "best test", falling=False)] == ["low", "high", "none"]


def test_a_mark_looks_the_same_however_others_come_and_go() -> None:
    runs = [Path(str(number)) for number in range(20)]
    marks = Marks(runs)
    looks = {run: (marks.colour(run), marks.marker(run)) for run in runs}
    assert len(set(looks.values())) == 20
    for run in runs[::2]:
        marks.discard(run)
    assert all((marks.colour(run), marks.marker(run)) == looks[run] for run in marks)
    marks.add(runs[0])
    assert (marks.colour(runs[0]), marks.marker(runs[0])) == looks[runs[0]]  # the first free place
