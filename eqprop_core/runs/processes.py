"""The process of a run: what `state.json` says of it is believed only where the process says so, too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from eqprop_core.locks import files_of
from eqprop_core.marks import has_open, marked
from eqprop_core.runs.names import LOCK, STATE

SECONDS_BETWEEN_BEATS = 5.0  # in which the process of a run says in `state.json` that it is there
WORKER = "eqprop_core.worker"


def worker_of(run: Path) -> psutil.Process | None:
    """The process of this user and host that was started for the run at a path, by its command line.

    For a run whose `state.json` does not name one: it has not come so far yet, or its folder is gone.
    """
    for process in psutil.process_iter():
        if process.pid != os.getpid() and may_signal(process, run) and is_about(process, WORKER, run):
            return process
    return None


def process_of(run: Path, state: Mapping[str, Any]) -> psutil.Process | None:
    """The process that owns a run which is in this `state`, None where it is gone or on another host.

    A folder may be a copy, or somebody else's: the process that it names is the run's only if it was started
    for this folder, or holds its lock. Of a process of another user that is not told; what that user wrote
    into a `state.json` of their own is then believed.
    """
    process = marked(state)
    if process is None:
        return worker_of(run) if state.get("pid") is None else None
    if process.pid == os.getpid() or is_about(process, WORKER, run):  # which reads what it wrote itself
        return process
    holds = has_open(process, *filter(_has_one_name, files_of(run / LOCK)))
    if holds is None:
        with suppress(psutil.Error, OSError):
            holds = process.uids().real == (run / STATE).lstat().st_uid != os.getuid()
    return process if holds else None


def _has_one_name(path: Path) -> bool:
    """Whether a file is in no other folder too: a lock that is may be another run's."""
    with suppress(OSError):
        return path.lstat().st_nlink == 1
    return False


def process_to_signal(run: Path, state: Mapping[str, Any]) -> psutil.Process | None:
    """The process that owns a run, if it is a worker of ours and this user's; never this process itself.

    One that was not started for this folder is ours where it holds the run's lock and is called so.
    """
    process = process_of(run, state)
    if process is None or not may_signal(process, run):
        return None
    with suppress(psutil.Error, OSError):
        if is_about(process, WORKER, run) or any(
            "eqprop" in Path(word).name for word in process.cmdline()[:4]
        ):
            return process
    return None


def may_signal(process: psutil.Process, folder: Path) -> bool:
    """Whether a process is another one of this user's; for root, also of whom the folder belongs to."""
    with suppress(psutil.Error, OSError):
        own, users = os.getuid(), {os.getuid()}
        if own == 0 and os.path.lexists(folder):
            users.add(folder.lstat().st_uid)
        return process.pid != os.getpid() and process.uids().real in users
    return False


def is_about(process: psutil.Process, module: str, folder: Path) -> bool:
    """Whether a process was started as `python -m MODULE … FOLDER …`, of a module of ours."""
    path, words = folder.resolve(), list[str]()
    with suppress(psutil.Error, OSError, ValueError):
        words = process.cmdline()
        words = words[words.index(module) - 1 :]
    if words[:1] != ["-m"]:
        return False
    if str(path) in words:
        return True
    for word in words[2:]:  # by hand, it may be named from where the process works
        with suppress(psutil.Error, OSError, ValueError, RuntimeError):
            if not word.startswith("-") and Path(process.cwd(), word).resolve() == path:
                return True
    return False


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hear a Ctrl-C at the end of what is done here as a whole; outside the main thread there is none."""
    heard: list[int] = []
    try:
        before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            signal.raise_signal(signal.SIGINT)
