"""Opening the terminal application from a command."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import typer

from eqprop_tui.cli import report
from eqprop_tui.signals import heard

SECONDS_TO_END = 5.0  # after a signal: to put the terminal back, and to end


def open_application(
    run: Path | None = None,
    *,
    results: Path | None = None,
    low_bandwidth: bool = False,
    glyphs: str | None = None,
    check_at_end: tuple[str, ...] | None = None,
) -> None:
    """Open the application, on a run if one is given; says afterwards which runs go on.

    `check_at_end` are flags of a GDU check that the run is given once it is complete.
    """
    from eqprop_tui.app import EqpropApp, Options, farewell  # textual: only where it is wanted

    app = EqpropApp(
        Options(
            run=run,
            results=results,
            low_bandwidth=low_bandwidth,
            glyphs=glyphs,
            check_at_end=check_at_end,
        )
    )
    at_last = _Ending(app.end)
    with heard(at_last.end, also=(signal.SIGINT,)):
        app.run()
    at_last.cancel()
    for line in farewell(app):
        report.say(line)
    if app.return_code:
        raise typer.Exit(app.return_code)


class _Ending:
    """Ends the application as a signal asks, and the process where that does not come to pass.

    Whoever draws waits for the terminal, which for ever takes nothing where nobody reads it.
    """

    def __init__(self, end: Callable[[int], object]) -> None:
        self._end = end
        self._timer: threading.Timer | None = None
        self._found: list[Any] | None = None
        with suppress(termios.error, OSError, ValueError):  # no terminal
            self._found = termios.tcgetattr(sys.stdin.fileno())

    def end(self, number: int) -> None:
        """Ask the application to end, from a signal's handler."""
        if self._timer is None:
            self._timer = threading.Timer(SECONDS_TO_END, self._leave, [number])
            self._timer.daemon = True
            self._timer.start()
        self._end(number)

    def cancel(self) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def _leave(self, number: int) -> None:
        if self._found is not None:
            with suppress(termios.error, OSError, ValueError):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._found)
        os._exit(128 + number)
