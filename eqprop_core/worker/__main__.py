"""`python -m eqprop_core.worker RUN`: the process that owns a run, started with nobody watching.

RUN is a folder with a `config.toml`. A run that has a checkpoint goes on from there, `--more-epochs N`
further where given. Exit status: 0 done, 1 failed, 2 wrong configuration, 143 and 130 stopped by a signal.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from eqprop_core.files import has_working_folder, too_few_files
from eqprop_core.locks import Lock, received
from eqprop_core.printing import end_printing, open_standard_streams, print_unhindered
from eqprop_core.private import use_own_folders
from eqprop_core.problems import ConfigError, tell
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.names import LOCK, STATE
from eqprop_core.runs.places import MOST_PROCESSES
from eqprop_core.runs.queue import Ticket, given_ticket
from eqprop_core.worker.neighbours import Links, end_with
from eqprop_core.worker.ranks import Rank, rank_here
from eqprop_core.worker.signals import Wishes, heard
from eqprop_core.worker.waiting import mark_stopped, sign, wait_for_turn


def parser() -> argparse.ArgumentParser:
    """What the worker can be told. Those without a help text are for the launcher."""
    words = argparse.ArgumentParser(prog="python -m eqprop_core.worker", description=__doc__)
    words.add_argument("run", type=Path)
    words.add_argument("--more-epochs", type=int, help="epochs to add to those that the run has done")
    words.add_argument("--on-finish", metavar="COMMAND", help="shell command to run when the run has ended")
    words.add_argument("--nproc", type=int, help="processes of this machine that train the run together")
    words.add_argument("--changes", type=json.loads, default={}, help=argparse.SUPPRESS)  # settings
    words.add_argument("--device", help=argparse.SUPPRESS)  # by the name that `eqprop devices` gives it
    words.add_argument("--uuid", help=argparse.SUPPRESS)
    words.add_argument("--devices", help=argparse.SUPPRESS)  # one for each process, or cpu
    words.add_argument("--together", type=Links.of_document, help=argparse.SUPPRESS)  # one of --nproc's
    words.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # descriptors that the launcher left open
    words.add_argument("--ticket", type=Path, action="append", default=[], help=argparse.SUPPRESS)
    words.add_argument("--ticket-lock", type=int, action="append", default=[], help=argparse.SUPPRESS)
    words.add_argument("--now", action="store_true", help=argparse.SUPPRESS)
    return words


def rank_of(words: argparse.Namespace) -> Rank | None:
    """Which of several processes this one is, as torchrun says; a launcher's own words win over that."""
    if words.together is not None:
        return Rank(words.together.rank, words.together.size, words.together.rank, words.together.size)
    return None if words.lock is not None else rank_here()


def _alone(words: argparse.Namespace) -> bool:
    """Whether this process is not one of several, or cannot be told which (`main` says why)."""
    try:
        return rank_of(words) is None
    except ConfigError:
        return True


def main(arguments: list[str]) -> int:
    """Train the run that the arguments name; returns the exit status."""
    words = parser().parse_args(arguments)
    if words.together is not None:
        end_with(words.together.parent)
    try:
        here = rank_of(words)
    except ConfigError as error:
        tell(f"error: {error}")
        return 2
    if not has_working_folder():  # of the terminal where this was begun; torch does not start without one
        os.chdir("/")
    if said := too_few_files():
        tell(f"error: {said}")
        return 1
    use_own_folders()
    wishes = Wishes(together=here is not None)
    if words.nproc is not None and (not 1 <= words.nproc <= MOST_PROCESSES or here is not None):
        rule = f"must be from 1 to {MOST_PROCESSES:,}, and not given to what torchrun starts"
        tell(f"error: --nproc: {rule}")
        return 2
    if here is not None and here.rank > 0:
        from eqprop_core.worker.following import follow

        received(words.lock, words.run / LOCK, sign=False)  # held for as long as this process is there
        with heard(wishes):
            return follow(words, here, wishes)
    if words.lock is not None and here is None:  # started by a launcher, to outlive its terminal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lock = received(words.lock, words.run / LOCK, sign=here is None)
    tickets: list[Ticket] = []
    with heard(wishes):
        for path, held in zip_longest(words.ticket, words.ticket_lock):
            tickets.append(given_ticket(path, held, words.run))
        try:
            status = _wait_and_own(words, wishes, lock, tickets, here)
        finally:
            if lock is not None:
                lock.close()
            for ticket in tickets:
                ticket.give_back()
        if words.on_finish:  # it may start another run on the same device
            from eqprop_core.runs.finishing import call

            call(words.on_finish, words.run)
    return status


def _wait_and_own(
    words: argparse.Namespace,
    wishes: Wishes,
    lock: Lock | None,
    tickets: Sequence[Ticket],
    here: Rank | None,
) -> int:
    if lock is not None and here is None:
        sign(words.run / STATE)
    try:
        if tickets and not words.now:
            run = RunFolder(words.run)
            its_turn = wait_for_turn(run, tickets, wishes)
            words.run = run.path
            if not its_turn:
                return 128 + wishes.stop if wishes.stop is not None else 0
        if words.nproc is not None and words.nproc > 1:
            from eqprop_core.worker.engine import own_together

            return own_together(words, wishes, lock)
        from eqprop_core.worker.owner import own  # what takes memory: only once it is this run's turn

        return own(words, wishes, lock, here)
    except KeyboardInterrupt:  # asked twice to stop, before there was anything to save
        mark_stopped(words.run / STATE)
        return 128 + (wishes.stop or 2)


if __name__ == "__main__":
    open_standard_streams()  # before the run's lock is, which would be taken for one of them
    print_unhindered("stdout", "stderr")  # a full disk, or a terminal that nobody reads, ends no training
    if _alone(parser().parse_args()):
        try:
            sys.exit(main(sys.argv[1:]))
        finally:
            end_printing()
    status = 1
    try:
        status = main(sys.argv[1:])
    except Exception:
        traceback.print_exc()
    finally:  # threads of torch.distributed that outlive the interpreter abort the process, or hold it
        end_printing()
        os._exit(status)
