"""The records of a run's events file as they come, also after a resumption, a torn line or a vanished folder.

Frequent kinds are thinned where there is much to catch up with: of 200,000 batch events a picture shows some
hundred. Never holds more than a piece of the file.
"""

from __future__ import annotations

import os
from pathlib import Path

from eqprop_core.events import BatchFinished, PhaseProgress, Record, Settling, decode, instead_of
from eqprop_core.files import open_to_read
from eqprop_core.runs.log import LINE_LIMIT
from eqprop_core.runs.reference import records_of

PIECE = 2**20  # bytes that are read at once
MUCH = 2**19  # bytes behind, from where on frequent kinds are thinned
KEPT = 3000  # about how many records of a frequent kind are decoded of what lies behind
FREQUENT = tuple(f'"kind": "{kind.kind}"'.encode() for kind in (BatchFinished, PhaseProgress, Settling))
LINE = 200  # bytes of a typical frequent line


class Feed:
    """The new records of an events file at each `read`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = 0
        self._file: int | None = None  # its inode
        self._rest = b""
        self._skipping = False
        self._stride = 1
        self._count = 0
        self._told = False  # that some events cannot be read

    def read(self) -> tuple[list[Record], bool]:
        """Records that have come since the last call, in order, and whether there are more already.

        A file that was replaced or cut is read from its beginning; one that is not there has no records, but
        where its folder is one of the reference.
        """
        try:
            file = open_to_read(self.path)
        except OSError:
            if self._file is None:  # once
                self._file = 0
                return records_of(self.path.parent), False
            return [], False
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._file or status.st_size < self._place:
                self._file, self._place, self._rest, self._skipping = status.st_ino, 0, b"", False
            behind = status.st_size - self._place
            if behind <= MUCH:
                self._stride = 1
            elif self._stride == 1:
                self._stride = max(1, behind // LINE // KEPT)
            file.seek(self._place)
            piece = file.read(PIECE)
        self._place += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        records = [record for line in lines if (record := self._record(line)) is not None]
        if len(self._rest) > LINE_LIMIT:
            self._rest, self._skipping = b"", True
        return records, len(piece) == PIECE

    def _record(self, line: bytes) -> Record | None:
        if self._skipping:
            self._skipping = False
            return None
        if self._stride > 1 and any(kind in line for kind in FREQUENT):
            self._count += 1
            if self._count % self._stride:
                return None
        record = decode(line)
        if record is None and not self._told:
            record = instead_of(line)
            self._told = record is not None
        return record
