"""What a run measured as a table: a row an epoch or a row a batch, and writing it as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from eqprop_core.events import BatchFinished
from eqprop_core.files import replacing
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import current_events, histories
from eqprop_core.runs.names import EVENTS

EPOCH_COLUMNS = (
    "epoch",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
    "loss",
    "test_loss",
    "seconds",
    "best",
)
BATCH_COLUMNS = ("time", "epoch", "batch", "batches", "accuracy", "loss", "samples_per_s")
Row = list[str | int | float | None]


def epoch_rows(run: RunFolder) -> Iterator[Row]:
    """Headings, then a row for each finished epoch; learning rates last, one a connection."""
    epochs = histories(run)
    rates = max((len(epoch.rates) for epoch in epochs), default=0)
    yield [*EPOCH_COLUMNS, *(f"lr_{index + 1}" for index in range(rates))]
    for epoch in epochs:
        missing = [None] * (rates - len(epoch.rates))
        unknown = ("seconds",) if epoch.written_later else ()
        cells = (None if name in unknown else _cell(getattr(epoch, name)) for name in EPOCH_COLUMNS)
        yield [*cells, *epoch.rates, *missing]


def batch_rows(run: RunFolder) -> Iterator[Row]:
    """Headings, then a row for each batch that was written down and not done again later."""
    yield list(BATCH_COLUMNS)
    for record in current_events(run.path / EVENTS, (BatchFinished.kind,)):
        yield [record.time, *(_cell(getattr(record.event, name)) for name in BATCH_COLUMNS[1:])]


def _cell(value: Any) -> str | int | float | None:
    return int(value) if isinstance(value, bool) else value


def write_rows(file: TextIO, rows: Iterator[Row]) -> int:
    """Write rows as CSV; returns how many there were below the headings."""
    writer = csv.writer(file, lineterminator="\n")
    count = -1
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def save_rows(path: Path, rows: Iterator[Row]) -> int:
    """Write rows as CSV into a file, whole or not at all; returns their number. Raises `OSError`."""
    with replacing(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="")
        count = write_rows(text, rows)
        text.detach()  # flushes, and leaves the file to be synced
    return count
