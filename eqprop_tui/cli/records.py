"""`eqprop runs note`, `export` and `delete`: labels of runs, their numbers as a table, and their end."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from eqprop_core.problems import printable
from eqprop_core.runs.deleting import delete as delete_run
from eqprop_core.runs.deleting import to_be_deleted
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.labels import changed_tags, check_name, labels_of
from eqprop_core.runs.listing import find_run
from eqprop_core.runs.tables import batch_rows, epoch_rows, save_rows, write_rows
from eqprop_tui.cli import report
from eqprop_tui.cli.listing import Wanted
from eqprop_tui.cli.report import AsJson
from eqprop_tui.output import is_channel, is_standard, writable


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
    changes.pop("tags", None)
    retag = partial(changed_tags, add=tag or [], remove=untag or []) if tag or untag else None
    if changes or retag:
        folder.relabel(retag, **changes)
    meta = folder.meta()
    labels = {"name": meta.get("name"), "tags": folder.stored_tags(), "note": meta.get("note") or None}
    if as_json:
        report.put_json(labels)
        return
    for label, value in labels.items():
        text = ", ".join(value) if isinstance(value, list) else value
        report.put(f"{label:<5} {printable(str(text)) if text else '–'}")


def export(
    run: Wanted,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.csv", help="write into a file \\[-, standard output]")
    ] = None,
    batches: Annotated[bool, typer.Option("--batches", help="a row a batch, as they were written")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite the file")] = False,
) -> None:
    """Write what a run measured as CSV: a row an epoch, or with --batches a row a batch.

    `best` is 1 where an epoch was better than all before, by the validation images where some are held out,
    else by the test images: the last such epoch is that of `best val` or `best test`.
    """
    folder = find_run(run)
    rows = batch_rows(folder) if batches else epoch_rows(folder)
    if to is None or is_standard(to):
        count = write_rows(sys.stdout, rows)
    else:
        path = writable("to", to, force=force)
        try:
            if is_channel(path):
                with path.open("w", encoding="utf-8", newline="") as file:
                    count = write_rows(file, rows)
            else:
                count = save_rows(path, rows)
        except OSError as error:
            raise RunError(f"--to {to}: cannot be written: {error.strerror or error}") from None
        report.say(f"{count} rows in {to}")
    if not count:
        report.say(f"{run}: no {'batch' if batches else 'epoch'} is written down yet")


def delete(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="each a folder, an id, a name, or last")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Delete the folders of runs, after asking; if one of them is running, none is deleted."""
    folders = {folder.path.resolve(): folder for folder in map(find_run, runs)}
    with to_be_deleted(list(folders.values())) as summaries:
        for path, summary in zip(folders, summaries, strict=True):
            report.say(f"{summary.id:<8}  {summary.state:<8}  {summary.name}  {path}")
        if not yes:
            what = "this run" if len(folders) == 1 else f"these {len(folders)} runs"
            report.confirm(f"delete {what}?", abort=True)
        for path in folders:
            delete_run(RunFolder(path))
            report.say(f"deleted {path}")
