"""What the keys do in a chart and in the table of a GDU check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.made import GDU, epoch
from app.world import World, case
from eqprop_tui.charts.data import View
from eqprop_tui.widgets.chart import ChartView


@asynccontextmanager
async def chart(world: World) -> AsyncIterator[ChartView]:
    """The accuracy of ten epochs, with the keys on it."""
    run = world.run(*(epoch(number, 10.0 * number) for number in range(1, 11)))
    async with world.open(run) as app:
        await world.sees("test ──")
        found = app.screen.query_one("#curves", ChartView)
        assert app.focused is found
        await world.until(lambda: len(found.chart.series[2].x) == 10)
        yield found


@case("chart", "cursor(-1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        assert found.column == found.size.width - 2
        await world.sees("test 100 ──", "epochs 10")


@case("chart", "cursor(1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press("left", "left", "left", press)
        assert found.column == found.size.width - 3


@case("chart", "zoom(1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        low, high = found.view.x or (0, 0)
        assert 1 < low < high < 10


@case("chart", "zoom(-1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        low, high = found.view.x or (0, 0)
        assert low < 1 and high > 10


@case("chart", "pan(-1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        low, high = found.view.x or (0, 0)
        assert low < 1 and high < 10


@case("chart", "pan(1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        low, high = found.view.x or (0, 0)
        assert low > 1 and high > 10


@case("chart", "pan_y(1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        assert (found.view.y or (0, 0))[1] > 100


@case("chart", "pan_y(-1)")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        assert (found.view.y or (0, 0))[0] < 0


@case("chart", "whole")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press("left", "plus", press)
        assert found.view == View() and found.column is None


@case("chart", "log")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        await world.press(press)
        assert found.drawn().log_y
        await world.press(press)
        assert not found.drawn().log_y


@case("chart", "smooth")
async def _(world: World, press: str) -> None:
    async with chart(world) as found:
        shown = []
        for _ in range(3):
            await world.press(press)
            shown.append(found.drawn().smoothing)
        assert shown == [0.6, 0.9, 0.0]


@asynccontextmanager
async def checked(world: World) -> AsyncIterator[None]:
    """The pane of a GDU check, with the keys on its table."""
    async with world.open(world.run(GDU)) as app:
        await world.press("3")
        await world.sees("▸ synapses.0.weight", "0.0210", "[7] synapses.0")
        assert app.focused is not None and app.focused.id == "gdu-table"
        yield


@case("gdu", "row(1)")
async def _(world: World, press: str) -> None:
    async with checked(world):
        await world.press(press)
        await world.sees("▸ synapses.1.weight", "[3] synapses.1")


@case("gdu", "row(-1)")
async def _(world: World, press: str) -> None:
    async with checked(world):
        await world.press("down", "down", press)
        await world.sees("▸ synapses.1.weight")


@case("gdu", "element(1)")
async def _(world: World, press: str) -> None:
    async with checked(world):
        await world.press(press)
        await world.sees("[9] synapses.0")


@case("gdu", "element(-1)")
async def _(world: World, press: str) -> None:
    async with checked(world):
        await world.press("right", press)
        await world.sees("[7] synapses.0")


@case("gdu", "curves")
async def _(world: World, press: str) -> None:
    run = world.run(GDU)
    async with world.open(run, size=(80, 24)):
        await world.press("3")
        await world.sees("▸ synapses.0.weight")
        await world.press(press)
        await world.sees("[7] synapses.0", "EP ╌╌")
        await world.press(press)
        await world.sees("▸ synapses.0.weight")
