"""Pictures of the screens, where a picture says more than an assertion.

`pytest tests/app/test_snapshots.py --snapshot-update` draws them anew: look at the difference before you keep
it. Clock, ids and devices stand still.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from app.cases_sweep import swept
from app.made import ACTIVITY, GDU, SETTLING, STARTED, batch, epoch
from app.world import World
from eqprop_core import devices
from eqprop_core.devices import Device
from eqprop_core.events import RunStarted
from eqprop_core.runs import folder
from eqprop_tui import words
from eqprop_tui.app import EqpropApp, Options
from eqprop_tui.preferences import save_preferences

SMALL, LARGE = (80, 24), (160, 48)
CPU = Device("cpu", "A processor", cores=2, memory_total=24 * 2**30, memory_used=6 * 2**30, load=0.5)
OPENED = RunStarted(
    todo="train", epochs=3, batches=10, train_images=1438, test_images=359, parameters=1210, device="cpu"
)
CURVE = [OPENED, STARTED, *(batch(number, accuracy=10.0 * number) for number in range(1, 11)), epoch(1, 90.5)]
CURVE += [batch(number, epoch=2, accuracy=90.0 + number / 2) for number in range(1, 11)]
CURVE += [epoch(2, 95.25), SETTLING, ACTIVITY, GDU, batch(4, epoch=3, accuracy=96.0)]


class StillClock(datetime):
    """It is always noon."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return datetime(2026, 1, 2, 12, 0, 0, tzinfo=tz)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose clock, ids and devices stand still."""
    ids = itertools.count(1)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(secrets, "token_hex", lambda size=4: f"{next(ids):0{2 * size}x}")
    monkeypatch.setattr(folder, "datetime", StillClock)
    monkeypatch.setattr(devices, "_cpu", lambda: CPU)
    monkeypatch.setattr(devices, "_gpus", list)
    monkeypatch.setattr(words, "datetime", StillClock)
    still = World(tmp_path, monkeypatch)
    still.heartbeat = lambda: datetime(2026, 1, 2, 12, 1, 30).timestamp()
    yield still
    monkeypatch.undo()
    time.tzset()


Compare = Callable[..., bool]


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_monitor(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    run = world.run(*CURVE, name="digits")
    assert snap_compare(
        EqpropApp(Options(run=run.path)), terminal_size=size, run_before=shown(world, "cpu   50 %", "100 ┤")
    )


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_gdu_check(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    run = world.run(*CURVE, name="digits")
    app = EqpropApp(Options(run=run.path))
    assert snap_compare(
        app, terminal_size=size, run_before=shown(world, "cpu   50 %", "▸ synapses.0.weight", keys="3")
    )


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_library(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    save_preferences(seen=True)
    assert snap_compare(EqpropApp(), terminal_size=size, run_before=shown(world, "18.0 GB free", "✗ data"))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_form_with_a_wrong_value(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    save_preferences(seen=True)

    async def before(pilot: Pilot[None]) -> None:
        await shown(world, "18.0 GB free")(pilot)
        await world.press("enter")
        await world.sees("configure   from digits-mlp-ep")
        await world.press("down", "space", "x")
        await world.sees("✗", "1 change")
        for line in pilot.app.screen.query(Input):
            line.cursor_blink = False  # it is there or not, by when the picture is taken
        await pilot.pause()

    assert snap_compare(EqpropApp(), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_runs(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    for name, state in (("first", "finished"), ("second", "running"), ("third", "failed")):
        world.run(*CURVE, name=name, state=state)
    run_before = shown(world, "3 of 3", "✕ failed", keys=["tab"])
    assert snap_compare(EqpropApp(), terminal_size=size, run_before=run_before)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_comparison(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    world.run(*CURVE, name="first", state="finished")
    world.run(*CURVE[:-5], batch(1, epoch=3), name="second", state="finished", lrs=[0.2, 0.1])

    async def before(pilot: Pilot[None]) -> None:
        await shown(world, "2 of 2", keys=["tab"])(pilot)
        await world.press("space", "down", "space", "v")
        await world.sees("first ──", "second ──", "lrs")

    assert snap_compare(EqpropApp(), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_runs_of_a_sweep(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    world.run(*CURVE, name="first", state="finished")
    swept(world)
    run_before = shown(world, "▾ tiny  3/6 done, 1 failed", "b seed", keys=["tab", "home", "right"])
    assert snap_compare(EqpropApp(), terminal_size=size, run_before=run_before)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_table_of_a_sweep(world: World, snap_compare: Compare, size: tuple[int, int]) -> None:
    world.run(*CURVE, name="first", state="finished")
    swept(world)

    async def before(pilot: Pilot[None]) -> None:
        await shown(world, "▸ tiny  3/6 done", keys=["tab", "home"])(pilot)
        await world.press("t")
        await world.sees("20.00*", "3 of 6 runs finished")
        await world.press("right")
        await world.sees("✕ seed 1")

    assert snap_compare(EqpropApp(), terminal_size=size, run_before=before)


def shown(world: World, *texts: str, keys: Sequence[str] = ()) -> Callable[[Pilot[None]], Any]:
    """Presses keys, and waits until texts are on the screen."""

    async def before(pilot: Pilot[None]) -> None:
        world.pilot = pilot
        await pilot.pause()
        await world.press(*keys)
        await world.sees(*texts)

    return before
