"""Which process a number means: its start since boot and the boot tell it from a later one of that number.

Neither changes when the clock of the machine is set.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SECONDS_BETWEEN_BEATS = 5.0  # in which the process of a run says in `state.json` that it is there
SAME_START = 1.0  # seconds within which two reckonings of one start lie


def own_mark() -> dict[str, Any]:
    """What `state.json` says of the process that writes it."""
    own = psutil.Process()
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "pid": own.pid,
        "process_started": seconds_after_boot(own),
    }


def seconds_after_boot(process: psutil.Process) -> float:
    """When a process was started. Raises `psutil.Error`."""
    boot = psutil.boot_time()  # asked first: psutil reckons with the boot time that it was asked for last
    return float(process.create_time() - boot)


def boot_id() -> str | None:
    """What names this boot of the machine, None where the system does not say."""
    with suppress(OSError):
        return BOOT_ID.read_text().strip()
    return None


def worker_of(run: Path) -> psutil.Process | None:
    """The process of this host that was started for the run at a path, by its command line.

    For a run whose `state.json` does not name one: it has not come so far yet, or its folder is gone.
    """
    path = str(run.resolve())
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "eqprop_core.worker" in words and path in words and process.pid != os.getpid():
            return process
    return None


def process_of(run: Path, state: Mapping[str, Any]) -> psutil.Process | None:
    """The process that owns a run which is in this `state`, None where it is gone or on another host."""
    return marked(state) or (worker_of(run) if state.get("pid") is None else None)


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


def marked(state: Mapping[str, Any]) -> psutil.Process | None:
    """The process of this host and boot that a state is marked with, None where it is gone."""
    if state.get("host") != socket.gethostname() or state.get("boot") not in (None, boot_id()):
        return None
    try:
        process = psutil.Process(int(state["pid"]))
        same = abs(seconds_after_boot(process) - float(state["process_started"])) < SAME_START
        if not same or process.status() == psutil.STATUS_ZOMBIE:  # its parent has not noticed the end yet
            return None
    except (KeyError, ValueError, TypeError, OverflowError, psutil.Error):
        return None
    return process
