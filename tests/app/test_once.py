"""A key that is pressed twice begins one thing; a run that has ended can still be checked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from app.made import GDU
from app.starting import starts_of
from app.world import World
from eqprop_core.events import Record, encode
from eqprop_core.runs.names import CHECKPOINT, CHECKS, EVENTS
from eqprop_tui.once import SAME_PRESS, Once

VERDICT = "EP follows"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_thing_is_begun_once_while_it_is_under_way_and_a_moment_after() -> None:
    now = [0.0]
    once = Once(lambda: now[0])
    assert once.begin("a") and once.begin("b")
    assert not once.begin("a")
    once.end("a")
    assert not once.begin("a")  # the second press of two
    now[0] += SAME_PRESS
    assert once.begin("a")
    now[0] += 100 * SAME_PRESS
    assert not once.begin("a")  # still under way


@pytest.mark.parametrize(
    "keys", [("r", "r"), ("enter", "ctrl+r", "ctrl+r"), ("enter", "ctrl+l", "ctrl+l", "ctrl+n")]
)
def test_two_presses_start_one_run(world: World, keys: tuple[str, ...]) -> None:
    starts = starts_of(world)

    async def act() -> None:
        async with world.open() as app:
            app.once = Once(lambda: 0.0)
            await world.sees("digits-mlp-ep")
            if keys[0] == "enter":
                await world.press("enter")
                await world.sees("configure   from")
            await world.pilot.press(*[key for key in keys if key != "enter"])
            await world.until(lambda: starts.plans and not app.once._under_way)
            assert len(starts.plans) == 1

    asyncio.run(act())


def test_two_presses_go_on_with_a_run_once(world: World) -> None:
    run, asked = world.run(state="stopped"), list[Path]()

    def resume(path: Path, more: int | None) -> str:
        asked.append(path)
        return "goes on"

    world.monkeypatch.setattr("eqprop_tui.screens.run_actions.resume", resume)

    async def act() -> None:
        async with world.open(run) as app:
            app.once = Once(lambda: 0.0)
            await world.press("R", "R")
            await world.until(lambda: asked and not app.once._under_way)
            assert asked == [run.path]

    asyncio.run(act())


@pytest.mark.parametrize("state", ["finished", "stopped", "failed"])
def test_the_weights_of_a_run_that_has_ended_are_checked_and_the_check_is_shown(
    world: World, state: str
) -> None:
    run = world.run(state=state)
    (run.path / CHECKPOINT).touch()
    asked: list[list[str]] = []

    def carry_out(words: list[str]) -> tuple[int, str, str]:
        asked.append(words)
        check = run.new_check()
        (check / EVENTS).write_text(
            encode(Record(1, 2e9, GDU.model_copy(update={"epoch": 0, "verdict": VERDICT}))) + "\n"
        )
        return 0, "", ""

    async def act() -> None:
        async with world.open(run) as app:
            app.once = Once(lambda: 0.0)
            world.monkeypatch.setattr(app.commands, "carry_out", carry_out)
            await world.press("g", "g")
            await world.sees(VERDICT, "of the saved weights")
            assert asked == [["gducheck", "--load-path", str(run.path), "--save"]]

    asyncio.run(act())


def test_a_check_that_cannot_be_made_says_why_and_one_without_weights_what_to_do(world: World) -> None:
    run = world.run(state="stopped")

    async def act() -> None:
        async with world.open(run) as app:
            world.monkeypatch.setattr(app.commands, "carry_out", lambda _: (1, "", "error: odd weights"))
            await world.press("g")
            assert "R begins it" in [note.message for note in app._notifications][-1]
            (run.path / CHECKPOINT).touch()
            await world.press("g")
            await world.sees("no GDU check", "odd weights")

    asyncio.run(act())


def test_evaluations_and_broken_files_beside_checks_are_nothing_to_show(world: World) -> None:
    run = world.run(state="finished")
    for name, content in ("2026-01-01", "{"), ("2026-01-02", ""), ("2026-01-03", json.dumps({"kind": "gdu"})):
        (run.path / CHECKS / name).mkdir(parents=True)
        (run.path / CHECKS / name / EVENTS).write_text(content)

    async def act() -> None:
        async with world.open(run):
            await world.press("3")
            await world.sees("no GDU check yet: g runs one")

    asyncio.run(act())


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_was_stopped_claims_the_checkpoint_that_it_has(world: World, begun: bool) -> None:
    run = world.run(state="stopped")
    if begun:
        (run.path / CHECKPOINT).touch()

    async def act() -> None:
        async with world.open(run):
            await world.sees("stopped, with a checkpoint" if begun else "stopped before its first checkpoint")
            await world.sees("R go on from there" if begun else "R begin")

    asyncio.run(act())
