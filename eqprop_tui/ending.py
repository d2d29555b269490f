"""How the application ends: by a key, by a signal, without a terminal, and where something keeps it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from rich.console import RenderableType
from textual.screen import Screen

from eqprop_tui.commands import Commands
from eqprop_tui.faults import Surviving
from eqprop_tui.signals import Ended
from eqprop_tui.terminal import Terminal

SECONDS_TO_END = 5.0  # for what is open to be put away, on a busy machine
SECONDS_TO_DRAW = 0.05  # a screen that is being made
SECONDS_BETWEEN_LOOKS = 5.0  # at whether the terminal is still there


class LastResort:
    """Calls `end` with an exit status, from a thread of its own, some seconds after `begin`, unless given up.

    A signal's handler may interrupt whatever holds a lock, so beginning takes none: it writes into a pipe.
    """

    def __init__(self, end: Callable[[int], object], seconds: float = SECONDS_TO_END) -> None:
        self._end, self._seconds = end, seconds
        self._pipe: tuple[int, int] | None = None
        self._given_up = False

    def start(self) -> None:
        """Be there for `begin`."""
        self._pipe = os.pipe()
        threading.Thread(target=self._wait, args=(self._pipe[0],), name="last resort", daemon=True).start()

    def begin(self, status: int) -> None:
        """It is to end from now on."""
        if self._pipe is not None:
            os.write(self._pipe[1], bytes([status & 0xFF]))

    def give_up(self) -> None:
        """It has ended by itself."""
        self._given_up = True

    def _wait(self, pipe: int) -> None:
        status = os.read(pipe, 1)
        time.sleep(self._seconds)
        if not self._given_up:
            self._end(status[0])


class Ending(Surviving):
    """An application that ends when it is told to, whatever its threads wait for."""

    def __init__(self) -> None:
        super().__init__(Terminal)
        self.commands = Commands()
        self.last_resort = LastResort(self._end_now)
        self._asked_to_end = False  # by a signal

    def on_mount(self) -> None:
        """Look at the terminal now and then, as there may be no signal when it goes."""
        if not self.is_headless:
            self.set_interval(SECONDS_BETWEEN_LOOKS, self._end_without_terminal)
        if isinstance(self._driver, Terminal):
            self.last_resort.start()

    def on_unmount(self) -> None:
        """What only shows something ends with the application; runs go on."""
        self.commands.end()

    def exit(self, result: None = None, return_code: int = 0, message: RenderableType | None = None) -> None:
        """Leave; where that takes too long, as something does not let go, leave all the same."""
        super().exit(result, return_code, message)
        self.last_resort.begin(return_code)

    def end(self, number: int) -> None:
        """End as signal `number` asks, from its handler: the terminal is put back first, if it is there.

        The second signal ends it at once.
        """
        self._end_without_terminal()
        if self._asked_to_end and isinstance(self._driver, Terminal):
            self._end_now(128 + number)
        self._asked_to_end = True
        self.last_resort.begin(128 + number)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # nothing is drawn yet, or any more
            raise Ended(number) from None
        loop.call_soon_threadsafe(self._end_once_drawn, number)

    def _end_once_drawn(self, number: int) -> None:
        """Leave, but not while a screen is being made, which would fail."""
        if self.screen_stack and type(self.screen) is not Screen and self.screen.is_mounted:
            self.exit(return_code=128 + number)
        else:
            asyncio.get_running_loop().call_later(SECONDS_TO_DRAW, self._end_once_drawn, number)

    def _end_now(self, status: int) -> None:
        """End from any thread, whatever the others wait for, with the terminal put right."""
        self.commands.end()
        if isinstance(self._driver, Terminal):
            self._driver.give_back_at_once()
        os._exit(status)

    def _end_without_terminal(self) -> None:
        """End where the terminal has gone, also where no signal has told, as with nohup."""
        if not os.isatty(sys.__stdin__.fileno() if sys.__stdin__ is not None else 0):
            self.commands.end()
            os._exit(128 + signal.SIGHUP)  # there is nowhere to draw, and nothing to put away
