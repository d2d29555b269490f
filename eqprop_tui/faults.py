"""Faults of the application itself: each is said in a sentence and written down, and the application goes on.

Textual ends an application at the first exception of any widget, timer or worker, and has no other way. Here
it ends what raised it, and nothing else: a message that cannot be handled, a widget that cannot be drawn. A
screen whose faults do not cease gives way to one that says so. Threads log theirs by `LOG`, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import platformdirs
from rich.console import RenderableType
from rich.segment import Segment
from rich.text import Text
from textual._context import active_app, active_message_pump
from textual.app import App, ComposeResult, ScreenStackError
from textual.css.query import NoMatches
from textual.dom import NoScreen
from textual.driver import Driver
from textual.geometry import Region
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import WorkerFailed

from eqprop_core.problems import printable
from eqprop_tui.keys import bindings

LOG = logging.getLogger("eqprop.application")
LARGEST = 500_000  # bytes of the log; what came before is kept once more
SAME = 60.0  # seconds in which a fault that comes again is only counted
KEPT = 50  # faults that are remembered, for tests
MANY, WHILE = 30, 10.0  # faults of one screen in so many seconds, at which it is put away
CANNOT_BE_DRAWN = "cannot be shown, by a fault of the application"


def log_file() -> Path:
    """Where faults are written down."""
    return platformdirs.user_log_path("eqprop", ensure_exists=False) / "application.log"


def cause_of(error: BaseException) -> BaseException:
    """What a worker or a timer failed of."""
    if isinstance(error, WorkerFailed):
        return error.error
    return error


def _place_of(error: BaseException) -> str:
    """The innermost line that the error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def in_words(error: BaseException) -> str:
    """The error on one line."""
    return printable(f"{type(error).__name__}: {error}")[:300].removesuffix(": ")


class _LogFile(RotatingFileHandler):
    """A file of bounded size that only its owner can read, with nothing in it that steers a terminal."""

    def __init__(self) -> None:
        self.lost = False  # whether something could not be written
        super().__init__(log_file(), maxBytes=LARGEST, backupCount=1, encoding="utf-8", delay=True)

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8", errors="backslashreplace")

    def format(self, record: logging.LogRecord) -> str:
        """The fault with its traceback, each line printable."""
        return "\n".join(map(printable, super().format(record).splitlines()))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  as logging calls it
        """A disk that is full, or a home that cannot be written, is no further fault."""
        self.lost = True


class Faults(logging.Handler):
    """Writes down what is logged; one that comes again within a minute is counted, and told once.

    `tell` is called with the error, from the thread that it happened in; a fault in there is not told again.
    """

    def __init__(self, tell: Callable[[BaseException, bool], object]) -> None:
        super().__init__()
        self.kept: deque[BaseException] = deque(maxlen=KEPT)
        self.count = 0
        self._tell, self._telling = tell, False
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # when it was told, how often it came since
        self._file = _LogFile()
        self._file.setFormatter(logging.Formatter("%(asctime)s %(process)d %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a fault."""
        error = record.exc_info[1] if record.exc_info else None
        error = error if error is not None else RuntimeError(record.getMessage())
        self.kept.append(error)
        self.count += 1
        key, now = (type(error).__name__, _place_of(error)), time.monotonic()
        told, again = self._seen.get(key, (-SAME, 0))
        anew = now - told >= SAME
        if len(self._seen) > 1000:
            self._seen.clear()
        self._seen[key] = (now, 0) if anew else (told, again + 1)
        if anew:
            if again:
                record.msg, record.args = f"{record.getMessage()} ({again} more since the last)", ()
            self._file.emit(record)
            self._file.close()
        if not self._telling:
            self._telling = True
            try:
                self._tell(error, anew)
            finally:
                self._telling = False

    def note(self, error: BaseException, where: object) -> None:
        """Take in a fault of what is named."""
        named = (type(error), error, error.__traceback__)
        self.handle(LOG.makeRecord(LOG.name, logging.ERROR, "", 0, "%s", (where,), named))

    @property
    def written(self) -> str:
        """Where a person reads on."""
        return (
            "could not be written down"
            if self._file.lost
            else f"written down in {printable(str(log_file()))}"
        )


class Broken(Screen[None]):
    """What takes the place of a screen that fails again and again."""

    BINDINGS = bindings("broken")

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words

    def compose(self) -> ComposeResult:
        """A sentence."""
        yield Static(Text(self.words))

    def action_back(self) -> None:
        """To the screen under this one, or to the first."""
        if len(self.app.screen_stack) > 2:  # Textual's own is the lowest
            self.app.pop_screen()
        else:
            cast("Surviving", self.app).begin_anew()

    def action_leave(self) -> None:
        """Leave the application."""
        self.app.exit()


class Surviving(App[None], inherit_bindings=False):
    """An application that goes on after a fault, once it has begun.

    Under a pilot a fault is raised at the end as well, so that no test overlooks it; one that is meant to
    happen is taken out by `forgive`.
    """

    def __init__(self, driver_class: type[Driver]) -> None:
        super().__init__(driver_class=driver_class)
        self.faults = Faults(self._tell_fault)
        self._begun = False
        self._times: WeakKeyDictionary[Screen[Any], deque[float]] = WeakKeyDictionary()

    def begin_anew(self) -> None:
        """Show the first screen."""
        raise NotImplementedError

    def on_load(self) -> None:
        """Hear of faults in threads."""
        LOG.addHandler(self.faults)

    def on_mount(self) -> None:
        """From here on there is something to go on with."""
        self._begun = True
        if not self.is_headless:
            asyncio.get_running_loop().set_exception_handler(self._in_task)

    def _in_task(self, loop: asyncio.AbstractEventLoop, said: dict[str, Any]) -> None:
        self.faults.note(said.get("exception") or RuntimeError(said["message"]), "in a task")

    def on_unmount(self) -> None:
        """Nothing more is written down."""
        LOG.removeHandler(self.faults)

    def forgive(self) -> list[BaseException]:
        """The faults so far, which a test expects."""
        found = list(self.faults.kept)
        self.faults.kept.clear()
        self._exception = None
        return found

    def _handle_exception(self, error: Exception) -> None:
        pump, cause = active_message_pump.get(None), cause_of(error)
        if isinstance(cause, NoMatches | NoScreen) and isinstance(pump, Widget) and self._is_left(pump):
            return
        self.faults.note(cause, f"in {type(pump).__name__}")
        if not self._begun:
            super()._handle_exception(error)
            return
        with suppress(NoScreen, ScreenStackError):
            self._count(pump.screen if isinstance(pump, Widget) else self.screen)

    def _is_left(self, widget: Widget) -> bool:
        """Whether the widget is of a screen that was closed, perhaps before it was made: it lacks others."""
        if self._exit:
            return True
        try:
            return widget.screen._pruning or widget.screen not in self.screen_stack
        except NoScreen:
            return True

    def _count(self, screen: Screen[Any]) -> None:
        """Put a screen away whose faults do not cease."""
        now = time.monotonic()
        times = self._times.setdefault(screen, deque(maxlen=MANY))
        times.append(now)
        if len(times) == MANY and now - times[0] < WHILE:
            times.clear()
            self.call_later(self._put_away, screen)

    def _put_away(self, screen: Screen[Any]) -> None:
        name = type(screen).__name__
        if screen is not self.screen:
            if screen in self._screen_stack:
                self._screen_stack.remove(screen)
                screen.remove()
        elif isinstance(screen, Broken) or type(screen) is Screen:
            self.panic(f"eqprop ends: {name} fails again and again, {self.faults.written}")
        else:
            why = (
                f"This screen ({name}) failed again and again by a fault of the application, and was closed."
            )
            what = f"What happened is {self.faults.written}"
            self.switch_screen(Broken(f"{why}\n{what}\n\nRuns go on.   esc back   q quit"))

    def panic(self, *renderables: RenderableType) -> None:
        """End, where there is nothing to go on with."""
        self._return_code = 1
        super().panic(*renderables)

    def _fatal_error(self) -> None:
        if self.is_headless:
            super()._fatal_error()
            return
        said = in_words(self._exception) if self._exception else "a fault"
        self.panic(Text(f"error: eqprop cannot go on: {said}; {self.faults.written}"))

    def _tell_fault(self, error: BaseException, anew: bool) -> None:
        """Say it once, from any thread."""
        if self.is_headless and self._exception is None and isinstance(error, Exception):
            self._exception = error
        if anew and self._begun:
            said = f"A fault of the application, which goes on: {in_words(error)}\n{self.faults.written}"
            self.call_later(self.notify, said, severity="error", markup=False, timeout=8)


_dispatch = MessagePump._dispatch_message
_draw = Widget.render_lines


async def _dispatch_surviving(pump: MessagePump, message: Message) -> None:
    """Dispatch a message; of an application that survives, the pump goes on also where that fails."""
    try:
        await _dispatch(pump, message)
    except Exception as error:
        app = active_app.get(None)
        if not (isinstance(app, Surviving) and app._begun):
            raise
        app._handle_exception(error)


def _draw_surviving(widget: Widget, crop: Region) -> list[Strip]:
    """Draw a part of a widget, or else a sentence in its place."""
    try:
        return _draw(widget, crop)
    except Exception as error:
        app = active_app.get(None)
        if not (isinstance(app, Surviving) and app._begun):
            raise
        blank = Strip.blank(crop.width)
        if isinstance(widget, Screen) and isinstance(error, IndexError):
            return [blank] * crop.height  # the one under a dialog has yet to take in another size
        app.faults.note(error, f"drawing {type(widget).__name__}")
        said = Strip([Segment(f" {CANNOT_BE_DRAWN}")]).crop_extend(0, crop.width, None)
        return [said if row == 0 else blank for row in range(crop.y, crop.y + crop.height)]


MessagePump._dispatch_message = _dispatch_surviving  # type: ignore
Widget.render_lines = _draw_surviving  # type: ignore
