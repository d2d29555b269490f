"""Writing and reading `events.jsonl`: append-only, one JSON object a line."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from eqprop_core.events import LARGEST_SEQ, Event, Record, decode, encode, instead_of
from eqprop_core.files import open_to_append, open_to_read

MOST = LARGEST_SEQ // 2  # events of a run
LINE_LIMIT = 4 * 2**20  # bytes; a longer line is not ours and is skipped
TAIL = 2**16  # bytes at the end of a file, among which its last events are looked for


class EventLog:
    """Appends events to a file, one write a line. Raises `OSError` where that fails.

    An event that could not be written keeps its number, so that the gap shows what is missing.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.clock = clock
        self.seq = last_seq(path)
        self._descriptor = open_to_append(path)
        self._torn = _is_torn(path)

    def write(self, event: Event) -> Record:
        """Append an event; it has reached the operating system when this returns."""
        record = self.record(event)
        self.append(record)
        return record

    def record(self, event: Event) -> Record:
        """The event with its place, which no other one gets; it is not written yet."""
        self.seq += 1
        return Record(self.seq, self.clock(), event)

    def append(self, record: Record) -> None:
        """Write a record at the end."""
        if os.fstat(self._descriptor).st_nlink == 0:
            self._open_again()
        line = encode(record).encode("utf-8") + b"\n"
        self._append(b"\n" + line if self._torn else line)

    def _open_again(self) -> None:
        """The file was deleted: begin a new one, where its folder still is."""
        descriptor = open_to_append(self.path)
        os.close(self._descriptor)
        self._descriptor, self._torn = descriptor, _is_torn(self.path)

    def _append(self, content: bytes) -> None:
        """Write all of it; of what does not fit, a part may be there: the next line is begun anew."""
        before = self._torn
        written = 0
        try:
            while written < len(content):
                count = os.write(self._descriptor, content[written:])
                if count == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                written += count
        finally:
            self._torn = content[:written][-1:] != b"\n" if written else before

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
    """The lines of a file up to byte `end`, one in memory at a time; none of a file that is not there.

    Lines longer than `LINE_LIMIT` are left out. Raises `OSError`.
    """
    try:
        file = open_to_read(path)
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
    path: Path,
    *,
    after: int = 0,
    begin: int = 0,
    before: Collection[str] = (),
    ended: Callable[[], bool],
    pause: float = 0.1,
) -> Iterator[Record]:
    """The records after number `after`, and those that are still being written, until `ended` is True.

    Of those before byte `begin` only the kinds of `before` are given, or none: to decode them all takes long.
    A line that is not complete yet is waited for; looks every `pause` seconds. Raises `OSError`.
    """
    rest = b""
    skipping = begin > 0  # in the middle of a line that is too long, or that belongs to what is before
    told = False  # that some events cannot be read
    if before:
        yield from (record for record in _before(path, begin, before) if record.seq > after)
    while not path.exists():  # its process has not begun
        if ended():
            return
        time.sleep(pause)
    with open_to_read(path) as file:
        file.seek(max(0, begin - 1))
        while True:
            last = ended()  # asked before reading: what was written before the end is read
            while chunk := file.read(LINE_LIMIT):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    record = None if skipping else decode(line)
                    if record is None and not (skipping or told):
                        record = instead_of(line)
                        told = record is not None
                    skipping = False
                    if record is not None and record.seq > after:
                        yield record
                if skipping or len(rest) > LINE_LIMIT:
                    rest, skipping = b"", True
            if last:
                return
            time.sleep(pause)


def _before(path: Path, end: int, kinds: Collection[str]) -> Iterator[Record]:
    """The records of these kinds on the lines that begin before byte `end`."""
    for line in event_lines(path, end=end):
        if (record := record_of(line, kinds)) is not None:
            yield record


def size_of_events(path: Path) -> int:
    """Bytes of a file, 0 where there is none: what is written from now on comes after them."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_seq(path: Path) -> int:
    """Sequence number of the last record of a file, 0 where there is none.

    Numbers rise, so that only the end is looked at, unless there is none of ours. Those that leave no room
    for others to come are not ours. Raises `OSError`.
    """
    try:
        file = open_to_read(path)
    except FileNotFoundError:
        return 0
    with file:
        size = file.seek(0, os.SEEK_END)
        for length in (TAIL, 2 * LINE_LIMIT):
            file.seek(max(0, size - length))
            lines = file.read(length).split(b"\n")[1 if length < size else 0 :]
            if found := [seq for line in lines if (record := decode(line)) and (seq := record.seq) < MOST]:
                return max(found)
    return max((record.seq for record in read_events(path) if record.seq < MOST), default=0)


def _is_torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line."""
    size = path.stat().st_size
    if size == 0:
        return False
    with open_to_read(path) as file:
        file.seek(size - 1)
        return file.read(1) != b"\n"
