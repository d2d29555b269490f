"""`python -m eqprop_core.worker RUN`: the process that owns a run, started with nobody watching.

RUN is a folder with a `config.toml`. A run that has a checkpoint goes on from there, `--more-epochs N`
further where given. Exit status: 0 done, 1 failed, 2 wrong configuration, 143 and 130 stopped by a signal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from eqprop_core.files import inherited
from eqprop_core.runs.queue import Ticket, given_ticket
from eqprop_core.worker.signals import Wishes, heard
from eqprop_core.worker.waiting import wait_for_turn


def parser() -> argparse.ArgumentParser:
    """What the worker can be told. Those without a help text are for the launcher."""
    words = argparse.ArgumentParser(prog="python -m eqprop_core.worker", description=__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--more-epochs", type=int, help="epochs to add to those that the run has done")
    words.add_argument("--on-finish", metavar="COMMAND", help="shell command to run when the run has ended")
    words.add_argument("--changes", type=json.loads, default={}, help=argparse.SUPPRESS)  # settings
    words.add_argument("--device", help=argparse.SUPPRESS)  # by the name that `eqprop devices` gives it
    words.add_argument("--uuid", help=argparse.SUPPRESS)
    words.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # descriptors that the launcher left open
    words.add_argument("--ticket", type=Path, help=argparse.SUPPRESS)
    words.add_argument("--ticket-lock", type=int, help=argparse.SUPPRESS)
    words.add_argument("--now", action="store_true", help=argparse.SUPPRESS)
    return words


def main(arguments: list[str]) -> int:
    """Train the run that the arguments name; returns the exit status."""
    words = parser().parse_args(arguments)
    wishes = Wishes()
    lock = inherited(words.lock, words.run / "lock")
    ticket: Ticket | None = None
    with heard(wishes):
        if words.ticket is not None:
            ticket = given_ticket(words.ticket, words.ticket_lock, words.run)
            if not words.now and not wait_for_turn(words.run, words.run / "state.json", ticket, wishes):
                return 128 + wishes.stop if wishes.stop is not None else 0
        from eqprop_core.worker.owner import own  # what takes memory: only once it is this run's turn

        try:
            return own(words, wishes, None if lock is None else os.fdopen(lock, "r+b", buffering=0))
        finally:
            if ticket is not None:
                ticket.give_back()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
