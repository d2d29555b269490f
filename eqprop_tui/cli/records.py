"""`eqprop runs note`, `export` and `delete`: labels of runs, their numbers as a table, and their end."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from eqprop_core.events import BatchFinished
from eqprop_core.files import replacing
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.history import current_events, histories
from eqprop_core.runs.labels import changed_tags, check_name, labels_of, stored_tags
from eqprop_core.runs.listing import ALIVE, find_run, summarize
from eqprop_core.runs.names import EVENTS
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import AsJson
from eqprop_tui.cli.listing import Wanted

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


def note(
    run: Wanted,
    name: Annotated[str | None, typer.Option("--name", help="call the run so")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="add a tag; may be repeated")] = None,
    untag: Annotated[
        list[str] | None, typer.Option("--untag", help="take a tag away; may be repeated")
    ] = None,
    note: Annotated[str | None, typer.Option("--note", help="a note on the run; '' takes it away")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the name, the tags or the note of a run; without options, show them."""
    folder = find_run(run)
    changes: dict[str, Any] = labels_of(tag, note or None)
    if name is not None:
        check_name(name)
        changes["name"] = name
    if note == "":
        changes["note"] = ""
    if tag or untag:
        changes["tags"] = changed_tags(stored_tags(folder), tag or [], untag or [])
    if changes:
        folder.relabel(**changes)
    meta = folder.meta()
    labels = {"name": meta.get("name"), "tags": stored_tags(folder), "note": meta.get("note") or None}
    if as_json:
        report.put_json(labels)
        return
    for label, value in labels.items():
        text = ", ".join(value) if isinstance(value, list) else value
        shown = "".join(c if c.isprintable() else "?" for c in str(text)) if text else "–"
        print(f"{label:<5} {shown}")


def export(
    run: Wanted,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.csv", help="write into a file \\[standard output]")
    ] = None,
    batches: Annotated[bool, typer.Option("--batches", help="a row a batch, as they were written")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Write what a run measured as CSV: a row an epoch, or with --batches a row a batch."""
    folder = find_run(run)
    rows = batch_rows(folder) if batches else epoch_rows(folder)
    if to is None:
        count = _write(sys.stdout, rows)
    else:
        path = to.expanduser()
        if path.exists() and (path.is_dir() or not force):
            said = "is a folder" if path.is_dir() else "is there already; --force overwrites it"
            raise ConfigError([Problem("to", str(to), said)])
        try:
            with replacing(path) as file:
                text = TextIOWrapper(file, encoding="utf-8", newline="")
                count = _write(text, rows)
                text.detach()  # flushes, and leaves the file to be synced
        except OSError as error:
            raise RunError(f"--to {to}: cannot be written: {error.strerror or error}") from None
        report.say(f"{count} rows in {to}")
    if not count:
        report.say(f"{run}: no {'batch' if batches else 'epoch'} is written down yet")


def epoch_rows(run: RunFolder) -> Iterator[Row]:
    """Headings, then a row for each finished epoch; learning rates last, one a connection."""
    epochs = histories(run)
    rates = max((len(epoch.rates) for epoch in epochs), default=0)
    yield [*EPOCH_COLUMNS, *(f"lr_{index + 1}" for index in range(rates))]
    for epoch in epochs:
        missing = [None] * (rates - len(epoch.rates))
        yield [*(_cell(getattr(epoch, name)) for name in EPOCH_COLUMNS), *epoch.rates, *missing]


def batch_rows(run: RunFolder) -> Iterator[Row]:
    """Headings, then a row for each batch that was written down and not done again later."""
    yield list(BATCH_COLUMNS)
    for record in current_events(run.path / EVENTS, (BatchFinished.kind,)):
        yield [record.time, *(_cell(getattr(record.event, name)) for name in BATCH_COLUMNS[1:])]


def _cell(value: Any) -> str | int | float | None:
    return int(value) if isinstance(value, bool) else value


def _write(file: TextIO, rows: Iterator[Row]) -> int:
    """Write rows as CSV; returns how many there were below the headings."""
    writer = csv.writer(file, lineterminator="\n")
    count = -1
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


def delete(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="each a folder, an id, a name, or last")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete the folders of runs, after asking; if one of them is running, none is deleted."""
    folders = {folder.path.resolve(): folder for folder in map(find_run, runs)}
    with ExitStack() as owned:
        for path, folder in folders.items():
            summary = summarize(folder.path)
            _refuse_what_is_no_run(folder)
            if summary.state in (*ALIVE, "unreachable"):
                raise RunError(f"{folder.path}: is {summary.state}; stop it first")
            owned.enter_context(folder.lock())
            report.say(f"{summary.id:<8}  {summary.state:<8}  {summary.name}  {path}")
        if not yes:
            what = "this run" if len(folders) == 1 else f"these {len(folders)} runs"
            typer.confirm(f"delete {what}?", abort=True, err=True)
        for path in folders:
            try:
                shutil.rmtree(path)
            except OSError as error:
                where = os.fsdecode(error.filename) if error.filename else path
                raise RunError(f"{where}: cannot be deleted: {error.strerror or error}") from None
            report.say(f"deleted {path}")


def _refuse_what_is_no_run(folder: RunFolder) -> None:
    """Raise `RunError` for what is better not deleted whole: a link, or a folder that eqprop did not make."""
    if folder.path.is_symlink():
        raise RunError(f"{folder.path}: is a link; give the folder that it points to")
    if "id" not in folder.meta():
        raise RunError(f"{folder.path}: has no meta.json of a run; delete it by hand if it is one")
