"""The command that a person wishes to be run when a run has ended."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from eqprop_core.events import Warned
from eqprop_core.files import read_json
from eqprop_core.problems import tell
from eqprop_core.reasons import reason
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import EventLog
from eqprop_core.runs.names import EVENTS, STATE

TOLD = ("name", "state", "best", "last")  # and what `runs.scores` calls by name


def call(command: str, run: Path) -> None:
    """Run the shell command that was wished for at the end; how the run ended is in its environment.

    That it fails is a warning.
    """
    state = read_json(run / STATE)
    values = {**{name: state.get(name) for name in TOLD}, **asdict(summarize(run).scores)}
    told = {
        "EQPROP_RUN": str(run.resolve()),
        **{f"EQPROP_{name.upper()}": str(value or "") for name, value in values.items()},
    }
    try:
        done = subprocess.run(
            command, shell=True, env={**os.environ, **told}, stdin=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        _warn(run, f"--on-finish could not be run: {reason(error)}")
    else:
        if done.returncode:
            _warn(run, f"--on-finish ended with status {done.returncode}")


def _warn(run: Path, message: str) -> None:
    """Print a warning, and write it down among the events, unless another process owns the run by now."""
    tell(f"warning: {message}")
    folder = RunFolder(run)
    with suppress(RunError, OSError), folder.lock():
        log = EventLog(run / EVENTS)
        log.write(Warned(message=message))
        log.close()
