"""Which process a number means: its start since boot and the boot tell it from a later one of that number.

Neither changes when the clock of the machine is set. A mark is read from files that others may have written:
it tells which process is meant, not that this process has anything to do with the file.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SAME_START = 1.0  # seconds within which two reckonings of one start lie
LARGEST_PID = 2**31 - 1
WORDS_SHOWN = 60  # characters of a command line


def own_mark() -> dict[str, Any]:
    """What a file says of the process that writes it."""
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


@cache
def boot_id() -> str | None:
    """What names this boot of the machine, None where the system does not say."""
    with suppress(OSError):
        return BOOT_ID.read_text().strip() or None
    with suppress(OSError, subprocess.SubprocessError):  # macOS
        words = ["sysctl", "-n", "kern.bootsessionuuid"]
        said = subprocess.run(words, capture_output=True, text=True, timeout=5, check=True).stdout
        return said.strip() or None
    return None


def marked(mark: Mapping[str, Any]) -> psutil.Process | None:
    """The process of this host and boot that a mark is of; None where it is gone, or cannot be told."""
    host, boot, pid, started = (mark.get(name) for name in ("host", "boot", "pid", "process_started"))
    if host != socket.gethostname() or boot is None or boot != boot_id():
        return None
    if type(pid) is not int or not 0 < pid <= LARGEST_PID or not psutil.pid_exists(pid):  # of no thread
        return None
    if not isinstance(started, (int, float)) or isinstance(started, bool):
        return None
    try:
        process = psutil.Process(pid)
        same = abs(seconds_after_boot(process) - started) < SAME_START
        if not same or process.status() == psutil.STATUS_ZOMBIE:  # its parent has not noticed the end yet
            return None
    except (ValueError, OverflowError, psutil.Error):
        return None
    return process


def has_open(process: psutil.Process, *paths: Path) -> bool | None:
    """Whether a process has one of these files open, whatever it is called by now; None if it is not told."""
    wanted = []
    for path in paths:
        with suppress(OSError):
            wanted.append(path.lstat())
    folder = f"/proc/{process.pid}/fd"
    try:
        opened = [os.path.join(folder, name) for name in os.listdir(folder)]  # noqa: PTH118, PTH208
    except PermissionError:
        return None
    except OSError:
        try:
            opened = [file.path for file in process.open_files()]
        except (psutil.Error, OSError):
            return None
    for name in opened:
        with suppress(OSError):
            found = os.stat(name)  # noqa: PTH116  of a descriptor
            if any(os.path.samestat(found, one) for one in wanted):
                return True
    return False


def named(process: psutil.Process) -> str:
    """A process in words: its number, whose it is, what it runs, and whether it is stopped."""
    whose = what = ""
    with suppress(psutil.Error, OSError):
        user = process.username()
        whose = "" if process.uids().real == os.getuid() else f" of {user}"
    with suppress(psutil.Error, OSError):
        program, *rest = process.cmdline() or [process.name()]
        line = " ".join(" ".join((Path(program).name, *rest)).split())
        what = f" ({line if len(line) <= WORDS_SHOWN else line[: WORDS_SHOWN - 1] + '…'})" if line else ""
    return f"process {process.pid}{whose}{what}{stopped(process)}"


def stopped(process: psutil.Process) -> str:
    """What to know of a process that is stopped, as by SIGSTOP or Ctrl-Z; empty for others."""
    with suppress(psutil.Error, OSError):
        if process.status() == psutil.STATUS_STOPPED:
            return f", which is stopped: kill -CONT {process.pid} wakes it"
    return ""
