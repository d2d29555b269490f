"""What the keys of a comparison do."""

from __future__ import annotations

from pathlib import Path

from app.cases_runs import epoch
from app.world import World, case
from eqprop_core.runs.folder import RunFolder
from eqprop_tui.app import EqpropApp
from eqprop_tui.marks import Marks
from eqprop_tui.screens.compare import CompareScreen


def two(world: World) -> list[RunFolder]:
    """Two runs of two epochs that differ in their learning rates, by the names of one and two."""
    one = world.run(epoch(1, 80.0), epoch(2, 90.0), name="one")
    other = world.run(epoch(1, 60.0), epoch(2, 70.0), name="two", lrs=[0.5, 0.25], T1=30)
    return [one, other]


async def compared(world: World, app: EqpropApp, *runs: RunFolder) -> CompareScreen:
    """The comparison of these runs, with their curves in it."""
    screen = CompareScreen(Marks(run.path for run in runs))
    await app.push_screen(screen)
    await world.until(lambda: len(screen.chart.chart.series) == len(runs))
    return screen


def names(screen: CompareScreen) -> list[str]:
    return [series.name for series in screen.chart.chart.series]


@case("compare", "axis")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await compared(world, app, *two(world))
        assert list(screen.chart.chart.series[0].x) == [1.0, 2.0]
        await world.press(press, press)
        assert screen.chart.chart.x_label == "training time, s"
        assert list(screen.chart.chart.series[0].x) == [2.0, 4.0]  # each epoch took two seconds


@case("compare", "measure")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await compared(world, app, *two(world))
        assert list(screen.chart.chart.series[0].y) == [80.0, 90.0]
        await world.press(press)
        await world.sees("training accuracy %")
        assert list(screen.chart.chart.series[0].y) == [81.0, 91.0]


@case("compare", "smooth")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await compared(world, app, *two(world))
        await world.press(press)
        assert screen.chart.drawn().smoothing == 0.6
        await world.sees("smoothing 0.6")


@case("compare", "log")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await compared(world, app, *two(world))
        await world.press(press)
        assert screen.chart.drawn().log_y
        await world.sees("log on")


@case("compare", "add")
async def _(world: World, press: str) -> None:
    one, other = two(world)
    async with world.open() as app:
        screen = await compared(world, app, one)
        await world.press(press)
        await world.sees("add a run", "two")
        await world.press(*"lrs=0.5")
        await world.until(lambda: [run.name for run in app.screen.query_one("RunsTable").runs] == ["two"])  # type: ignore[attr-defined]
        await world.press("enter")
        await world.until(lambda: names(screen) == ["one", "two"])
        assert list(screen.marks) == [one.path, other.path]


@case("compare", "remove")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        screen = await compared(world, app, *two(world))
        before = screen.chart.chart.series[1]
        await world.press(press)
        await world.until(lambda: names(screen) == ["two"])
        after = screen.chart.chart.series[0]
        assert (after.colour, after.marker) == (before.colour, before.marker)


@case("compare", "choose(1)")
async def _(world: World, press: str) -> None:
    one, other = two(world)
    async with world.open() as app:
        screen = await compared(world, app, one, other)
        await world.press(press)
        assert screen.table.chosen == other.path
        await world.sees("▸◆ ● two")


@case("compare", "choose(-1)")
async def _(world: World, press: str) -> None:
    one, other = two(world)
    async with world.open() as app:
        screen = await compared(world, app, one, other)
        await world.press("down", press)
        assert screen.table.chosen == one.path


def many_differences(world: World) -> list[RunFolder]:
    changes = {"T1": 7, "T2": 3, "mbs": 5, "seed": 9, "mmt": 0.5, "act": "tanh"}
    return [world.run(epoch(1, 80.0)), world.run(epoch(1, 70.0), **changes)]


@case("compare", "scroll(1)")
async def _(world: World, press: str) -> None:
    async with world.open(size=(80, 24)) as app:
        await compared(world, app, *many_differences(world))
        await world.sees("differ +", "mysig")
        await world.press(press)
        assert "mysig" not in world.screen()
        await world.sees("T2")


@case("compare", "scroll(-1)")
async def _(world: World, press: str) -> None:
    async with world.open(size=(80, 24)) as app:
        await compared(world, app, *many_differences(world))
        await world.sees("mysig")
        await world.press("pagedown", press)
        await world.sees("mysig")


@case("compare", "watch")
async def _(world: World, press: str) -> None:
    one, other = two(world)
    async with world.open() as app:
        await compared(world, app, one, other)
        await world.press("down", press)
        assert [Path(path) for path in app.watched] == [other.path]


@case("compare", "back")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await compared(world, app, *two(world))
        await world.press(press)
        assert type(app.screen).__name__ == "LibraryScreen"
