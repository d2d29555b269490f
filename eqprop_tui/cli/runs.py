"""`eqprop runs`: look at runs and steer them, from any terminal."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from eqprop_core.problems import printable
from eqprop_core.runs.control import Request, ask
from eqprop_core.runs.folder import EVENTS, META, RunError, RunFolder
from eqprop_core.runs.launcher import launch
from eqprop_core.runs.listing import ALIVE, RunSummary, find_run, list_runs, summarize
from eqprop_core.runs.log import follow_events, last_seq, read_events
from eqprop_core.runs.words import in_words
from eqprop_tui.cli import report
from eqprop_tui.cli.follow import follow

app = typer.Typer(help="List, watch and steer runs.", no_args_is_help=True)

Wanted = Annotated[str, typer.Argument(metavar="RUN", help="a folder, an id, a name, or last")]
Results = Annotated[
    Path | None, typer.Option("--results", help="only runs below this folder [every one that was used]")
]
AsJson = Annotated[bool, typer.Option("--json", help="print as JSON")]
SECONDS_FOR_AN_ANSWER = 10.0


@app.command("list")
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


@app.command()
def show(run: Wanted, as_json: AsJson = False) -> None:
    """Show how a run stands and where it is."""
    summary = summarize(find_run(run).path)
    if as_json:
        report.put_json(as_document(summary))
        return
    out = report.console()
    for key, value in as_document(summary).items():
        shown = "–" if value is None else printable(str(value))
        out.print(f"{key:<17} {shown}", markup=False, soft_wrap=True)
    message = RunFolder(summary.path).read_state().get("message")
    if isinstance(message, str):
        out.print(f"{'message':<17} {printable(message)}", markup=False, soft_wrap=True)


@app.command()
def tail(
    run: Wanted, follow_on: Annotated[bool, typer.Option("--follow", "-f", help="wait for more")] = False
) -> None:
    """Print what happened in a run, a line for each event."""
    folder = find_run(run)
    path = folder.path / EVENTS
    records = read_events(path) if not follow_on else follow_events(path, ended=lambda: not alive(folder))
    for record in records:
        if line := in_words(record.event):
            print(f"{datetime.fromtimestamp(record.time):%H:%M:%S} {line}", flush=True)


@app.command()
def attach(run: Wanted) -> None:
    """Watch a run until it ends; Ctrl-C stops watching, not the run."""
    folder = find_run(run)
    wait_until_it_writes(folder)
    path = folder.path / EVENTS
    epochs = summarize(folder.path).epochs or 0
    try:
        follow(follow_events(path, ended=lambda: not alive(folder)), epochs=epochs)
    except KeyboardInterrupt:
        report.say(f"detached; the run goes on: eqprop runs attach {run}")
        raise typer.Exit(130) from None
    state = summarize(folder.path).state
    report.say(state)
    if state in ("lost", "failed"):
        raise typer.Exit(1)


@app.command()
def stop(run: Wanted) -> None:
    """Stop a run after its batch, with a checkpoint; `resume` goes on."""
    tell(run, "stop")


@app.command()
def pause(run: Wanted) -> None:
    """Hold a run after its batch; its process and its memory stay."""
    tell(run, "pause")


@app.command()
def checkpoint(run: Wanted) -> None:
    """Save a checkpoint after the batch."""
    tell(run, "checkpoint")


@app.command()
def check(run: Wanted) -> None:
    """Run the GDU check on the present weights after the batch."""
    tell(run, "check")


@app.command()
def resume(
    run: Wanted,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="epochs to add to a complete run")
    ] = None,
) -> None:
    """Go on with a run: one that is paused, stopped, failed or lost."""
    folder = find_run(run)
    state = summarize(folder.path).state
    if state == "paused":
        tell(run, "resume")
    elif state in ALIVE:
        raise RunError(f"{run}: is {state} already")
    elif state == "finished" and epochs is None:
        raise RunError(f"{run}: is complete; --epochs N trains N more")
    else:
        launch(folder, more_epochs=epochs)
        print(folder.path)


@app.command()
def delete(run: Wanted, yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False) -> None:
    """Delete a run's folder, after asking; a running one is refused. Of a link, the link alone is deleted."""
    folder = RunFolder(find_run(run).path.absolute())
    summary = summarize(folder.path)
    if not folder.meta():  # a `config.toml` alone may be anybody's
        raise RunError(f"{folder.path}: has no {META}, so it may not be a run; delete it yourself")
    with folder.lock():
        if not yes:
            asked = f"delete {folder.path} ({summary.name}, {summary.state})?"
            typer.confirm(printable(asked), abort=True, err=True)
        try:
            if folder.path.is_symlink():
                folder.path.unlink()
            else:
                shutil.rmtree(folder.path)
        except OSError as error:
            raise RunError(f"{folder.path}: cannot be deleted: {error.strerror or error}") from None
    report.say(f"deleted {folder.path}")


def tell(wanted: str, request: Request) -> None:
    """Ask a run for something and wait until it says that it has heard. Raises `RunError` if it does not."""
    folder = find_run(wanted)
    state = summarize(folder.path).state
    if state not in ALIVE:
        raise RunError(f"{wanted}: is {state}; there is no process to ask")
    before = last_seq(folder.path / EVENTS)
    ask(folder, request)
    deadline = time.monotonic() + SECONDS_FOR_AN_ANSWER
    answers = follow_events(
        folder.path / EVENTS, after=before, ended=lambda: time.monotonic() > deadline or not alive(folder)
    )
    for record in answers:
        if record.event.kind == "control_received":
            report.say(f"{request}: received, takes effect after the batch")
            return
    raise RunError(f"{wanted}: did not answer within {SECONDS_FOR_AN_ANSWER:.0f} s")


def alive(folder: RunFolder) -> bool:
    """Whether a process owns the run."""
    return summarize(folder.path).state in ALIVE


def wait_until_it_writes(folder: RunFolder) -> None:
    """Wait for a worker that has just been started. Raises `RunError` if it ends before its first event."""
    deadline = time.monotonic() + 60
    while not (folder.path / EVENTS).exists() or not folder.read_state():
        state = folder.read_state()
        if state.get("state") == "failed" or time.monotonic() > deadline:
            raise RunError(f"{folder.path}: {state.get('message', 'has not begun')}")
        time.sleep(0.1)


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
