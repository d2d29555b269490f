"""How long a run takes, on the form: measured by a process of its own, which ends when nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from waiting import give_way

from app.cases_configure import form, put
from app.world import SECONDS, World
from eqprop_core.devices import list_devices
from eqprop_core.estimate import Measured, measured_as, remember
from eqprop_core.presets import load_preset
from eqprop_tui.commands import Commands

ANSWER = json.dumps(
    {"measured": {"batch": 0.25, "image": 0.01}}
)  # 72 batches and 359 images an epoch: 21.6 s


@dataclass
class Bench:
    """In place of the process: what it was asked for, and what it answers once it may."""

    asked: list[list[str]] = field(default_factory=list)
    answer: tuple[int, str, str] = (0, ANSWER, "")
    may_answer: threading.Event = field(default_factory=threading.Event)
    ended: list[Commands] = field(default_factory=list)

    def carry_out(self, words: list[str]) -> tuple[int, str, str]:
        self.asked.append(list(words))
        assert self.may_answer.wait(60)
        return self.answer


@pytest.fixture
def bench(world: World) -> Bench:
    made = Bench()
    ended = Commands.end

    def end(self: Commands) -> None:
        ended(self)
        made.may_answer.set()
        made.ended.append(self)

    world.monkeypatch.setattr(Commands, "carry_out", lambda self, words: made.carry_out(words))
    world.monkeypatch.setattr(Commands, "end", end)
    return made


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_measured_figure_goes_with_the_settings_that_it_is_of(world: World, bench: Bench) -> None:
    bench.may_answer.set()

    async def act() -> None:
        async with form(world, size=(160, 48)) as (_, screen):
            await world.sees("time    not measured", "f4 time")
            await world.press("f4")
            await world.sees("about 7 min here, measured: 20 epochs of 21.6 s", "at 250.00 ms")
            await put(world, screen, "epochs", "2")
            await world.sees("about 43 s here, measured: 2 epochs of")
            await put(world, screen, "mbs", "50")
            await world.sees("time    not measured")
            await world.press("ctrl+u")
            await world.sees("about 43 s here")
            await screen.show_setting("fast")
            await world.press("right")
            await world.sees("about 43 s here without --fast, measured")

    asyncio.run(act())
    assert len(bench.asked) == 1


def test_exactly_the_settings_of_the_form_are_measured(world: World, bench: Bench) -> None:
    bench.may_answer.set()

    async def act() -> None:
        async with form(world) as (_, screen):
            await put(world, screen, "name", "a b")
            await put(world, screen, "T1", "33")
            await put(world, screen, "tol", "0.001")
            await world.press("f4")
            await world.sees("about 7 min here without --tol")

    asyncio.run(act())
    (words,) = bench.asked
    assert words[0] == "bench" and words[-2:] == ["--quick", "--json"]
    assert words[words.index("--T1") + 1] == "33" and "digits" in words
    # What the command does not take: a name, and since it measures the exact way, accelerations.
    assert not {"--name", "--tol"} & set(words)


def test_a_measurement_of_other_settings_is_ended(world: World, bench: Bench) -> None:
    async def act() -> None:
        async with form(world) as (_, screen):
            await world.press("f4")
            await world.sees("time    is being measured")
            await put(world, screen, "name", "x")  # which changes nothing
            await world.sees("is being measured")
            await put(world, screen, "T1", "33")
            await world.sees("time    not measured", "f4 time")
            assert len(bench.ended) == 1

    asyncio.run(act())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (1, "", "measuring …\nerror: MNIST [b]is[/b] damaged\n"),
            "not measured: error: MNIST [b]is[/b] damaged",
        ),
        ((-9, "", "measuring …\n"), "not measured: eqprop bench ended with status -9"),
        ((0, "nonsense", ""), "not measured: eqprop bench ended with status 0"),
        ((0, "[" * 100_000, ""), "not measured: eqprop bench ended with status 0"),
    ],
    ids=["error", "killed", "nonsense", "deep"],
)
def test_what_went_wrong_is_one_line(
    world: World, bench: Bench, answer: tuple[int, str, str], said: str
) -> None:
    bench.answer = answer
    bench.may_answer.set()

    async def act() -> None:
        async with form(world) as (app, _):
            await world.press("f4")
            await world.until(lambda: app._notifications)
            assert [note.message for note in app._notifications] == [said]
            await world.sees("time    not measured", "f4 time")

    asyncio.run(act())


def test_data_that_are_not_here_are_not_fetched_for_it(world: World, bench: Bench) -> None:
    async def act() -> None:
        async with form(world, "mnist-mlp-ep") as (app, _):
            await world.sees("f4 time")
            await world.press("f4")
            said = [note.message for note in app._notifications]
            assert said == ["measuring takes the data: MNIST (not here: eqprop data get MNIST)"]

    asyncio.run(act())
    assert not bench.asked


def test_there_is_no_time_of_a_check(world: World, bench: Bench) -> None:
    async def act() -> None:
        async with form(world, "digits-gducheck"):
            await world.sees("free on cpu")
            await world.press("f4")
            assert "f4" not in world.screen() and "time    " not in world.screen()

    asyncio.run(act())
    assert not bench.asked


@pytest.mark.parametrize("leaving", ["escape", "ctrl+q"])
def test_the_process_ends_with_the_screen(world: World, leaving: str) -> None:
    pid = world.home / "pid"
    program = world.home / "program"
    program.write_text(f"#!/bin/sh\necho noise; echo $$ > {pid}.tmp; mv {pid}.tmp {pid}; exec sleep 600\n")
    program.chmod(0o755)
    world.monkeypatch.setattr("eqprop_tui.commands.sys.executable", str(program))

    def runs() -> bool:
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return False
        return True

    async def act() -> None:
        async with form(world) as (app, _):
            await world.sees("f4 time")
            await world.press("f4")
            await world.until(pid.exists)
            assert runs()
            await world.press(leaving)
            if leaving == "escape":
                await world.until(lambda: not runs())
            assert not app._notifications

    asyncio.run(act())
    deadline = time.monotonic() + SECONDS
    while runs():
        assert time.monotonic() < deadline
        give_way()


def test_what_was_measured_before_is_seen_at_once(world: World, bench: Bench) -> None:
    preset = load_preset("digits-mlp-ep")
    name = measured_as(preset.run_config(), list_devices())
    assert name is not None
    remember(name, Measured(batch=0.25, image=0.01))

    async def act() -> None:
        async with form(world, size=(160, 48)) as (app, _):
            await world.sees("about 7 min here, measured: 20 epochs of")
            await world.press("escape")
            await world.sees("time      about 7 min here, measured")
            assert app.is_running

    asyncio.run(act())
    assert not bench.asked
