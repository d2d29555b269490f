"""Workers of runs, forked from one process that has imported all they need, and killed at calls of their own.

A worker that is forked so does what `python -m eqprop_core.worker` does, in a session of its own, with signals,
descriptors and lock as a program has them; what it prints goes to the run's `console.log`.

A `Blow` is SIGKILL before a call by which a file, a name or a lock changes: the n-th such call of the main thread
since the worker began, since a batch was over, or since the last epoch was (`end`). Of calls that follow each
other at one place, as of a picture in pieces, the first, the second, the fourth, the eighth … count.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.reduction import DupFd
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from forked import CONTEXT
from interruptions import Strike

from eqprop_core.runs import launcher

CALLS = {
    "chmod", "close", "fdatasync", "fsync", "flock", "flush", "ftruncate", "link", "mkdir", "open", "remove",
    "rename", "replace", "rmdir", "symlink", "truncate", "unlink", "utime", "write", "writelines",
}  # fmt: skip
OF_FILES = {"posix", "fcntl", "_io"}
SPAWN = launcher.spawn
WORKER = [sys.executable, "-P", "-m", "eqprop_core.worker"]
HEARD = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGCHLD)


@dataclass(frozen=True)
class Blow:
    """SIGKILL before the `nth` call (from 1) `since` "start", "end", or the batch of that number; 0: never."""

    since: str | int
    nth: int


def start(
    path: Path, struck: Blow | Strike | None = None, *, places: Path | None = None, draws: bool = True
) -> Any:
    """The worker of the run at `path`, to be `struck`; without pictures unless it `draws`.

    The places of the calls that counted are written into the file `places`, one a line.
    """
    process = CONTEXT.Process(target=_work, args=(path, struck, places, draws))
    process.start()
    return process


def spawn(words: list[str], console: Path, environment: Mapping[str, str], kept: Sequence[int] = ()) -> int:
    """As `launcher.spawn`, which starts all that is no worker, or one of several processes."""
    if words[:4] != WORKER or "--nproc" in words:
        return SPAWN(words, console, environment, kept)
    given = {**os.environ, **environment}
    process = CONTEXT.Process(
        target=_as_told, args=(words, console, given, str(Path.cwd()), Handed(kept)), daemon=True
    )
    process.start()
    assert process.pid is not None
    return process.pid


class Handed:
    """Descriptors that a forked process gets, by the numbers that they have here."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def __reduce__(self) -> Any:
        return _received, (self.numbers, [DupFd(number) for number in self.numbers])


def _received(numbers: Sequence[int], handed: Sequence[Any]) -> dict[int, int]:
    """Descriptors of this process by the numbers that they had in the one that gave them."""
    return {number: copy.detach() for number, copy in zip(numbers, handed, strict=True)}


def _as_told(
    words: list[str], console: Path, environment: Mapping[str, str], folder: str, kept: dict[int, int]
) -> None:
    """The body of a process that was started as by a launcher."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", 1)))
    after = {"--lock", "--ticket-lock"}
    told = [str(kept[int(word)]) if before in after else word for before, word in pairwise(["", *words])]
    _show_as(told)
    _alone(console)
    from eqprop_core.worker.__main__ import main

    sys.exit(main(told[4:]))


def _show_as(words: Sequence[str]) -> None:
    """Have this process be shown by the words of a program, in place of those that it was forked from."""
    first, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    line = b"".join(word.encode() + b"\0" for word in words)
    assert len(line) <= end - first, "has no room for its command line"
    ctypes.memmove(first, line.ljust(end - first, b"\0"), end - first)


def _alone(console: Path) -> None:
    """A session of its own, signals as a program finds them, output to a file."""
    os.setsid()
    for number in HEARD:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for file, flags, numbers in (
        (Path(os.devnull), os.O_RDONLY, (0,)),
        (console, os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2)),
    ):
        opened = os.open(file, flags)
        for descriptor in numbers:
            os.dup2(opened, descriptor)
        os.close(opened)


def _work(path: Path, struck: Blow | Strike | None, places: Path | None, draws: bool) -> None:
    """The body of a process that is to be struck."""
    _alone(path / "console.log")
    from eqprop_core.worker.__main__ import main
    from eqprop_core.worker.session import Session

    if not draws:  # pictures take most of the time
        Session._draw_all = lambda self, of: iter(())  # type: ignore[method-assign]
        Session._draw = lambda self, of: iter(())  # type: ignore[method-assign]
    if isinstance(struck, Strike):
        import interruptions

        interruptions._arm(path, struck)
    elif struck is not None:
        _begin_at(struck.since, _counted(struck.nth, places))
    status = main([str(path)])
    sys.setprofile(None)
    sys.exit(status)


def _begin_at(since: str | int, count: Callable[..., None]) -> None:
    """Count from a place on."""
    from eqprop_core.worker.requests import Requests
    from eqprop_core.worker.session import Session

    if since == "start":
        sys.setprofile(count)
    elif since == "end":
        emit, finish = Session.emit, Session.finish

        def emitted(self: Session, event: Any) -> Any:
            if event.kind == "epoch_finished" and event.epoch >= self.epochs:
                sys.setprofile(count)
            return emit(self, event)

        def finished(self: Session, trainer: Any) -> Any:
            sys.setprofile(count)
            yield from finish(self, trainer)

        Session.emit, Session.finish = emitted, finished  # type: ignore[method-assign]
    else:
        boundary, numbers = Requests.boundary, itertools.count(1)

        def over(self: Requests) -> bool:
            if next(numbers) == since:
                sys.setprofile(count)
            return boundary(self)

        Requests.boundary = over  # type: ignore[method-assign]


def _counted(nth: int, places: Path | None) -> Callable[..., None]:
    """What `sys.setprofile` takes: counts calls, and kills this process before the n-th."""
    written = None if places is None else os.open(places, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    number = itertools.count(1)
    before, repeated = "", 0

    def count(frame: FrameType, what: str, function: Any) -> None:
        nonlocal before, repeated
        if what != "c_call" or function.__name__ not in CALLS:
            return
        if not {function.__module__, type(function.__self__).__module__} & OF_FILES:
            return
        place = f"{_ours(frame)} → {function.__name__}"
        repeated = repeated + 1 if place == before else 1
        before = place
        if repeated & (repeated - 1):
            return
        if written is not None:
            os.write(written, f"{place}\n".encode())
        if next(number) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def _ours(frame: FrameType | None) -> str:
    """The function of ours in which a call is made."""
    while frame is not None and "eqprop_core" not in frame.f_code.co_filename:
        frame = frame.f_back
    return "?" if frame is None else f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
