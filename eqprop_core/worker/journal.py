"""The events of a piece of work and its console log, as they are written.

Events that cannot be written are a warning; those without which a reader misunderstands the others are kept
until there is room.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from eqprop_core.events import (
    Amended,
    EpochFinished,
    Event,
    Record,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    Warned,
)
from eqprop_core.files import open_to_append
from eqprop_core.printing import unhindered
from eqprop_core.runs import names
from eqprop_core.runs.log import EventLog
from eqprop_core.runs.words import in_words

# Events that tell what others mean, or what an epoch came to.
NEEDED = (RunStarted, RunResumed, EpochFinished, Amended, RunFinished, RunFailed)
MOST_OWED = 10_000


class Journal:
    """Writes into the folder that `where` says, which may be moved; None: nowhere, events are numbered only.

    Raises `OSError` where its files cannot be opened.
    """

    def __init__(self, where: Callable[[], Path | None]) -> None:
        self._where = where
        self.seq = 0
        self._lost = 0
        self._owed: deque[Record] = deque()  # without which what is read of the run has holes
        self._writing = threading.RLock()  # the thread that takes requests emits too
        self._untold: deque[Record] = deque()
        self._log: EventLog | None = None
        self._console: TextIO | None = None
        if (path := where()) is not None:
            self._log = EventLog(path / names.EVENTS)
            try:
                console = open_to_append(path / names.CONSOLE)
            except OSError:
                self._log.close()
                raise
            self._console = unhindered(console, closefd=True)

    @property
    def missing(self) -> int:
        """How many events could not be written."""
        return self._lost + len(self._owed)

    def write(self, event: Event) -> Record:
        """Write an event down and return it with its place in the run."""
        with self._writing:
            return self._write(event)

    def later(self, records: Iterable[Record]) -> None:
        """Keep records that were written outside the flow of events until `untold` is asked for them."""
        self._untold.extend(records)

    def untold(self) -> Iterator[Record]:
        """Records that were kept, once each."""
        while self._untold:
            yield self._untold.popleft()

    def note(self, line: str) -> None:
        """Write a line into the console log, with the time."""
        if self._console is not None:  # nothing is lost that the events do not have
            self._console.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def sync(self) -> None:
        """Wait until all events are on disk. Raises `OSError`."""
        if self._log is not None:
            self._log.sync()

    def close(self) -> None:
        """Close both files."""
        if self._log is not None:
            with suppress(OSError):  # what could be written has been; the disk is full or gone
                self._log.close()
        if self._console is not None:
            self._console.close()

    def _write(self, event: Event) -> Record:
        record = Record(self.seq + 1, time.time(), event)
        lost = 0
        if self._log is not None and (path := self._where()) is not None:
            self._log.path = path / names.EVENTS
            record = self._log.record(event)
            try:
                while self._owed:  # in their places, before what comes after them
                    self._log.append(self._owed[0])
                    self._owed.popleft()
                self._log.append(record)
                lost, self._lost = self._lost, 0
            except OSError as error:
                if not self._lost and not self._owed:
                    self.note(f"warning: events cannot be written: {error.strerror or error}")
                if isinstance(event, NEEDED) and len(self._owed) < MOST_OWED:
                    self._owed.append(record)
                else:
                    self._lost += 1
        self.seq = record.seq
        if line := in_words(event):
            self.note(line)
        if lost:
            what = "1 event" if lost == 1 else f"{lost} events"
            self.later([self._write(Warned(message=f"{what} before this could not be written and are lost"))])
        return record
