"""Runs side by side: live, with looks that stay, and the settings in which they differ."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.cases_compare import compared, names, two
from app.cases_runs import epoch
from app.world import World
from eqprop_core.events import BatchFinished, RunResumed, RunStarted
from eqprop_core.runs.folder import RunFolder
from eqprop_tui.comparison import Looked, chart_of
from eqprop_tui.marks import Marks
from eqprop_tui.watching import comparer
from eqprop_tui.watching.comparer import Side


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are looked at fifty times a second."""
    monkeypatch.setattr(comparer.Comparer.__init__, "__defaults__", (0.02,))


def play(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


def sides_of(*runs: RunFolder) -> list[Side]:
    """What is known of runs when all has been read."""
    sides = []
    for run in runs:
        reader = comparer._Reader(run.path)
        while reader.read():
            pass
        sides.append(reader.side())
    return sides


def test_a_run_that_goes_on_is_followed(world: World, quick: None) -> None:
    one, other = two(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await compared(world, app, one, other)
            world.tell(one, epoch(3, 95.0))
            await world.until(lambda: list(screen.chart.chart.series[0].y) == [80.0, 90.0, 95.0])
            await world.sees("last 95.00")

    play(act)


def test_what_a_resumption_takes_back_is_not_drawn(world: World) -> None:
    one, other = two(world)
    world.tell(one, RunResumed(from_seq=1, epoch=2, batch=0), epoch(2, 85.0))
    chart = chart_of(sides_of(one, other), Marks([one.path, other.path]), Looked())
    assert list(chart.series[0].y) == [80.0, 85.0]


def test_settings_that_differ_are_shown_and_others_not(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            await compared(world, app, *two(world))
            await world.sees("differ", "T1", "lrs", "0.5 0.25")
            assert "archi" not in world.screen()

    play(act)


def test_many_runs_have_looks_of_their_own(world: World) -> None:
    runs = [world.run(epoch(1, 50.0 + number), name=f"run {number}") for number in range(12)]

    async def act() -> None:
        async with world.open(size=(80, 24)) as app:
            screen = await compared(world, app, *runs)
            looks = {(series.colour, series.marker) for series in screen.chart.chart.series}
            assert len(looks) == 12
            await world.press(*["down"] * 11)
            await world.sees("▸", "run 11")
            before = {series.name: (series.colour, series.marker) for series in screen.chart.chart.series}
            await world.press("up", "up", "delete", "delete")
            await world.until(lambda: len(screen.chart.chart.series) == 10)
            assert all(before[series.name] == (series.colour, series.marker) for series in screen.chart.chart.series)  # fmt: skip

    play(act)


def test_the_last_run_can_be_removed_and_another_added(world: World) -> None:
    one, other = two(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await compared(world, app, one)
            await world.press("delete")
            await world.sees("no run is compared; a adds one", "0 runs")
            await world.press("delete", "enter", "down", "x", "m", "w", "L", "pagedown")
            assert app.screen is screen
            await world.press("a")
            await world.sees("add a run", "two")
            await world.press("down", "enter")
            await world.until(lambda: len(names(screen)) == 1)
            assert list(screen.marks) in ([one.path], [other.path])

    play(act)


def test_a_folder_that_vanishes_keeps_its_curve_and_is_called_gone(world: World, quick: None) -> None:
    one, other = two(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await compared(world, app, one, other)
            shutil.rmtree(one.path)
            await world.sees("gone")
            assert list(screen.chart.chart.series[0].y) == [80.0, 90.0]

    play(act)


def test_the_published_accuracy_is_drawn_where_all_have_the_same(world: World) -> None:
    one, other = two(world)
    marks = Marks([one.path, other.path])
    one.describe({"expected": {"test_error": 11.5, "source": "paper"}})
    assert chart_of(sides_of(one, other), marks, Looked()).references == ()
    other.describe({"expected": {"test_error": 11.5, "source": "paper"}})
    references = chart_of(sides_of(one, other), marks, Looked()).references
    assert [(reference.name, reference.y) for reference in references] == [("published", 88.5)]
    assert chart_of(sides_of(one, other), marks, Looked("loss")).references == ()


def batch(epoch: int, number: int, accuracy: float) -> BatchFinished:
    return BatchFinished(
        epoch=epoch, batch=number, batches=4, accuracy=accuracy, loss=1 / number, samples_per_s=8.0
    )


def test_over_batches_training_curves_have_a_point_a_batch(world: World) -> None:
    started = RunStarted(
        todo="train",
        epochs=2,
        batches=4,
        train_images=8,
        test_images=4,
        parameters=9,
        device="cpu",
    )
    run = world.run(started, batch(1, 2, 30.0), batch(1, 4, 40.0), epoch(1, 50.0), batch(2, 2, 60.0))
    sides, marks = sides_of(run), Marks([run.path])
    train = chart_of(sides, marks, Looked("train", "batches")).series[0]
    assert (list(train.x), list(train.y)) == ([2.0, 4.0, 6.0], [30.0, 40.0, 60.0])
    loss = chart_of(sides, marks, Looked("loss", "batches")).series[0]
    assert list(loss.y) == [0.5, 0.25, 0.5]
    test = chart_of(sides, marks, Looked("test", "batches")).series[0]
    assert (list(test.x), list(test.y)) == ([4.0], [50.0])


def test_long_times_are_in_hours(world: World) -> None:
    run = world.run(epoch(1, 50.0, seconds=7200.0), epoch(2, 60.0, seconds=7200.0))
    chart = chart_of(sides_of(run), Marks([run.path]), Looked("test", "time"))
    assert chart.x_label == "training time, h"
    assert list(chart.series[0].x) == [2.0, 4.0]


def test_settings_that_cannot_be_read_hide_no_curve(world: World) -> None:
    one, other = two(world)
    (other.path / "config.toml").write_text("not = [toml")

    async def act() -> None:
        async with world.open() as app:
            screen = await compared(world, app, one, other)
            assert names(screen) == ["one", "two"]

    play(act)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48), (240, 70)])
def test_it_fits_the_terminal(world: World, size: tuple[int, int]) -> None:
    runs = [
        world.run(epoch(1, 50.0 + number), epoch(2, 60.0), name=f"run {number}", T1=7 + number)
        for number in range(9)
    ]

    async def act() -> None:
        async with world.open(size=size) as app:
            screen = await compared(world, app, *runs)
            lines = world.screen().splitlines()
            assert len(lines) == size[1] and all(len(line) <= size[0] for line in lines)
            await world.sees("T1", "test accuracy %")
            assert screen.chart.size.height >= 5

    play(act)


@pytest.mark.parametrize("looked", [Looked(measure, axis) for measure in ("test", "validation", "loss") for axis in ("epochs", "batches", "time")])  # fmt: skip
def test_a_run_without_events_has_an_empty_curve(world: World, looked: Looked) -> None:
    run = world.run()
    series = chart_of(sides_of(run), Marks([run.path]), looked).series
    assert [len(one.x) for one in series] == [0]
