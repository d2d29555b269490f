"""`eqprop runs delete`: what is done with runs that were made."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from eqprop_core.runs.listing import find_run, summarize
from eqprop_tui.cli import report
from eqprop_tui.cli.listing import Wanted


def delete(run: Wanted, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Delete a run's folder, after asking; a running one is refused."""
    folder = find_run(run)
    summary = summarize(folder.path)
    with folder.lock():
        if not yes:
            typer.confirm(f"delete {summary.path} ({summary.name}, {summary.state})?", abort=True, err=True)
        shutil.rmtree(folder.path)
    report.say(f"deleted {folder.path}")
