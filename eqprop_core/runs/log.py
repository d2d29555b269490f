"""Writing and reading `events.jsonl`: append-only, one JSON object a line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from eqprop_core.events import Event, Record, decode, encode

LINE_LIMIT = 4 * 2**20  # bytes; a longer line is not ours and is skipped


class EventLog:
    """Appends events to a file, one write a line. Raises `OSError` where that fails."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self.seq = last_seq(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        if _is_torn(path):
            os.write(self._descriptor, b"\n")

    def write(self, event: Event) -> Record:
        """Append an event; it has reached the operating system when this returns."""
        record = Record(self.seq + 1, self.clock(), event)
        os.write(self._descriptor, encode(record).encode("utf-8") + b"\n")
        self.seq = record.seq
        return record

    def sync(self) -> None:
        """Wait until everything is on disk."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._descriptor)


def read_events(path: Path, kinds: Collection[str] = ()) -> Iterator[Record]:
    """The records of a file; torn or unknown lines are skipped, a file that is not there has none.

    With `kinds`, only records of these kinds, which costs little however many others there are.
    """
    for line in event_lines(path):
        record = record_of(line, kinds)
        if record is not None:
            yield record


def event_lines(path: Path, *, end: int | None = None) -> Iterator[bytes]:
    """The lines of a file up to byte `end`, one in memory at a time; none of a file that is not there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    read = 0
    with file:
        while (end is None or read < end) and (line := file.readline(LINE_LIMIT)):
            read += len(line)
            if len(line) == LINE_LIMIT and not line.endswith(b"\n"):
                while (rest := file.readline(LINE_LIMIT)) and not rest.endswith(b"\n"):
                    read += len(rest)
                read += len(rest)
                continue
            yield line


def record_of(line: bytes, kinds: Collection[str] = ()) -> Record | None:
    """The record on a line if it is one, and of one of the `kinds` where some are given."""
    if kinds and not any(kind.encode("ascii") in line for kind in kinds):
        return None  # decoding takes a hundred times as long as this
    record = decode(line)
    return record if record is not None and (not kinds or record.event.kind in kinds) else None


def follow_events(
    path: Path, *, after: int = 0, ended: Callable[[], bool], pause: float = 0.1
) -> Iterator[Record]:
    """The records after number `after`, and those that are still being written, until `ended` is True.

    A line that is not complete yet is waited for.
    """
    rest = b""
    while not path.exists():  # its process has not begun
        if ended():
            return
        time.sleep(pause)
    with path.open("rb") as file:
        while True:
            last = ended()  # asked before reading: what was written before the end is read
            while chunk := file.read(LINE_LIMIT):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    record = decode(line)
                    if record is not None and record.seq > after:
                        yield record
                if len(rest) > LINE_LIMIT:
                    rest = b""
            if last:
                return
            time.sleep(pause)


def last_seq(path: Path) -> int:
    """Sequence number of the last record of a file, 0 where there is none."""
    return max((record.seq for record in read_events(path)), default=0)


def _is_torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line."""
    size = path.stat().st_size
    if size == 0:
        return False
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"
