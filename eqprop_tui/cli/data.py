"""`eqprop data`: which data sets are here, fetching them, checking them."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from eqprop_core import catalogue
from eqprop_core.problems import ConfigError, Problem
from eqprop_tui.cli import report
from eqprop_tui.cli.consoles import Words
from eqprop_tui.cli.report import AsJson

app = typer.Typer(help="Show, fetch and check data sets.", no_args_is_help=True, add_completion=False)

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help=r"folder that holds the data sets \[EQPROP_DATA, or the user's data folder]"
    ),
]
Task = Annotated[str, typer.Argument(metavar="TASK", help=", ".join(catalogue.TASKS))]


def _known(task: str) -> str:
    if task not in catalogue.TASKS:
        raise ConfigError([Problem("task", task, f"is not one of {', '.join(catalogue.TASKS)}")])
    return task


@app.command("list")
def list_data(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets, and whether their files are here."""
    root = catalogue.data_root(data_dir)
    states = {task: catalogue.status(task, root) for task in catalogue.TASKS}
    if as_json:
        shown = {task: {**asdict(state), "root": str(root)} for task, state in states.items()}
        report.put_json({task: {k: _plain(v) for k, v in state.items()} for task, state in shown.items()})
        return
    table = report.plain_table()
    for name in ("task", "state"):
        table.add_column(name)
    for name in ("training", "test"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for task, state in states.items():
        table.add_row(task, state.state, _count(state.train_size), _count(state.test_size), state.note or "")
    out = report.console()
    out.print(f"in {root}", soft_wrap=True)
    out.print(table)


@app.command("get")
def get_data(task: Task, data_dir: DataDir = None) -> None:
    """Fetch a data set, with a progress bar."""
    root = catalogue.data_root(data_dir)
    fetch_now(_known(task), root)
    report.say(f"{task} is built in" if task in ("digits", "imagenet") else f"{task} is in {root}")


def fetch_now(task: str, root: Path) -> None:
    """Fetch a data set into a folder, and show how far that is. Raises `DataError`."""
    from eqprop_core.data.datasets import fetch

    try:
        if not sys.stderr.isatty():
            fetch(task, root)
            return
        with Progress(
            Words("description"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TimeElapsedColumn(),
            console=report.console(stderr=True),
        ) as progress:
            bars: dict[str, TaskID] = {}

            def show(what: str, done: int, of: int | None) -> None:
                if what not in bars:
                    bars[what] = progress.add_task(what, total=of)
                progress.update(bars[what], completed=done, total=of)

            try:
                fetch(task, root, show)
            finally:  # a bar that stands still would look like one that goes on
                for bar in progress.tasks:
                    if not bar.finished:
                        progress.remove_task(bar.id)
    except KeyboardInterrupt:
        report.say(f"{task}: interrupted; what had come was removed")
        raise typer.Exit(128 + signal.SIGINT) from None


@app.command("check")
def check_data(task: Task, data_dir: DataDir = None) -> None:
    """Verify the files of a data set: sizes, labels, checksums; and say which files are not used."""
    from eqprop_core.data.datasets import remarks, verify

    root = catalogue.data_root(data_dir)
    problems = verify(_known(task), root)
    state = catalogue.status(task, root)
    for problem in problems:
        report.say(f"error: {problem}")
    if not problems:
        sizes = f"{_count(state.train_size)} training and {_count(state.test_size)} test images"
        report.put(f"{task}: {state.state}, {sizes}")
    if state.state in ("present", "subset"):
        for remark in remarks(task, root):
            report.say(f"warning: {remark}" if state.foreign else f"note: {remark}")
    if problems:
        raise typer.Exit(1)


def _count(size: int | None) -> str:
    return "–" if size is None else f"{size:,}"


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
