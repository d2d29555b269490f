"""The new lines of a run's `console.log`, from near its end on."""

from __future__ import annotations

import os
from pathlib import Path

from eqprop_core.files import open_to_read

TAIL = 64 * 1024  # bytes of what is there already
PIECE = 256 * 1024  # bytes at once


class Console:
    """What a run's process prints, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place: int | None = None
        self._rest = b""

    def read(self) -> list[str]:
        """The lines that have come since the last call; none where there is no file."""
        try:
            file = open_to_read(self.path)
        except OSError:
            return []
        with file:
            size = os.fstat(file.fileno()).st_size
            if self._place is None or size < self._place:
                self._place, self._rest = max(0, size - TAIL), b""
                if self._place:
                    file.seek(self._place - 1)
                    self._place = min(size, self._place - 1 + len(file.readline(TAIL)))
            file.seek(self._place)
            piece = file.read(PIECE)
        self._place += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._rest = self._rest[-TAIL:]
        return [line.decode("utf-8", "replace").rsplit("\r", 1)[-1] for line in lines]
