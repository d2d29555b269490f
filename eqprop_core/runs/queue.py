"""The line in front of a device: who came first computes first, without a process that keeps the order.

A folder a device holds a ticket for each run that computes there or waits to. Tickets are numbered as they
are taken; each is locked by its process, so that one whose process has died is known and removed.
Whoever has the lowest number computes. One process at a time draws numbers, which takes a moment; who waits
only looks, so that one that is stopped keeps nobody from the line. The folder is local to the host. It
needs little to be loaded.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.files import open_to_lock, read_json
from eqprop_core.locks import inherited, take_here
from eqprop_core.private import private_folder

SUFFIX = ".ticket"
UNFINISHED = ".drawn"
DOOR = "door"


@dataclass(frozen=True)
class Ticket:
    """A place in the line of a device, held as long as `descriptor` is open in some process."""

    path: Path
    descriptor: int

    def ahead(self) -> list[Path]:
        """Folders of the runs that come before, first one first. Raises `OSError`."""
        return [run for _, run in _alive(self.path.parent, before=_number(self.path))]

    def give_back(self) -> None:
        """Leave the line; the next one's turn comes."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def lines_folder() -> Path:
    """Where the lines of this host's devices are: `EQPROP_LINES`, or a folder of this user's in /var/tmp.

    Raises `OSError` where it cannot be made, or is not this user's alone.
    """
    chosen = os.environ.get("EQPROP_LINES")
    if chosen:
        path = Path(chosen)
        path.mkdir(parents=True, exist_ok=True)
        return path
    local = Path("/var/tmp")
    return private_folder((local if local.is_dir() else Path("/tmp")) / f"eqprop-{os.getuid()}")


def line_of(device: str) -> Path:
    """The folder of a device's line; `device` is its UUID or, without one, its name. Raises `OSError`."""
    path = lines_folder() / (re.sub(r"[^A-Za-z0-9._-]", "-", device) or "-")
    path.mkdir(exist_ok=True)
    return path


def take_ticket(line: Path, run: Path) -> Ticket:
    """Go to the end of a line. Raises `OSError`."""
    return take_tickets([line], run)[0]


def take_tickets(lines: Iterable[Path], run: Path) -> list[Ticket]:
    """Go to the end of several lines at once.

    Nobody goes to one of them meanwhile: of two runs that share lines, one is first in all of them. Raises
    `HeldError` where another process keeps a line to itself, and `OSError`.
    """
    taken: list[Ticket] = []
    with ExitStack() as stack:
        doors = {
            line: stack.enter_context(_door(line)) for line in sorted(set(lines))
        }  # in everybody's order
        try:
            taken += (_number_drawn(line, door, run) for line, door in doors.items())
        except OSError:
            for ticket in taken:
                ticket.give_back()
            raise
    return taken


def _number_drawn(line: Path, door: int, run: Path) -> Ticket:
    """Take the next number of a line behind its closed door; the ticket is there once it is locked."""
    for left in line.glob("*" + UNFINISHED):  # by a process that was killed
        left.unlink(missing_ok=True)
    last = [_number(path) for path in line.glob("*" + SUFFIX)]
    counted = os.pread(door, 20, 0).decode("ascii", "ignore").strip()
    number = 1 + max([int(counted) if counted.isdecimal() else 0, *last])
    os.pwrite(door, f"{number:020d}".encode(), 0)
    path = line / f"{number:020d}{SUFFIX}"
    unfinished = path.with_suffix(UNFINISHED)
    descriptor = open_to_lock(unfinished, anew=True)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(descriptor, json.dumps({"run": str(run)}).encode())
        unfinished.rename(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return Ticket(path, descriptor)


def before_all(tickets: Sequence[Ticket]) -> list[Path]:
    """Folders of the runs that come before in any of these lines, each once. Raises `OSError`."""
    return list(dict.fromkeys(run for ticket in tickets for run in ticket.ahead()))


def given_ticket(path: Path, descriptor: int | None, run: Path) -> Ticket:
    """The ticket that the launcher took, or a new one where it was not handed over. Raises `OSError`."""
    own = inherited(descriptor, path)
    return Ticket(path, own) if own is not None else take_ticket(path.parent, run)


def in_line(line: Path) -> list[Path]:
    """Folders of all runs that compute on a device or wait to, first one first. Raises `OSError`."""
    return [run for _, run in _alive(line)]


def _number(path: Path) -> int:
    stem = path.name.removesuffix(SUFFIX)
    return int(stem) if stem.isdecimal() else 0


def _alive(line: Path, before: int | None = None) -> list[tuple[int, Path]]:
    """Numbers and runs of the tickets that are held, `before` a number if given; removes the others."""
    found: list[tuple[int, Path]] = []
    for path in sorted(line.glob("*" + SUFFIX)):
        if before is not None and _number(path) >= before:
            break
        try:
            descriptor = open_to_lock(path, make=False)
        except FileNotFoundError:  # given back meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found.append((_number(path), Path(str(read_json(path).get("run", "?")))))
        else:
            path.unlink(missing_ok=True)  # no other ticket will ever have this number
        finally:
            os.close(descriptor)
    return found


@contextmanager
def _door(line: Path) -> Iterator[int]:
    """One process at a time; yields a descriptor of the file that counts tickets."""
    descriptor = take_here(line / DOOR)
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            os.close(descriptor)
