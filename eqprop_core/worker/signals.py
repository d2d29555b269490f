"""Signals as wishes: SIGINT, SIGTERM and SIGHUP to stop, SIGUSR2 for a checkpoint.

A wish is granted after the batch; a second wish to stop at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SAME_WISH = 3.0  # seconds
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Wishes:
    """What signals asked for: the number of the one that asked to stop, and whether to save a checkpoint.

    `together` where this is one of several processes: a scheduler and the process that started this one may
    both hand one wish on to it, and what comes within some seconds is the same wish.
    """

    stop: int | None = None
    checkpoint: bool = False
    together: bool = False


def _leave_terminal() -> None:
    """Print to nowhere from now on: the terminal is gone, and writing to it would be an error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        if os.isatty(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


@contextmanager
def heard(wishes: Wishes) -> Iterator[None]:
    """Note signals in `wishes` while the work lasts; outside the main thread there are none to note."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    heard_at = 0.0

    def on_stop(number: int, frame: FrameType | None) -> None:
        nonlocal heard_at
        again = wishes.stop is not None
        if again and wishes.together and time.monotonic() - heard_at < SAME_WISH:
            return
        heard_at = time.monotonic()
        if again:
            raise KeyboardInterrupt
        wishes.stop = number
        if number == signal.SIGHUP:
            _leave_terminal()

    def on_checkpoint(number: int, frame: FrameType | None) -> None:
        wishes.checkpoint = True

    # Those that were to be ignored stay so, as nohup sets it.
    stopping = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, on_stop) for number in stopping}
    before[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, on_checkpoint)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
