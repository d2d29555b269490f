"""Locks: one process at a time owns a run, changes a file, or draws a number in a line.

A lock is a file that only those can open who may write in its folder: whoever may merely read there can hold
nothing. Nobody waits for ever, and who waits in vain is told who holds it.

Where the file system has locks, that is `flock`: it ends with its process, however that ends. It belongs to
what was opened, not to the process: a process that was started with the descriptor holds it too, and it ends
when the last of them is closed. On NFS the client keeps it so for its own processes, and asks the server for
the whole file in the name of what was opened; closing other descriptors of the file gives up `fcntl`'s locks
alone, not this one. A lock can be handed over there, too.

Where it has none, or none that other machines see, whoever makes the file `<lock>.<number>` first owns it,
the highest number counting: to make a file that is not there yet works everywhere. The owner touches it every
few seconds, and says in it which process it is. It is over when no process of its machine has it open any
more or, as seen from another machine, when it has been silent for two minutes; then the next number is free.
The highest one is never removed, so that who looked long ago cannot make it again, and who has made one looks
once more whether it is the highest. An owner that was silent for so long that another has taken its place
ends itself. So it is, too, where somebody holds the `flock` of a lock that anybody could open once, without
being able to own it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from eqprop_core.files import open_to_lock, read_json
from eqprop_core.problems import printable

SECONDS_TO_WAIT = 10.0  # for what others hold for moments
SECONDS_OF_A_LOOK = 0.5  # for what others hold only to see whether it is held
SECONDS_BETWEEN_LOOKS = 0.01
SECONDS_BETWEEN_BEATS = 5.0
SECONDS_OF_SILENCE = 120.0  # after which an owner on another machine is gone
SECONDS_TO_SIGN = 20.0  # in which a process that was just started says that a lock is its own
LOCKS, MOUNTS = Path("/proc/locks"), Path("/proc/self/mountinfo")
PROCESSES_SEEN = Path("/proc/self/ns/pid")  # a container has numbers of its own
# File systems whose locks only the processes of one machine see: always, or when mounted with these options.
LOCAL_ALWAYS = ("fuse", "fuse.")
LOCAL_OPTIONS = {
    "nfs": ("nolock", "local_lock=flock", "local_lock=all"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "lustre": ("localflock",),
}

T = TypeVar("T")


class HeldError(TimeoutError):
    """Another process holds a lock; `strerror` says which, as far as that can be told."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(errno.EAGAIN, f"is in use by {holder}", str(path))
        self.holder = holder


class Lock:
    """What this process owns until it is closed; those that it hands `fileno()` to own it, too.

    `number` is that of the owner's file where there are no locks.
    """

    def __init__(self, path: Path, descriptor: int, number: int | None = None) -> None:
        self.path, self.number = path, number
        self._descriptor: int | None = descriptor
        self._signed = False
        self._ended = threading.Event()
        self._using = threading.Lock()  # the descriptor, whose number is another file's once it is closed

    @property
    def closed(self) -> bool:
        """Whether it was given back, or left to another process."""
        return self._descriptor is None

    def fileno(self) -> int:
        """The descriptor to hand over. Raises `ValueError` once it is closed."""
        if self._descriptor is None:
            raise ValueError("the lock is closed")
        return self._descriptor

    def sign(self, *, handed_over: bool = False) -> None:
        """Say in the lock's file which process owns it, or that one that is started now will say so."""
        self._write({**_mark(), **({"handed_over": True} if handed_over else {})})
        begun, self._signed = self._signed, True
        if self.number is not None and not begun:
            threading.Thread(target=self._beat, name="keeps its lock", daemon=True).start()

    def close(self) -> None:
        """Give it back, unless it is another process that answers for it."""
        if self._signed:
            self.give_up()
        self.leave()

    def give_up(self) -> None:
        """Say that nobody owns it any more, and close it."""
        if self._descriptor is not None and self.number is not None:
            self._write({"given_back": True})
        self.leave()

    def leave(self) -> None:
        """Leave it to the process that it was handed over to."""
        self._ended.set()
        with self._using:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def is_lost(self) -> bool:
        """Whether another process has taken it over."""
        return self.number is not None and _highest(self.path) > self.number

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, mark: Mapping[str, Any]) -> None:
        content = json.dumps(mark).encode() + b"\n"
        with suppress(OSError):  # a full disk costs no more than the name of who holds it
            os.pwrite(self.fileno(), content, 0)
            os.ftruncate(self.fileno(), len(content))

    def _beat(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_BEATS):
            with self._using, suppress(OSError, ValueError):
                os.utime(self.fileno())
            if self.is_lost() and not self._ended.is_set():
                _end_at_once(self.path)


def _end_at_once(path: Path) -> None:
    """End this process before it writes what is another's by now."""
    said = f"error: {path}: another process owns it since this one was silent for too long; this one ends"
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, printable(said).encode() + b"\n")
    os._exit(1)


def take(path: Path, *, seconds: float | None = SECONDS_OF_A_LOOK, sign: bool = True) -> Lock:
    """Own what a lock stands for, its file being made if need be.

    Waits for `seconds` (None: as for what is held for moments). Raises `HeldError` where another process owns
    it, and `OSError` where its file cannot be opened.
    """
    lock = _in_time(path, seconds, lambda: _flocked(path) or _numbered(path))
    if sign or lock.number is not None:
        lock.sign()
    return lock


def take_here(path: Path, *, seconds: float | None = None) -> int:
    """A descriptor that holds the lock of a file of this machine. Raises `HeldError` and `OSError`.

    For a folder that no other machine sees; without locks there, nothing is done.
    """

    def taken() -> int:
        lock = _flocked(path, elsewhere=False)
        if lock is None:
            raise OSError(errno.ENOLCK, "the file system has no locks that exclude", str(path))
        return lock.fileno()

    return _in_time(path, seconds, taken)


@contextmanager
def changing(path: Path, *, seconds: float | None = None) -> Iterator[None]:
    """One process, and thread, at a time reads, changes and replaces a file; the others wait.

    Leaves no lock behind, where there are locks. Raises `HeldError` where it is held for longer than that,
    and `OSError` where nothing can be written beside the file.
    """
    beside = path.with_name(f".{path.name}.lock")
    with take(beside, seconds=seconds, sign=False) as lock:
        try:
            yield
        finally:
            if lock.number is None:  # while it is held: who opened it meanwhile sees that it is gone
                with suppress(OSError):
                    beside.unlink()


def is_held(path: Path, *, untold: bool = True) -> bool:
    """Whether a process owns what a lock stands for; `untold` where that cannot be told.

    So it may be where the lock is another user's, or the folder is on a medium that is only read.
    """
    try:
        descriptor = open_to_lock(path, make=False)
    except FileNotFoundError:
        return _last_owner(path)[1]
    except OSError:
        return untold or bool(_holding(path)) or _last_owner(path)[1]
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        if not _is_held_by_readers(path):
            return True
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return _last_owner(path)[1]


def received(descriptor: int | None, path: Path, *, sign: bool = True) -> Lock | None:
    """The lock that this process was started with, if it was; signed, unless another process answers for it.

    None too where another process has taken it meanwhile.
    """
    if descriptor is None:
        return None
    try:
        found = os.fstat(descriptor)
        os.set_inheritable(descriptor, False)
        lock: Lock | None = None
        if os.path.samestat(found, path.lstat()):
            lock = Lock(path, descriptor)
        elif (number := _highest(path)) and os.path.samestat(found, _file(path, number).lstat()):
            lock = Lock(path, descriptor, number)
    except (OSError, OverflowError):
        return None
    if lock is not None and sign:
        lock.sign()
        if lock.is_lost():
            lock.leave()
            return None
    return lock


def inherited(descriptor: int | None, path: Path) -> int | None:
    """The descriptor if this process was given it and it is of the file at `path`; None otherwise."""
    lock = received(descriptor, path, sign=False)
    return None if lock is None or lock.number is not None else descriptor


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that the owner of a lock has open, one of them at least."""
    number = _highest(path)
    return (path, _file(path, number)) if number else (path,)


def mark_of(path: Path) -> dict[str, Any]:
    """What the owner of a lock says in it of itself; empty where nothing is said."""
    number = _highest(path)
    return (read_json(_file(path, number)) if number else {}) or read_json(path)


def holder(path: Path) -> str:
    """Who holds a lock, in words: who says so in it and has it open, or whom the system names."""
    import psutil

    from eqprop_core.marks import has_open, marked, named

    mark = mark_of(path)
    signed = marked(mark)
    if signed is not None and has_open(signed, *files_of(path)):
        return printable(named(signed))
    found = []
    for number in _holding(path):
        with suppress(psutil.Error, ValueError):  # who took it and handed it over may be gone
            if has_open(process := psutil.Process(number), path) is not False:
                found.append(named(process))
    if found:
        return printable(" and ".join(found[:3]))
    host, pid = mark.get("host"), mark.get("pid")
    if type(pid) is int and isinstance(host, str) and host != socket.gethostname():
        return printable(f"process {pid} on {host}"[:200])
    return "another process" if signed is None else printable(named(signed))


def _in_time(path: Path, seconds: float | None, attempt: Callable[[], T]) -> T:
    """What an attempt comes to that is made again until the time is over. Raises `HeldError` then."""
    deadline = time.monotonic() + (SECONDS_TO_WAIT if seconds is None else seconds)
    while True:
        with suppress(BlockingIOError):
            return attempt()
        if time.monotonic() >= deadline:
            raise HeldError(path, holder(path))
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _flocked(path: Path, *, elsewhere: bool = True) -> Lock | None:
    """The lock of the file at a path; None where the file system has none that excludes.

    `elsewhere`: that excludes the processes of other machines, too. Raises `BlockingIOError` where another
    holds it.
    """
    descriptor = open_to_lock(path)
    try:
        if elsewhere and _is_local(os.fstat(descriptor).st_dev):
            os.close(descriptor)
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not (elsewhere and _is_held_by_readers(path)):
                raise
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            return None
        if not _is_at(path, descriptor):  # removed while it was waited for
            raise BlockingIOError(errno.EAGAIN, "is another file by now", str(path))
        if not _excludes(path):
            os.close(descriptor)
            return None
        if elsewhere and _last_owner(path)[1]:  # by a process on a machine where there are no locks
            raise BlockingIOError(errno.EAGAIN, "is owned", str(path))
    except BaseException:
        with suppress(OSError):
            os.close(descriptor)
        raise
    return Lock(path, descriptor)


def _is_flocked(path: Path) -> bool:
    """Whether one who may own it holds the lock of the file at a path."""
    descriptor = open_to_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return not _is_held_by_readers(path)
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return False


def _is_held_by_readers(path: Path) -> bool:
    """Whether all who hold the lock of a file could not open it now: it was open to everybody once."""
    import psutil

    try:
        found, numbers = path.lstat(), _holding(path)
        allowed = {0, os.getuid(), found.st_uid, path.parent.stat().st_uid}
        users = {psutil.Process(number).uids().real for number in numbers}
    except (OSError, psutil.Error):  # one that has handed it over is gone
        return False
    return bool(users) and not users & allowed and not stat.S_IMODE(found.st_mode) & 0o066


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def _excludes(path: Path) -> bool:
    """Whether a lock that is held keeps out what opens the file anew."""
    other = open_to_lock(path)
    try:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(other)
    return False


def _is_local(device: int) -> bool:
    """Whether other machines that see the files of a device do not see its locks."""
    try:
        lines = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2:3] != [number]:
            continue
        kind, _, rest = after.partition(" ")
        options = rest.split()[-1:]
        if kind == LOCAL_ALWAYS[0] or kind.startswith(LOCAL_ALWAYS[1]):
            return True
        known = LOCAL_OPTIONS.get("nfs" if kind.startswith("nfs") else kind, ())
        return any(option in known for option in ",".join(options).split(","))
    return False


def _numbered(path: Path) -> Lock:
    """Own by making the next number. Raises `BlockingIOError` where another owns it, and `OSError`."""
    number, alive = _last_owner(path)
    if alive:
        raise BlockingIOError(errno.EAGAIN, "is owned", str(path))
    number += 1  # than the one that was looked at, whatever others have made since
    try:
        descriptor = open_to_lock(_file(path, number), anew=True)
    except FileExistsError:
        raise BlockingIOError(errno.EAGAIN, "is owned", str(path)) from None
    lock = Lock(path, descriptor, number)
    # Who owns it by `flock` looks for numbers once it has it; here it is the other way round.
    if lock.is_lost() or _is_flocked(path):
        lock.give_up()
        raise BlockingIOError(errno.EAGAIN, "is owned", str(path))
    for lower in _numbers(path):
        if lower < number:
            _file(path, lower).unlink(missing_ok=True)
    return lock


def _file(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _numbers(path: Path) -> list[int]:
    """The numbers of owners' files of a lock."""
    pattern = re.compile(re.escape(path.name) + r"\.([1-9][0-9]*)")
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []
    return [int(found[1]) for name in names if (found := pattern.fullmatch(name))]


def _highest(path: Path) -> int:
    return max(_numbers(path), default=0)


def _last_owner(path: Path) -> tuple[int, bool]:
    """The highest number of an owner's file, 0 where there is none, and whether that owner is there."""
    import psutil

    from eqprop_core.marks import boot_id, has_open, marked

    number = _highest(path)
    if number == 0:
        return 0, False
    file = _file(path, number)
    mark = read_json(file)
    if mark.get("given_back") is True:
        return number, False
    try:
        silent = _now(path.parent) - file.stat().st_mtime
    except OSError:  # it is not the last any more
        return number, True
    here = {"host": socket.gethostname(), "boot": boot_id(), "seen": _seen()}
    if mark and None not in here.values() and all(mark.get(name) == value for name, value in here.items()):
        process = marked(mark)
        there = process is not None and has_open(process, file) is not False
        there = there or (mark.get("handed_over") is True and abs(silent) < SECONDS_TO_SIGN)
        there = there or any(has_open(process, file) for process in psutil.process_iter())  # handed over
    else:  # on another machine, or it is about to say who it is
        there = abs(silent) < SECONDS_OF_SILENCE
    return number, there


def _now(folder: Path) -> float:
    """The time by the clock that stamps the files of a folder."""
    probe = folder / f".now-{secrets.token_hex(6)}"
    try:
        descriptor = open_to_lock(probe, anew=True)
    except OSError:  # a folder that is only read
        return time.time()
    try:
        with suppress(OSError):  # a full disk: it was made just now, too
            os.write(descriptor, b".")
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        probe.unlink(missing_ok=True)


def _mark() -> dict[str, Any]:
    from eqprop_core.marks import own_mark

    return {**own_mark(), "seen": _seen()}


def _seen() -> str | None:
    """What names the processes that this one sees; another container has others of the same numbers."""
    try:
        return str(PROCESSES_SEEN.readlink())
    except OSError:
        return sys.platform


def _holding(path: Path) -> list[int]:
    """The processes of this machine that took the `flock` of a file, as far as the system tells."""
    try:
        found, lines = path.lstat(), LOCKS.read_text(errors="replace").splitlines()
    except OSError:
        return []
    file = (os.major(found.st_dev), os.minor(found.st_dev), found.st_ino)
    numbers = []
    for line in lines:  # `1: FLOCK  ADVISORY  WRITE 1234 08:01:131090 0 EOF`; `1: -> FLOCK …` waits for it
        match = re.match(r"\d+: FLOCK +\S+ +\S+ +(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) ", line)
        if match and (int(match[2], 16), int(match[3], 16), int(match[4])) == file:
            numbers.append(int(match[1]))
    return numbers
