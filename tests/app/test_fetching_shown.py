"""A run whose data is missing shows how far the download is, can be stopped there, and fails in readable words."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.world import World
from eqprop_core.runs.control import ask
from eqprop_core.runs.listing import summarize
from eqprop_core.worker.signals import Wishes
from eqprop_core.worker.training import shown_in_state


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.mark.parametrize("state", ["starting", "running"])
def test_a_download_is_shown_while_the_run_starts(world: World, state: str) -> None:
    run = world.run(state=state)
    shown_in_state(run, Wishes())("MNIST, file 1 of 4", 3_210_000, 9_912_422)
    said = "MNIST, file 1 of 4: 3.2 of 9.9 MB"
    assert summarize(run.path).fetching == (said if state == "starting" else None)

    async def act() -> None:
        async with world.open(run, size=(80, 24)):
            await world.sees(f"starting: fetches {said}" if state == "starting" else "running")
            assert (said in world.screen()) == (state == "starting")

    asyncio.run(act())


@pytest.mark.parametrize("how", ["request", "signal"])
def test_a_download_ends_when_the_run_is_asked_to_stop(world: World, how: str) -> None:
    run, wishes = world.run(state="starting"), Wishes()
    told = shown_in_state(run, wishes)
    told("MNIST", 0, None)
    if how == "request":
        ask(run.path, "stop")
    else:
        wishes.stop = 15
    with pytest.raises(KeyboardInterrupt):
        told("MNIST", 1, None)


@pytest.mark.parametrize(
    "message",
    [
        "MNIST could not be downloaded: refused\nTry again later\n"
        + "\n".join("  /a/" + "b" * 90 for _ in "abcd"),
        "one line " * 40,
        "short",
    ],
    ids=["lines", "long", "short"],
)
def test_a_failure_is_readable_at_80_columns(world: World, message: str) -> None:
    run = world.run(state="failed")
    run.write_state({**run.read_state(), "message": message})

    async def act() -> None:
        async with world.open(run, size=(80, 24)):
            await world.sees("✕ failed", "next: 8 its output")
            shown = world.screen()
            assert "\\n" not in shown
            start = shown.index("failed: ")
            said = shown[start : shown.index(" next: 8")]
            assert "8 shows all of it" in said or message.split()[-1] in said.split()
            first, *_ = message.splitlines()
            assert " ".join(said.split()).startswith(f"failed: {' '.join(first.split())}"[:200])

    asyncio.run(act())


def test_seconds_are_counted_between_two_events(world: World) -> None:
    run = world.run(state="starting")

    async def act() -> None:
        async with world.open(run) as app:
            screen = app.screen
            screen._opened -= 61  # type: ignore[attr-defined]
            await world.sees("torch and the data, 1 min")  # nothing of the run has changed

    asyncio.run(act())
