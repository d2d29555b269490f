"""The process that starts the runs of a sweep on this machine: one at a time, which outlives the terminal."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from eqprop_core.files import open_to_read
from eqprop_core.locks import HeldError, Lock, holder, is_held, mark_of, take
from eqprop_core.marks import marked
from eqprop_core.problems import printable
from eqprop_core.runs.ending import end_process
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.launcher import spawn
from eqprop_core.runs.logout import outliving
from eqprop_core.runs.processes import is_about, may_signal
from eqprop_core.shell import command
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.settings import LaunchSettings

LOCK = "lock"
LAUNCHER = "eqprop_core.sweeps"
CONSOLE = "launcher.log"
LAST_LINE = 2000  # bytes
SECONDS_TO_SIGN = 10.0  # in which a process that was just started says in its lock which one it is
LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")  # how a line of it begins


def start_launcher(sweep: SweepFolder, settings: LaunchSettings, *, retry_failed: bool) -> list[str]:
    """Start the process; returns what the person should know.

    Raises `RunError` where there is one already, or where it cannot be started.
    """
    lock = _locked(sweep, f"; {command('sweep', 'status', sweep.called)} shows them")
    words = [sys.executable, "-P", "-m", LAUNCHER, str(sweep.path.resolve())]
    words += ["--lock", str(lock.fileno()), "--settings", json.dumps(settings.model_dump(exclude_unset=True))]
    words += ["--retry-failed"] if retry_failed else []
    words, said = outliving(words)
    lock.sign(handed_over=True)
    try:
        spawn(words, sweep.path / CONSOLE, {}, [lock.fileno()])
    except OSError as error:
        lock.close()
        raise RunError(f"{sweep.path}: its launcher cannot be started: {error.strerror or error}") from None
    lock.leave()
    return said


@contextmanager
def own(sweep: SweepFolder, lock: Lock | None) -> Iterator[None]:
    """Be the process that starts the runs of a sweep, whose `lock` may have been handed over to it.

    Raises `RunError` if another one is.
    """
    with _locked(sweep) if lock is None else lock:
        yield


def is_launched(sweep: SweepFolder) -> bool:
    """Whether a process starts the runs of a sweep just now, as far as that can be told from here."""
    return (sweep.path / LOCK).exists() and is_held(sweep.path / LOCK, untold=False)


def end_launcher(sweep: SweepFolder) -> None:
    """End the process that starts the runs of a sweep, if there is one. Raises `RunError` if it cannot be."""
    if not is_launched(sweep):
        return
    deadline = time.monotonic() + SECONDS_TO_SIGN
    while (process := _launcher(sweep)) is None and is_launched(sweep):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if process is None and not is_launched(sweep):
        return
    if process is None:
        raise RunError(
            f"{sweep.name}: its runs are started by {holder(sweep.path / LOCK)}, "
            f"which cannot be ended from here"
        )
    with suppress(psutil.NoSuchProcess):
        end_process(process, kill=False, named=sweep.name)


def error_of_launcher(sweep: SweepFolder) -> str:
    """What the process that started the runs of a sweep ended with, empty if that is no error."""
    try:
        with open_to_read(sweep.path / CONSOLE) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_LINE))
            lines = file.read(LAST_LINE).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    last = printable(lines[-1]) if lines else ""
    _, found, said = last.partition(" error: ")
    return said if found else last if lines and not LOGGED.match(last) else ""


def _locked(sweep: SweepFolder, hint: str = "") -> Lock:
    try:
        return take(sweep.path / LOCK)
    except HeldError as held:
        raise RunError(f"{sweep.name}: its runs are being started already, by {held.holder}{hint}") from None
    except OSError as error:
        raise RunError(f"{sweep.path / LOCK}: cannot be written: {error.strerror or error}") from None


def _launcher(sweep: SweepFolder) -> psutil.Process | None:
    """The process that owns the sweep, if it was started for it by this user."""
    process = marked(mark_of(sweep.path / LOCK))
    if process is None or not may_signal(process, sweep.path) or not is_about(process, LAUNCHER, sweep.path):
        return None
    return process
