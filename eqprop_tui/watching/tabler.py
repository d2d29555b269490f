"""A thread that reads the runs of a sweep again and again, for the table of what its cells came to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.runs.folder import RunError
from eqprop_core.runs.names import STATE
from eqprop_core.sweeps.folder import PLAN, Job, SweepFolder
from eqprop_core.sweeps.table import Outcome, outcome
from eqprop_tui.watching.lister import SAID_AT_REST, Stamp, stamp_of
from eqprop_tui.watching.looking import PAUSE, Looking

FIRST = 0.3  # seconds of reading after which what is known so far is handed on


@dataclass(frozen=True)
class Outcomes:
    """What the runs of a sweep came to, by their folders; `wrong` is why the sweep cannot be read."""

    sweep: SweepFolder | None
    by_path: dict[Path, Outcome]
    wrong: str | None = None


class Tabler(Looking):
    """Calls `hand_on` from a thread with what is known of a sweep, where it has changed, until stopped.

    A run that has ended is read once, and again where its state was written again.
    """

    def __init__(self, path: Path, hand_on: Callable[[Outcomes], object], pause: float = PAUSE) -> None:
        super().__init__("read a sweep", pause)
        self.path, self.hand_on = path, hand_on
        self._known: dict[Path, tuple[Stamp, Outcome]] = {}
        self._plan: tuple[Stamp, SweepFolder] | None = None
        self._before: Outcomes | None = None

    def once(self, *, anew: bool) -> bool:
        """Hand on what the runs came to, where it has changed."""
        now = self._read()
        if now != self._before:
            self.hand_on(now)
        self._before = now
        return False

    def _read(self) -> Outcomes:
        try:
            sweep = self.sweep()
        except RunError as error:
            return Outcomes(None, {}, str(error))
        found: dict[Path, Outcome] = {}
        told = time.monotonic()
        for job in sweep.jobs():
            found[job.path] = self._outcome(sweep, job)
            if self.stopped:
                break
            if time.monotonic() - told > FIRST:  # many long files: show those that have been read
                self.hand_on(Outcomes(sweep, {**{p: kept for p, (_, kept) in self._known.items()}, **found}))
                told = time.monotonic()
        return Outcomes(sweep, found)

    def sweep(self) -> SweepFolder:
        """The sweep; a plan that is as it was is not read again. Raises `RunError`."""
        stamp = stamp_of(self.path / PLAN)
        if self._plan is None or self._plan[0] != stamp:
            self._plan = (stamp, SweepFolder.open(self.path))
        return self._plan[1]

    def _outcome(self, sweep: SweepFolder, job: Job) -> Outcome:
        stamp = stamp_of(job.path / STATE)
        known = self._known.get(job.path)
        if known is not None and known[0] == stamp and known[1].state in SAID_AT_REST:
            return known[1]
        try:
            found = outcome(sweep, job)
        except OSError:  # its folder goes away at this moment, or may not be read
            found = Outcome(job.seed, job.path, "unreachable")
        self._known[job.path] = (stamp, found)
        return found
