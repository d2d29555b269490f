"""Starts the processes that train a run together on this machine, and sees them end.

This process holds the run's lock until all of them have ended, and says how the run ended where they could
not: one that is killed says nothing. What signals ask of it is asked of them. None of them outlives it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import psutil

from eqprop_core.devices import threads_wished
from eqprop_core.locks import Lock
from eqprop_core.problems import tell
from eqprop_core.runs.control import take, waiting
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import ALIVE, is_run
from eqprop_core.runs.names import CONFIG, STATE
from eqprop_core.worker.neighbours import introduce, is_stopped, link, process_in_words
from eqprop_core.worker.patience import given_up
from eqprop_core.worker.ranks import TOLD
from eqprop_core.worker.signals import STOPPING, Wishes
from eqprop_core.worker.waiting import mark_stopped

SECONDS_TO_END = 10.0  # for the others where one has ended
SECONDS_TO_SERVE = 5.0  # for a request to stop, while one of them is stopped by a signal
SECONDS_BETWEEN_LOOKS = 0.05
LOOKS_AT_STATES = 20  # of those, one looks at whether processes are stopped


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
    run.hold()
    with lock:
        status = _trained(words, wishes, run, lock.fileno())
    words.run = run.path
    if run.read_state().get("state") == "stopped" and wishes.stop is not None:
        return 128 + wishes.stop
    return status


def _trained(words: argparse.Namespace, wishes: Wishes, run: RunFolder, lock: int) -> int:
    """Start the processes and wait until all have ended; returns the exit status."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        with _handed_on(wishes, started):
            if wishes.stop is not None:
                mark_stopped(run.path / STATE)
                return 128 + wishes.stop
            try:
                _start(words, lock, started, wishes)
            except OSError as error:
                reason = f"the processes of the run could not be started: {error.strerror or error}"
                return _failed(run, reason)
            lost = _wait(started, run)
    finally:
        for process in started:
            process.kill()
            process.wait()
    if lost is None:
        return 0
    rank, stopped = lost
    status = started[rank].returncode
    if stopped is not None:
        return _failed(run, f"{given_up(stopped)}; resuming goes on from the last checkpoint")
    if wishes.stop is not None and status == -wishes.stop:  # before it could hear signals
        mark_stopped(run.path / STATE)
        return 128 + wishes.stop
    if status < 0:
        name = {one.value: one.name for one in signal.Signals}.get(-status, f"signal {-status}")
        return _failed(run, f"process {rank} of {words.nproc} (from 0) was ended by {name}")
    _failed(run, f"process {rank} of {words.nproc} (from 0) ended with status {status}")
    return int(status)


def _start(
    words: argparse.Namespace, lock: int, started: list[subprocess.Popen[bytes]], wishes: Wishes
) -> None:
    """Start a process for each rank. Raises `OSError`."""
    environment = {name: value for name, value in os.environ.items() if name not in TOLD}
    if threads_wished() is None:
        environment["OMP_NUM_THREADS"] = "1"  # as torchrun does: together they would have too many
    links = link(words.nproc, parent=os.getpid())
    try:
        for one in links:
            process = subprocess.Popen(
                [*_words(words, lock), "--together", one.document()],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=(lock, *one.descriptors),
            )
            started.append(process)
            if wishes.stop is not None:  # that came before this one could be told
                process.send_signal(wishes.stop)
            introduce(one, process.pid)
    finally:
        for descriptor in {number for one in links for number in one.descriptors}:
            os.close(descriptor)


def _wait(started: list[subprocess.Popen[bytes]], run: RunFolder) -> tuple[int, str | None] | None:
    """Wait until all have ended, by force where one has failed; returns that one, None where all went well.

    With it comes what it is called where it was stopped by a signal, and was ended for that.
    """
    processes = [psutil.Process(process.pid) for process in started]
    lost: tuple[int, str | None] | None = None
    first_ended: float | None = None
    asked = 0.0  # seconds that a request to stop has lain there while one is stopped
    look = 0
    while None in (ended := [process.poll() for process in started]):
        time.sleep(SECONDS_BETWEEN_LOOKS)
        look += 1
        now = time.monotonic()
        if any(status is not None for status in ended):
            first_ended = first_ended or now
            lost = lost or _first_failed(ended)
            if now - first_ended >= SECONDS_TO_END:
                lost = lost or (ended.index(None), None)
                for process in started:
                    process.kill()
        if look % LOOKS_AT_STATES:
            continue
        stopped = [
            rank for rank, status in enumerate(ended) if status is None and is_stopped(processes[rank])
        ]
        asked = asked + LOOKS_AT_STATES * SECONDS_BETWEEN_LOOKS if stopped and _stop_asked(run) else 0.0
        if stopped and (first_ended is not None or asked >= SECONDS_TO_SERVE):
            rank = stopped[0]
            lost = rank, process_in_words(rank, len(started), started[rank].pid)
            for rank in stopped:
                started[rank].kill()
    if ended[0] == 0:  # all is written, whatever became of the others
        return None
    return lost or _first_failed(ended)


def _first_failed(ended: list[int | None]) -> tuple[int, None] | None:
    """The process that the others ended for, of these exit statuses: rather one that was killed."""
    failed = [rank for rank, status in enumerate(ended) if status]
    return (min(failed, key=lambda rank: (ended[rank] or 0) > 0), None) if failed else None


def _stop_asked(run: RunFolder) -> bool:
    """Whether a request to stop lies there that rank 0 has not taken."""
    return any(asked.request == "stop" for asked in waiting(run.path))


def _words(words: argparse.Namespace, lock: int) -> list[str]:
    """The command line of each process."""
    found = [sys.executable, "-P", "-u", "-m", "eqprop_core.worker", str(words.run.resolve())]
    found += ["--lock", str(lock)]
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
def _handed_on(wishes: Wishes, started: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Hand on what signals ask, and keep a wish to stop for the exit status."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        if number in STOPPING:
            wishes.stop = wishes.stop or number
        for process in started:
            process.send_signal(number)

    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, hand_on) for number in (*heard, signal.SIGUSR2)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
