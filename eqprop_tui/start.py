"""Where the `eqprop` command begins: a Ctrl-C while its modules are loaded ends it without a word.

Loads nothing itself, so that there is hardly a moment before it listens.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Entry point of the console script."""
    listening = signal.getsignal(signal.SIGINT) == signal.default_int_handler  # it may be ignored
    if listening:
        signal.signal(signal.SIGINT, _leave)
    from eqprop_tui.cli.main import main as command

    try:
        if listening:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        command()
    except KeyboardInterrupt:  # while typer made its commands
        sys.exit(128 + signal.SIGINT)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)  # nothing has been begun


if __name__ == "__main__":
    main()
