"""Starts the process that owns a run, in a session of its own, so that it outlives the terminal."""

from __future__ import annotations

import subprocess
import sys

from eqprop_core.runs.folder import CONSOLE, RunError, RunFolder


def launch(run: RunFolder, *, more_epochs: int | None = None) -> int:
    """Start the worker of a run and return its process id. Raises `RunError` if that cannot be done.

    What it prints goes to the run's `console.log`; hang-up and Ctrl-C of this terminal do not reach it.
    """
    words = [sys.executable, "-m", "eqprop_core.worker", str(run.path.resolve())]
    if more_epochs is not None:
        words += ["--more-epochs", str(more_epochs)]
    try:
        with (run.path / CONSOLE).open("ab") as console:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"{run.path}: its process cannot be started: {error.strerror or error}") from None
    return process.pid
