"""What does not fit is said to be more; keys go to what is shown; curves are drawn once they are read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from rich.segment import Segment

from app.made import GDU, epoch
from app.world import World
from eqprop_core.events import Warned
from eqprop_tui.charts import lines
from eqprop_tui.charts.data import Chart, Series
from eqprop_tui.charts.histogram import bar_heights
from eqprop_tui.charts.text import to_plain
from eqprop_tui.watching import feed
from eqprop_tui.watching.comparer import Comparer, Side
from eqprop_tui.widgets.chart import ChartView
from eqprop_tui.widgets.picture import wrapped


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.mark.parametrize(("bins", "columns"), [(40, 37), (40, 25), (40, 41), (33, 20), (7, 7), (3, 10)])
def test_even_counts_have_no_teeth(bins: int, columns: int) -> None:
    assert np.allclose(bar_heights([5.0] * bins, columns), 1.0)
    rising = bar_heights(list(range(1, bins + 1)), columns)
    assert (np.diff(rising) >= -1e-12).all()


@pytest.mark.parametrize("width", [30, 60, 80])
@pytest.mark.parametrize("height", [1, 2, 9])
def test_a_sentence_is_whole_or_ends_in_a_sign(width: int, height: int) -> None:
    sentence = "angles are measured after each epoch of a vector field: a network with backward weights"
    lines = ["".join(segment.text for segment in row) for row in wrapped(sentence, width, height)]
    assert len(lines) <= height and all(len(line) <= width for line in lines)
    assert " ".join(" ".join(lines).split()) == sentence or lines[-1].endswith("…")
    assert isinstance(wrapped(sentence, width, height)[0][0], Segment)


def test_rows_that_have_no_room_are_counted(world: World) -> None:
    rows = [GDU.rows[0].model_copy(update={"name": f"synapses.{n}.weight"}) for n in range(20)]
    run = world.run(GDU.model_copy(update={"rows": rows}))

    async def act() -> None:
        async with world.open(run, size=(80, 24)):
            await world.press("3")
            await world.sees("synapses.0.weight", "1 to ", " of 20 rows")
            await world.press(*["down"] * 19)
            await world.sees("synapses.19.weight", " to 20 of 20 rows")

    asyncio.run(act())


def test_a_long_event_is_shown_whole_at_every_width(world: World) -> None:
    said = "a sentence that is longer than the terminal is wide, and whose end is what one has to do about it: this"
    run = world.run(epoch(1, 50.0), Warned(message=said))

    async def act() -> None:
        async with world.open(run, size=(80, 24)):
            await world.press("7")
            await world.sees("a sentence that is longer", "about it: this")
            await world.pilot.resize_terminal(62, 24)
            await world.sees("a sentence that is longer", "it: this")

    asyncio.run(act())


@pytest.mark.parametrize("pane", ["1", "2", "3", "7"])
def test_keys_do_not_change_a_chart_that_is_hidden(world: World, pane: str) -> None:
    run = world.run(epoch(1, 50.0), epoch(2, 60.0), GDU)

    async def act() -> None:
        async with world.open(run, size=(80, 24)) as app:
            await world.sees("accuracy %")
            curves = app.screen.query_one("#curves", ChartView)
            await world.press(pane, "f", "f")
            await world.until(lambda: not curves.display)
            before = curves.view, curves.column, curves.logarithmic, curves.smoothing
            await world.press("plus", "plus", "comma", "L", "w", "left", "shift+up")
            assert (curves.view, curves.column, curves.logarithmic, curves.smoothing) == before
            await world.press("f")
            await world.press("plus")
            assert curves.display and curves.view != before[0]

    asyncio.run(act())


@pytest.mark.parametrize("width", [66, 100, 140])
def test_another_size_is_drawn_anew_also_of_a_run_that_has_ended(world: World, width: int) -> None:
    run = world.run(epoch(1, 50.0), state="finished")

    async def act() -> None:
        async with world.open(run, size=(80, 24)) as app:
            await world.sees("✓ finished")
            await world.pilot.resize_terminal(width, 30)
            lines = app.screen.query_one("#progress")
            await world.until(lambda: lines.plain().splitlines()[0].rstrip().endswith("%"))  # type: ignore[attr-defined]
            first = lines.plain().splitlines()[0]  # type: ignore[attr-defined]
            await world.until(lambda: width - 3 <= len(lines.plain().splitlines()[0]) <= width)  # type: ignore[attr-defined]
            assert "…" not in first

    asyncio.run(act())


def test_a_run_is_drawn_once_all_of_it_is_read(world: World) -> None:
    long = world.run(*[epoch(number, 50.0) for number in range(1, 40)], name="long")
    short = world.run(epoch(1, 60.0), name="short")
    world.monkeypatch.setattr(feed, "PIECE", 2000)
    handed: list[list[Side]] = []
    comparer = Comparer(lambda sides: handed.append(list(sides)))
    comparer.compare([long.path, short.path])
    assert comparer.once(anew=True)
    assert [side.read for side in handed[-1]] == [False, True]
    while comparer.once(anew=True):
        pass
    assert [side.read for side in handed[-1]] == [True, True]
    assert len(handed[-1][0].compared.epochs) == 39
    for sides in handed:
        assert all(side.read or side.path == long.path for side in sides)


def test_compare_says_that_it_reads(world: World) -> None:
    runs = [world.run(*[epoch(number, 50.0) for number in range(1, 40)], name=name) for name in "ab"]
    world.monkeypatch.setattr(feed, "PIECE", 2000)
    world.monkeypatch.setattr("eqprop_tui.watching.comparer.Comparer.start", lambda self: None)

    async def act() -> None:
        async with world.open() as app:
            for run in runs:
                app.marks.add(run.path)
            await world.press("tab")
            await world.press("v")
            await world.sees("reading …   0 of 2 runs drawn")
            assert "no run is compared" not in world.screen() and "no data" not in world.screen()
            comparer = app.screen.comparer  # type: ignore[attr-defined]
            assert comparer.once(anew=True)
            await world.sees("reading …   0 of 2 runs drawn")
            while comparer.once(anew=True):
                pass
            await world.until(lambda: "reading" not in world.screen())
            await world.sees("2 runs")

    asyncio.run(act())


@pytest.mark.parametrize(("words", "whole"), [(10, True), (30, True), (200, False)])
def test_a_long_command_line_ends_in_a_sign(world: World, words: int, whole: bool) -> None:
    command = " ".join(["eqprop", *(f"--flag{n}" for n in range(words))])
    world.monkeypatch.setattr("eqprop_tui.forms.Form.command", lambda self: command)

    async def act() -> None:
        async with world.open(size=(80, 24)):
            await world.press("enter")
            await world.sees("configure   from", "$ eqprop --flag0")
            last = world.screen().splitlines()[-2].rstrip()
            assert last.endswith(f"--flag{words - 1}") if whole else last.endswith("…")

    asyncio.run(act())


@pytest.mark.parametrize("width", [28, 36, 48, 80])
def test_a_name_in_a_legend_can_be_read_or_is_left_out_with_a_sign(width: int) -> None:
    names = ("BPTT", "EP", "EP +β", "EP −β")
    series = tuple(Series(name, (1, 2), (1, 2), place) for place, name in enumerate(names, 1))
    first = to_plain(lines.draw(Chart("[2964] synapses.0.weight", series), width, 10)).split("\n")[0]
    shown = [name for name in names if f" {name} " in first]
    assert list(names[: len(shown)]) == shown and "B…" not in first
    assert len(shown) == len(names) or first.rstrip().endswith("…")
