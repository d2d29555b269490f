"""`eqprop runs compare`: runs side by side, and their curves in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from eqprop_core.events import Amended
from eqprop_core.problems import ConfigError, Problem, flag, shown
from eqprop_core.runs.comparing import Compared, data_that_differ, looked_at, names, settings_that_differ
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.listing import find_run
from eqprop_core.runs.scores import NAMES
from eqprop_tui.cli import report
from eqprop_tui.cli.listing import as_document
from eqprop_tui.cli.report import AsJson
from eqprop_tui.output import beside, drawn, is_standard, picture_file
from eqprop_tui.words import accuracy, epochs, pace, stands

MOST_RUNS = 20  # curves that a picture can tell apart
CELL = 18  # columns that a run takes at least


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="two runs or more, each as for `show`")],
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            metavar="FILE.png",
            help="draw their curves in one picture, into this file; - is standard output",
        ),
    ] = None,
    no_figure: Annotated[bool, typer.Option("--no-figure", hidden=True)] = False,  # the default by now
    force: Annotated[bool, typer.Option("--force", help="overwrite the file of --figure")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: the settings in which they differ, what they came to; --figure draws."""
    if no_figure and figure is not None:
        raise ConfigError([Problem("figure", str(figure), "contradicts --no-figure")])
    folders = {folder.path.resolve(): folder for folder in map(find_run, runs)}
    if not 2 <= len(folders) <= MOST_RUNS:
        said = "is one run" if len(folders) == 1 else f"are {len(folders)} runs"
        raise ConfigError(
            [Problem("config", "runs compare", f"this {said}; give two to {MOST_RUNS} different ones")]
        )
    target = None if figure is None else picture_file(figure, force=force, printed=as_json)
    compared = [looked_at(folder) for folder in folders.values()]
    differing = settings_that_differ(compared)
    if target is not None:
        with drawn(target) as file:
            draw(file, compared)
    if as_json:
        report.put_json(comparison_document(compared, differing, target))
        return
    rows: list[tuple[str, list[str]]] = [
        (flag(name), ["–" if value is None else shown(value) for value in values])
        for name, values in differing.items()
    ]
    if data := data_that_differ(compared):
        rows.append(("data", [words or "–" for words in data]))
    if any(run.changes for run in compared):
        rows.append(("changed on the way", ["; ".join(map(_change, run.changes)) or "–" for run in compared]))
    with beside(target):
        _print(compared, rows, results_of(compared))
        if target is not None and not is_standard(target):
            report.put(f"\ncurves in {target}")


def _change(change: Amended) -> str:
    """A change of settings, and since when it holds."""
    values = ", ".join(f"{flag(name)} {shown(value)}" for name, value in change.settings.items())
    return f"{values} {f'since epoch {change.epoch}' if change.epoch else 'on resuming'}"


def draw(path: Path, compared: Sequence[Compared]) -> None:
    """Draw the curves of runs. Raises `RunError` where the file cannot be written."""
    from eqprop_core.worker.comparison import Curve, draw_comparison  # matplotlib: only to draw

    tasks = {run.summary.task or "?" for run in compared}
    title = f"{len(compared)} runs on {', '.join(sorted(tasks))}"
    try:
        draw_comparison(
            path, list(map(Curve, names(compared), [run.epochs for run in compared])), title=title
        )
    except OSError as error:
        raise RunError(f"--figure {path}: cannot be written: {error.strerror or error}") from None


def results_of(compared: Sequence[Compared]) -> list[tuple[str, list[str]]]:
    """Rows of what runs came to, one value a run."""

    def each(value: Any) -> list[str]:
        return [value(run) for run in compared]

    def last(name: str) -> list[str]:
        return each(lambda run: accuracy(getattr(run.last, name, None)))

    rows = [
        ("id", each(lambda run: run.summary.id or "–")),
        ("state", each(lambda run: stands(run.summary))),
        ("epochs", each(lambda run: epochs(run.summary))),
        *(
            (f"{name} %", [accuracy(run.scores.named().get(name)) for run in compared])
            for name in NAMES.values()
        ),
        ("val last %", last("validation_accuracy")),
        ("train last %", last("train_accuracy")),
        ("loss last", each(_loss)),
        ("trained", each(lambda run: pace(run.seconds) if run.seconds else "–")),
        ("time an epoch", each(_an_epoch)),
    ]
    return [(name, cells) for name, cells in rows if any(cell != "–" for cell in cells)]


def _loss(run: Compared) -> str:
    return f"{run.last.loss:.4g}" if run.last is not None and run.last.loss is not None else "–"


def _an_epoch(run: Compared) -> str:
    return pace(run.seconds / len(run.epochs)) if run.seconds else "–"


def _print(
    compared: Sequence[Compared],
    settings: Sequence[tuple[str, list[str]]],
    results: Sequence[tuple[str, list[str]]],
) -> None:
    """Print a table with a column a run; as many tables as are needed for the width."""
    out = report.console()
    first = max(len(name) for name, _ in [*settings, *results])
    at_once = max(1, (out.width - first) // (CELL + 2))
    for start in range(0, len(compared), at_once):
        some = slice(start, start + at_once)
        if start:
            out.print()
        table = report.plain_table()
        table.add_column("", no_wrap=True)
        for name in names(compared)[some]:
            table.add_column(name, overflow="fold")
        for name, cells in settings:
            table.add_row(name, *cells[some])
        if settings:
            table.add_section()
            table.add_row()
        for name, cells in results:
            table.add_row(name, *cells[some])
        out.print(table)


def comparison_document(
    compared: Sequence[Compared], differing: dict[str, list[Any]], figure: Path | None
) -> dict[str, Any]:
    """Runs side by side as plain values."""
    return {
        "runs": [
            {
                **as_document(run.summary),
                **asdict(run.scores),
                "best_test_accuracy": getattr(run.best, "test_accuracy", None),
                "seconds": run.seconds,
                "trained": run.seconds,
                "amendments": [change.model_dump() for change in run.changes],
                "history": [epoch.model_dump() for epoch in run.epochs],
            }
            for run in compared
        ],
        "settings": differing,
        "figure": str(figure) if figure is not None else None,
    }
