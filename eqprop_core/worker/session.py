"""What a piece of work writes while it runs: events, state, checkpoints, models, figures, console log.

A session without a path writes nothing and only numbers the records. Events and figures that cannot be
written are a warning; the work goes on, and what is missing at the end is said once more.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eqprop_core.config import RunConfig
from eqprop_core.events import (
    Activity,
    BatchFinished,
    CheckpointSaved,
    ControlApplied,
    EpochFinished,
    Event,
    Gdu,
    PhaseProgress,
    Record,
    RunFailed,
    RunFinished,
    Warned,
)
from eqprop_core.files import clear_unfinished, deleted
from eqprop_core.learning.gdu import GduResult
from eqprop_core.learning.trainer import Trainer
from eqprop_core.locks import Lock
from eqprop_core.runs import names
from eqprop_core.runs.folder import DATA, RunError, RunFolder
from eqprop_core.runs.scores import scores_of_histories
from eqprop_core.runs.words import NOT_SAVED
from eqprop_core.worker import checkpoint
from eqprop_core.worker.heartbeat import Heartbeat
from eqprop_core.worker.journal import Journal
from eqprop_core.worker.pictures import DRAWING_ERRORS, Pictures

SECONDS_TO_NEXT_TRY = 60.0  # after a checkpoint that could not be written
SECONDS_TO_LAST_TRY = 10.0  # after what the training came to could not be written, at its end
IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)  # does not pass
WEIGHTS = (names.BEST_MODEL, names.FINAL_MODEL, names.CHECKPOINT, names.FINAL_CHECKPOINT)
OF_CHECK = "the figures and arrays of the GDU check"


def best_and_last(trainer: Trainer) -> dict[str, float | None]:
    """What `state.json` holds of a training's accuracies; see `runs.scores`."""
    scores = scores_of_histories(trainer.histories)
    return {
        "best": trainer.best_accuracy,
        "last": scores.test_last,
        "best_val": scores.best_val,
        "test_at_best": scores.test_at_best,
    }


class Session:
    """Writes into `path` (None: nowhere) of the run `folder`; `epochs` is how many are planned.

    `expected_accuracy` is a published figure in per cent, drawn as a line; `numerics` go into checkpoints,
    what is recorded of the `data` into checkpoints and models; `lock` is the run's, where this process holds
    it already; `summary` is what a list of runs shows of how far it has come, with the `trained` and `took`
    of the processes before; `activity` is the last that was seen of the neurons, to be drawn.

    `gives_up` is called at the end with seconds to wait, where something could not be written; it says
    whether that is not to be tried again.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        folder: RunFolder | None,
        config: RunConfig,
        epochs: int = 0,
        expected_accuracy: float | None = None,
        numerics: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        lock: Lock | None = None,
        summary: Mapping[str, float | int | None] | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._path = path
        self.folder = folder
        self._is_run = path is not None and folder is not None and path == folder.path
        self._was_at = path
        self.config = config
        self.epochs = epochs
        self.numerics = dict(numerics or {})
        self.data = {} if data is None else {DATA: dict(data)}
        self.summary = dict(summary or {})
        self.trained = self.summary.get("trained") or 0.0
        self._took_before = self.summary.pop("took", None) or 0.0
        self._took_in_all: float | None = None
        self._begun = time.monotonic()
        self._pictures = None if path is None else Pictures(path, config, expected=expected_accuracy)
        if self._pictures is not None:
            self._pictures.activity = activity
        self.checkpoint_every = config.checkpoint_every
        self._saved = time.monotonic()
        self._next_try: float | None = None
        self._whole: bool | None = None  # whether the checkpoint on disk can be loaded, once that is known
        self._missing: dict[str, str] = {}  # what could not be written, and why
        self._in_the_way: set[str] = set()  # of that, where something else stands in its place
        self._owed: dict[str, memoryview] = {}  # models that are to be written
        self._told_phase = 0.0
        self._lock: Lock | None = None
        self._heartbeat: Heartbeat | None = None
        self.stopped = False
        self._ended = False  # whether `state.json` says that the run is finished
        self.gives_up: Callable[[float], bool] = lambda _: True
        self.given_up = False  # as its folder was deleted: ends after the batch
        if self._is_run and folder is not None:
            # An evaluation or a check inside a run leaves the run's own lock and state alone.
            folder.hold()
            self._lock = lock or folder.lock()
            self._clear_unfinished()
        try:
            self._journal = Journal(lambda: self.path)
        except OSError as error:
            if self._lock is not None:
                self._lock.close()
            where = error.filename or path
            raise RunError(f"{where}: cannot be written: {error.strerror or error}") from None
        if self._is_run and folder is not None:
            self._heartbeat = Heartbeat(
                folder,
                folder.identity(),
                warn=self._warn_later,
                note=self._journal.note,
                deleted=self._look_for_folder,
                give_up=self._give_up,
                took=lambda: self.took,
            )

    @property
    def path(self) -> Path | None:
        """Where it writes: a run's folder is followed when it is moved."""
        return self.folder.path if self._is_run and self.folder is not None else self._path

    @property
    def seconds(self) -> float:
        """Time since the session began."""
        return time.monotonic() - self._begun

    @property
    def took(self) -> float:
        """Time of all sessions of the run so far; once it is finished, as its last event says."""
        return self._took_before + self.seconds if self._took_in_all is None else self._took_in_all

    def __enter__(self) -> Self:
        if self._heartbeat is not None:
            self._heartbeat.start(state="running", epochs=self.epochs, **self.summary)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            state = "stopped" if self.stopped else "finished"
        elif issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
            state = "stopped"
        else:
            self._clear_unfinished()
            self.emit(RunFailed(message=str(error) or kind.__name__))
            state = "failed"
        with suppress(OSError):  # what takes its time: who reads how it ended may go on with it at once
            self._journal.sync()
        if self._heartbeat is not None and not self._ended:
            self._heartbeat.stop(state=state)
        self._journal.close()
        if self._lock is not None:
            self._lock.close()

    def emit(self, event: Event) -> Record:
        """Write an event down and return it with its place in the run."""
        if isinstance(event, Activity) and self._pictures is not None:
            self._pictures.activity = event
        return self._journal.write(event)

    def later(self, records: Iterable[Record]) -> None:
        """Keep records that were written outside the flow of events until `untold` is asked for them."""
        self._journal.later(records)

    def untold(self) -> Iterator[Record]:
        """Records that were kept, once each."""
        yield from self._journal.untold()

    def progress(self, event: PhaseProgress) -> None:
        """Where a long batch is: into `state.json`, and among the events, ever more rarely."""
        if self._heartbeat is not None:
            self._heartbeat.note(phase=event.phase, step=event.step, steps=event.steps)
        now = self.seconds
        if now - self._told_phase >= min(30.0, now / 1000):
            self._told_phase = now
            self.later([self.emit(event)])

    def set_state(self, **changes: Any) -> None:
        """Change what `state.json` says of the run."""
        if self._heartbeat is not None:
            self._heartbeat.update(**changes)

    def after(self, event: Event, trainer: Trainer) -> Iterator[Record]:
        """Save and draw what an event of training asks for."""
        if self._pictures is None:
            return
        if isinstance(event, Gdu):
            self._pictures.gdu = trainer.last_gdu
        if isinstance(event, BatchFinished) and self._heartbeat is not None:
            self._heartbeat.note(
                batch=event.batch, batches=event.batches, samples_per_s=round(event.samples_per_s, 1)
            )
        if isinstance(event, EpochFinished):
            self.trained += event.seconds
            try:
                self._journal.sync()
            except OSError as error:
                yield from self.unwritten(names.EVENTS, error)
            else:
                self._missing.pop(names.EVENTS, None)
            if event.best:  # before the checkpoint: what it says of the best is then already kept
                yield from self._save_model(trainer, names.BEST_MODEL)
            yield from self._save(trainer, names.CHECKPOINT)
            if self._heartbeat is not None:
                self._heartbeat.update(
                    epoch=event.epoch,
                    **best_and_last(trainer),
                    seconds_an_epoch=event.seconds,
                    trained=self.trained,
                )
            if self._pictures.affordable(self.seconds):
                yield from self._draw(trainer)

    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is older than --checkpoint-every says, or is to be tried again."""
        if self._next_try is not None:
            return time.monotonic() >= self._next_try
        return self.path is not None and time.monotonic() - self._saved > 60 * self.checkpoint_every

    def save_checkpoint(self, trainer: Trainer) -> Iterator[Record]:
        """Save the latest complete state, between two batches."""
        if self.path is not None:
            yield from self._save(trainer, names.CHECKPOINT)

    def stop(self, trainer: Trainer) -> Iterator[Record]:
        """End the run before its last epoch: it can be resumed from here."""
        self.stopped = True
        yield self.emit(ControlApplied(request="stopped", epoch=trainer.epoch + 1, batch=trainer.batch))
        yield from self.save_checkpoint(trainer)
        yield from self._draw_all(trainer)
        yield from self._say_what_is_missing()

    def finish(self, trainer: Trainer) -> Iterator[Record]:
        """Save the final files, draw every figure, and end the run.

        What the training came to is kept until it can be written, or nobody waits for that any longer. The
        run is then stopped, and ends once more when it is resumed.
        """
        if self.path is not None:
            yield from self._save_model(trainer, names.FINAL_MODEL)
            yield from self._save(trainer, names.FINAL_CHECKPOINT)
            if names.CHECKPOINT in self._missing:
                yield from self._save(trainer, names.CHECKPOINT)
            waited = yield from self._wait_to_write(trainer)
            if not waited:
                self.stopped = True
                yield self.emit(ControlApplied(request="stopped", epoch=trainer.epoch, batch=trainer.batch))
                yield from self._draw_all(trainer)
                yield from self._say_what_is_missing()
                return
        yield from self._draw_all(trainer)
        yield from self._say_what_is_missing()
        scores = best_and_last(trainer)
        self._took_in_all = self.took
        yield self.emit(
            RunFinished(
                best_accuracy=scores["best"],
                last_accuracy=scores["last"],
                seconds=self.took,
                trained=self.trained,
                best_validation=scores["best_val"],
                test_at_best=scores["test_at_best"],
            )
        )
        yield from self._end()

    def _wait_to_write(self, trainer: Trainer) -> Generator[Record, None, bool]:
        """Try again until all that the training came to is written; False where that was given up."""
        told = False
        while missing := [name for name in self._unwritten_weights() if self._is_to_come(name)]:
            if self._is_deleted():
                return True  # there is nobody to keep it for
            files, why = ", ".join(missing), ", ".join({self._missing[name]: None for name in missing})
            self.set_state(waits=f"{files} ({why})")
            if not told:
                told = True
                until = "there is room" if why == os.strerror(errno.ENOSPC) else "that can be done"
                said = f"all epochs are over; what is to be written yet ({files}) is kept in memory and tried"
                again = f"every {SECONDS_TO_LAST_TRY:.0f} s until {until}; stopping the run gives it up"
                yield self.emit(Warned(message=f"{said} again {again}"))
            if self.gives_up(SECONDS_TO_LAST_TRY):
                return False
            if names.FINAL_MODEL in missing and names.FINAL_MODEL not in self._owed:
                yield from self._save_model(trainer, names.FINAL_MODEL)
            yield from self._write_models()
            for name in (names.FINAL_CHECKPOINT, names.CHECKPOINT):
                if name in self._missing:
                    yield from self._save(trainer, name)
        if told:
            self.set_state(waits=None)
        return True

    def _end(self) -> Iterator[Record]:
        """Write into `state.json` that the run is finished, however long it takes until that can be done."""
        if self._heartbeat is None:
            return
        with suppress(OSError):  # what takes its time: who reads how it ended may go on with it at once
            self._journal.sync()
        while (error := self._heartbeat.stop(state="finished")) is not None:
            if self._is_deleted():
                return
            yield from self.unwritten(names.STATE, error)
            if names.STATE in self._in_the_way or self.gives_up(SECONDS_TO_LAST_TRY):
                yield self.emit(Warned(message=f"{NOT_SAVED}{names.STATE} ({error.strerror or error})"))
                return
        self._ended = True

    def save_gdu(self, result: GduResult) -> Iterator[Record]:
        """Write the arrays and figures of a GDU check into `gdu/`."""
        if self._pictures is not None:
            self._pictures.gdu = result
            yield from self._drawn(OF_CHECK, self._pictures.draw_gdu)

    def _save(self, trainer: Trainer, name: str) -> Iterator[Record]:
        assert self.path is not None
        trainer.check_finite()  # before anything good is given up
        self._look_for_folder()
        path = self.path / name
        self._saved = time.monotonic()
        content: dict[str, Any] = {
            **trainer.state(),
            "model": trainer.net.config.model_dump(mode="json"),
            "config": {**self.config.stored(), "checkpoint_every": self.checkpoint_every},
            "seq": self._journal.seq,
            "numerics": self.numerics,
            **self.data,
        }
        before: Path | None = None
        if name == names.CHECKPOINT:
            if self._pictures is not None:  # what a process that goes on from here has to draw in the end
                yield from self._drawn(OF_CHECK, self._pictures.save_gdu)
            if self._whole is None:
                self._whole = checkpoint.is_whole(path)
            if self._whole:  # a good one is not given up
                before = self.path / names.CHECKPOINT_BEFORE
        try:
            checkpoint.save(path, content, before=before)
        except (OSError, MemoryError) as error:
            if name == names.CHECKPOINT:
                self._next_try = time.monotonic() + SECONDS_TO_NEXT_TRY
            yield from self.unwritten(name, error)
            return
        if name == names.CHECKPOINT:
            self._next_try, self._whole = None, True
        self._missing.pop(name, None)
        yield self.emit(CheckpointSaved(file=name, epoch=trainer.epoch, batch=trainer.batch))
        yield from self._write_models()

    def _save_model(self, trainer: Trainer, name: str) -> Iterator[Record]:
        trainer.check_finite()
        try:
            self._owed[name] = checkpoint.packed_model(trainer.net, self.data)
        except MemoryError as error:
            yield from self.unwritten(name, error)
        yield from self._write_models()

    def _write_models(self) -> Iterator[Record]:
        """Write the models that are to be written; the best weights are kept until that is possible."""
        assert self.path is not None
        for name, content in list(self._owed.items()):
            try:
                checkpoint.write(self.path / name, content)
            except OSError as error:
                yield from self.unwritten(name, error)
            else:
                del self._owed[name]
                self._missing.pop(name, None)

    def _draw_all(self, trainer: Trainer) -> Iterator[Record]:
        """Draw every figure, however long it takes: the work is over."""
        if self._pictures is not None:
            yield from self._draw(trainer)
            yield from self._drawn(OF_CHECK, self._pictures.draw_gdu)

    def _draw(self, trainer: Trainer) -> Iterator[Record]:
        pictures = self._pictures
        assert pictures is not None
        yield from self._drawn("a figure", lambda: pictures.draw(trainer.histories))

    def _drawn(self, what: str, draw: Callable[[], None]) -> Iterator[Record]:
        """Draw something; that it could not be drawn is a warning."""
        if self._pictures is not None and self.path is not None:
            self._pictures.path = self.path
        try:
            draw()
        except DRAWING_ERRORS as error:
            yield from self.unwritten(what, error)
        else:
            self._missing.pop(what, None)

    def _warn_later(self, message: str) -> None:
        """A warning from another thread than the one that trains."""
        self.later([self.emit(Warned(message=message))])

    def _look_for_folder(self) -> bool:
        """Whether the run's folder was deleted; says where it was moved to."""
        if self._is_deleted():
            return True
        if self.path != self._was_at:
            self._warn_later(f"{self._was_at} was moved: the run goes on in {self.path}")
            self._was_at = self.path
        return False

    def _is_deleted(self) -> bool:
        return (
            self.path is not None
            and self._lock is not None
            and deleted(self.path / names.LOCK, self._lock.fileno())
        )

    def _give_up(self) -> None:
        self.given_up = True
        assert self.path is not None
        what = f"the lock of {self.path}" if self.path.exists() else self._was_at
        self._warn_later(f"{what} was deleted: the training ends after this batch")

    def unwritten(self, what: str, error: Exception) -> Iterator[Record]:
        """Warn that something could not be written: once for each reason, until it can be written again."""
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        told = why in self._missing.values()
        self._missing[what] = why
        if getattr(error, "errno", None) in IN_THE_WAY:
            self._in_the_way.add(what)
        else:
            self._in_the_way.discard(what)
        if told:
            return
        if self.path is not None and not os.access(self.path, os.F_OK):
            said = (
                f"{self.path} is gone, deleted or moved to another file system: nothing is saved from here "
                "on; the work goes on"
            )
        else:
            said = f"{what} could not be written: {why}"
            if what == names.CHECKPOINT:
                said += f"; the work goes on, and in {SECONDS_TO_NEXT_TRY:.0f} s it is tried again"
        yield self.emit(Warned(message=said))

    def _say_what_is_missing(self) -> Iterator[Record]:
        """Say at the end which states, models and events were not saved; a picture is not worth it."""
        self._clear_unfinished()
        missing = self._unwritten_weights()
        reasons = {self._missing[name]: None for name in missing}
        if lost := self._journal.missing:
            missing.append("1 event" if lost == 1 else f"{lost} events")
        if missing:
            why = f" ({', '.join(reasons)})" if reasons else ""
            yield self.emit(Warned(message=f"{NOT_SAVED}{', '.join(missing)}{why}"))

    def _clear_unfinished(self) -> None:
        """Remove what writing that failed left behind in the run's folder, here or in a process before.

        But for what a person, or another thread, may be writing.
        """
        if not self._is_run or self.path is None:
            return
        written_by_others = (names.META,) if self._heartbeat is None else (names.META, names.STATE)
        for folder in (self.path, self.path / names.GDU):
            with suppress(OSError):
                if not folder.is_symlink():
                    clear_unfinished(folder, but=written_by_others)
        with suppress(OSError):
            (self.path / f".{names.CHECKPOINT_BEFORE}").unlink(missing_ok=True)

    def _unwritten_weights(self) -> list[str]:
        """The states and models that could not be written."""
        return [name for name in WEIGHTS if name in self._missing]

    def _is_to_come(self, name: str) -> bool:
        """Whether an unwritten state or model can still be written: the best weights may be gone."""
        kept = name != names.BEST_MODEL or name in self._owed
        return kept and name not in self._in_the_way
