"""Between the time steps of a long batch: where it is told how far it is, and where it can be dropped.

Costs a question and one reading of the clock a time step, and never waits for a device: on a GPU the steps
that are told have been asked for, and the last of them may still be under way.
"""

from __future__ import annotations

from collections.abc import Callable

from eqprop_core.events import PhaseProgress
from eqprop_core.networks.network import State, Watch

SECONDS_BEFORE_PROGRESS = 1.0  # shorter batches say nothing
SECONDS_BETWEEN_PROGRESS = 0.5

Progress = Callable[[PhaseProgress], None]
Drop = Callable[[], bool]


class BatchDropped(Exception):  # noqa: N818 - nothing has gone wrong
    """It was asked for between two time steps that the batch be dropped."""


class Steps:
    """Watches the time steps of one batch, which begins now; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float], progress: Progress, drop: Drop) -> None:
        self._clock = clock
        self._progress = progress
        self._drop = drop
        self._due = clock() + SECONDS_BEFORE_PROGRESS

    def watch(self, place: Callable[[int], PhaseProgress], seen: Watch | None = None) -> Watch:
        """What watches one phase: `place` says where a step is, `seen` watches too.

        The watch raises `BatchDropped` where the batch is to be dropped.
        """
        clock, drop = self._clock, self._drop

        def watched(step: int, before: State, after: State) -> None:
            if seen is not None:
                seen(step, before, after)
            if drop():
                raise BatchDropped
            now = clock()
            if now >= self._due:
                self._due = now + SECONDS_BETWEEN_PROGRESS
                self._progress(place(step))

        return watched
