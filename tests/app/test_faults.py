"""A fault of one widget, timer, worker or thread is said and written down, and the application goes on."""

from __future__ import annotations

import asyncio
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input, Static

from app.made import ACTIVITY, STARTED, epoch
from app.world import World
from eqprop_tui import faults
from eqprop_tui.app import EqpropApp
from eqprop_tui.faults import CANNOT_BE_DRAWN, LARGEST, MANY, Broken, Faults, log_file
from eqprop_tui.keyboard import Keyboard
from eqprop_tui.screens.dialogs import Ask
from eqprop_tui.screens.library import LibraryScreen
from eqprop_tui.watching.looking import Looking
from eqprop_tui.widgets.text_lines import Head


class OddError(Exception):
    """What goes wrong in these tests."""


def boom(*_: object) -> None:
    raise OddError("\x1b[31modd\x07")


async def aboom() -> None:
    boom()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


class Seeing(Looking):
    def once(self, *, anew: bool) -> bool:
        self.stop()
        raise OddError


def in_thread(app: EqpropApp) -> None:
    Seeing("odd").start()


def in_watcher(app: EqpropApp) -> None:
    app.watch(app, "title", boom, init=False)
    app.title = "another"


WAYS: dict[str, Callable[[EqpropApp], object]] = {
    "a callback": lambda app: app.call_later(boom),
    "one after drawing": lambda app: app.screen.call_after_refresh(boom),
    "one of a widget": lambda app: app.screen.query_one(Head).call_next(boom),
    "a timer": lambda app: app.screen.set_timer(0.001, boom),
    "a worker": lambda app: app.screen.run_worker(aboom()),
    "a worker in a thread": lambda app: app.run_worker(boom, thread=True),
    "a thread that looks": in_thread,
    "a watcher": lambda app: app.call_later(in_watcher, app),
    "a screen that is made": lambda app: app.push_screen(Unmade()),
    "a layout": lambda app: app.screen.mount(Unmeasured()),
}


class Unmade(Broken):
    def __init__(self) -> None:
        super().__init__("odd")

    def on_mount(self) -> None:
        boom()


class Unmeasured(Static):
    DEFAULT_CSS = "Unmeasured { height: auto; }"

    def get_content_height(self, *_: object) -> int:
        raise OddError


@pytest.mark.parametrize("way", WAYS)
def test_the_application_goes_on_and_says_so_once(world: World, way: str) -> None:
    async def act() -> None:
        async with world.open() as app:
            await world.sees("digits-mlp-ep")
            WAYS[way](app)
            await world.until(lambda: app.faults.count)
            if isinstance(app.screen, Unmade) or way == "a layout":
                app.begin_anew()
            await world.press("tab")
            await world.sees("no runs yet")  # keys do what they did
            said = [note.message for note in app._notifications]
            assert len([text for text in said if "OddError" in text and str(log_file()) in text]) == 1
            assert {type(error) for error in app.forgive()} == {OddError}

    asyncio.run(act())
    written = log_file().read_text()
    assert (
        "OddError" in written and "Traceback" in written and "\x1b" not in written and "\x07" not in written
    )
    assert stat.S_IMODE(log_file().stat().st_mode) == 0o600


def test_a_test_in_which_there_was_a_fault_fails(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            app.call_later(boom)
            await world.until(lambda: app.faults.count)

    with pytest.raises(OddError):
        asyncio.run(act())


def test_a_widget_that_cannot_be_drawn_says_so_and_the_others_are_drawn(world: World) -> None:
    run = world.run(STARTED, ACTIVITY, epoch(1, 90.0))
    world.monkeypatch.setattr("eqprop_tui.panes.chart.ActivityPane.rows", boom)
    world.monkeypatch.setattr("eqprop_tui.widgets.text_lines.KeyBar.render", boom)

    async def act() -> None:
        async with world.open(run) as app:
            await world.sees(CANNOT_BE_DRAWN, "● running", "accuracy %")
            assert world.screen().count(CANNOT_BE_DRAWN) == 2
            assert set(map(type, app.forgive())) == {OddError}

    asyncio.run(act())


def test_a_screen_whose_faults_do_not_cease_gives_way_to_a_sentence(world: World) -> None:
    run = world.run()

    async def act() -> None:
        async with world.open(run) as app:
            await world.sees("● running")
            monitor, count = app.screen, 0

            def fail() -> None:
                nonlocal count
                count += 1
                boom()

            monitor.set_interval(0.001, fail)
            await world.until(lambda: isinstance(app.screen, Broken))
            await world.sees("MonitorScreen", "failed again and again", "Runs go on.")
            await world.until(lambda: not monitor.is_running)
            assert MANY <= count < 3 * MANY
            assert log_file().read_text().count("Traceback") == 1
            await world.press("escape")
            await world.until(lambda: isinstance(app.screen, LibraryScreen))
            app.forgive()

    asyncio.run(act())


def test_the_first_screen_can_fail_too(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            library = app.screen
            for _ in range(MANY):
                library.call_later(boom)
            await world.until(lambda: isinstance(app.screen, Broken))
            await world.press("enter")
            await world.until(lambda: isinstance(app.screen, LibraryScreen) and app.screen is not library)
            app.forgive()

    asyncio.run(act())


def test_one_fault_again_and_again_is_written_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [1000.0], list[bool]()
    monkeypatch.setattr(faults.time, "monotonic", lambda: now[0])
    kept = Faults(lambda error, anew: told.append(anew))
    for _ in range(1000):
        try:
            boom()
        except OddError as error:
            kept.note(error, "here")
        now[0] += 0.25
    written = log_file().read_text()
    assert sum(told) == written.count("Traceback") == 5
    assert written.count("(239 more since the last)") == 4
    assert kept.count == 1000 and len(kept.kept) < 100


def test_the_log_is_bounded_and_a_log_that_cannot_be_written_is_no_further_fault(tmp_path: Path) -> None:
    kept = Faults(lambda error, anew: None)
    for number in range(400):
        kept.note(type(f"OddError{number}", (Exception,), {})("x" * 5000), "here")
    files = sorted(log_file().parent.iterdir())
    assert len(files) == 2 and all(file.stat().st_size <= LARGEST + 10_000 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    for file in files:
        file.unlink()
    log_file().mkdir()
    kept = Faults(lambda error, anew: None)
    kept.note(OddError(), "here")
    assert "could not be written down" in kept.written


def test_faults_of_many_threads_at_once_are_all_counted() -> None:
    kept = Faults(lambda error, anew: None)
    threads = [
        threading.Thread(target=lambda: [kept.note(OddError(), "here") for _ in range(50)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.count == 200


TOGETHER = {
    "the palette and a page": b"\x10\x1b[6~",
    "the palette and a page back": b"\x10\x1b[5~",
    "the palette and enter twice": b"\x10\r\r",
    "the palette twice": b"\x10\x10\x1b\x10",
    "the palette, a word and enter": b"\x10help\r\r\r",
    "the palette, closed twice": b"\x10\x1b\x1b\x1b",
    "no letter": b"\xff\xfe\xc3(",
    "a dialog, answered twice": b"/digits-mlp-ep\rc\r\r\x1b\x1b",
    "runs and presets": b"\t\t\t\t\t/",
    "a form, left before it is made": b"\r\x1b\r\x1b[6~\x1b",
    "help over help": b"???\x1b\x1b\x1b",
    "sizes of any kind": b"\x1b[48;0;0;0;0t\x1b[48;9999999;9999999;1;1t",
    "keyboard reports of any kind": b"\x1b[97:65;2u\x1b[999999999999u\x1b[55296;1;55296u",
}


@pytest.mark.parametrize("keys", TOGETHER)
def test_keys_that_arrive_together(world: World, keys: str) -> None:
    async def act() -> None:
        async with world.open() as app:
            await world.sees("digits-mlp-ep")
            keyboard = Keyboard()
            for message in [*keyboard.take(TOGETHER[keys]), *keyboard.tick()]:
                assert app._driver is not None
                app._driver.process_message(message)
            await world.pilot.pause()
            await world.pilot.pause(0.05)
            assert app.is_running and len(app.screen_stack) >= 2
            app.begin_anew()
            await world.sees("tab runs", "? help")

    asyncio.run(act())


def test_a_text_that_a_terminal_pastes_as_keys_is_whole(world: World) -> None:
    path = "/data/hello/aabbcc" * 20

    async def act() -> None:
        async with world.open() as app:
            await app.push_screen(Ask("folder", ""))
            await world.pilot.pause()
            for message in Keyboard().take(path.encode()):
                assert app._driver is not None
                app._driver.process_message(message)
            await world.until(lambda: len(app.screen.query_one(Input).value) >= len(path))
            assert app.screen.query_one(Input).value == path

    asyncio.run(act())


def test_a_preset_is_described_while_its_list_is_replaced(world: World) -> None:
    async def act() -> None:
        async with world.open() as app:
            await world.sees("digits-mlp-ep")
            library = app.screen
            assert isinstance(library, LibraryScreen)
            for _ in range(3):
                library.on_resize()
                app.open_library()
                library.theme_changed()
                library, _ = app.screen, await world.pilot.pause()
                assert isinstance(library, LibraryScreen)
            await world.sees("digits-mlp-ep")

    asyncio.run(act())
