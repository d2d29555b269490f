"""The form as a screen: sections, what is wrong beside its field, devices, narrow terminals."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from textual.events import Key

from app.cases_configure import form, put
from app.world import World
from eqprop_core.devices import Device, Occupant
from eqprop_tui.commands import Commands
from eqprop_tui.forms import FIELDS
from eqprop_tui.screens.base import SMALLEST

GPUS = [
    Device("cpu", "A processor", cores=16, memory_total=64 * 2**30, memory_used=2**30, load=0.5),
    Device("cuda:0", "NVIDIA H100", memory_total=80 * 2**30, memory_used=2 * 2**30, load=0.03, uuid="GPU-0"),
    Device("cuda:1", "NVIDIA [bold]H100", uuid="GPU-1"),
]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_what_is_wrong_stands_at_its_field_and_is_counted_at_its_section(world: World) -> None:
    async def act() -> None:
        async with form(world, size=(80, 24)) as (_, screen):
            await put(world, screen, "archi", "64 12")
            await world.sees("[network]✗1", "✗ must end with 10", "✗ --archi 64 12")
            await world.press("f2")
            await world.sees("[dynamics]", "network ✗1")
            await put(world, screen, "archi", "64 12 10")
            await world.sees("780", "$ eqprop train --preset digits-mlp-ep --archi 64 12 10", "1 change ")
            assert "✗" not in world.screen()

    asyncio.run(act())


def test_another_model_has_other_settings(world: World) -> None:
    async def act() -> None:
        async with form(world):
            await world.press("right", "right")
            await world.sees("(•) CNN", "channels", "does not fit")
            assert "archi" not in world.screen().split("layer")[0].split("model")[1].split("act")[0]
            await world.press("ctrl+u")
            await world.sees("(•) MLP", "archi", "no changes")

    asyncio.run(act())


def test_devices_are_shown_with_what_is_known_and_can_be_chosen(world: World) -> None:
    world.monkeypatch.setattr("eqprop_tui.screens.configure.list_devices", lambda: GPUS)
    others = {"GPU-0": [Occupant(7, "mallory", 71 * 2**30)], "GPU-1": []}
    world.monkeypatch.setattr("eqprop_tui.screens.configure.occupants", others.get)

    async def act() -> None:
        async with form(world, size=(160, 48)) as (_, screen):
            await screen.show_setting("device")
            await world.sees(
                "NVIDIA H100", "2.0 / 80.0 GB", "3 %", "in use by mallory, 71 GB", "16 cores", "n/a"
            )
            await world.sees("NVIDIA [bold]H100")
            await world.press("right", "right")
            await world.sees("(•) cuda:0", "--device cuda:0", "78.0 GB free on cuda:0")

    asyncio.run(act())


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 36)])
def test_memory_and_load_of_a_device_are_seen_whatever_its_name(world: World, size: tuple[int, int]) -> None:
    named = [replace(device, name=f"{device.name} with a name that is long") for device in GPUS]
    world.monkeypatch.setattr("eqprop_tui.screens.configure.list_devices", lambda: named)

    async def act() -> None:
        async with form(world, size=size) as (_, screen):
            await screen.show_setting("device")
            await world.sees("1.0 / 64.0 GB   50 %", "2.0 / 80.0 GB    3 %", "GPU free soonest, or CPU ")
            assert re.search(r"cuda:1 +N\S*.*… +n/a +n/a", world.screen())

    asyncio.run(act())


def test_every_setting_can_be_reached_by_keys_alone_on_the_smallest_terminal(world: World) -> None:
    async def act() -> None:
        async with form(world, size=SMALLEST) as (_, screen):
            seen = []
            for _ in FIELDS:
                assert screen.field is not None
                seen.append(screen.field.setting)
                assert screen.field.region.height and screen.field.region.bottom <= SMALLEST[1]
                await world.press("down")
            assert set(seen) == set(FIELDS) - set(screen.form.hidden)
            await world.press("up")

    asyncio.run(act())


def test_letters_go_to_the_line_that_is_typed_in(world: World) -> None:
    async def act() -> None:
        async with form(world) as (app, screen):
            await put(world, screen, "name", "rq?/jd")
            assert app.screen is screen

    asyncio.run(act())


def test_keys_that_come_at_once_are_taken_in_their_order(world: World) -> None:
    async def act() -> None:
        async with form(world) as (app, screen):
            await screen.show_setting("epochs")
            for key in (*["backspace"] * 6, *"4000", "down", *"0"):
                app.post_message(Key(key, key if len(key) == 1 else None))
            await world.until(lambda: screen.form.typed["mbs"] == "200")
            assert screen.form.typed["epochs"] == "4000"

    asyncio.run(act())


def test_a_check_is_configured_and_carried_out(world: World) -> None:
    asked: list[list[str]] = []

    def carry_out(self: Commands, words: list[str]) -> tuple[int, str, str]:
        asked.append(list(words))
        return 1, "", "error: it went wrong"

    world.monkeypatch.setattr(Commands, "carry_out", carry_out)

    async def act() -> None:
        async with form(world, "digits-gducheck") as (_, screen):
            await put(world, screen, "T2", "5")
            await world.press("ctrl+r")
            await world.sees("error: it went wrong")

    asyncio.run(act())
    assert asked == [["gducheck", "--preset", "digits-gducheck", "--T2", "5"]]
