"""Signals as wishes: SIGINT, SIGTERM and SIGHUP to stop, SIGUSR2 for a checkpoint.

A wish is granted after the batch; a second wish to stop at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Wishes:
    """What signals asked for: the number of the one that asked to stop, and whether to save a checkpoint."""

    stop: int | None = None
    checkpoint: bool = False


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

    def on_stop(number: int, frame: FrameType | None) -> None:
        if wishes.stop is not None:
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
