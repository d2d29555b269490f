"""The GDU checks that were made of a run's weights and saved in its folder, as they come."""

from __future__ import annotations

import os
from pathlib import Path

from eqprop_core.events import Gdu, Record
from eqprop_core.runs.names import CHECKS, EVENTS
from eqprop_tui.watching.feed import Feed

MOST = 4  # folders that are looked into: the newest ones


class SavedChecks:
    """What is new of the checks of the run at `run`, at each `read`; evaluations lie beside them."""

    def __init__(self, run: Path) -> None:
        self.place = run / CHECKS
        self._feeds: dict[str, Feed] = {}
        self._read: set[str] = set()

    def read(self) -> list[Record]:
        """Checks that have ended since the last call, the oldest first."""
        try:
            with os.scandir(self.place) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        except OSError:
            return []
        found = []
        for name in names[-MOST:]:
            if name not in self._read:
                feed = self._feeds.setdefault(name, Feed(self.place / name / EVENTS))
                new = [record for record in feed.read()[0] if isinstance(record.event, Gdu)]
                if new:
                    self._read.add(name)
                found += new
        return found
