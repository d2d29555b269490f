"""Follows the records of a run: a live progress bar on a terminal, plain lines elsewhere.

Of a run in a process of its own, what is old comes at once: how long it still takes, and whether it is
paused, is then told by how the run stands (`Standing`), not by how fast its records come.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from eqprop_core.events import (
    Amended,
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
    RunStarted,
    Warned,
)
from eqprop_core.problems import printable
from eqprop_core.runs.listing import RunSummary
from eqprop_core.runs.words import NOT_SAVED, in_words
from eqprop_core.shell import command
from eqprop_tui.cli import report
from eqprop_tui.cli.consoles import Words
from eqprop_tui.words import duration

Standing = Callable[[], RunSummary]
EPOCHS = "epochs"  # the name of the bar of all epochs


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
    started: RunStarted | None = None
    warnings: list[str] = field(default_factory=list)

    def note(self, record: Record) -> None:
        """Keep what the summary needs."""
        self.seq = record.seq
        match event := record.event:
            case RunStarted():
                self.started = event
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


def follow(
    records: Iterable[Record],
    *,
    epochs: int = 0,
    into: Outcome | None = None,
    standing: Standing | None = None,
    shown_from: int = 0,
) -> Outcome:
    """Show progress on standard error until the records end; returns what they came to, `into` if given.

    `standing` says how the run stands, where it has a process of its own. On a terminal, nothing is shown of
    events before number `shown_from`.
    """
    outcome = into if into is not None else Outcome()
    screen = report.console(stderr=True)
    if sys.stderr.isatty():
        _on_terminal(records, outcome, screen, epochs, standing, shown_from)
    else:
        for record in records:
            outcome.note(record)
            if line := _progress_line(record.event):
                screen.print(line)
    return outcome


def _on_terminal(
    records: Iterable[Record],
    outcome: Outcome,
    screen: Console,
    epochs: int,
    standing: Standing | None,
    shown_from: int,
) -> None:
    with progress_on(screen, standing) as progress:
        bars = Bars(progress, epochs)
        try:
            for record in records:
                outcome.note(record)
                if outcome.started is not None:
                    bars.images = outcome.started.train_images
                if record.seq >= shown_from:
                    bars.show(record.event)
        finally:  # the lines above tell how it ended
            for task in progress.task_ids:
                progress.remove_task(task)


def progress_on(screen: Console, standing: Standing | None) -> Progress:
    """The bars of a run; without a `standing`, times are measured here."""
    times: list[ProgressColumn] = [TimeElapsedColumn(), TimeRemainingColumn(compact=True)]
    if standing is not None:
        times = [Words("fields[left]")]
    columns = (
        Words("description"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Words("fields[said]"),
        *times,
    )
    return _Watched(standing, *columns, console=screen, refresh_per_second=8, expand=True)


class _Watched(Progress):
    """Bars that know how the run stands: the time left of all epochs, and a line for a run that is paused."""

    def __init__(self, standing: Standing | None, *columns: ProgressColumn, **settings: Any) -> None:
        self._standing = standing
        super().__init__(*columns, **settings)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and below them what the person should know of a run that does not go on by itself."""
        run = None if self._standing is None else self._standing()
        if run is not None:
            for task in self.tasks:
                if task.description == EPOCHS:
                    task.fields["left"] = time_left(run.seconds_left)
                elif run.state == "paused":
                    task.fields["left"] = ""
        yield from super().get_renderables()
        if run is not None and run.state == "starting":
            yield Text(f"fetches {run.fetching} …" if run.fetching else "starting …", style="dim")
        if run is not None and run.state == "paused":
            yield Text(
                f"paused; go on with: {command('runs', 'resume', run.id or run.path.absolute())}",
                style="yellow",
            )
        if run is not None and run.waits:
            yield Text(f"finished, and waits to write {run.waits}", style="yellow")


def time_left(seconds: float | None) -> str:
    """Seconds to the end, in words; empty where they are not known."""
    return "" if seconds is None else f"{duration(seconds)} left"


class Bars:
    """Up to three bars: the epochs of a run, the batches of an epoch, and a phase inside a long batch."""

    def __init__(self, progress: Progress, epochs: int, images: int = 0) -> None:
        self._progress = progress
        self._epochs = epochs
        self.images = images  # of an epoch, where that is known
        self._tasks: dict[str, TaskID] = {}

    def show(self, event: Event) -> None:
        """Move the bars, or print a line above them."""
        if isinstance(event, Amended) and isinstance(planned := event.settings.get("epochs"), int):
            self._epochs = planned
        match event:
            case EpochStarted():
                self._move_epochs(event.epoch - 1)
                self._move("epoch", f"epoch {event.epoch}", 0, event.batches)
            case BatchFinished():
                self._remove("phase")
                if EPOCHS not in self._tasks:  # watched from the middle of an epoch on
                    self._move_epochs(event.epoch - 1)
                said = f"{event.accuracy:5.2f} %  {event.samples_per_s:,.0f} images/s"
                self._move(
                    "epoch", f"epoch {event.epoch}", event.batch, event.batches, said, self._left(event)
                )
            case PhaseProgress():
                self._move("phase", event.phase, event.step, event.steps)
            case EpochFinished():
                self._remove("phase")
                self._move_epochs(event.epoch, f"test {event.test_accuracy:.2f} %")
                self._progress.console.print(in_words(event))
            case _:
                if line := _progress_line(event):
                    self._progress.console.print(line)

    def _left(self, event: BatchFinished) -> str:
        """Time that the rest of an epoch's batches takes, at the speed that the run says it has."""
        if not self.images or event.samples_per_s <= 0:
            return ""
        return time_left((1 - event.batch / event.batches) * self.images / event.samples_per_s)

    def _move_epochs(self, done: int, said: str | None = None) -> None:
        if self._epochs > 1:
            self._move(EPOCHS, EPOCHS, done, self._epochs, said)

    def _move(
        self, bar: str, name: str, done: int, total: int, said: str | None = None, left: str = ""
    ) -> None:
        """Put a bar where it is now; one that changes its name begins again."""
        if bar in self._tasks and self._progress.tasks[self._place(bar)].description != name:
            self._progress.reset(self._tasks[bar], total=total, completed=int(done), description=name)
        if bar not in self._tasks:
            self._tasks[bar] = self._progress.add_task(name, total=total, said="", left="")
        told: dict[str, Any] = {"left": left} if said is None else {"said": said, "left": left}
        self._progress.update(self._tasks[bar], completed=done, total=total, **told)

    def _place(self, bar: str) -> int:
        return self._progress.task_ids.index(self._tasks[bar])

    def _remove(self, *bars: str) -> None:
        for bar in bars:
            if bar in self._tasks:
                self._progress.remove_task(self._tasks.pop(bar))


def _progress_line(event: Event) -> str:
    """A line for what happens on the way; results of an evaluation or a check are printed at its end."""
    if isinstance(event, Warned) and event.message.startswith(NOT_SAVED):
        return f"error: {printable(event.message)}"  # the command fails by it
    return "" if isinstance(event, (Evaluated, RunFinished)) else in_words(event)
