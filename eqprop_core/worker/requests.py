"""What the owner of a run does when it is asked: stop, pause, resume, checkpoint, check, set.

A thread takes requests from `control/` and says so within a second, also while a batch takes minutes; they
take effect between two batches, in the thread that trains, or between two time steps where a stop or a pause
is asked for twice. Signals are granted in the same place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from eqprop_core.events import Amended, ControlApplied, ControlReceived, Event, Warned
from eqprop_core.learning.sharing import Group
from eqprop_core.learning.trainer import Trainer
from eqprop_core.rules import cautions
from eqprop_core.runs.control import Asked, take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.worker.scheduler import requeue
from eqprop_core.worker.session import Session
from eqprop_core.worker.signals import Wishes

SECONDS_BETWEEN_LOOKS = 0.25


class Requests:
    """Serves requests to a run while it is entered; the trainer calls `boundary` between batches.

    `again` are changes that were made in flight after the checkpoint that the run was resumed from: they are
    made again where they were made. In a `group` this is rank 0, which decides for all: what was asked takes
    effect where all processes have heard that there is something.
    """

    def __init__(
        self,
        run: RunFolder,
        session: Session,
        trainer: Trainer,
        wishes: Wishes,
        again: Iterable[Amended] = (),
        group: Group | None = None,
    ) -> None:
        self._run = run
        self._session = session
        self._trainer = trainer
        self._wishes = wishes
        self._group = group
        self._again = deque(again)
        self._waiting: deque[Asked] = deque()
        self._paused = False
        self._ends = False
        self._arrived = threading.Event()
        self._impatient = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="requests", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for asked in self._waiting:
            self._tell_late(asked)

    def impatient(self) -> bool:
        """Whether a stop or a pause was asked for again before it took effect: the batch is dropped."""
        return self._impatient.is_set()

    def wish(self) -> bool:
        """Whether there is something to do after this batch that all processes of a group must hear of."""
        place = (self._trainer.epoch + 1, self._trainer.batch + 1)
        return bool(
            self._waiting
            or self._wishes.stop is not None
            or self._wishes.checkpoint
            or self._impatient.is_set()
            or self._session.given_up
            or (self._again and _place_of(self._again[0]) <= place)
        )

    def ending(self) -> bool:
        """Whether the run is to end: asked for, or granted just now."""
        return (
            self._ends
            or self._wishes.stop is not None
            or self._session.given_up
            or any(asked.request == "stop" for asked in tuple(self._waiting))
        )

    def part(self) -> None:
        """End without the others of the group: what was asked for has come to pass."""
        assert self._group is not None
        self._group.parted = True
        self._waiting = deque(asked for asked in self._waiting if asked.request != "stop")

    def boundary(self) -> bool:
        """Do what was asked; True to end the training here. Stays inside while the run is paused."""
        group = self._group
        if group is not None:
            if not group.attention:
                self._save_if_due()
                return False
            group.attention = False
        self._impatient.clear()
        self.change_again()
        self._save_if_due()
        while True:
            if group is not None:
                self._hear(group)
            self._ends = ends = self._serve()
            if group is not None:
                group.tell(self.verdict(ends))
            if ends or not self._paused:
                return ends
            waited = time.monotonic()
            self._arrived.wait(SECONDS_BETWEEN_LOOKS)
            self._arrived.clear()
            self._trainer.idle += time.monotonic() - waited

    def given_up(self, seconds: float) -> bool:
        """Wait that long, or until a checkpoint is asked for; True as soon as the run is asked to stop.

        For the end, when all epochs are over and what they came to could not be written yet.
        """
        deadline = time.monotonic() + seconds
        while True:
            asked: set[str] = set()
            for _ in range(len(self._waiting)):
                asked.add((one := self._waiting.popleft()).request)
                if one.request not in ("stop", "checkpoint"):
                    self._tell_late(one)
            if "stop" in asked or self._wishes.stop is not None or self._session.given_up:
                return True
            left = deadline - time.monotonic()
            if "checkpoint" in asked or self._wishes.checkpoint or left <= 0:
                self._wishes.checkpoint = False
                return False
            self._arrived.wait(min(left, SECONDS_BETWEEN_LOOKS))
            self._arrived.clear()

    def _tell_late(self, asked: Asked) -> None:
        self._tell(Warned(message=f"{asked.request} came too late: the run was ending"))

    def verdict(self, ends: bool = False) -> dict[str, Any]:
        """What the other processes of a group go by."""
        trainer = self._trainer
        return {
            "stop": ends,
            "paused": self._paused and not ends,
            "epochs": trainer.epochs,
            "lr_factor": trainer.lr_factor,
        }

    def _hear(self, group: Group) -> None:
        """Take over what signals asked of other processes."""
        for said in group.gather(None):
            if said is not None:
                stop, save = said
                self._wishes.stop = self._wishes.stop or stop
                self._wishes.checkpoint |= save

    def _save_if_due(self) -> None:
        if self._session.checkpoint_due():
            self._session.later(self._session.save_checkpoint(self._trainer))

    def _serve(self) -> bool:
        """Do what is waiting to be done; True to end the training."""
        ended = [self._grant(self._waiting.popleft()) for _ in range(len(self._waiting))]
        if any(ended):  # what was asked for beside the stop has been done too
            return True
        if self._wishes.checkpoint:
            self._wishes.checkpoint = False
            self._session.later(self._session.save_checkpoint(self._trainer))
            if requeued := requeue():
                self._tell(Warned(message=requeued.message))
                if requeued.done:
                    return True
        return self._wishes.stop is not None or self._session.given_up

    def change_again(self) -> None:
        """Make the changes that belong before the batch that comes next."""
        here = (self._trainer.epoch + 1, self._trainer.batch)
        while self._again and _place_of(self._again[0]) <= here:
            self._change(dict(self._again.popleft().settings))

    def _grant(self, asked: Asked) -> bool:
        """Do one thing that was asked; True to end the training."""
        match asked.request:
            case "stop":
                return True
            case "pause" | "resume":
                if self._paused != (asked.request == "pause"):
                    self._paused = not self._paused
                    self._session.set_state(state="paused" if self._paused else "running")
            case "checkpoint":
                self._session.later(self._session.save_checkpoint(self._trainer))
            case "check":
                self._tell(self._trainer.check_now())
            case "set":
                self._change(dict(asked.settings))
        self._tell(ControlApplied(request=asked.request, **self._place()))
        return False

    def _change(self, settings: dict[str, object]) -> None:
        """Change what may be changed in flight; see `runs.control.CHANGEABLE`."""
        trainer = self._trainer
        epochs = settings.get("epochs")
        if isinstance(epochs, int) and epochs <= trainer.epoch:
            del settings["epochs"]
            self._tell(Warned(message=f"epoch {epochs} is over already; this is epoch {trainer.epoch + 1}"))
        for name, value in settings.items():
            match name, value:
                case "epochs", int():
                    trainer.epochs = self._session.epochs = value
                    self._session.set_state(epochs=value)
                case "lr_factor", int() | float():
                    trainer.lr_factor = value
                    trainer.apply_rates()
                case "checkpoint_every", int() | float():
                    self._session.checkpoint_every = value
                case "event_rate", int() | float():
                    trainer.events_per_second = value
        if settings:
            self._tell(Amended(settings=settings, **self._place()))
        if "epochs" in settings:
            for said in cautions(trainer.config, trainer.epochs, advise=False):
                self._tell(Warned(message=said))

    def _tell(self, event: Event) -> None:
        self._session.later([self._session.emit(event)])

    def _place(self) -> dict[str, int]:
        return {"epoch": self._trainer.epoch + 1, "batch": self._trainer.batch}

    def _look(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            for asked in take(self._run.path):
                self._tell(ControlReceived(request=asked.request))
                if asked.request in ("stop", "pause") and asked in tuple(self._waiting):
                    self._impatient.set()
                else:
                    self._waiting.append(asked)
                self._arrived.set()


def _place_of(change: Amended) -> tuple[int, int]:
    return change.epoch or 0, change.batch or 0
