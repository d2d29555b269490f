"""Starts the processes that train a run together on this machine, by torchrun's engine, and sees them end.

This process holds the run's lock until all of them have ended, and says how the run ended where they could
not: one that is killed says nothing. What signals ask of it is asked of them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil

from eqprop_core.devices import threads_wished
from eqprop_core.locks import Lock
from eqprop_core.problems import tell
from eqprop_core.reasons import reason
from eqprop_core.runs.control import ask, take
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import ALIVE, is_run
from eqprop_core.runs.names import CONFIG, STATE
from eqprop_core.worker.signals import STOPPING, Wishes
from eqprop_core.worker.waiting import mark_stopped

SECONDS_TO_END = 10


def own_together(words: argparse.Namespace, wishes: Wishes, lock: Lock | None) -> int:
    """Train the run that the worker's words name with `--nproc` processes; returns the exit status."""
    run = RunFolder(words.run)
    if lock is None and not is_run(run.path):
        tell(f"error: {run.path}: is no run: it has no {CONFIG}")
        return 2
    try:
        if lock is None:
            lock = run.lock()
            take(run.path)  # asked of processes that are gone
    except RunError as error:
        tell(f"error: {error}")
        return 1
    with lock:
        os.dup2(lock.fileno(), 0)  # the one descriptor that every process inherits: the run is theirs, too
        status = _started(words, wishes, run)
    if run.read_state().get("state") == "stopped" and wishes.stop is not None:
        return 128 + wishes.stop
    return status


def _started(words: argparse.Namespace, wishes: Wishes, run: RunFolder) -> int:
    if threads_wished() is None:
        os.environ["OMP_NUM_THREADS"] = "1"  # as torchrun does, which says so at length
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args
    from torch.distributed.run import run as start

    engine = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(words.nproc)]
    engine += ["--signals-to-handle", "SIGQUIT"]  # the others are handed on here, and given their time
    engine += ["--no-python"]
    logs = tempfile.TemporaryDirectory(prefix="eqprop-")  # torchrun would leave one of its own behind
    engine += ["--log-dir", logs.name]
    # Where one has died; what waits for it inside a GPU's library hears nothing and is killed after that.
    # Versions of torchrun that have no such limit take no notice of the variable.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SECONDS_TO_END))
    try:
        with logs, _handed_on(wishes, run):
            if wishes.stop is not None:  # while torch was imported
                mark_stopped(run.path / STATE)
                return 128 + wishes.stop
            start(parse_args([*engine, *_words(words)]))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if wishes.stop is not None and failure.exitcode == -wishes.stop:  # before it could hear signals
            mark_stopped(run.path / STATE)
            return 128 + wishes.stop
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            return _failed(run, f"process {rank} of {words.nproc} (from 0) was ended by {name}")
        _failed(run, f"process {rank} of {words.nproc} (from 0) ended with status {failure.exitcode}")
        return failure.exitcode
    except (Exception, SystemExit) as error:  # whatever the engine could not do
        return _failed(run, f"the processes of the run could not be started: {reason(error)}")
    return 0


def _words(words: argparse.Namespace) -> list[str]:
    """The command line of each process."""
    found = [sys.executable, "-P", "-u", "-m", "eqprop_core.worker", str(words.run.resolve()), "--owned"]
    if words.more_epochs is not None:
        found += ["--more-epochs", str(words.more_epochs)]
    if words.changes:
        found += ["--changes", json.dumps(words.changes)]
    if words.devices:
        found += ["--devices", words.devices]
    return found


def _failed(run: RunFolder, reason: str) -> int:
    """Say how the run ended, unless one of its processes has."""
    if run.read_state().get("state") in ALIVE:
        run.fail(reason)
        tell(f"error: {reason}")
    return 1


@contextmanager
def _handed_on(wishes: Wishes, run: RunFolder) -> Iterator[None]:
    """Hand on what signals ask, and keep a wish to stop for the exit status."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        if number in STOPPING:
            wishes.stop = wishes.stop or number
        processes = psutil.Process().children()
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(number)
        if not processes and number in STOPPING:
            with suppress(OSError):
                ask(run.path, "stop")

    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, hand_on) for number in (*heard, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
