"""`eqprop runs list`: how runs stand, in as many columns as the terminal has room for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len

from eqprop_core.files import expanded
from eqprop_core.problems import ConfigError, Problem, printable
from eqprop_core.runs.listing import STATES, RunSummary, list_runs, matching
from eqprop_tui.cli import report
from eqprop_tui.cli.folders import tell_unreachable
from eqprop_tui.cli.report import AsJson
from eqprop_tui.columns import GAP, SCORES, Column, fitted, padded
from eqprop_tui.words import age, duration, epochs, speed, stands

if TYPE_CHECKING:  # imported once it is drawn
    from rich.text import Text

Wanted = Annotated[str, typer.Argument(metavar="RUN", help="a folder, an id, a name, or last")]
Results = Annotated[
    Path | None, typer.Option("--results", help="only runs below this folder \\[every one that was used]")
]

WIDTH_ELSEWHERE = 160  # columns where the output is not a terminal
WIDE = 110  # columns from which on there is room for a state in full
SECONDS_BETWEEN_LOOKS = 2.0
COLOURS = {
    "running": "green",
    "starting": "green",
    "queued": "yellow",
    "paused": "yellow",
    "failed": "red",
    "lost": "red",
    "unreachable": "red",
}


COLUMNS = (
    Column("state", stands, 0, narrow=13, wide=27),
    Column("id", lambda run: run.id, 0),
    Column("name", lambda run: run.name, 0, narrow=14),
    Column("preset", lambda run: run.preset or "–", 12, narrow=14, wide=28),
    Column("model", lambda run: run.model or "–", 7),
    Column("alg", lambda run: run.alg or "–", 4),
    Column("loss", lambda run: run.loss or "–", 9),
    Column("epoch", epochs, 1, right=True),
    *SCORES,
    Column("device", lambda run: run.device or "–", 8, narrow=8, wide=12),
    Column("images/s", lambda run: speed(run.samples_per_s), 11, right=True),
    Column("trained", lambda run: duration(run.trained), 10, right=True),
    Column("left", lambda run: duration(run.seconds_left), 3, right=True),
    Column("age", lambda run: age(run.created), 6, right=True),
)


def list_all(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="only runs with all of these words; alg=EP, test_last>95 compare"),
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="only runs that stand so; may be repeated")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="only runs with this tag; may be repeated")
    ] = None,
    results: Results = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="draw it again every two seconds until Ctrl-C")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List runs, the newest first."""
    refuse_unknown_states(state or [])
    refuse_absent(results)

    choose = _chosen_by(words) if words else list

    def runs() -> list[RunSummary]:
        found = list_runs([expanded(results)] if results is not None else None)
        return choose(matching(found, states=state or (), tags=tag or ()))

    if watch:
        if as_json:
            raise ConfigError([Problem("watch", None, "cannot go with --json")])
        if not sys.stdout.isatty():
            raise ConfigError([Problem("watch", None, "needs a terminal; --json prints the list once")])
        watch_runs(runs)
        return
    chosen = runs()
    if results is None:
        tell_unreachable()
    if as_json:
        report.put_json([as_document(run) for run in chosen])
        return
    if not chosen:
        report.say("no run matches; `eqprop runs list` shows all" if words or state or tag else "no runs yet")
    if sys.stdout.isatty():
        console = report.console()
        console.print(coloured(chosen, console.width), no_wrap=True, crop=False)
    else:
        report.put("\n".join(lines(chosen, WIDTH_ELSEWHERE)))


def _chosen_by(words: Sequence[str]) -> Callable[[list[RunSummary]], list[RunSummary]]:
    """What chooses runs by words and expressions. Raises `ConfigError`."""
    from eqprop_core.runs.filtering import filter_of, stored_settings  # knows all settings

    wanted = filter_of(words)
    return lambda runs: wanted.choose(runs, stored_settings)


def refuse_absent(results: Path | None) -> None:
    """Raise `ConfigError` for a results folder that is not there."""
    if results is not None and not os.path.isdir(expanded(results)):  # noqa: PTH112  `is_dir` may raise
        raise ConfigError([Problem("results", str(results), "there is no such folder")])


def refuse_unknown_states(states: Sequence[str]) -> None:
    """Raise `ConfigError` for what is no state of a run."""
    problems = [
        Problem("state", state, f"is not one of {', '.join(STATES)}")
        for state in states
        if state not in STATES
    ]
    if problems:
        raise ConfigError(problems)


def watch_runs(runs: Callable[[], list[RunSummary]]) -> None:
    """Draw the list in place, again and again, until Ctrl-C."""
    from rich.live import Live
    from rich.text import Text

    console = report.console()

    def drawn() -> Text:
        text = coloured(runs(), console.width)
        room = max(2, console.height - 1)
        shown = list(text.split("\n"))
        if len(shown) > room:
            shown = [*shown[: room - 1], Text(f"… {len(shown) - room + 1} more", style="dim")]
        return Text("\n", no_wrap=True).join(shown)

    try:
        with Live(drawn(), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(SECONDS_BETWEEN_LOOKS)
                live.update(drawn(), refresh=True)
    except KeyboardInterrupt:
        return


def lines(runs: Sequence[RunSummary], width: int) -> list[str]:
    """The list as lines of at most `width` columns, headings first.

    What matters most is shown where not all has room; names that are too long end in ….
    """
    cells = {column.heading: [printable(column.cell(run)) for run in runs] for column in COLUMNS}
    if width < WIDE:
        cells["state"] = [text.replace(", perhaps out of memory", ", memory?") for text in cells["state"]]
    longest = {name: max(map(cell_len, texts), default=0) for name, texts in cells.items()}
    full = {name: max(cell_len(name), cells) for name, cells in longest.items()}
    there = [column for column in COLUMNS if column.stays(longest[column.heading])]
    widths = fitted(there, full, width)
    shown = [column for column in COLUMNS if column.heading in widths]
    rows = [[column.heading for column in shown]]
    rows += [[cells[column.heading][index] for column in shown] for index in range(len(runs))]
    lines = [
        (" " * GAP).join(
            padded(text, widths[column.heading], column.right)
            for text, column in zip(row, shown, strict=True)
        )
        for row in rows
    ]
    return [line.rstrip() for line in lines]


def coloured(runs: Sequence[RunSummary], width: int) -> Text:
    """The same as `lines`, with states in colour."""
    from rich.text import Text

    text = Text()
    for index, line in enumerate(lines(runs, width)):
        if index == 0:
            text.append(line, style="bold")
        else:
            state = runs[index - 1].state
            text.append("\n")
            text.append(line[: len(state)], style=COLOURS.get(state, ""))
            text.append(line[len(state) :])
    return text


def as_document(run: RunSummary) -> dict[str, object]:
    """A summary as plain values."""
    return {
        **asdict(run),
        "path": str(run.path),
        "seconds": run.took,
        "seconds_left": run.seconds_left,
        "best_test": run.best_test,
        "test_last": run.test_last,
    }
