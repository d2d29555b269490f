"""Keeps a run's `state.json` true: rewritten at every change, and every few seconds as a sign of life."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from eqprop_core.devices import memory_here
from eqprop_core.marks import own_mark
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.processes import SECONDS_BETWEEN_BEATS

BEATS_TO_BE_SURE = 12  # that the run's folder was deleted for good: a minute
CLOCK_JUMP = 60.0  # seconds by which the time of day may differ from the time that has passed


class Heartbeat:
    """Owns `state.json` of a run until it is stopped.

    `warn` is told if the clock jumps, `note` once if the file cannot be written: what keeps it from being
    written keeps events from being written too, and they are warned of. `deleted` is asked at each beat
    whether the folder was deleted; `give_up` is called once when it has been so for a minute. `took` says how
    many seconds the run has taken.
    """

    def __init__(
        self,
        folder: RunFolder,
        facts: dict[str, Any],
        *,
        warn: Callable[[str], None],
        note: Callable[[str], None] = lambda _: None,
        deleted: Callable[[], bool] = lambda: False,
        give_up: Callable[[], None] = lambda: None,
        took: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._folder = folder
        self._warn = warn
        self._note = note
        self._deleted = deleted
        self._give_up = give_up
        self._took = took
        self._beats_deleted = 0
        self._warned = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._process = psutil.Process()
        self._state: dict[str, Any] = {
            **facts,
            **own_mark(),
            "memory_limit": _memory_limit(),
        }
        self._passed = time.monotonic() - time.time()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self, **changes: Any) -> None:
        """Write the first state and keep it alive from now on."""
        self.update(**changes)
        self._thread.start()

    def note(self, **changes: Any) -> None:
        """Change the state; it is written with the next beat."""
        with self._lock:
            self._state.update(changes)

    def update(self, **changes: Any) -> OSError | None:
        """Change the state and write it; returns what kept it from being written."""
        with self._lock:
            self._state.update(changes)
            return self._write()

    def stop(self, **changes: Any) -> OSError | None:
        """Write the last state, and nothing by itself after that; returns what kept it from being written."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        return self.update(**changes)

    def _beat(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_BEATS):
            self._look_at_clock()
            self._look_at_folder()
            self.update(**self._folder.labels())  # a person may have given the run another name

    def _look_at_clock(self) -> None:
        """Warn where the time of day has jumped: times in events before and after do not compare."""
        passed = time.monotonic() - time.time()
        jump = self._passed - passed
        if abs(jump) > CLOCK_JUMP:
            self._passed = passed
            self._warn(
                f"the clock of this machine jumped by {jump:+,.0f} s, or it slept: times of day before and "
                f"after do not compare; durations are not touched"
            )

    def _look_at_folder(self) -> None:
        """Give up where nobody will ever see what comes of the run."""
        self._beats_deleted = self._beats_deleted + 1 if self._deleted() else 0
        if self._beats_deleted == BEATS_TO_BE_SURE:
            self._give_up()

    def _write(self) -> OSError | None:
        self._state.update(
            heartbeat=time.time(), took=round(self._took(), 3), memory=self._process.memory_info().rss
        )
        try:
            self._folder.write_state(self._state)
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._note(f"warning: state.json could not be written: {error.strerror or error}")
            return error
        return None


def _memory_limit() -> int | None:
    """Bytes that this process may use, of its control groups or of the machine."""
    with suppress(psutil.Error, OSError):
        return memory_here()[1]
    return None
