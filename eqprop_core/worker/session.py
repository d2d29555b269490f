"""What a piece of work writes while it runs: events, state, checkpoints, models, figures, console log.

A session without a path writes nothing and only numbers the records. Events and figures that cannot be
written are a warning; the work goes on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TextIO

from torch import Tensor

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
from eqprop_core.learning.gdu import GduResult
from eqprop_core.learning.trainer import Trainer
from eqprop_core.runs import folder as names
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import EventLog
from eqprop_core.runs.words import in_words
from eqprop_core.worker import checkpoint
from eqprop_core.worker.figures import GduArrays, draw_accuracy, draw_activity, save_gdu
from eqprop_core.worker.heartbeat import Heartbeat

FIGURE_SHARE = 0.01  # of the time, while training
SECONDS_TO_DRAW = 0.3  # as long as it has not been measured
DRAWING_ERRORS = (OSError, ValueError, RuntimeError, MemoryError)  # a picture is never worth a run


class Session:
    """Writes into `path` (None: nowhere) of the run `folder`; `epochs` is how many are planned.

    `expected_accuracy` is a published figure in per cent, drawn as a line; `numerics` go into checkpoints;
    `lock` is the run's, where this process holds it already.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        folder: RunFolder | None,
        config: RunConfig,
        epochs: int = 0,
        expected_accuracy: float | None = None,
        numerics: Mapping[str, str | int] | None = None,
        lock: IO[bytes] | None = None,
    ) -> None:
        self.path = path
        self.folder = folder
        self.config = config
        self.epochs = epochs
        self.expected_accuracy = expected_accuracy
        self.numerics = dict(numerics or {})
        self._begun = time.monotonic()
        self._drawing = 0.0  # seconds, in all
        self._last_drawing = SECONDS_TO_DRAW
        self._activity: Activity | None = None
        self._gdu: GduResult | None = None
        self._seq = 0
        self.checkpoint_every = config.checkpoint_every
        self._saved = time.monotonic()
        self._emitting = threading.RLock()  # the thread that takes requests emits too
        self._told_phase = 0.0
        self._untold: deque[Record] = deque()
        self._log: EventLog | None = None
        self._console: TextIO | None = None
        self._lock: IO[bytes] | None = None
        self._heartbeat: Heartbeat | None = None
        self.stopped = False
        if path is not None and folder is not None and path == folder.path:
            # An evaluation or a check inside a run leaves the run's own lock and state alone.
            self._lock = lock or folder.lock()
            self._heartbeat = Heartbeat(folder, folder.identity(), warn=self._warn_later)
        if path is not None:
            self._log = EventLog(path / names.EVENTS)
            self._console = (path / names.CONSOLE).open("a", encoding="utf-8", buffering=1)

    @property
    def seconds(self) -> float:
        """Time since the session began."""
        return time.monotonic() - self._begun

    def __enter__(self) -> Self:
        if self._heartbeat is not None:
            self._heartbeat.start(state="running", epochs=self.epochs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            state = "stopped" if self.stopped else "finished"
        elif issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
            state = "stopped"
        else:
            self.emit(RunFailed(message=str(error) or kind.__name__))
            state = "failed"
        if self._heartbeat is not None:
            self._heartbeat.stop(state=state)
        if self._log is not None:
            with suppress(OSError):  # what could be written has been; the disk is full or gone
                self._log.close()
        if self._console is not None:
            self._console.close()
        if self._lock is not None:
            self._lock.close()

    def emit(self, event: Event) -> Record:
        """Write an event down and return it with its place in the run."""
        with self._emitting:
            return self._emit(event)

    def later(self, records: Iterable[Record]) -> None:
        """Keep records that were written outside the flow of events until `untold` is asked for them."""
        self._untold.extend(records)

    def untold(self) -> Iterator[Record]:
        """Records that were kept, once each."""
        while self._untold:
            yield self._untold.popleft()

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

    def _emit(self, event: Event) -> Record:
        if isinstance(event, Activity):
            self._activity = event
        record = Record(self._seq + 1, time.time(), event)
        if self._log is not None:
            try:
                record = self._log.write(event)
            except OSError as error:
                self._note(f"warning: an event could not be written: {error.strerror or error}")
        self._seq = record.seq
        if line := in_words(event):
            self._note(line)
        return record

    def after(self, event: Event, trainer: Trainer) -> Iterator[Record]:
        """Save and draw what an event of training asks for."""
        if self.path is None:
            return
        if isinstance(event, Gdu):
            self._gdu = trainer.last_gdu
        if isinstance(event, BatchFinished) and self._heartbeat is not None:
            self._heartbeat.note(
                batch=event.batch, batches=event.batches, samples_per_s=round(event.samples_per_s, 1)
            )
        if isinstance(event, EpochFinished):
            if self._log is not None:
                self._log.sync()
            if event.best:  # before the checkpoint: what it says of the best is then already kept
                yield from self._save_model(trainer, names.BEST_MODEL)
            yield from self._save(trainer, names.CHECKPOINT)
            if self._heartbeat is not None:
                self._heartbeat.update(
                    epoch=event.epoch,
                    best=trainer.best_accuracy,
                    last=event.test_accuracy,
                    seconds_an_epoch=event.seconds,
                )
            if self._drawing + self._last_drawing <= FIGURE_SHARE * self.seconds:
                yield from self._draw(trainer)

    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is older than --checkpoint-every says."""
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

    def finish(self, trainer: Trainer) -> Iterator[Record]:
        """Save the final files, draw every figure, and end the run."""
        if self.path is not None:
            yield from self._save_model(trainer, names.FINAL_MODEL)
            yield from self._save(trainer, names.FINAL_CHECKPOINT)
        yield from self._draw_all(trainer)
        last = trainer.histories["test"][-1] if trainer.histories["test"] else None
        yield self.emit(
            RunFinished(best_accuracy=trainer.best_accuracy, last_accuracy=last, seconds=self.seconds)
        )

    def save_gdu(self, result: GduResult) -> Iterator[Record]:
        """Write the arrays and figures of a GDU check into `gdu/`."""
        if self.path is None:
            return
        assert self.config.seed is not None
        try:
            save_gdu(
                self.path / names.GDU,
                _arrays(result),
                seed=self.config.seed,
                all_elements=self.config.all_elements,
            )
        except DRAWING_ERRORS as error:
            yield self._warn("the figures and arrays of the GDU check", error)

    def _save(self, trainer: Trainer, name: str) -> Iterator[Record]:
        assert self.path is not None
        path = self.path / name
        self._saved = time.monotonic()
        content: dict[str, Any] = {
            **trainer.state(),
            "model": trainer.net.config.model_dump(mode="json"),
            "config": {**self.config.stored(), "checkpoint_every": self.checkpoint_every},
            "seq": self._seq,
            "numerics": self.numerics,
        }
        try:
            if name == names.CHECKPOINT and path.exists():
                # A second name for the file that is about to be replaced: at no moment is there none.
                before = self.path / names.CHECKPOINT_BEFORE
                temporary = before.with_name("." + before.name)
                temporary.unlink(missing_ok=True)
                temporary.hardlink_to(path)
                temporary.replace(before)
            checkpoint.save(path, content)
        except OSError as error:
            yield self._warn(name, error)
        else:
            yield self.emit(CheckpointSaved(file=name, epoch=trainer.epoch, batch=trainer.batch))

    def _save_model(self, trainer: Trainer, name: str) -> Iterator[Record]:
        assert self.path is not None
        try:
            checkpoint.save_model(self.path / name, trainer.net)
        except OSError as error:
            yield self._warn(name, error)

    def _draw_all(self, trainer: Trainer) -> Iterator[Record]:
        """Draw every figure, however long it takes: the work is over."""
        if self.path is not None:
            yield from self._draw(trainer)
            if self._gdu is not None:
                yield from self.save_gdu(self._gdu)

    def _draw(self, trainer: Trainer) -> Iterator[Record]:
        assert self.path is not None
        begun = time.monotonic()
        title = f"{self.config.model} · {self.config.task} · {self.config.alg} · {self.config.loss}"
        try:
            accuracies = {part: trainer.histories[part] for part in ("train", "validation", "test")}
            draw_accuracy(
                self.path / names.ACCURACY_FIGURE, accuracies, title=title, expected=self.expected_accuracy
            )
            if self._activity is not None:
                where = f"{title} · epoch {self._activity.epoch}"
                draw_activity(self.path / names.ACTIVITY_FIGURE, self._activity.layers, title=where)
        except DRAWING_ERRORS as error:
            yield self._warn("a figure", error)
        self._last_drawing = time.monotonic() - begun
        self._drawing += self._last_drawing

    def _warn_later(self, message: str) -> None:
        """A warning from another thread than the one that trains."""
        self.later([self.emit(Warned(message=message))])

    def _warn(self, what: str, error: Exception) -> Record:
        why = getattr(error, "strerror", None) or error
        return self.emit(Warned(message=f"{what} could not be written: {why}"))

    def _note(self, line: str) -> None:
        if self._console is not None:
            with suppress(OSError):  # nothing is lost that the events do not have
                self._console.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")


def _arrays(result: GduResult) -> GduArrays:
    def numpy(rows: dict[str, Tensor]) -> dict[str, Any]:
        return {name: values.detach().cpu().numpy() for name, values in rows.items()}

    return GduArrays(
        ep=numpy(result.ep),
        bptt=numpy(result.bptt),
        ep_plus=numpy(result.ep_plus) if result.ep_minus else {},
        ep_minus=numpy(result.ep_minus),
        beta=result.beta,
        symmetric=bool(result.ep_minus),
        rmse=result.rmse,
        sign_error=result.sign_error,
        cosine=result.cosine,
        norm_ratio=result.norm_ratio,
        readout=result.readout,
    )
