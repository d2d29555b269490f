"""Starts the process that owns a run, in a session of its own, so that it outlives the terminal."""

from __future__ import annotations

import os
import sys
import time

from eqprop_core.runs.folder import CONSOLE, RunError, RunFolder


def launch(run: RunFolder, *, more_epochs: int | None = None) -> int:
    """Start the worker of a run and return its process id. Raises `RunError` if that cannot be done.

    What it prints goes to the run's `console.log`; hang-up and Ctrl-C of this terminal do not reach it.
    """
    words = [sys.executable, "-m", "eqprop_core.worker", str(run.path.resolve())]
    if more_epochs is not None:
        words += ["--more-epochs", str(more_epochs)]
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    try:
        run.write_state({**run.identity(), **run.read_state(), "state": "starting", "heartbeat": time.time()})
        return os.posix_spawn(
            sys.executable,
            words,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(run.path / CONSOLE), appending, 0o666),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise RunError(f"{run.path}: its process cannot be started: {error.strerror or error}") from None
