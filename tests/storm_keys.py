#!/usr/bin/env python3
"""Type keys and bytes at random into the application, many at a time, and see whether it stays alive without a fault.

    python tests/storm_keys.py --keys 100000 --seed 1

What a terminal sends is drawn by seed: keys of every screen, words, the mouse, pastes, reports that were not asked
for, broken escape sequences and letters, bytes of any kind. They come in bursts, as over a lagging line, over every
screen, with runs that go on and runs that have ended, at several sizes and with other sizes in between. Everything
happens in a home of its own; what would start, signal or end a process is replaced, and a hook of Python's refuses
and counts what would be written or started outside. Printed are the screens that were met, the longest time without
an answer, and each fault with its traceback; the exit status is 1 if there was any.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import typer
from textual.driver import Driver
from textual.events import Resize
from textual.geometry import Size

sys.path.insert(0, str(Path(__file__).parent))

from app.cases_sweep import swept
from app.made import ACTIVITY, GDU, SETTLING, STARTED, batch, epoch
from app.terminal import Terminal
from app.world import World

from eqprop_core import devices
from eqprop_core.devices import Device
from eqprop_core.events import RunStarted, Warned
from eqprop_core.presets import all_presets
from eqprop_core.runs import folder
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Launched
from eqprop_core.runs.places import Place
from eqprop_tui.app import EqpropApp, Options
from eqprop_tui.commands import Commands
from eqprop_tui.keyboard import Keyboard, bounded
from eqprop_tui.keys import TABLE
from eqprop_tui.marks import Marks
from eqprop_tui.screens.compare import CompareScreen
from eqprop_tui.screens.sweep import SweepScreen

SIZES = [(80, 24), (160, 48), (60, 16), (40, 10)]
ODD_SIZES = [(1, 1), (2, 40), (300, 3), (0, 0), (20, 8), (250, 70)]
PATIENCE = 40.0  # seconds of this process without an answer that are taken for a loop without end
STANDSTILL = 600.0  # seconds without an answer on a machine however busy
NAMED = {
    "enter": "\r", "escape": "\x1b", "tab": "\t", "shift+tab": "\x1b[Z", "space": " ", "backspace": "\x7f",
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "delete": "\x1b[3~", "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR",
    "f4": "\x1bOS", "f5": "\x1b[15~", "ctrl+up": "\x1b[1;5A", "ctrl+down": "\x1b[1;5B", "shift+up": "\x1b[1;2A",
    "shift+down": "\x1b[1;2B", "ctrl+end": "\x1b[1;5F", "ctrl+home": "\x1b[1;5H", "slash": "/", "plus": "+",
    "minus": "-", "comma": ",", "full_stop": ".", "left_square_bracket": "[", "right_square_bracket": "]",
    "question_mark": "?", "equals_sign": "=",
}  # fmt: skip
LEAVING = {"q", "ctrl+q", "ctrl+c"}
ODD = [
    b"\xff", b"\xfe\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f", b"\x00", b"\x00" * 40, b"\x80\x81", b"\xed\xa0\x80",
    "é€😀".encode(), "Z̸̡̛͝ä".encode(), "שלום‮abc".encode(),
    b"\x1b[I", b"\x1b[O", b"\x1b", b"\x1b\x1b\x1b", b"\x1b[", b"\x1bO", b"\x1b]0;title\x07", b"\x1b]52;c;AAAA\x1b\\",
    b"\x1bP1$r0m\x1b\\", b"\x1b[?2026;2$y", b"\x1b[?2048;1$y", b"\x1b[?2048;2$y", b"\x1b[12;40R", b"\x1b[99999999999;1R",
    b"\x1b[48;24;80;480;800t", b"\x1b[48;0;0;0;0t", b"\x1b[48;9999999;9999999;1;1t", b"\x1b[48;24;80;0;0t",
    b"\x1b[97;5u", b"\x1b[97:65;2u", b"\x1b[999999999999u", b"\x1b[55296;1;55296u", b"\x1b[97;1;27:55296u", b"\x1b[;u",
    b"\x1b[1;99999999999A", b"\x1b[27;5;9~", b"\x1b[<0;99999999999999;5M", b"\x1b[<0;-5;-7M", b"\x1b[<35;0;0m",
    b"\x1b[<4294967296;1;1M", b"\x1b[M !!", b"\x1b[M\xff\xff\xff", b"\x1b[31;1;2;3;4;5;6;7;8;9;1;2;3;4;5;6;7;8m",
    b"\x1b[200~", b"\x1b[201~", b"\x1b[200~digits\x1b[201~", b"\x1b[200~a\x1b[31mred\rline\n\x00\x1b[201~",
    b"\x1b[200~" + b"x y " * 5000 + b"\x1b[201~", b"\x1b[200~\x1b[201~",
]  # fmt: skip
WORDS = [
    "digits",
    "alg=EP",
    "best>90",
    "0.1 0.2",
    "tiny",
    "one",
    "..",
    "/",
    "[b]",
    "1e400",
    "9" * 30,
    "-1",
    "nan",
]
CPU = Device("cpu", "A processor", cores=2, memory_total=24 * 2**30, memory_used=6 * 2**30, load=0.5)
OPENED = RunStarted(
    todo="train", epochs=3, batches=10, train_images=1438, test_images=359, parameters=1210, device="cpu"
)
CURVE = [OPENED, STARTED, *(batch(number, accuracy=10.0 * number) for number in range(1, 11)), epoch(1, 90.5)]
CURVE += [
    SETTLING,
    ACTIVITY,
    GDU,
    Warned(message="a sentence that is much longer than a terminal is wide " * 3),
]


def sent_by(key: str) -> bytes:
    """What a terminal sends for a key of the table."""
    if key.startswith("ctrl+") and len(key) == 6:
        return bytes([ord(key[-1]) & 31])
    return NAMED.get(key, key).encode()


KEYS = sorted({press for keys in TABLE.values() for key in keys for press in key.keys.split(",")} - LEAVING)


def some_bytes(dice: random.Random, size: tuple[int, int]) -> bytes:
    """What is typed next: mostly a key."""
    kind = dice.random()
    if kind < 0.55:
        return sent_by(dice.choice(KEYS)) * (dice.choice((1, 1, 1, 2, 5, 30, 150)) if kind < 0.1 else 1)
    if kind < 0.70:
        return sent_by(
            dice.choice(("enter", "enter", "escape", "down", "up", "tab", "pagedown", "ctrl+p", "y"))
        )
    if kind < 0.78:
        return dice.choice(WORDS).encode()
    if kind < 0.86:
        button = dice.choice((0, 0, 1, 2, 32, 35, 64, 65, 66, 67, 4, 16))
        x, y = dice.randint(1, size[0] + 2), dice.randint(1, size[1] + 2)
        press = f"\x1b[<{button};{x};{y}M"
        return (press + (f"\x1b[<{button};{x};{y}m" if dice.random() < 0.8 else "")).encode()
    if kind < 0.94:
        return dice.choice(ODD)
    if kind < 0.9995:
        return dice.randbytes(dice.choice((1, 1, 2, 4, 9)))
    return sent_by(dice.choice(sorted(LEAVING)))


class Sandbox:
    """Refuses and counts what would be written or started outside of a folder."""

    STARTING = (
        "subprocess.Popen",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "os.forkpty",
        "os.system",
        "os.killpg",
    )
    CHANGING = (
        "os.remove",
        "os.rename",
        "os.mkdir",
        "os.rmdir",
        "os.chmod",
        "os.truncate",
        "os.link",
        "os.symlink",
    )

    def __init__(self, home: Path) -> None:
        self.home, self.closed, self.refused = home.resolve(), True, list[str]()
        sys.addaudithook(self._look)

    def _look(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.closed:
            return
        if event in self.STARTING or (event == "os.kill" and given[1] != 0):
            self._refuse(f"{event} {given[:2]!r}")
        elif event == "open":
            writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            if given[2] & writes and not isinstance(given[0], int):
                self._check(event, given[0])
        elif event in self.CHANGING:
            self._check(event, given[1] if event in ("os.link", "os.symlink") else given[0])

    def _check(self, event: str, path: object) -> None:
        if isinstance(path, int):  # what is open has been looked at
            return
        path = Path(os.fsdecode(path))  # type: ignore[call-overload]
        inside = path.is_absolute() is False or path.is_relative_to(self.home)
        if not inside and str(path) not in (os.devnull, "/dev/tty") and "/.." not in str(path):
            self._refuse(f"{event} {path}")

    def _refuse(self, what: str) -> None:
        self.refused.append(what)
        raise PermissionError(f"not in a storm: {what}")


class NoTerminal(Driver):
    """A terminal of a size of its own, that takes everything that is drawn."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        self.keyboard = Keyboard()

    def type(self, data: bytes) -> int:
        """Give the application these bytes; how many keys, pastes and reports they come to."""
        found = [*self.keyboard.take(data), *self.keyboard.tick()]
        for message in found:
            if not isinstance(message, Resize):
                self.process_message(message)
        return len(found)

    def resize(self, width: int, height: int) -> None:
        """Tell of another size; of none, as some terminals do for a moment, nothing comes through."""
        self.send_message(bounded(Size(width, height)))

    def start_application_mode(self) -> None:
        self.resize(*(self._size or (80, 24)))

    def write(self, data: str) -> None: ...

    def disable_input(self) -> None: ...

    def stop_application_mode(self) -> None: ...


@contextmanager
def home_of_its_own() -> Iterator[tuple[World, Sandbox]]:
    """A world with runs and a sweep, in which no process is started, signalled or ended."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        home = Path(folder)
        for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(home))
        for name in ("EQPROP_DATA", "TMUX", "EDITOR", "VISUAL"):
            patch.delenv(name, raising=False)
        patch.setattr(sys, "dont_write_bytecode", True)
        world = World(home, patch)
        replace_what_is_dangerous(world)
        sandbox = Sandbox(home)
        try:
            yield world, sandbox
        finally:
            sandbox.closed = False


def replace_what_is_dangerous(world: World) -> None:
    """What starts a run gives one that stands still, and what a command prints is made up."""
    dice, patch = random.Random(0), world.monkeypatch

    def start_new(plan: Any, wanted: Any = None) -> tuple[RunFolder, Launched]:
        if dice.random() < 0.3:
            raise RunError("the device is not there")
        return world.run(STARTED, name="started"), Launched(Place("cpu"), ahead=(), warnings=("odd",))

    def go_on(*_: Any, **__: Any) -> Launched:
        if dice.random() < 0.3:
            raise RunError("is in use")
        return Launched(Place("cpu"), ahead=(), warnings=())

    def refused(*_: Any, **__: Any) -> None:
        raise RunError("not in a storm")

    def carry_out(self: Commands, words: Any) -> tuple[int, str, str]:
        time.sleep(dice.choice((0, 0.01, 0.3)))
        return dice.choice(((0, "done\n" * 40, ""), (1, "", "error: odd weights"), (-15, "", "")))

    patch.setattr("eqprop_tui.app.start_new", start_new)
    patch.setattr("eqprop_tui.screens.run_actions.go_on", go_on)
    patch.setattr("eqprop_tui.screens.run_actions.end", refused)
    patch.setattr("eqprop_tui.screens.run_actions.save_rows", lambda *_: 3)
    patch.setattr("eqprop_tui.screens.sweep.save_table", lambda *_: None)
    patch.setattr("eqprop_tui.cli.own_presets.edit_on_terminal", refused)
    patch.setattr(Commands, "carry_out", carry_out)
    patch.setattr(EqpropApp, "_end_without_terminal", lambda self: None)
    patch.setattr(folder, "_commit", lambda: None)
    patch.setattr(devices, "_cpu", lambda: CPU)
    patch.setattr(devices, "_gpus", list)
    patch.setattr("eqprop_tui.screens.configure.occupants", lambda uuid: [])


def stock(world: World) -> list[RunFolder]:
    """Runs in all states."""
    states = ("running", "finished", "failed", "stopped", "paused", "queued", "starting")
    return [world.run(*CURVE, epoch(2, 91.0), name=f"a {state} one", state=state) for state in states]


@dataclass
class Storm:
    """Bursts into one application after another, as it leaves when it is told to."""

    world: World
    seed: int
    say: Callable[[str], object]
    tracebacks: bool = False
    dice: random.Random = field(init=False)
    typed: int = 0
    sessions: int = 0
    met: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    longest: float = 0.0

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.runs = stock(self.world)
        self.sweep = swept(self.world)

    async def rage(self, keys: int) -> None:
        """Type about so many keys."""
        while self.typed < keys:
            self.sessions += 1
            await self._session(keys)
            memory = psutil.Process().memory_info().rss / 2**20
            self.say(
                f"seed {self.seed}: {self.typed:,} typed, {self.sessions} sessions, {len(self.faults)} faults, {memory:.0f} MB"
            )

    async def _session(self, keys: int) -> None:
        size = self.dice.choice(SIZES)
        app = EqpropApp(
            Options(
                run=self.dice.choice((None, self.runs[0].path)),
                results=self.dice.choice((None, self.world.results)),
            )
        )
        app.driver_class = NoTerminal
        ending = asyncio.create_task(app.run_async(size=size))
        live = asyncio.create_task(self._live())
        until = self.typed + self.dice.choice((300, 1500, 4000))
        try:
            while not ending.done() and self.typed < min(keys, until):
                size = await self._burst(app, size)
            if not ending.done():
                app.exit()
            await asyncio.wait_for(ending, STANDSTILL)
        finally:
            live.cancel()
            for error in app.faults.kept:
                frames = traceback.extract_tb(error.__traceback__)
                key = " < ".join(
                    f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:])
                )
                when = f"seed {self.seed}, session {self.sessions}, {self.typed} typed"
                whole = "".join(traceback.format_exception(error))
                if (known := f"{type(error).__name__}: {error}"[:200] + f"\n    {key}") not in self.faults:
                    self.faults[known] = when
                    self.say(f"--- {known}\n    {when}\n{whole if self.tracebacks else ''}")

    async def _burst(self, app: EqpropApp, size: tuple[int, int]) -> tuple[int, int]:
        driver = app._driver
        if not isinstance(driver, NoTerminal) or not app._begun or app._exit:
            await asyncio.sleep(0.01)
            return size
        dice = self.dice
        if dice.random() < 0.1:
            size = dice.choice(SIZES + ODD_SIZES if dice.random() < 0.3 else SIZES)
            driver.resize(*size)
        if dice.random() < 0.08:
            app.call_later(self._go_somewhere, app)
        pieces = [some_bytes(dice, size) for _ in range(dice.choice((1, 2, 3, 8, 40)))]
        self.typed += driver.type(b"".join(pieces))
        await asyncio.sleep(dice.choice((0, 0, 0, 0.001, 0.02)))
        with suppress(Exception):
            self.met[type(app.screen).__name__] += 1
        if dice.random() < 0.3 or app.waiting > 200:
            await self._answer(app)
        return size

    async def _answer(self, app: EqpropApp) -> None:
        """Wait until what was typed is worked off."""
        answered, begun, used = asyncio.Event(), time.monotonic(), time.process_time()
        faulthandler.dump_traceback_later(STANDSTILL - 5, file=sys.__stderr__)  # where it stands, if it does
        while not app._exit and not app._closed:
            app.call_later(answered.set)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(answered.wait(), 1.0)
            if answered.is_set() and app.waiting < 50:
                break
            alive = time.process_time() - used < PATIENCE and time.monotonic() - begun < STANDSTILL
            assert alive, f"no answer, seed {self.seed}, {self.typed} typed: {app.screen}, {app.waiting} wait"
        faulthandler.cancel_dump_traceback_later()
        self.longest = max(self.longest, time.process_time() - used)

    async def _live(self) -> None:
        """Runs go on, come and go."""
        number = 2
        while True:
            await asyncio.sleep(0.3)
            number += 1
            run = self.runs[0]
            if not run.path.exists():
                self.runs = stock(self.world)
                continue
            self.world.tell(
                run, batch(number % 10, epoch=number), epoch(number, 90.0), SETTLING, ACTIVITY, GDU
            )
            run.write_state({**run.read_state(), "epoch": number, "heartbeat": time.time()})
            with (run.path / "console.log").open("ab") as console:
                console.write(b"line \x1b[31m\xff\n" * 3)

    def _go_somewhere(self, app: EqpropApp) -> None:
        """Open one of the screens, as keys alone seldom lead to all of them."""
        run = self.dice.choice(self.runs).path
        preset = self.dice.choice(list(all_presets().presets.values()))
        ways: list[Callable[[], object]] = [
            lambda: app.open_run(run),
            lambda: app.open_configure(preset.config, preset.name, preset),
            lambda: app.push_screen(SweepScreen(self.sweep.path)),
            lambda: app.push_screen(CompareScreen(app.marks or Marks(run.path for run in self.runs[:3]))),
            lambda: app.push_screen(CompareScreen(Marks())),
            app.open_runs,
            app.open_library,
            app.action_command_palette,
            app.action_help,
        ]
        if len(app.screen_stack) > 6:
            while len(app.screen_stack) > 2:
                app.pop_screen()
        else:
            self.dice.choice(ways)()


def storm(
    keys: int, seed: int, say: Callable[[str], object] = lambda _: None, *, tracebacks: bool = False
) -> tuple[Storm, Sandbox]:
    """Type about so many keys by a seed."""
    with home_of_its_own() as (world, sandbox):
        raging = Storm(world, seed, say, tracebacks)
        asyncio.run(raging.rage(keys))
    return raging, sandbox


def inside(seed: int, report: Path) -> None:
    """The application as its command opens it, on this terminal, in a home where nothing is dangerous."""
    from eqprop_tui.cli.application import open_application

    seen: list[EqpropApp] = []
    first = EqpropApp.__init__

    def begin(app: EqpropApp, *words: Any, **named: Any) -> None:
        first(app, *words, **named)
        seen.append(app)

    with home_of_its_own() as (world, sandbox):
        runs = stock(world)
        world.monkeypatch.setattr(EqpropApp, "__init__", begin)
        status: object = 0
        try:
            open_application(runs[0].path if seed % 2 else None)
        except (SystemExit, typer.Exit) as ended:
            status = getattr(ended, "exit_code", ended.args[0] if ended.args else 0)
        sandbox.closed = False
        faults = ["".join(traceback.format_exception(error)) for app in seen for error in app.faults.kept]
        report.write_text(json.dumps({"faults": faults, "refused": sandbox.refused}))
    sys.exit(status)  # type: ignore[arg-type]


def storm_in_terminal(keys: int, seed: int, say: Callable[[str], object] = lambda _: None) -> list[str]:
    """Type into a real terminal; what went wrong."""
    dice, wrong, typed, session = random.Random(seed), list[str](), 0, 0
    while typed < keys:
        session += 1
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            words = [sys.executable, __file__, "--inside", str(report), "--seed", str(session)]
            terminal = Terminal(*words, environment={**os.environ, "TERM": "xterm-256color"})
            found = terminal.attributes
            terminal.until("? help")
            for _ in range(dice.choice((20, 60, 150))):
                size = dice.choice(SIZES)
                if dice.random() < 0.1:
                    terminal.resize(*size)
                pieces = [some_bytes(dice, size) for _ in range(dice.choice((1, 2, 8, 30)))]

                typed += len(pieces)
                typing = b"".join(pieces).replace(b"\x1a", b"")  # it would be put aside
                while typing and terminal.process.poll() is None:
                    terminal.pass_time(0.02)
                    with suppress(BlockingIOError, OSError):
                        typing = typing[os.write(terminal.master, typing[:500]) :]
                if terminal.process.poll() is not None:
                    break
            expected = {0}
            if terminal.process.poll() is None:
                terminal.process.send_signal(signal.SIGTERM)
                expected = {0, 128 + signal.SIGTERM, -signal.SIGTERM}  # the last if it was leaving already
            status = terminal.exit_status()
            where = f"seed {seed}, session {session}, {typed} typed"
            if status not in expected:
                wrong.append(f"{where}: exit status {status}\n{terminal.screen}")
            elif terminal.modes or terminal.attributes != found:
                wrong.append(f"{where}: the terminal is left with {terminal.modes}")
            if report.exists():
                told = json.loads(report.read_text())
                wrong += [f"{where}: {what}" for what in (*told["faults"], *told["refused"])]
            terminal.close()
        say(f"{where}, {len(wrong)} wrong")
    return wrong


def main() -> None:
    """Rage, and say what came of it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--keys", type=int, default=3000)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--tracebacks", action="store_true", help="print them whole")
    words.add_argument(
        "--terminal", action="store_true", help="in a pseudo-terminal, as a process of its own"
    )
    words.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.inside:
        inside(given.seed, given.inside)

    def say(line: str) -> None:
        print(line, file=sys.__stdout__, flush=True)

    if given.terminal:
        wrong = storm_in_terminal(given.keys, given.seed, say)
        say("\n".join(wrong) or "nothing went wrong")
        sys.exit(bool(wrong))
    raging, sandbox = storm(given.keys, given.seed, say, tracebacks=given.tracebacks)
    say(
        f"{raging.typed:,} keys and pieces in {raging.sessions} sessions; {raging.longest:.1f} s of computing at most until an answer"
    )
    say(", ".join(f"{name} {count}" for name, count in raging.met.most_common()))
    for what, count in Counter(sandbox.refused).most_common(20):
        say(f"refused {count} times: {what}")
    sys.exit(bool(raging.faults or sandbox.refused))


if __name__ == "__main__":
    main()
