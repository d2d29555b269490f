"""What the owner of a run does when it is asked: stop, pause, resume, checkpoint, check.

A thread takes requests from `control/` and says so within a second, also while a batch takes minutes; they
take effect between two batches, in the thread that trains.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from eqprop_core.events import ControlApplied, ControlReceived
from eqprop_core.learning.trainer import Trainer
from eqprop_core.runs.control import Request, take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.worker.session import Session

SECONDS_BETWEEN_LOOKS = 0.25


class Requests:
    """Serves requests to a run while it is entered; the trainer calls `boundary` between batches."""

    def __init__(self, run: RunFolder, session: Session, trainer: Trainer, stop: Callable[[], bool]) -> None:
        self._run = run
        self._session = session
        self._trainer = trainer
        self._stop = stop
        self._waiting: deque[Request] = deque()
        self._arrived = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="requests", daemon=True)

    def __enter__(self) -> None:
        take(self._run)  # asked of a process that is gone: nobody waits for it any more
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def boundary(self) -> bool:
        """Do what was asked; True to end the training here. Stays inside while the run is paused."""
        paused = False
        while True:
            while self._waiting:
                request = self._waiting.popleft()
                if request == "stop":
                    return True
                if request in ("pause", "resume"):
                    if paused != (request == "pause"):
                        paused = not paused
                        self._session.set_state("paused" if paused else "running")
                        self._applied(request)
                elif request == "checkpoint":
                    self._session.later(self._session.save_checkpoint(self._trainer))
                    self._applied(request)
                elif request == "check":
                    self._session.later([self._session.emit(self._trainer.check_now())])
                    self._applied(request)
            if self._stop():
                return True
            if not paused:
                return False
            self._arrived.wait(SECONDS_BETWEEN_LOOKS)
            self._arrived.clear()

    def _applied(self, request: Request) -> None:
        where = {"epoch": self._trainer.epoch + 1, "batch": self._trainer.batch}
        self._session.later([self._session.emit(ControlApplied(request=request, **where))])

    def _look(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            for request in take(self._run):
                self._session.later([self._session.emit(ControlReceived(request=request))])
                self._waiting.append(request)
                self._arrived.set()
