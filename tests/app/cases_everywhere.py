"""What the keys do that hold on every screen."""

from __future__ import annotations

from app.world import World, case
from eqprop_tui.faults import Broken
from eqprop_tui.preferences import load_preferences


@case("everywhere", "help")
async def _(world: World, press: str) -> None:
    async with world.open():
        await world.press(press)
        await world.sees("keys: library", "start the preset as it is")


@case("everywhere", "command_palette")
async def _(world: World, press: str) -> None:
    async with world.open():
        await world.press(press)
        await world.sees("Search for commands", "start the preset as it is and watch it (r)")


@case("everywhere", "leave")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await world.press(press)
        assert not app.is_running or app._exit
    async with world.open(world.run(state="finished")) as app:
        await world.press(press)
        assert not app.is_running or app._exit
    async with world.open(world.run(state="running")) as app:
        await world.press(press)
        await world.sees("one is running", "leave it running, and quit")
        assert not app._exit
        await world.press(press)  # a second time does not ask
        assert not app.is_running or app._exit


@case("everywhere", "suspend_process")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        done: list[str] = []
        world.monkeypatch.setattr(app, "action_suspend_process", lambda: done.append("suspended"))
        await world.press(press)
        assert done == ["suspended"]


@case("everywhere", "next_theme")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await world.press(press)
        assert app.theme == "eqprop-light"
        assert load_preferences().theme == "light"


@case("everywhere", "redraw")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        drawn: list[str] = []
        world.monkeypatch.setattr(app.screen, "refresh", lambda *_, **__: drawn.append("again"))
        await world.press(press)
        assert drawn


@case("broken", "back")
async def _(world: World, press: str) -> None:
    async with world.open(world.run()) as app:
        await app.push_screen(Broken("it has failed"))
        await world.sees("it has failed")
        await world.press(press)
        assert type(app.screen).__name__ == "MonitorScreen"


@case("broken", "leave")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await app.push_screen(Broken("it has failed"))
        await world.press(press)
        assert not app.is_running or app._exit


@case("dialog", "cancel")
async def _(world: World, press: str) -> None:
    async with world.open() as app:
        await world.press("question_mark")
        await world.sees("keys: library")
        await world.press(press)
        assert type(app.screen).__name__ == "LibraryScreen"
