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
    Record,
    RunFinished,
    RunResumed,
    RunStarted,
    Warned,
)
from eqprop_tui.cli import report


@dataclass
class Outcome:
    """What a run came to, gathered while it was followed; `path` is where it was saved."""

    path: Path | None = None
    epochs: list[EpochFinished] = field(default_factory=list)
    evaluated: list[Evaluated] = field(default_factory=list)
    gdu: Gdu | None = None
    finished: RunFinished | None = None
    started: RunStarted | None = None
    warnings: list[str] = field(default_factory=list)

    def note(self, event: Event) -> None:
        """Keep what the summary needs."""
        match event:
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


def follow(records: Iterable[Record], *, epochs: int = 0) -> Outcome:
    """Show progress on standard error until the records end; returns what they came to."""
    outcome = Outcome()
    screen = report.console(stderr=True)
    if sys.stderr.isatty():
        _on_terminal(records, outcome, screen, epochs)
    else:
        for record in records:
            outcome.note(record.event)
            if line := in_words(record.event):
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
            outcome.note(event)
            match event:
                case EpochStarted():
                    if whole is None and epochs > 1:
                        whole = progress.add_task("epochs", total=epochs, completed=event.epoch - 1, said="")
                    if part is not None:
                        progress.remove_task(part)
                    part = progress.add_task(f"epoch {event.epoch}", total=event.batches, said="")
                case BatchFinished() if part is not None:
                    said = f"{event.accuracy:5.2f} %  {event.samples_per_s:,.0f} images/s"
                    progress.update(part, completed=event.batch, said=said)
                case EpochFinished():
                    if whole is not None:
                        progress.update(
                            whole, completed=event.epoch, said=f"test {event.test_accuracy:.2f} %"
                        )
                    progress.console.print(in_words(event), markup=False)
                case _:
                    if line := in_words(event):
                        progress.console.print(line, markup=False)


def in_words(event: Event) -> str:
    """A line for what a person wants to know without a progress bar; empty for the rest."""
    match event:
        case RunStarted():
            return (
                f"{event.todo} on {event.device}: {event.parameters:,} parameters, "
                f"{event.train_images:,} training and {event.test_images:,} test images"
            )
        case RunResumed():
            return f"resumed at epoch {event.epoch}"
        case EpochFinished():
            held_out = (
                f"  validation {event.validation_accuracy:.2f} %"
                if event.validation_accuracy is not None
                else ""
            )
            loss = "n/a" if event.loss is None else f"{event.loss:.4f}"
            return (
                f"epoch {event.epoch}  train {event.train_accuracy:.2f} %{held_out}  "
                f"test {event.test_accuracy:.2f} %  loss {loss}  {event.seconds:.1f} s"
            )
        case Evaluated():
            loss = "n/a" if event.loss is None else f"{event.loss:.4f}"
            return f"{event.part:<10} {event.accuracy:6.2f} %  loss {loss}  {event.images:,} images"
        case Gdu() if event.epoch:
            worst = max(
                (row.rmse for row in event.rows if row.rmse is not None and not row.readout), default=0
            )
            return f"GDU check at epoch {event.epoch}, batch {event.batch}: largest RMSE {worst:.3f}"
        case Warned():
            return f"warning: {event.message}"
    return ""
