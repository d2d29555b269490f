"""`eqprop sweep NAME --search …`: what may be chosen, and how a search ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from pydantic import ValidationError

from eqprop_core.problems import ConfigError, Problem, problems_of
from eqprop_core.runs.folder import RunError
from eqprop_core.shell import command
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.searching import require, search_of
from eqprop_core.sweeps.space import SearchSettings, space_of
from eqprop_core.sweeps.standing import OVER, Standing, counted
from eqprop_core.sweeps.table import measure_of, table_of
from eqprop_tui import sweep_words
from eqprop_tui.cli import report

PANEL = "Search (needs Optuna: pip install 'eqprop\\[search]')"
TRIALS = 30

SearchWords = Annotated[
    list[str] | None,
    typer.Option(
        "--search",
        metavar="SETTING=WHAT",
        help="let a setting be chosen: lrs=loguniform:1e-4,1e-1 (or uniform), T1=int:10,60 (or logint), "
        "act=mysig,tanh; one number is that of all layers; may be repeated",
        rich_help_panel=PANEL,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials", metavar="N", help=rf"trials of the search, in all \[{TRIALS}]", rich_help_panel=PANEL
    ),
]
AtOnce = Annotated[
    int | None,
    typer.Option(
        "--at-once",
        metavar="N",
        help=r"trials at a time \[as many as there is room for, 4 with Slurm]",
        rich_help_panel=PANEL,
    ),
]
Prune = Annotated[
    bool | None,
    typer.Option(
        "--prune/--no-prune",
        help=r"end trials that are worse than most at the same epoch \[on]",
        rich_help_panel=PANEL,
    ),
]


def search_settings(
    words: Sequence[str] | None,
    trials: int | None,
    at_once: int | None,
    prune: bool | None,
    grid: Sequence[str] | None,
    flags: Mapping[str, object],
) -> SearchSettings | None:
    """The search that is asked for, None where none is. Raises `ConfigError`."""
    if not words:
        given = {"trials": trials, "at_once": at_once, "prune": prune}
        if alone := [name for name, value in given.items() if value is not None]:
            raise ConfigError([Problem(alone[0], given[alone[0]], "goes with --search")])
        return None
    if grid:
        raise ConfigError([Problem("grid", grid[0], "cannot go with --search, which chooses by itself")])
    require()
    values = {"trials": trials, "at_once": at_once, "prune": prune}
    space = space_of(words)
    if both := [choice for choice in space if choice.name in flags]:
        message = f"{both[0].name} is given as a flag, too; leave one of them out"
        raise ConfigError([Problem("search", str(both[0]), message)])
    try:
        return SearchSettings.model_validate(
            {
                "space": space,
                "trials": TRIALS,
                **{name: value for name, value in values.items() if value is not None},
            }
        )
    except ValidationError as error:
        raise ConfigError(problems_of(error)) from None


def end_search(sweep: SweepFolder, standings: Sequence[Standing], *, as_json: bool) -> None:
    """Print what a search came to. Raises `RunError` unless all of its trials are over."""
    sweep = SweepFolder.open(sweep.path)
    settings = search_of(sweep)
    assert settings is not None
    table = table_of(sweep, measure_of(sweep))
    best = table.best
    left = settings.trials - len(sweep.plan.cells)
    unfinished = [run for row in table.rows for run in row.outcomes if run.state not in (*OVER, "failed")]
    if as_json:
        report.put_json(
            {
                "folder": str(sweep.path),
                "name": sweep.name,
                "runs": counted(standings),
                "best": best.cell.name if best is not None else None,
                "settings": dict(best.cell.settings) if best is not None else None,
                "value": best.mean if best is not None else None,
                "measure": table.measure.heading,
            }
        )
    else:
        if best is not None:
            report.put(f"best: {best.cell.name}: {table.measure.heading} {sweep_words.mean(best)}")
        report.put(sweep_words.standing(table))
        report.put(f"saved in {sweep.path}; all trials: {command('sweep', 'table', sweep.called)}")
    if left > 0 or any(run.state in ("stopped", "lost", "waiting") for run in unfinished):
        raise RunError(f"not all trials are over; go on with: {command('sweep', 'resume', sweep.called)}")
    if best is None:
        raise RunError("no trial is finished")
