"""Follows the records of a run: a live progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

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
    RunStarted,
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
        whole: TaskID | None = None
        part: TaskID | None = None
        for record in records:
            event = record.event
            outcome.note(record)
            match event:
                case EpochStarted():
                    if whole is None and epochs > 1:
                        whole = progress.add_task("epochs", total=epochs, completed=event.epoch - 1, said="")
                    if part is not None:
                        progress.remove_task(part)
                    part = progress.add_task(f"epoch {event.epoch}", total=event.batches, said="")
                case BatchFinished():
                    if part is None:  # one who comes later has not seen the epoch begin
                        part = progress.add_task(f"epoch {event.epoch}", total=event.batches, said="")
                    said = f"{event.accuracy:5.2f} %  {event.samples_per_s:,.0f} images/s"
                    progress.update(part, completed=event.batch, said=said)
                case EpochFinished():
                    if whole is not None:
                        progress.update(
                            whole, completed=event.epoch, said=f"test {event.test_accuracy:.2f} %"
                        )
                    progress.console.print(in_words(event), markup=False)
                case PhaseProgress():
                    if part is None or progress.tasks[-1].description != event.phase:
                        if part is not None:
                            progress.remove_task(part)
                        part = progress.add_task(event.phase, total=event.steps, said="")
                    progress.update(part, completed=event.step)
                case _:
                    if line := _progress_line(event):
                        progress.console.print(line, markup=False)
        for task in progress.task_ids:  # the lines above tell how it ended
            progress.remove_task(task)


def _progress_line(event: Event) -> str:
    """A line for what happens on the way; results of an evaluation or a check are printed at its end."""
    return "" if isinstance(event, (Evaluated, RunFinished)) else in_words(event)
