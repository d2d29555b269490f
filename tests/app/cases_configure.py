"""What the keys of the form do."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.starting import starts_of
from app.world import World, case
from eqprop_core.presets import load_preset
from eqprop_tui.app import EqpropApp
from eqprop_tui.commands import Commands
from eqprop_tui.screens.configure import ConfigureScreen
from eqprop_tui.widgets.field import Field

PRESET = "digits-mlp-ep"


@asynccontextmanager
async def form(
    world: World, name: str = PRESET, size: tuple[int, int] = (120, 36)
) -> AsyncIterator[tuple[EqpropApp, ConfigureScreen]]:
    """The form over a preset."""
    async with world.open(size=size) as app:
        preset = load_preset(name)
        app.open_configure(preset.config, preset.name, preset)
        await world.sees("no changes", "model")
        screen = app.screen
        assert isinstance(screen, ConfigureScreen)
        yield app, screen


async def put(world: World, screen: ConfigureScreen, name: str, text: str) -> None:
    """Type another text for a setting."""
    await screen.show_setting(name)
    field = screen.query_one(f"#field-{name}", Field)
    await world.until(lambda: field.control.has_focus)
    field.put("")
    await world.press(*text)
    assert screen.form.typed[name] == text


@case("configure", "start")
async def _(world: World, press: str) -> None:
    starts = starts_of(world)
    async with form(world) as (app, screen):
        await put(world, screen, "epochs", "x")
        await world.press(press)
        await world.sees("--epochs x: is not a whole number")
        assert not starts.plans
        await put(world, screen, "epochs", "7")
        await world.press(press)
        await world.until(lambda: type(app.screen).__name__ == "MonitorScreen")
        assert screen not in app.screen_stack  # the form has done its work
    plan = starts.plans[0]
    assert plan.config == load_preset(PRESET).run_config(epochs=7) and not starts.wanted[0].now
    assert plan.preset is not None and plan.preset.name == PRESET
    assert plan.command == ("eqprop", "train", "--preset", PRESET, "--epochs", "7")


@case("configure", "detach")
async def _(world: World, press: str) -> None:
    starts = starts_of(world)
    async with form(world) as (app, screen):
        await world.press(press)
        await world.until(lambda: len(app.watched) == 1)
        assert app.screen is screen and len(starts.plans) == 1


@case("configure", "now")
async def _(world: World, press: str) -> None:
    starts = starts_of(world)
    async with form(world) as (app, _):
        await world.press(press)
        await world.until(lambda: type(app.screen).__name__ == "MonitorScreen")
    assert starts.wanted[0].now


@case("configure", "save")
async def _(world: World, press: str) -> None:
    async with form(world) as (app, screen):
        await put(world, screen, "lrs", "0.2 0.1")
        await world.press(press)
        await world.sees("save as a preset called")
        await world.press(*"Mine")
        await world.sees("is not the name of a preset")
        await world.press("ctrl+u", *"mine", "enter")
        await world.sees("from mine", "no changes")
        await world.press("escape")
        await world.sees("mine")
        assert app.chosen_preset == "mine"
    mine = load_preset("mine")
    assert mine.config == {**load_preset(PRESET).config, "lrs": [0.2, 0.1]}
    assert mine.description == f"Made from {PRESET}, with --lrs 0.2 0.1."


@case("configure", "dry_run")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await put(world, screen, "epochs", "3")
        await world.press(press)
        await world.sees("dry run", "9,610", "train on digits: EP, symmetric estimator", "3 epochs")


@case("configure", "undo")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await put(world, screen, "lrs", "1")
        await world.sees("1 change ", "1 value, but 2 are needed")
        await world.press(press)
        await world.sees("no changes", "0.1 0.05")
        assert screen.form.config == load_preset(PRESET).run_config()


@case("configure", "copy_command")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await put(world, screen, "name", "a b")
        await world.press(press)
    assert world.copied == [f"eqprop train --preset {PRESET} --name 'a b'"]


@case("configure", "time")
async def _(world: World, press: str) -> None:
    asked: list[list[str]] = []
    may_answer = threading.Event()

    def carry_out(self: Commands, words: list[str]) -> tuple[int, str, str]:
        asked.append(words)
        may_answer.wait(60)
        return 0, '{"measured": {"batch": 0.25, "image": 0.01}}', ""

    world.monkeypatch.setattr(Commands, "carry_out", carry_out)
    async with form(world):
        await world.sees("not measured", f"{press} time")
        await world.press(press)
        await world.sees("is being measured", f"{press} time")
        await world.press(press)
        await world.sees("not measured", f"{press} time")
        may_answer.set()
        await world.press(press)
        await world.sees("about 7 min here")
    assert len(asked) == 2 and asked[0][0] == "bench"


@case("configure", "next_section")
async def _(world: World, press: str) -> None:
    async with form(world):
        await world.press(press)
        await world.sees("[dynamics]", "T2")


@case("configure", "previous_section")
async def _(world: World, press: str) -> None:
    async with form(world):
        await world.press(press)
        await world.sees("[data]", "val-split")


@case("configure", "field(1)")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await world.press(press)
        assert screen.field is not None and screen.field.setting == "archi"
        for _ in range(5):
            await world.press(press)
        await world.press(press)
        await world.sees("[dynamics]")
        assert screen.field.setting == "T1"


@case("configure", "field(-1)")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await world.press(press)
        await world.sees("[data]")
        assert screen.field is not None and screen.field.setting == "val_split"


@case("configure", "back")
async def _(world: World, press: str) -> None:
    async with form(world) as (app, screen):
        await put(world, screen, "epochs", "3")
        await world.press(press)
        await world.sees("The settings were changed.")
        await world.press("s")
        assert app.screen is screen and screen.form.typed["epochs"] == "3"
        await world.press(press)
        await world.sees("The settings were changed.")
        await world.press("l")
        await world.until(lambda: type(app.screen).__name__ == "LibraryScreen")


@case("choice", "choose(1)")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await world.press(press)
        await world.sees("(•) VFMLP")
        assert screen.form.config is not None and screen.form.config.model == "VFMLP"


@case("choice", "choose(-1)")
async def _(world: World, press: str) -> None:
    async with form(world) as (_, screen):
        await world.press(press)
        await world.sees("(•) VFCNN", "channels")
        assert screen.form.typed["model"] == "VFCNN"
