"""What the tests of the application share: runs as folders, the application under a pilot, cases by key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from eqprop_core.config import RunConfig
from eqprop_core.events import Event, Record, encode
from eqprop_core.marks import own_mark
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.names import EVENTS
from eqprop_tui.app import EqpropApp, Options

Case = Callable[["World", str], Coroutine[Any, Any, None]]
CASES: dict[tuple[str, str], Case] = {}
SECONDS = 60.0  # patience, on a busy machine


def case(place: str, action: str) -> Callable[[Case], Case]:
    """Marks the test of a key of the table: called with a world and each key that is bound to the action."""

    def keep(function: Case) -> Case:
        assert (place, action) not in CASES, f"two tests of {place} {action}"
        CASES[place, action] = function
        return function

    return keep


class World:
    """A person's home and working directory with runs, and the application in it."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.monkeypatch = home, monkeypatch
        self.results = home / "results"
        self.pilot: Pilot[None]
        self.copied: list[str] = []
        self.heartbeat: Callable[[], float] = time.time
        monkeypatch.chdir(home)
        monkeypatch.setenv("EQPROP_RESULTS", str(self.results))
        monkeypatch.setenv("LC_ALL", "C.UTF-8")
        monkeypatch.delenv("TMUX", raising=False)

    def run(self, *events: Event, state: str = "running", name: str = "one", **settings: Any) -> RunFolder:
        """A run with events that stands so; its process is the test's own."""
        given = {
            "task": "digits",
            "archi": [64, 16, 10],
            "lrs": [0.1, 0.05],
            "seed": 1,
            "epochs": 3,
            **settings,
        }
        run = RunFolder.create(self.results, RunConfig(**given, name=name), command=["eqprop", "train"])
        self.tell(run, *events)
        facts = {"state": state, "epoch": 1, "epochs": 3, "best": 91.25, "last": 90.5, "device": "cpu"}
        run.write_state({**run.identity(), **own_mark(), "heartbeat": self.heartbeat(), **facts})
        return run

    def tell(self, run: RunFolder, *events: Event) -> None:
        """Append events to a run, a second apart."""
        path = run.path / EVENTS
        before = path.read_text().count("\n") if path.exists() else 0
        with path.open("a") as file:
            for seq, event in enumerate(events, before + 1):
                file.write(encode(Record(seq, 1_700_000_000.0 + seq, event)) + "\n")

    def requests(self, run: RunFolder) -> list[str]:
        """What was asked of a run since the last call."""
        return [asked.request for asked in take(run.path)]

    @asynccontextmanager
    async def open(
        self, run: RunFolder | None = None, size: tuple[int, int] = (120, 36)
    ) -> AsyncIterator[EqpropApp]:
        """The application on a terminal of this size; what it copies to the clipboard is in `copied`."""
        app = EqpropApp(Options(run=run.path if run else None))
        self.monkeypatch.setattr(app, "copy_to_clipboard", self.copied.append)
        async with app.run_test(size=size) as pilot:
            self.pilot = pilot
            await pilot.pause()
            yield app

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until they are worked off."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + SECONDS
        while not true():
            assert time.monotonic() < deadline, f"does not come to hold; the screen shows\n{self.screen()}"
            await self.pilot.pause(0.02)

    async def sees(self, *texts: str) -> None:
        """Wait until all these texts are on the screen."""
        await self.until(lambda: all(text in self.screen() for text in texts))

    def screen(self) -> str:
        """The characters on the screen, row by row."""
        screen = self.pilot.app.screen
        width, height = self.pilot.app.size
        strips = screen._compositor.render_strips()  # what a terminal would be sent; no public way to it
        assert len(strips) <= height and width
        return "\n".join(strip.text for strip in strips)


def played(world: World, act: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function to its end."""
    asyncio.run(act())  # type: ignore[arg-type]


def keys_of(written: str) -> Sequence[str]:
    """The keys of an entry of the table, one by one."""
    return written.split(",")
