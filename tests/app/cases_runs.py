"""What the keys of the table of runs do."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from textual.widgets import Input

from app.world import World, case
from eqprop_core.events import EpochFinished
from eqprop_core.runs.folder import RunFolder
from eqprop_tui.app import EqpropApp
from eqprop_tui.screens.runs import RunsScreen


def epoch(number: int, test: float, **fields: Any) -> EpochFinished:
    given = {"train_accuracy": test + 1, "validation_accuracy": None, "loss": 1 / number, "test_loss": None}
    fixed = {"epoch": number, "test_accuracy": test, "best": True, "rates": [0.1], "seconds": 2.0}
    return EpochFinished(**{**fixed, **given, **fields})


async def runs_screen(world: World, app: EqpropApp, *names: str) -> RunsScreen:
    """The table of runs, opened, with these names in it."""
    app.open_runs()
    await world.until(lambda: isinstance(app.screen, RunsScreen) and app.screen.is_mounted)
    screen = app.screen
    assert isinstance(screen, RunsScreen)
    await world.until(lambda: {run.name for run in screen.table.runs} >= set(names))
    return screen


def three(world: World) -> list[RunFolder]:
    """Runs that were made one after the other: c, b and a from the top, the newest first."""
    made = []
    for number, name in enumerate("abc"):
        run = world.run(epoch(1, 90.0 + number), name=name, state="finished")
        run.describe({"created": f"2026-11-0{number + 1}T10:00:00+00:00"})
        state = {**run.read_state(), **run.identity(), "best": [93.0, 91.0, 92.0][number]}
        run.write_state(state)
        made.append(run)
    return made


def order(screen: RunsScreen) -> str:
    return "".join(run.name for run in screen.table.runs)


def pointed(screen: RunsScreen) -> str:
    return screen.table.run.name if screen.table.run else ""


@case("runs", "watch")
async def _(world: World, press: str) -> None:
    one = world.run()
    async with world.open() as app:
        await runs_screen(world, app, "one")
        await world.press(press)
        assert type(app.screen).__name__ == "MonitorScreen"
        assert app.watched == [one.path]


@case("runs", "move(-1)")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press("end", press)
        assert pointed(screen) == "b"


@case("runs", "move(1)")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press(press)
        assert pointed(screen) == "b"


@case("runs", "page(1)")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press(press)
        assert pointed(screen) == "a"


@case("runs", "page(-1)")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press("end", press)
        assert pointed(screen) == "c"


@case("runs", "end(1)")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press(press)
        assert pointed(screen) == "a"


@case("runs", "end(-1)")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press("end", press)
        assert pointed(screen) == "c"


@case("runs", "mark")
async def _(world: World, press: str) -> None:
    c = three(world)[2]
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press(press)
        await world.sees("1 marked", "▲ ✓ finished  c")
        assert pointed(screen) == "b"
        await world.press("up", press)
        assert c.path not in app.marks and "marked" not in world.screen()


@case("runs", "unmark")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        await runs_screen(world, app, "a")
        await world.press("space", "space")
        await world.sees("2 marked")
        await world.press(press)
        assert not app.marks
        assert "▲" not in world.screen()


@case("runs", "compare")
async def _(world: World, press: str) -> None:
    a, _, c = three(world)
    async with world.open() as app:
        await runs_screen(world, app, "a")
        await world.press("space", "down", "space", press)
        assert type(app.screen).__name__ == "CompareScreen"
        assert set(app.screen.marks) == {a.path, c.path}  # type: ignore[attr-defined]


@case("runs", "resume")
async def _(world: World, press: str) -> None:
    run = world.run(state="paused")
    async with world.open() as app:
        await runs_screen(world, app, "one")
        await world.press(press)
        await world.until(lambda: world.requests(run) == ["resume"])


@case("runs", "stop")
async def _(world: World, press: str) -> None:
    runs = [world.run(name="one"), world.run(name="two")]
    async with world.open() as app:
        await runs_screen(world, app, "one", "two")
        await world.press("space", "space", press)
        await world.sees("stop 2 runs?", "after its batch")
        await world.press("n")
        asked: list[list[str]] = [[], []]

        def both() -> bool:
            for place, run in enumerate(runs):
                asked[place] += world.requests(run)
            return asked == [["stop", "stop"]] * 2

        await world.until(both)


@case("runs", "new")
async def _(world: World, press: str) -> None:
    world.run(T1=7)
    asked: list[tuple[Any, ...]] = []
    async with world.open() as app:
        await runs_screen(world, app, "one")
        world.monkeypatch.setattr(app, "open_configure", lambda *given: asked.append(given), raising=False)
        await world.press(press)
        await world.until(lambda: asked)
        settings, origin, preset = asked[0]
        assert (settings["T1"], origin, preset) == (7, "one", None)


@case("runs", "export")
async def _(world: World, press: str) -> None:
    world.run(epoch(1, 90.5), epoch(2, 91.25))
    async with world.open() as app:
        await runs_screen(world, app, "one")
        await world.press(press)
        await world.sees("write the epochs of one to")
        app.screen.query_one("#line", Input).value = "curves.csv"
        await world.press("enter")
        await world.until((world.home / "curves.csv").exists)
        rows = list(csv.DictReader((world.home / "curves.csv").read_text().splitlines()))
        assert [row["test_accuracy"] for row in rows] == ["90.5", "91.25"]


@case("runs", "delete")
async def _(world: World, press: str) -> None:
    a, b, c = three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press("space", "down", "space", press)
        await world.sees("delete 2 runs?", a.path.name)
        await world.press("d")
        await world.until(lambda: order(screen) == "b")
        assert [run.path.exists() for run in (a, b, c)] == [False, True, False]
        assert not app.marks


@case("runs", "sort")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        while app.runs_choice.column != "best test":
            await world.press(press)
        assert order(screen) == "acb"
        assert "sort best test ↓" in world.screen() and "best test ↓" in world.screen().splitlines()[1]


@case("runs", "reverse")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        assert order(screen) == "cba"
        await world.press(press)
        assert order(screen) == "abc"
        await world.sees("sort started ↑")


@case("runs", "filter")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press(press, *"best>91.5")
        await world.until(lambda: order(screen) == "ca")
        await world.sees("2 of 3")
        await world.press("enter", "down")
        assert pointed(screen) == "a"


@case("runs", "unfilter")
async def _(world: World, press: str) -> None:
    three(world)
    async with world.open() as app:
        screen = await runs_screen(world, app, "a")
        await world.press("slash", "z", "z")
        await world.sees("no run matches")
        await world.press(press)
        await world.until(lambda: order(screen) == "cba")
        assert not screen.query_one("#filter-bar").display


@case("runs", "copy_path")
async def _(world: World, press: str) -> None:
    run = world.run()
    async with world.open() as app:
        await runs_screen(world, app, "one")
        await world.press(press)
        assert [Path(text) for text in world.copied] == [run.path]


@case("runs", "library")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await runs_screen(world, app)
        await world.press(press)
        assert type(app.screen).__name__ == "LibraryScreen"


@case("runs", "leave")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await runs_screen(world, app)
        await world.press(press)
        assert not app.is_running or app._exit
