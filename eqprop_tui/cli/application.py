"""Opening the terminal application from a command."""

from __future__ import annotations

import signal
from pathlib import Path

import typer

from eqprop_tui.cli import report
from eqprop_tui.signals import heard


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
    with heard(app.end, also=(signal.SIGINT,)):
        try:
            app.run()
            for line in farewell(app):
                report.say(line)
        finally:
            app.last_resort.give_up()
    if app.return_code:
        raise typer.Exit(app.return_code)
