"""The monitor where keys alone do not tell: what is asked, what has gone, which chart has the keys."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from app.made import GDU, STARTED, batch, epoch
from app.world import World
from eqprop_core.devices import Device
from eqprop_core.events import ControlApplied, ControlReceived, Record, Warned
from eqprop_core.runs.control import take
from eqprop_core.runs.names import CHECKPOINT
from eqprop_tui.app import farewell
from eqprop_tui.screens.base import SMALLEST
from eqprop_tui.screens.dialogs import Answer, Choose
from eqprop_tui.screens.monitor import Fresh, MonitorScreen
from eqprop_tui.watching.watcher import News
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


def test_the_device_of_a_run_that_has_ended_is_not_shown_as_it_was(world: World) -> None:
    busy = Device("cpu", "A processor", cores=2, memory_total=2**34, memory_used=2**30, load=0.5)
    world.monkeypatch.setattr("eqprop_tui.screens.monitor.list_devices", lambda: [busy])

    async def script() -> None:
        run = world.run(batch(3))
        async with world.open(run):
            await world.sees("cpu   50 %   1.0 GB of 16.0 GB")
            run.write_state({**run.read_state(), "state": "finished"})
            await world.sees("✓ finished")
            assert world.screen().splitlines()[0].rstrip().endswith("   cpu")

    asyncio.run(script())


def test_panes_and_watched_runs_are_chosen_by_the_mouse_too(world: World) -> None:
    async def script() -> None:
        first, second = world.run(batch(1), name="first"), world.run(batch(1), name="second")
        async with world.open(first, size=(80, 24)) as app:
            app.open_run(second.path)
            await world.sees("● running   second", "first   second   [ ] other run")
            await world.pilot.click("#panes", offset=(15, 0))
            await world.sees("[2 settling]")
            await world.pilot.click("#watched", offset=(2, 0))
            await world.sees("● running   first")

    asyncio.run(script())


def test_on_the_smallest_terminal_every_pane_is_named_by_its_number(world: World) -> None:
    async def script() -> None:
        async with world.open(world.run(batch(1)), size=SMALLEST):
            await world.press("8")
            await world.sees(" 1  2  3  4  5  6  7 [8 log]")
            assert "…" not in world.screen().splitlines()[0]

    asyncio.run(script())


@pytest.mark.parametrize("state", ["finished", "failed", "stopped", "lost"])
def test_what_can_be_done_next_is_said_in_80_columns(world: World, state: str) -> None:
    async def script() -> None:
        run = world.run(batch(1), state=state)
        (run.path / CHECKPOINT).touch()
        async with world.open(run, size=(80, 24)):
            await world.sees(" next: ")
            [line] = [line for line in world.screen().splitlines() if line.startswith(" next: ")]
            assert "…" not in line

    asyncio.run(script())


def test_of_a_long_history_the_beginning_is_drawn_at_once_and_not_every_piece(world: World) -> None:
    async def script() -> None:
        run = world.run()
        async with world.open(run) as app:
            screen = app.screen
            assert isinstance(screen, MonitorScreen)
            screen.watcher.stop()
            await world.sees("no data")
            drawn: list[int] = []
            with world.monkeypatch.context() as still:
                still.setattr(screen, "_draw", lambda: drawn.append(screen.view.seq))
                still.setattr("time.monotonic", lambda: 1e6)
                for seq in range(1, 6):
                    record = Record(seq, 0.0, batch(seq))
                    screen.on_fresh(Fresh(News(screen.summary, [record], more=seq < 5)))
            assert drawn == [1, 5]

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
