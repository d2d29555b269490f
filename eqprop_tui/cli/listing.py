"""`eqprop runs list` and `show`: how runs stand."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import RunSummary, find_run, list_runs, summarize
from eqprop_tui.cli import report

Wanted = Annotated[str, typer.Argument(metavar="RUN", help="a folder, an id, a name, or last")]
Results = Annotated[
    Path | None, typer.Option("--results", help="only runs below this folder [every one that was used]")
]
AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]


def list_all(results: Results = None, as_json: AsJson = False) -> None:
    """List runs, the newest first."""
    runs = list_runs([results] if results is not None else None)
    if as_json:
        report.put_json([as_document(run) for run in runs])
        return
    headings = ("id", "state", "name", "alg", "loss", "epoch", "best", "last", "left", "device", "started")
    rows = [
        (
            run.id,
            run.state,
            run.name,
            run.alg or "–",
            run.loss or "–",
            f"{run.epoch}/{run.epochs if run.epochs is not None else '–'}",
            accuracy(run.best),
            accuracy(run.last),
            duration(run.seconds_left),
            run.device or "–",
            started(run.created),
        )
        for run in runs
    ]
    print(report.aligned(headings, rows, right=("epoch", "best", "last", "left")))


def show(run: Wanted, as_json: AsJson = False) -> None:
    """Show how a run stands and where it is."""
    summary = summarize(find_run(run).path)
    if as_json:
        report.put_json(as_document(summary))
        return
    out = report.console()
    for key, value in as_document(summary).items():
        out.print(f"{key:<17} {'–' if value is None else value}", markup=False, soft_wrap=True)
    message = RunFolder(summary.path).read_state().get("message")
    if isinstance(message, str):
        out.print(f"{'message':<17} {message}", markup=False, soft_wrap=True)


def as_document(run: RunSummary) -> dict[str, object]:
    """A summary as plain values."""
    return {**asdict(run), "path": str(run.path), "seconds_left": run.seconds_left}


def accuracy(value: float | None) -> str:
    """Per cent with two decimals."""
    return "–" if value is None else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """A length of time in the unit that fits: 41 s, 12 min, 3 h 05, 2 d 4 h."""
    if seconds is None:
        return "–"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 1:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes:.0f} min"
    if days < 1:
        return f"{int(hours)} h {int(minutes % 60):02d}"
    return f"{int(days)} d {int(hours % 24)} h"


def started(created: str | None) -> str:
    """When a run was started, as a person writes it."""
    try:
        return datetime.fromisoformat(created or "").strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "–"
