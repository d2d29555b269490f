"""A thread that reads the runs of a sweep again and again, for the table of what its cells came to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.runs.folder import RunError
from eqprop_core.runs.names import STATE
from eqprop_core.sweeps.folder import PLAN, Job, SweepFolder
from eqprop_core.sweeps.table import Outcome, outcome
from eqprop_tui.watching.lister import PAUSE, SAID_AT_REST, SHARE, Stamp, stamp_of

FIRST = 0.3  # seconds of reading after which what is known so far is handed on


@dataclass(frozen=True)
class Outcomes:
    """What the runs of a sweep came to, by their folders; `wrong` is why the sweep cannot be read."""

    sweep: SweepFolder | None
    by_path: dict[Path, Outcome]
    wrong: str | None = None


class Tabler:
    """Calls `hand_on` from a thread with what is known of a sweep, where it has changed, until stopped.

    A run that has ended is read once, and again where its state was written again.
    """

    def __init__(self, path: Path, hand_on: Callable[[Outcomes], object], pause: float = PAUSE) -> None:
        self.path, self.hand_on, self.pause = path, hand_on, pause
        self._known: dict[Path, tuple[Stamp, Outcome]] = {}
        self._plan: tuple[Stamp, SweepFolder] | None = None
        self._stopped = self._held = self._look = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="read a sweep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is being read may still be handed on."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def look(self) -> None:
        """Look again now."""
        with self._condition:
            self._held, self._look = False, True
            self._condition.notify()

    def hold(self) -> None:
        """Look no more until `look`, as while another screen is shown."""
        with self._condition:
            self._held = True

    def _watch(self) -> None:
        before: Outcomes | None = None
        while True:
            with self._condition:
                if self._stopped:
                    return
                self._look = False
            begun = time.thread_time()
            now = self._read()
            if now != before:
                self.hand_on(now)
            before = now
            pause = max(self.pause, (time.thread_time() - begun) / SHARE)
            with self._condition:
                if not (self._stopped or self._look):
                    self._condition.wait(None if self._held else pause)

    def _read(self) -> Outcomes:
        try:
            sweep = self.sweep()
        except RunError as error:
            return Outcomes(None, {}, str(error))
        found: dict[Path, Outcome] = {}
        told = time.monotonic()
        for job in sweep.jobs():
            found[job.path] = self._outcome(sweep, job)
            if self._stopped:
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
