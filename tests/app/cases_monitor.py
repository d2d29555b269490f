"""What the keys of the monitor do: requests, signals, cells."""

from __future__ import annotations

from typing import Any

from app.made import ACTIVITY, GDU, SETTLING, STARTED, batch, epoch
from app.world import World, case
from eqprop_core.events import Angles
from eqprop_core.runs.control import take
from eqprop_tui.screens import run_actions


@case("monitor", "pause")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    async with world.open(run):
        await world.press(press)
        assert world.requests(run) == ["pause"]
        await world.sees("asked: pause …")
    paused = world.run(STARTED, state="paused")
    async with world.open(paused):
        await world.sees("p go on")
        await world.press(press)
        assert world.requests(paused) == ["resume"]


@case("monitor", "stop")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    signals: list[str] = []

    def end(_: object, *, kill: bool, named: str) -> None:
        signals.append("kill" if kill else "terminate")

    world.monkeypatch.setattr(run_actions, "end", end)
    async with world.open(run):
        await world.press(press)
        await world.sees("s after its batch, with a checkpoint")
        await world.press("enter")
        assert world.requests(run) == ["stop"]
        await world.press(press, "n")
        assert world.requests(run) == ["stop", "stop"]
        await world.press(press, "t")
        await world.until(lambda: signals == ["terminate"])
        await world.press(press, "k")
        await world.until(lambda: signals == ["terminate", "kill"])
        await world.press(press, "escape")
        assert world.requests(run) == []


@case("monitor", "checkpoint")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    async with world.open(run):
        await world.press(press)
        assert world.requests(run) == ["checkpoint"]


@case("monitor", "check")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    async with world.open(run):
        await world.press(press)
        assert world.requests(run) == ["check"]
        await world.sees("[3 gdu check]", "no GDU check yet")
        world.tell(run, GDU)
        await world.sees("▸ synapses.0.weight", "0.0210", "0.3400")


@case("monitor", "set")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    async with world.open(run):
        await world.press(press, "enter")
        await world.sees("learning-rate factor")
        await world.press("0")
        await world.sees("✗ accepted")
        await world.press("enter")  # not taken
        await world.press("full_stop", "5", "enter")
        asked = take(run.path)
        assert [(item.request, item.settings) for item in asked] == [("set", {"lr_factor": 0.5})]


@case("monitor", "new")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    run.describe({"preset": "digits-mlp-ep"})
    run.write_state({**run.read_state(), **run.identity()})
    async with world.open(run) as app:
        opened: list[Any] = []
        world.monkeypatch.setattr(app, "open_configure", lambda *given: opened.append(given))
        await world.press(press)
        await world.until(lambda: opened)
        settings, origin, preset = opened[0]
        assert (settings["archi"], origin, preset.name) == ([64, 16, 10], "one", "digits-mlp-ep")


@case("monitor", "name")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED)
    async with world.open(run):
        await world.press(press, "n")
        await world.press(*("backspace",) * 3, *"two", "enter")
        await world.until(lambda: run.meta()["name"] == "two")
        await world.press(press, "t", *"x y".replace(" ", "-"), "enter")
        await world.until(lambda: run.meta()["note"] == "x-y")


@case("monitor", "resume")
async def _(world: World, press: str) -> None:
    run = world.run(STARTED, state="stopped")
    (run.path / "checkpoint.tar").touch()
    async with world.open(run) as app:
        asked: list[Any] = []
        world.monkeypatch.setattr(app, "resume", lambda *given: asked.append(given))
        await world.sees("stopped, with a checkpoint", "R resume")
        await world.press(press)
        assert asked == [(run.path,)]


@case("monitor", "curve")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(epoch(1, 90.0))):
        await world.sees("accuracy %")
        await world.press(press)
        await world.sees(" loss      ")


@case("monitor", "enlarge")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(epoch(1, 90.0), ACTIVITY)):
        await world.sees("accuracy %", "[1 activity]", "layer 1")
        await world.press(press)
        await world.until(lambda: "[1 activity]" not in world.screen())
        await world.press(press)
        await world.sees("layer 1")
        assert "accuracy %" not in world.screen()
        await world.press(press)
        await world.sees("accuracy %", "layer 1")


@case("monitor", "pane('activity')")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(ACTIVITY)):
        await world.press("2", press)
        await world.sees("[1 activity]", "layer 1", "at 0 61 %", "at 1 9 %")


@case("monitor", "pane('settling')")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(SETTLING)):
        await world.press(press)
        await world.sees(
            "[2 settling]", "largest change, epoch 1, batch 4", "free ──", "nudged +β ──", "1e-3"
        )


@case("monitor", "pane('gdu')")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(GDU)):
        await world.press(press)
        await world.sees("[3 gdu check]", "0.8 %", "0.9998", "1.002", "β 0.1, at epoch 1, batch 4, 5 images")
        await world.sees("BPTT ──", "EP ╌╌", "EP +β ┈┈", "EP −β ┈┈")


@case("monitor", "pane('angles')")
async def _(world: World, press: str) -> None:
    run = world.run(epoch(1, 50.0))
    async with world.open(run):
        await world.press(press)
        await world.sees("[4 angles]", "angles are measured after each epoch of a vector field")
        world.tell(run, *(Angles(epoch=number, angles={"synapses.1": 80.0 - number}) for number in (1, 2)))
        await world.sees("synapses.1 ──")


@case("monitor", "pane('rates')")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(STARTED)):
        await world.press(press)
        await world.sees("[5 rates]", "connection 1", "connection 2")


@case("monitor", "pane('device')")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(STARTED)):
        await world.press(press)
        await world.sees("[6 device]", "load ──", "memory ╌╌")


@case("monitor", "pane('events')")
async def _(world: World, press: str) -> None:
    async with world.open(world.run(epoch(1, 91.0))):
        await world.press(press)
        await world.sees("[7 events]", "epoch 1  train 90.00 %  test 91.00 %")


@case("monitor", "pane('log')")
async def _(world: World, press: str) -> None:
    run = world.run(epoch(1, 91.0))
    (run.path / "console.log").write_text("loading \x1b[31m[bold]digits\n")
    async with world.open(run):
        await world.press(press)
        await world.sees("[8 log]", "[bold]digits")


@case("monitor", "previous_run")
async def _(world: World, press: str) -> None:
    first, second = world.run(batch(1), name="first"), world.run(batch(2), name="second")
    async with world.open(first) as app:
        app.open_run(second.path)
        await world.sees("● running   second")
        await world.press(press)
        await world.sees("● running   first")


@case("monitor", "next_run")
async def _(world: World, press: str) -> None:
    first, second = world.run(batch(1), name="first"), world.run(batch(2), name="second")
    async with world.open(first) as app:
        app.open_run(second.path)
        await world.sees("● running   second")
        await world.press(press)  # round to the first
        await world.sees("● running   first")


@case("monitor", "bell")
async def _(world: World, press: str) -> None:
    run = world.run(batch(1))
    async with world.open(run) as app:
        rung: list[str] = []
        world.monkeypatch.setattr(app, "bell", lambda: rung.append("bell"))
        await world.press(press)
        assert app.preferences.bell
        run.write_state({**run.read_state(), "state": "finished"})
        await world.sees("✓ finished", "R more epochs")
        assert rung == ["bell"]


@case("monitor", "copy_path")
async def _(world: World, press: str) -> None:
    run = world.run(batch(1))
    async with world.open(run):
        await world.press(press)
        assert world.copied == [str(run.path)]


@case("monitor", "detach")
async def _(world: World, press: str) -> None:
    run = world.run(batch(1))
    async with world.open(run) as app:
        await world.press(press)
        assert type(app.screen).__name__ == "LibraryScreen"
        assert world.requests(run) == []


@case("monitor", "quit_run")
async def _(world: World, press: str) -> None:
    for answer, requests, leaves in (("l", [], True), ("s", ["stop"], True), ("c", [], False)):
        run = world.run(batch(1))
        async with world.open(run) as app:
            await world.press(press)
            await world.sees("leave it running, and quit")
            await world.press(answer)
            assert world.requests(run) == requests
            assert app._exit is leaves
