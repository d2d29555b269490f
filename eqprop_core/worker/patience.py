"""How long the processes of a run wait for each other, and what is said of one that is given up.

A process that has ended is noticed at once, by what joins it with the others. One that is stopped (SIGSTOP, a
debugger) or hangs says nothing: it is given up after a while that the run's own batches measure.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from eqprop_core.runs.folder import RunError

SECONDS_BETWEEN_LOOKS = 1.0
STOPPED = 60.0  # seconds that one may be stopped, or as long as some batches take
STOPPED_AT_THE_END = 5.0  # the same once the run has been asked to end
SILENT = 1800.0  # seconds without a word from one that is not stopped, or as long as many batches take
SILENT_AT_THE_END = 120.0
SOME, MANY = 3.0, 10.0

Stopped = Callable[[], dict[int, str]]  # the ranks that are stopped just now, each with a name for it


class ProcessLostError(RunError):
    """Another process of the run is gone, or does not go on."""


class Patience:
    """What one process allows the others, of which `stopped` tells those that are stopped.

    `leaving` is asked whether the run is to end. What a batch takes is the longest time between
    two calls of `summed` so far. Only rank 0 gives up one that is silent without being stopped: it may be
    busy itself for any time, with a check, pictures or a disk that is full, while the others wait.
    """

    def __init__(self, stopped: Stopped, leaving: Callable[[], bool], *, of_all: bool) -> None:
        self._stopped = stopped
        self.leaving = leaving
        self._of_all = of_all
        self._summed: float | None = None
        self._batch: float | None = None

    def summed(self) -> None:
        """Note that all have come to the end of a batch, or of a part of one."""
        now = time.monotonic()
        if self._summed is not None:
            self._batch = max(self._batch or 0.0, now - self._summed)
        self._summed = now

    def wait(self) -> Waiting:
        """Begin to wait for the others."""
        return Waiting(self)

    def limit(self, *, stopped: bool) -> float | None:
        """Seconds that one is waited for; None for as long as it takes."""
        batch = self._batch or 0.0
        if stopped:
            return STOPPED_AT_THE_END if self.leaving() else max(STOPPED, SOME * batch)
        if not self._of_all:
            return None
        if self._batch is not None and self.leaving():
            return max(SILENT_AT_THE_END, SOME * batch)
        return max(SILENT, MANY * batch)


class Waiting:
    """One wait; `look` is to be called every now and then while it lasts, for one `rank` or for all.

    What counts is the time that this process was there to see: not that in which it was stopped itself.
    """

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._looked = time.monotonic()
        self._silent = 0.0
        self._stopped: dict[int, float] = {}

    def look(self, rank: int | None = None) -> None:
        """Raise `ProcessLostError` where one has been stopped, or all have been silent, for too long."""
        now = time.monotonic()
        passed = min(now - self._looked, 2 * SECONDS_BETWEEN_LOOKS)
        self._looked = now
        found = self._patience._stopped()
        self._stopped = {which: self._stopped.get(which, 0.0) + passed for which in found}
        allowed = self._patience.limit(stopped=True)
        for which, seconds in self._stopped.items():
            if allowed is not None and seconds >= allowed:
                raise ProcessLostError(given_up(found[which]))
        self._silent = 0.0 if found else self._silent + passed
        allowed = self._patience.limit(stopped=False)
        if allowed is not None and self._silent >= allowed:
            who = "the others" if rank is None else f"process {rank} (from 0)"
            raise ProcessLostError(
                f"{who} said nothing for {self._silent:,.0f} s; resuming goes on from the last checkpoint"
            )


def given_up(name: str) -> str:
    """What ended a run one of whose processes is stopped."""
    return f"{name}, is stopped (by SIGSTOP, or a debugger), and the others cannot go on without it"
