"""The terminal that the application draws on, given back as it was found however it is put aside or ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, cast

from textual.drivers.linux_driver import LinuxDriver
from textual.events import Resize
from textual.message import Message

from eqprop_tui.keyboard import LARGEST, Keyboard

if TYPE_CHECKING:
    from eqprop_tui.app import EqpropApp

PIECE = 4096  # bytes that are read at once
MOST_WAITING = 200  # messages before the application from where on no more is read
PAUSE = 0.1  # seconds
GIVEN_BACK = (  # as Textual leaves it: no paste, wrapped lines, no mouse, the other screen, a cursor
    b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1016l\x1b[<u"
    b"\x1b[?1049l\x1b[?25h\x1b[?1004l"
)


class Outlet:
    """The file that is drawn into: one that cannot be written any more is no fault, and nothing is torn.

    A program that shares the terminal may have made it one that takes what it has room for and no more.
    """

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file

    def fileno(self) -> int:
        """The descriptor."""
        return self._file.fileno()

    def flush(self) -> None:
        """Nothing is held back."""

    def write(self, text: str) -> None:
        """Write all of it, as soon as there is room."""
        with suppress(OSError, ValueError):
            data = memoryview(text.encode(self._file.encoding, self._file.errors or "replace"))
            while data:
                try:
                    data = data[os.write(self.fileno(), data) :]
                except BlockingIOError:
                    select.select([], [self.fileno()], [], PAUSE)


class Terminal(LinuxDriver):
    """Textual's driver, which reads any bytes, and is not ended by what the terminal does.

    It takes SIGCONT for the end of a pause that it has made itself: a scheduler also sends it to a process
    that goes on anyhow, and SIGSTOP makes a pause that nobody is told of. Beginning anew would then take the
    changed modes of the terminal for those that it was found in.
    """

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        file = self._file or sys.__stdout__
        assert file is not None  # it is a terminal
        self._outlet = Outlet(file)
        self._file = cast("TextIOWrapper", self._outlet)

    def run_input_thread(self) -> None:
        """Read what is typed until the end; what comes while much waits to be worked off waits, too."""
        keyboard = Keyboard()
        while not self.exit_event.is_set():
            if cast("EqpropApp", self._app).waiting > MOST_WAITING:
                self.exit_event.wait(PAUSE)
                continue
            try:
                ready, _, _ = select.select([self.fileno], [], [], PAUSE)
                data = os.read(self.fileno, PIECE) if ready else b""
            except OSError:
                ready, data = [], b""
            if ready and not data:  # gone, or in the background; whether it is gone is looked at elsewhere
                self.exit_event.wait(PAUSE)
            for message in keyboard.take(data):
                self.process_message(message)
            for message in keyboard.tick():
                self.process_message(message)

    def process_message(self, message: Message) -> None:
        """Pass on what was typed; a size is that of a terminal only where it was asked to report it."""
        if not isinstance(message, Resize) or self._in_band_window_resize:
            super().process_message(message)

    def _get_terminal_size(self) -> tuple[int, int]:
        width, height = super()._get_terminal_size()
        return min(width, LARGEST.width), min(height, LARGEST.height)

    def _sigtstp_application(self, *_: object) -> None:
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._put_aside)  # what the signal interrupted may be writing
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _sigcont_application(self, *_: object) -> None:
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._take_again)

    def _put_aside(self) -> None:
        self._give_back()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _take_again(self) -> None:
        with suppress(OSError):
            if (
                os.tcgetpgrp(self.fileno) != os.getpgrp()
            ):  # in the background: waits to be called to the front
                os.kill(os.getpid(), signal.SIGSTOP)
                return
        self._give_back()
        self._must_signal_resume = True  # and everything is drawn again
        self.resume_application_mode()

    def _give_back(self) -> None:
        if self._writer_thread is not None:
            self.suspend_application_mode()

    def give_back_at_once(self) -> None:
        """Put the terminal right from any thread, without waiting for anything, as far as it takes it."""
        with suppress(OSError, termios.error):
            signal.pthread_sigmask(
                signal.SIG_BLOCK, {signal.SIGTTOU}
            )  # which would stop it in the background
            if self.attrs_before is not None:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            os.set_blocking(self._outlet.fileno(), False)
            try:
                os.write(self._outlet.fileno(), GIVEN_BACK)
            finally:
                os.set_blocking(self._outlet.fileno(), True)

    def close(self) -> None:
        """Write what is left to be written; what comes later is not shown."""
        super().close()
        self._writer_thread = None

    def write(self, data: str) -> None:
        """Write to the terminal, where this has it."""
        if self._writer_thread is not None:
            super().write(data)

    def _disable_mouse_support(self) -> None:
        super()._disable_mouse_support()
        if self._mouse_pixels:
            self.write("\x1b[?1016l")
            self.flush()
