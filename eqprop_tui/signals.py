"""Signals to a front end: what ends it leaves the terminal as it was found, and wake-up calls do not end it.

A scheduler sends SIGUSR1 or SIGUSR2 to every process of a job; only one that owns a run has work to save.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = tuple(
    getattr(signal, name)
    for name in (
        "SIGHUP",
        "SIGQUIT",
        "SIGTERM",
        "SIGALRM",
        "SIGVTALRM",
        "SIGPROF",
        "SIGXCPU",
        "SIGIO",
        "SIGPWR",
    )
    if hasattr(signal, name)
)
UNHEARD = (signal.SIGUSR1, signal.SIGUSR2)
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"

cursor_hidden_on: int | None = None  # the descriptor of the terminal on which a live picture hides the cursor


class Ended(SystemExit):
    """This process was asked to end by a signal; raised where it is, so that what is open is put away."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.number).name}"


def raise_end(number: int) -> None:
    """Unwind what is open, and end; at once where a hang-up has taken the terminal, as writing would fail."""
    if number == signal.SIGHUP and not any(map(os.isatty, (0, 1, 2))):
        os._exit(128 + number)
    raise Ended(number)


@contextmanager
def heard(end: Callable[[int], object] = raise_end, also: tuple[int, ...] = ()) -> Iterator[None]:
    """Call `end` with the number of a signal that would end the process, and take no notice of `UNHEARD`.

    `also` are further signals that end it. Those that were to be ignored stay so, as nohup sets it. Children
    begin with the signals' own effects.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_end(number: int, frame: FrameType | None) -> None:
        end(number)

    handlers = {
        **dict.fromkeys((*ENDING, *also), on_end),
        **dict.fromkeys(UNHEARD, _take_no_notice),
        signal.SIGTSTP: _put_aside,
    }
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        _write(SHOW_CURSOR)  # where a picture was begun and not put away
        for number, handler in before.items():
            signal.signal(number, handler)


def _take_no_notice(number: int, frame: FrameType | None) -> None:
    """A handler, where ignoring would be passed on to the processes that are started from here."""


def _put_aside(number: int, frame: FrameType | None) -> None:
    """Stop at Ctrl-Z with the cursor shown, and hide it again when it goes on."""
    _write(SHOW_CURSOR)
    os.kill(os.getpid(), signal.SIGSTOP)
    _write(HIDE_CURSOR)


def _write(sequence: bytes) -> None:
    if cursor_hidden_on is not None:
        with suppress(OSError):
            if select.select([], [cursor_hidden_on], [], 0)[
                1
            ]:  # a terminal that nobody reads is not waited for
                os.write(cursor_hidden_on, sequence)
