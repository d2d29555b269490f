"""Sweeps in the application: a line among the runs, a table that goes on, and whatever the folders hold."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sweeps.made import cell, job_of, make_run, make_sweep, tell

from app.cases_runs import epoch, runs_screen
from app.cases_sweep import cells, sweep_screen, swept, with_sweep
from app.world import World
from eqprop_core.marks import own_mark
from eqprop_core.runs.folder import RunFolder
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_tui.groups import Sweep, grouped
from eqprop_tui.screens.sweep import SweepScreen
from eqprop_tui.watching.lister import Lister
from eqprop_tui.watching.tabler import Tabler
from eqprop_tui.widgets.sweep_table import Place
from eqprop_tui.words import cut_inside


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def play(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


def test_the_line_of_a_sweep_counts_its_runs_by_state_and_says_what_needs_somebody(world: World) -> None:
    sweep = swept(world)
    make_run(sweep, "c", 0, 50.0, state="running", mark={**own_mark(), "heartbeat": world.heartbeat()})
    runs = Lister([world.results], lambda _: None).runs()
    known = {sweep.path: Sweep(sweep.path, "tiny", sweep.created, 6)}
    alone, (group,) = grouped(runs, runs, known, empty=True)
    assert alone == [] and len(group.shown) == 5
    assert group.words == "3/6 done, 1 failed, 1 running"
    assert (group.summary.state, group.summary.best, group.summary.alg) == ("running", 96.0, "EP")


@pytest.mark.parametrize(
    ("states", "stands"),
    [
        (["finished", "finished"], "finished"),
        (["finished", "failed"], "failed"),
        (["finished"], "stopped"),
        (["stopped", "stopped"], "stopped"),
        ([], "stopped"),
    ],
)
def test_a_sweep_stands_as_its_runs_do(tmp_path: Path, states: list[str], stands: str) -> None:
    sweep = make_sweep(tmp_path, cell("a"), seeds=[0, 1])
    for seed, state in enumerate(states):
        make_run(sweep, "a", seed, 50.0, state=state)
    lister = Lister([tmp_path], lambda _: None)
    _, (group,) = grouped(lister.runs(), lister.runs(), lister.sweeps(), empty=True)
    assert group.summary.state == stands


def test_a_sweep_without_runs_is_listed_unless_runs_are_looked_for(tmp_path: Path) -> None:
    make_sweep(tmp_path, cell("a"))
    lister = Lister([tmp_path], lambda _: None)
    assert len(grouped([], [], lister.sweeps(), empty=True)[1]) == 1
    assert grouped([], [], lister.sweeps(), empty=False)[1] == []


def test_what_is_looked_for_is_shown_in_its_sweep_however_that_was_folded(world: World) -> None:
    swept(world)
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open() as app:
            screen = await with_sweep(world, app)
            await world.press("slash", *"best>95")
            await world.until(lambda: [run.name for run in screen.table.runs] == ["b seed 0"])
            await world.sees("▾ tiny  3/6 done", "  b seed 0", "1 of 5")
            assert len(screen.table.lines) == 2
            await world.press("escape")
            await world.until(lambda: len(screen.table.runs) == 5)
            assert len(screen.table.lines) == 2  # folded again, and the run of no sweep

    play(act)


def test_a_sweep_is_marked_with_all_of_its_runs(world: World) -> None:
    sweep = swept(world)
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open() as app:
            screen = await with_sweep(world, app)
            await world.press("space")
            assert set(app.marks) == {job.path for job in sweep.jobs() if job.path.exists()}
            await world.sees("4 marked", "* ✕ failed")
            screen.choice.run = sweep.path
            await world.press("space")
            assert not app.marks

    play(act)


def test_a_sweep_is_stopped_on_its_line_and_asks_its_runs_to_stop(world: World) -> None:
    sweep = make_sweep(world.results, cell("a"), seeds=[0, 1])
    mark = {**own_mark(), "heartbeat": world.heartbeat()}
    runs = [make_run(sweep, "a", seed, 50.0, state="running", mark=mark) for seed in (0, 1)]
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open() as app:
            screen = await with_sweep(world, app)
            assert not screen.check_action("delete", ()) and not screen.check_action("export", ())
            await world.press("s")
            await world.sees("stop the sweep tiny?")
            await world.press("s")
            asked = [job.path / "control" for job in sweep.jobs()]
            await world.until(lambda: all(list(folder.glob("*.json")) for folder in asked))

    with runs[0].lock(), runs[1].lock():  # as their processes hold them
        play(act)


def test_the_cursor_stays_with_its_run_as_runs_of_the_sweep_come(world: World) -> None:
    sweep = swept(world)
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open() as app:
            screen = await with_sweep(world, app)
            await world.press("right", "down", "down")
            pointed = screen.choice.run
            assert screen.table.run is not None
            make_run(sweep, "c", 0, 50.0)
            screen.lister.look()
            await world.until(lambda: len(screen.table.runs) == 6)
            assert screen.choice.run == pointed
            shutil.rmtree(pointed)  # type: ignore[arg-type]
            screen.lister.look()
            await world.until(lambda: len(screen.table.runs) == 5)
            assert screen.choice.run == sweep.path

    play(act)


def test_the_table_goes_on_as_runs_finish(world: World) -> None:
    sweep = make_sweep(world.results, cell("a"), seeds=[0, 1])
    mark = {**own_mark(), "heartbeat": world.heartbeat()}
    run = make_run(sweep, "a", 0, 50.0, state="running", mark=mark)

    async def act() -> None:
        async with world.open() as app:
            screen = SweepScreen(sweep.path)
            await app.push_screen(screen)
            await world.sees("0 of 2, 1 running, 1 waiting")
            await world.press("right")
            await world.sees("running 1/2, test error so far 50.00 %")
            tell(run, epoch(2, 80.0))
            run.write_state({**run.read_state(), "state": "finished", "epoch": 2})
            screen.tabler.look()
            await world.sees("20.00*", "1 of 2, 1 waiting")
            make_run(sweep, "a", 1, 50.0, 90.0)
            screen.tabler.look()
            await world.sees("15.00 ± 7.07", "2 of 2")
            assert screen.table.place == Place(1)

    play(act)


def test_a_search_is_shown_best_first_by_what_it_chooses_by(world: World) -> None:
    sweep = make_sweep(world.results, cell("bad", val_split=0.1), cell("good", val_split=0.1), seeds=[0])
    path = sweep.path / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "search": {"trials": 2}}))
    sweep = SweepFolder.open(sweep.path)
    make_run(sweep, "bad", 0, 50.0, validation_accuracy=60.0)
    make_run(sweep, "good", 0, 40.0, validation_accuracy=70.0)

    async def act() -> None:
        async with world.open() as app:
            screen = SweepScreen(sweep.path)
            await app.push_screen(screen)
            await world.sees("validation error % ↑", "30.00")
            assert cells(screen) == "goodbad"

    play(act)


def test_a_sweep_that_cannot_be_read_any_more_says_so(world: World) -> None:
    sweep = swept(world)

    async def act() -> None:
        async with world.open() as app:
            screen = await sweep_screen(world, app, sweep)
            shutil.rmtree(sweep.path)
            screen.tabler.look()
            await world.sees("holds no sweep")
            await world.press("enter", "right", "space", "v", "m", "o", "escape")

    play(act)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"plan": {}}', '{"plan": {"name": "x", "cells": [], "seeds": []}}']
)
def test_a_plan_that_is_none_breaks_no_list(world: World, content: str) -> None:
    sweep = swept(world)
    (sweep.path / "sweep.json").write_text(content)
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open() as app:
            screen = await runs_screen(world, app, "one", "b seed 0")  # its runs are listed by themselves
            assert screen.table.groups == []

    play(act)


def test_whatever_a_plan_says_it_does_nothing_to_the_terminal(world: World) -> None:
    sweep = make_sweep(world.results, cell("[red]a[/]"), seeds=[0])
    path = sweep.path / "sweep.json"
    content = path.read_text().replace("[red]a[/]", "[red]a[/]\\u001b[31m").replace('"tiny"', '"\\u001b[2J"')
    path.write_text(content)
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open() as app:
            await with_sweep(world, app)
            await world.sees(r"\x1b[2J")
            assert "\x1b" not in world.screen()
            await world.press("t")
            await world.sees(r"[red]a[/]\x1b[31m")
            assert "\x1b" not in world.screen()

    play(act)


@pytest.mark.parametrize("size", [(60, 16), (80, 24), (160, 48), (240, 70)])
def test_every_row_fits_the_terminal(world: World, size: tuple[int, int]) -> None:
    sweep = make_sweep(world.results, cell("a" * 120), cell("漢字" * 40, lrs=[1, 1]), seeds=range(12))
    for seed in range(12):
        make_run(sweep, "a" * 120, seed, 90.0 + seed / 10)
    world.run(epoch(1, 90.0))

    async def act() -> None:
        async with world.open(size=size) as app:
            await with_sweep(world, app)
            await world.press("right", "t")
            await world.sees("12 of 24 runs finished")
            await world.press("right", "down")
            lines = world.screen().splitlines()
            assert len(lines) == size[1]
            assert all(len(line) <= size[0] for line in lines)
            assert "± 0.36" in world.screen() and "seed 1" in world.screen()

    play(act)


def test_a_run_that_has_ended_is_read_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from eqprop_tui.watching import tabler

    sweep = swept(world)
    read: list[Path] = []
    outcome = tabler.outcome

    def counted(sweep: SweepFolder, job: object) -> object:
        read.append(job.path)  # type: ignore[attr-defined]
        return outcome(sweep, job)  # type: ignore[arg-type]

    monkeypatch.setattr(tabler, "outcome", counted)
    looked = Tabler(sweep.path, lambda _: None)
    first = looked._read()
    assert len(read) == 6
    assert looked._read() == first
    assert set(read[6:]) == {job.path for job in sweep.jobs() if job.cell.name == "c"}  # not begun
    run = RunFolder(job_of(sweep, "a", 0).path)
    run.write_state({**run.read_state(), "note": "written again"})
    looked._read()
    assert run.path in read[6:]


def test_a_name_that_ends_in_a_number_keeps_it_when_it_is_cut() -> None:
    assert cut_inside("  a long name seed=12", 12) == "  a …seed=12"
    assert cut_inside("  a long name seed=12", 8) == "  a lon…"
    assert cut_inside("short 1", 12) == "short 1"
