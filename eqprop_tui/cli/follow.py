"""Follows the records of a run: a live progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from eqprop_core.events import (
    BatchFinished,
    EpochFinished,
    EpochStarted,
    Evaluated,
    Event,
    Gdu,
    PhaseProgress,
    Record,
    RunFailed,
    RunFinished,
    Warned,
)
from eqprop_core.runs.words import in_words
from eqprop_tui.cli import report


@dataclass
class Outcome:
    """What a run came to, gathered while it was followed; `path` is where it was saved.

    `seq` is the number of the last event that was seen, `failure` what a failed run said.
    """

    path: Path | None = None
    seq: int = 0
    failure: str | None = None
    epochs: list[EpochFinished] = field(default_factory=list)
    evaluated: list[Evaluated] = field(default_factory=list)
    gdu: Gdu | None = None
    finished: RunFinished | None = None
    warnings: list[str] = field(default_factory=list)

    def note(self, record: Record) -> None:
        """Keep what the summary needs."""
        self.seq = record.seq
        match event := record.event:
            case EpochFinished():
                self.epochs.append(event)
            case Evaluated():
                self.evaluated.append(event)
            case Gdu():
                self.gdu = event
            case RunFinished():
                self.finished = event
            case Warned():
                self.warnings.append(event.message)
            case RunFailed():
                self.failure = event.message


def follow(records: Iterable[Record], *, epochs: int = 0, into: Outcome | None = None) -> Outcome:
    """Show progress on standard error until the records end; returns what they came to, `into` if given."""
    outcome = into if into is not None else Outcome()
    screen = report.console(stderr=True)
    if sys.stderr.isatty():
        _on_terminal(records, outcome, screen, epochs)
    else:
        for record in records:
            outcome.note(record)
            if line := _progress_line(record.event):
                screen.print(line, markup=False)
    return outcome


def _on_terminal(records: Iterable[Record], outcome: Outcome, screen: Console, epochs: int) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=screen, refresh_per_second=8, expand=True) as progress:
        bars = _Bars(progress, epochs)
        try:
            for record in records:
                outcome.note(record)
                bars.show(record.event)
        finally:  # the lines above tell how it ended
            for task in progress.task_ids:
                progress.remove_task(task)


class _Bars:
    """Up to three bars: the epochs of a run, the batches of an epoch, and a phase inside a long batch."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._tasks: dict[str, TaskID] = {}

    def show(self, event: Event) -> None:
        """Move the bars, or print a line above them."""
        match event:
            case EpochStarted():
                if self._epochs > 1:
                    self._move("epochs", "epochs", event.epoch - 1, self._epochs)
                self._move("epoch", f"epoch {event.epoch}", 0, event.batches)
            case BatchFinished():
                self._remove("phase")
                said = f"{event.accuracy:5.2f} %  {event.samples_per_s:,.0f} images/s"
                self._move("epoch", f"epoch {event.epoch}", event.batch, event.batches, said)
            case PhaseProgress():
                self._move("phase", event.phase, event.step, event.steps)
            case EpochFinished():
                self._remove("phase")
                if "epochs" in self._tasks:
                    said = f"test {event.test_accuracy:.2f} %"
                    self._move("epochs", "epochs", event.epoch, self._epochs, said)
                self._progress.console.print(in_words(event), markup=False)
            case _:
                if line := _progress_line(event):
                    self._progress.console.print(line, markup=False)

    def _move(self, bar: str, name: str, done: int, total: int, said: str | None = None) -> None:
        """Put a bar where it is now; one that changes its name begins again."""
        if bar in self._tasks and self._progress.tasks[self._place(bar)].description != name:
            self._progress.reset(self._tasks[bar], total=total, completed=int(done), description=name)
        if bar not in self._tasks:
            self._tasks[bar] = self._progress.add_task(name, total=total, said="")
        told: dict[str, Any] = {} if said is None else {"said": said}
        self._progress.update(self._tasks[bar], completed=done, total=total, **told)

    def _place(self, bar: str) -> int:
        return self._progress.task_ids.index(self._tasks[bar])

    def _remove(self, *bars: str) -> None:
        for bar in bars:
            if bar in self._tasks:
                self._progress.remove_task(self._tasks.pop(bar))


def _progress_line(event: Event) -> str:
    """A line for what happens on the way; results of an evaluation or a check are printed at its end."""
    return "" if isinstance(event, (Evaluated, RunFinished)) else in_words(event)
