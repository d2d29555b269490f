"""The monitor where keys alone do not tell: what is asked, what has gone, which chart has the keys."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from app.made import GDU, STARTED, batch, epoch
from app.world import World
from eqprop_core.events import ControlApplied, ControlReceived, Warned
from eqprop_core.runs.control import take
from eqprop_tui.app import farewell
from eqprop_tui.screens.dialogs import Answer, Choose
from eqprop_tui.widgets.chart import ChartView


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_what_was_asked_is_shown_until_it_takes_effect_and_can_be_taken_back(world: World) -> None:
    async def script() -> None:
        run = world.run(STARTED)
        async with world.open(run):
            await world.press("p")
            await world.sees("asked: pause …")
            world.tell(run, ControlReceived(request="pause"))
            await world.sees("asked: pause, received, waits for the end of the batch", "p go on")
            await world.press("p")
            assert world.requests(run) == ["pause", "resume"]
            world.tell(run, ControlApplied(request="pause", epoch=1, batch=4))
            await world.sees("pause at epoch 1, batch 4", "p pause")

    asyncio.run(script())


def test_the_second_stop_offers_the_stronger_way_first(world: World) -> None:
    async def script() -> None:
        run = world.run(STARTED)
        async with world.open(run):
            await world.press("s", "enter")
            assert world.requests(run) == ["stop"]
            await world.press("s", "enter")
            assert world.requests(run) == ["stop", "stop"]
            await world.press("s")
            await world.until(
                lambda: world.screen().find("terminate:") < world.screen().find("after its batch")
            )

    asyncio.run(script())


def test_an_epoch_that_is_over_is_no_last_epoch_and_a_refused_change_is_not_waited_for(world: World) -> None:
    async def script() -> None:
        run = world.run(STARTED, epoch(1, 50.0))
        async with world.open(run):
            await world.press("x", "e", "1")
            await world.sees("✗ epoch 1 is over already; 2 or more, or stop the run")
            await world.press("backspace", "2", "enter")
            assert [asked.settings for asked in take(run.path)] == [{"epochs": 2}]
            await world.sees("asked: last epoch 2")
            world.tell(run, Warned(message="epoch 2 is over already; this is epoch 3"))
            await world.sees("warning: epoch 2 is over already")

    asyncio.run(script())


def test_a_letter_chooses_once_and_two_answers_never_have_the_same(world: World) -> None:
    with pytest.raises(ValueError, match="same key"):
        Choose("which?", [Answer("l", "a", "one"), Answer("l", "b", "other")])

    async def script() -> None:
        run = world.run(STARTED)
        async with world.open(run) as app:
            await world.press("x", "r")
            await world.sees("learning-rate factor")
            await world.press("escape")
            assert type(app.screen).__name__ == "MonitorScreen"

    asyncio.run(script())


def test_the_keys_of_the_chart_work_while_another_pane_has_the_focus(world: World) -> None:
    async def script() -> None:
        run = world.run(*(epoch(number, 9.0 * number) for number in range(1, 11)), GDU)
        async with world.open(run) as app:
            await world.press("7", "plus")
            chart = app.screen.query_one("#curves", ChartView)
            assert chart.view.x is not None
            await world.press("0")
            assert chart.view.x is None
            await world.press("3", "right")  # the table of the check has the arrows for itself
            assert chart.column is None

    asyncio.run(script())


def test_a_folder_that_is_gone_is_said_and_not_gone_on_with(world: World) -> None:
    async def script() -> None:
        run = world.run(batch(3))
        async with world.open(run):
            await world.sees("images/s")
            shutil.rmtree(run.path)
            await world.sees("the folder is gone", "deleted or moved away")
            assert "R resume" not in world.screen()

    asyncio.run(script())


def test_a_run_that_was_killed_says_so_and_whether_there_is_a_checkpoint(world: World) -> None:
    async def script() -> None:
        run = world.run(batch(3))
        world.monkeypatch.setattr("eqprop_tui.screens.run_actions.end", lambda *_, **__: "lost")
        async with world.open(run):
            await world.press("s", "k")
            await world.sees("asked: kill")
            run.write_state({**run.read_state(), "state": "lost"})
            await world.sees(" killed", "next: R begin again")

    asyncio.run(script())


def test_leaving_tells_of_runs_that_go_on_and_of_those_that_stop(world: World) -> None:
    async def script() -> None:
        first, second = world.run(batch(1), name="first"), world.run(batch(1), name="second")
        async with world.open(first) as app:
            app.open_run(second.path)
            await world.sees("● running   second")
            await world.press("q", "s")
            one, other = (run.meta()["id"] for run in (first, second))
            assert farewell(app) == [
                f"first goes on (running); come back: eqprop --run {one}",
                f"second stops after its batch; go on: eqprop runs resume {other}",
            ]

    asyncio.run(script())
