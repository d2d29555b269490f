"""What the keys of the table of a sweep do, and those of the runs screen on a sweep."""

from __future__ import annotations

import csv

from sweeps.made import cell, job_of, make_run, make_sweep
from textual.widgets import Input

from app.cases_runs import epoch, pointed, runs_screen
from app.world import World, case
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_tui.app import EqpropApp
from eqprop_tui.screens.runs import RunsScreen
from eqprop_tui.screens.sweep import SweepScreen
from eqprop_tui.widgets.sweep_table import Place


def swept(world: World) -> SweepFolder:
    """A sweep of three cells and two seeds: a better than b, of which a seed failed, c not begun."""
    cells = [
        cell("b", expected=11.7, source="Somebody 2021"),
        cell("a", val_split=0.1),
        cell("c", epochs=3),
    ]
    sweep = make_sweep(world.results, *cells, seeds=[0, 1])
    make_run(sweep, "b", 0, 96.0, 80.0)
    make_run(sweep, "b", 1, 10.0, state="failed")
    make_run(sweep, "a", 0, 85.0, 90.0, validation_accuracy=75.0)
    make_run(sweep, "a", 1, 85.0, 92.0, validation_accuracy=77.0)
    return sweep


async def sweep_screen(world: World, app: EqpropApp, sweep: SweepFolder) -> SweepScreen:
    """The table of a sweep, with what its runs came to."""
    screen = SweepScreen(sweep.path)
    await app.push_screen(screen)
    await world.until(lambda: screen.table.table is not None and screen.table.table.counts["finished"] == 3)
    await world.sees("3 of 6 runs finished, 1 failed")
    return screen


def cells(screen: SweepScreen) -> str:
    """The names of the cells from the top."""
    table = screen.table
    return "".join(table._cells[place.number].cell.name for place in table.places if place.seed is None)


async def with_sweep(world: World, app: EqpropApp) -> RunsScreen:
    """The table of runs with one run and one sweep, which is pointed at."""
    screen = await runs_screen(world, app, "one")
    await world.until(lambda: screen.table.groups)
    await world.press("home")
    if screen.table.group is None:
        await world.press("end")
    assert screen.table.group is not None and len(screen.table.lines) == 2
    return screen


@case("runs", "unfold(1)")
async def _(world: World, press: str) -> None:
    swept(world)
    world.run(epoch(1, 90.0))
    async with world.open() as app:
        screen = await with_sweep(world, app)
        assert "b seed 1" not in world.screen()
        await world.press(press)
        await world.sees("▾ tiny  3/6 done, 1 failed", "  b seed 1", "  a seed 0")
        assert len(screen.table.lines) == 6


@case("runs", "unfold(-1)")
async def _(world: World, press: str) -> None:
    sweep = swept(world)
    world.run(epoch(1, 90.0))
    async with world.open() as app:
        screen = await with_sweep(world, app)
        await world.press("right", "down", "down")
        assert pointed(screen)
        await world.press(press)
        assert len(screen.table.lines) == 2
        assert screen.table.line is screen.table.group is not None
        assert screen.choice.run == sweep.path


@case("runs", "table")
async def _(world: World, press: str) -> None:
    sweep = swept(world)
    world.run(epoch(1, 90.0))
    async with world.open() as app:
        await with_sweep(world, app)
        await world.press("right", "down", press)
        assert isinstance(app.screen, SweepScreen)
        assert app.screen.path == sweep.path


@case("sweep", "choose")
async def _(world: World, press: str) -> None:
    sweep = swept(world)
    async with world.open() as app:
        screen = await sweep_screen(world, app, sweep)
        await world.press(press)
        await world.sees("✓ seed 0", "✕ seed 1", "failed 1/2")
        await world.press("down", press)
        assert type(app.screen).__name__ == "MonitorScreen"
        assert app.watched == [job_of(sweep, "b", 0).path]
        await world.press("escape")
        assert app.screen is screen
        await world.press("end", press, "down", press)  # a run that has not begun
        assert app.screen is screen


@case("sweep", "move(1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press(press)
        assert screen.table.place == Place(2)


@case("sweep", "move(-1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press("end", press)
        assert screen.table.place == Place(2)


@case("sweep", "page(1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press(press)
        assert screen.table.place == Place(3)


@case("sweep", "page(-1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press("end", press)
        assert screen.table.place == Place(1)


@case("sweep", "end(1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press(press)
        assert screen.table.place == Place(3)


@case("sweep", "end(-1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press("end", press)
        assert screen.table.place == Place(1)


@case("sweep", "unfold(1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press(press)
        assert screen.table.places[:3] == [Place(1), Place(1, 0), Place(1, 1)]
        await world.sees("20.00  finished, 4.0 s")


@case("sweep", "unfold(-1)")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        await world.press("right", "down", press)
        assert screen.table.places == [Place(1), Place(2), Place(3)]
        assert screen.table.place == Place(1)


@case("sweep", "measure")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await sweep_screen(world, app, swept(world))
        await world.sees("test error %", "9.00 ± 1.41", "20.00*", "1 of 2, 1 failed", "after the last epoch")
        await world.press(press)
        await world.sees("of the epoch that was best", "4.00*")
        await world.press(press)
        await world.sees("training error %")
        await world.press(press)
        await world.sees("validation error %", "24.00 ± 1.41")


@case("sweep", "error")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await sweep_screen(world, app, swept(world))
        await world.sees("a accuracy")
        await world.press(press)
        await world.sees("test accuracy %", "91.00 ± 1.41", "88.3", "a error")


@case("sweep", "sort")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await sweep_screen(world, app, swept(world))
        assert cells(screen) == "bac"
        await world.press(press)
        assert cells(screen) == "abc"
        await world.sees("test error % ↑")
        await world.press("a")
        assert cells(screen) == "abc"
        await world.press(press)
        assert cells(screen) == "bac"


@case("sweep", "mark")
async def _(world: World, press: str) -> None:
    sweep = swept(world)
    async with world.open() as app:
        screen = await sweep_screen(world, app, sweep)
        await world.press(press)
        assert list(app.marks) == [job_of(sweep, "b", seed).path for seed in (0, 1)]
        assert screen.table.place == Place(2)
        await world.press("up", press)
        assert not app.marks
        await world.press("end", press)  # nothing there to mark
        assert not app.marks


@case("sweep", "compare")
async def _(world: World, press: str) -> None:
    sweep = swept(world)
    async with world.open() as app:
        await sweep_screen(world, app, sweep)
        await world.press("down", press)
        assert type(app.screen).__name__ == "CompareScreen"
        assert list(app.screen.marks) == [job_of(sweep, "a", seed).path for seed in (0, 1)]  # type: ignore[attr-defined]


@case("sweep", "export")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await sweep_screen(world, app, swept(world))
        await world.press(press)
        await world.sees("write the table of tiny to")
        app.screen.query_one("#line", Input).value = "table.doc"
        await world.press("enter")
        await world.sees("must end in .csv, .tex, .json")
        app.screen.query_one("#line", Input).value = "table.csv"
        await world.press("enter")
        await world.until((world.home / "table.csv").exists)
        rows = list(csv.DictReader((world.home / "table.csv").read_text().splitlines()))
        assert [row["finished"] for row in rows] == ["1", "2", "0"]
        await world.press(press)
        app.screen.query_one("#line", Input).value = "table.tex"
        await world.press("enter")
        await world.until((world.home / "table.tex").exists)
        assert r"\toprule" in (world.home / "table.tex").read_text()


@case("sweep", "copy_path")
async def _(world: World, press: str) -> None:
    sweep = swept(world)
    async with world.open() as app:
        await sweep_screen(world, app, sweep)
        await world.press(press, "right", "down", press)
        assert world.copied == [str(sweep.path), str(job_of(sweep, "b", 0).path)]


@case("sweep", "back")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        before = app.screen
        await sweep_screen(world, app, swept(world))
        await world.press(press)
        assert app.screen is before
