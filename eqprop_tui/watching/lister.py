"""A thread that looks at all runs and sweeps again and again, and hands on what a filter lets through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eqprop_core.problems import printable
from eqprop_core.runs.filtering import Filter, stored_settings
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.listing import RunSummary, run_folders, summarize
from eqprop_core.runs.names import CHECKPOINT, CONFIG, FINAL_CHECKPOINT, STATE, SWEEPS
from eqprop_core.runs.roots import default_roots
from eqprop_core.sweeps.folder import PLAN, SweepFolder
from eqprop_tui.groups import Group, Sweep, grouped
from eqprop_tui.watching.looking import PAUSE, Looking

SAID_AT_REST = ("finished", "failed", "stopped")  # as `state.json` says it; changes only with that file
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Found:
    """Runs that were wanted, the newest first, of how many there are; the same in `groups` and `alone`.

    Where all are wanted, sweeps that have no run yet are among the groups.
    """

    runs: Sequence[RunSummary]
    of: int
    alone: Sequence[RunSummary] = ()
    groups: Sequence[Group] = ()


class Lister(Looking):
    """Calls `hand_on` from a thread with the runs of some roots (None: all that are known) until stopped."""

    def __init__(
        self, roots: Iterable[Path] | None, hand_on: Callable[[Found], object], pause: float = PAUSE
    ) -> None:
        super().__init__("list runs", pause)
        self.roots = None if roots is None else list(roots)
        self.hand_on = hand_on
        self.filter = Filter()
        self._runs: list[RunSummary] = []
        self._sweeps: dict[Path, Sweep] = {}
        self._plans: dict[Path, tuple[Stamp, Sweep | None]] = {}
        self._known: dict[Path, tuple[Stamp, RunSummary]] = {}
        self._settings: dict[Path, tuple[Stamp, Mapping[str, Any]]] = {}

    def choose(self, filter: Filter) -> None:
        """Choose anew from what is known."""
        self.filter = filter
        self.look(anew=False)

    def once(self, *, anew: bool) -> bool:
        """Hand on what the filter lets through."""
        wanted = self.filter
        if anew:
            self._runs, self._sweeps = self.runs(), self.sweeps()
        chosen = wanted.choose(self._runs, self._of)
        alone, groups = grouped(chosen, self._runs, self._sweeps, empty=wanted == Filter())
        self.hand_on(Found(chosen, len(self._runs), alone, groups))
        return False

    def runs(self) -> list[RunSummary]:
        """All runs, the newest first; a file that is as it was is not read again."""
        known: dict[Path, tuple[Stamp, RunSummary]] = {}
        for path in run_folders(default_roots() if self.roots is None else self.roots):
            # A folder of the reference has no state; what was saved there last tells.
            stamps = (stamp_of(path / name) for name in (STATE, FINAL_CHECKPOINT, CHECKPOINT))
            stamp = next(filter(any, stamps), (0, 0, 0))
            before = self._known.get(path)
            if before is None or before[0] != stamp or before[1].state not in SAID_AT_REST:
                before = (stamp, summarize(path))
            known[path] = before
        self._known = known
        self._settings = {path: kept for path, kept in self._settings.items() if path in known}
        return sorted((run for _, run in known.values()), key=lambda run: run.created or "", reverse=True)

    def sweeps(self) -> dict[Path, Sweep]:
        """All sweeps by their folders; a plan that is as it was is not read again."""
        known: dict[Path, tuple[Stamp, Sweep | None]] = {}
        for root in default_roots() if self.roots is None else self.roots:
            for path in _folders(root.resolve() / SWEEPS):
                stamp = stamp_of(path / PLAN)
                before = self._plans.get(path)
                if before is None or before[0] != stamp:
                    before = (stamp, _sweep(path))
                known[path] = before
        self._plans = known
        return {path: sweep for path, (_, sweep) in known.items() if sweep is not None}

    def _of(self, path: Path) -> Mapping[str, Any]:
        """The settings of a run; none where they cannot be read."""
        stamp = stamp_of(path / CONFIG)
        before = self._settings.get(path)
        if before is None or before[0] != stamp:
            before = (stamp, stored_settings(path))
            self._settings[path] = before
        return before[1]


def _sweep(path: Path) -> Sweep | None:
    """What a list of runs shows of a sweep; None where it cannot be read."""
    try:
        folder = SweepFolder.open(path)
    except RunError:
        return None
    return Sweep(path, printable(folder.plan.name), folder.created, folder.planned)


def _folders(place: Path) -> list[Path]:
    """The folders in a place, none where there is no such place."""
    try:
        with os.scandir(place) as entries:
            return [place / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def stamp_of(path: Path) -> Stamp:
    """What tells that a file was written again."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_mtime_ns, status.st_size
