"""`eqprop runs folders`: the results folders that were used, so that their runs are found from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eqprop_core.files import expanded
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.roots import forget_root, known_roots, unreachable_roots
from eqprop_tui.cli import report
from eqprop_tui.cli.report import AsJson

FEW = 3  # folders named in a line


def folders(
    forget: Annotated[
        list[Path] | None,
        typer.Option("--forget", metavar="FOLDER", help="list its runs no longer; may be repeated"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results folders whose runs are listed; --forget takes some off, and deletes nothing."""
    for folder in forget or []:
        if not forget_root(expanded(folder)):
            raise ConfigError([Problem("forget", str(folder), "is no results folder that was used")])
    here, away = known_roots(), unreachable_roots()
    if as_json:
        report.put_json([{"folder": str(root), "reachable": root in here} for root in [*here, *away]])
        return
    for root in here:
        report.put_path(root)
    for root in away:
        report.put(f"{root}  not reachable now")


def tell_unreachable() -> None:
    """Say which results folders that were used are not there now, so that their runs are not listed."""
    away = [str(root) for root in unreachable_roots()]
    if away:
        more = f" and {len(away) - FEW} more" if len(away) > FEW else ""
        report.say(
            f"not reachable now: {', '.join(away[:FEW])}{more}; "
            "eqprop runs folders --forget FOLDER lists its runs no longer"
        )
