"""Where the `eqprop` command begins: a Ctrl-C while its modules are loaded ends it without a word.

Loads nothing itself, so that there is hardly a moment before it listens.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def main() -> None:
    """Entry point of the console script."""
    try:
        with leaving_at_once():
            _forget_nonsense()
            _leave_without_files()
            from eqprop_tui.cli.main import main as command
        command()
    except KeyboardInterrupt:  # while typer made its commands
        sys.exit(128 + signal.SIGINT)


def _leave_without_files() -> None:
    """End in words where hardly a file may be open, before anything fails for that."""
    from eqprop_core.files import too_few_files

    if said := too_few_files():
        sys.exit(f"error: {said}")


def _forget_nonsense() -> None:
    """Take the sizes of a terminal from the terminal where these variables of a shell's hold none."""
    for name in ("COLUMNS", "LINES", "TERMINAL_WIDTH"):
        value = os.environ.get(name, "")
        if not (value.isascii() and value.isdecimal() and 0 < int(value[:5]) < 10_000):
            os.environ.pop(name, None)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """End the process without a word at a Ctrl-C in here, where nothing has been begun yet."""
    main_thread = threading.current_thread() is threading.main_thread()
    listening = main_thread and signal.getsignal(signal.SIGINT) == signal.default_int_handler
    if listening:  # it may be ignored
        signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        if listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)  # nothing has been begun


if __name__ == "__main__":
    main()
