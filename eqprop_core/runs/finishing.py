"""The command that a person wishes to be run when a run has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from eqprop_core.files import read_json
from eqprop_core.runs.names import STATE

TOLD = ("name", "state", "best", "last")


def call(command: str, run: Path) -> None:
    """Run the shell command that was wished for at the end; how the run ended is in its environment."""
    state = read_json(run / STATE)
    told = {
        "EQPROP_RUN": str(run.resolve()),
        **{f"EQPROP_{name.upper()}": str(state.get(name) or "") for name in TOLD},
    }
    try:
        done = subprocess.run(
            command, shell=True, env={**os.environ, **told}, stdin=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        print(f"warning: --on-finish could not be run: {error}", file=sys.stderr)
    else:
        if done.returncode:
            print(f"warning: --on-finish ended with status {done.returncode}", file=sys.stderr)
