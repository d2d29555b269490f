"""`python -m eqprop_core.sweeps SWEEP`: the process that starts the runs of a sweep on this machine.

It has the sweep's lock; whoever starts it leaves it open (`--lock`). Asked to end (TERM, INT), it starts no
more, and leaves those that go on alone. Exit status: 0 done, 1 what is said cannot be done, 143 or 130 asked.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from eqprop_core.locks import received
from eqprop_core.printing import end_printing, open_standard_streams, print_unhindered
from eqprop_core.problems import ConfigError, printable
from eqprop_core.runs.folder import RunError
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.local import SECONDS_BETWEEN_LOOKS, LocalLauncher
from eqprop_core.sweeps.process import LOCK, own
from eqprop_core.sweeps.searching import search_of, searching
from eqprop_core.sweeps.settings import launch_settings


def main(arguments: list[str]) -> int:
    """Start the runs of the sweep that the arguments name; returns the exit status."""
    words = argparse.ArgumentParser(prog="python -m eqprop_core.sweeps", description=__doc__)
    words.add_argument("sweep", type=Path)
    words.add_argument("--retry-failed", action="store_true", help="start failed runs again")
    words.add_argument("--settings", type=json.loads, default={}, help="of the launcher, as JSON")
    words.add_argument("--lock", type=int, help=argparse.SUPPRESS)
    given = words.parse_args(arguments)
    asked: list[int] = []
    launcher: LocalLauncher | None = None

    def on_stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if launcher is not None:
            launcher.stopping = True

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_stop)
    try:
        sweep = SweepFolder.open(given.sweep)
        lock = received(given.lock, sweep.path / LOCK)
        with own(sweep, lock):
            settings = launch_settings(given.settings)  # those of the file may have changed since
            if (searched := search_of(sweep)) is not None:
                step = searching(sweep, searched, settings, _say)
            else:
                launcher = LocalLauncher(sweep, settings, retry_failed=given.retry_failed, say=_say)
                step = launcher.step
            while not asked and step():
                time.sleep(SECONDS_BETWEEN_LOOKS)
    except (ConfigError, RunError) as error:
        _say(f"error: {error}")
        return 2 if isinstance(error, ConfigError) else 1
    except OSError as error:  # as on a full disk; what goes on is left alone
        _say(f"error: {error.filename or given.sweep}: {error.strerror or error}")
        return 1
    return 128 + asked[0] if asked else 0


def _say(text: str) -> None:
    with suppress(OSError):  # a full disk is no reason to end
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(text)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    open_standard_streams()
    print_unhindered("stdout", "stderr")  # what cannot be written down is no reason to end
    status = main(sys.argv[1:])
    end_printing()
    os._exit(status)  # submitit's jobs complain where an interpreter is taken down around them
