"""`eqprop sweep status`, `list` and `stop`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from eqprop_core.runs.folder import RunError
from eqprop_core.runs.scores import Scores
from eqprop_core.shell import command
from eqprop_core.sweeps import slurm, stopping
from eqprop_core.sweeps.file import read_sweep, sweep_files
from eqprop_core.sweeps.folder import SweepFolder, find_sweep, list_sweeps
from eqprop_core.sweeps.process import is_launched
from eqprop_core.sweeps.standing import OVER, Standing, all_stand, counted, named
from eqprop_core.sweeps.submitted import numbers_of
from eqprop_tui.cli import report
from eqprop_tui.cli.report import AsJson
from eqprop_tui.cli.sweep_start import Sweep
from eqprop_tui.cli.sweep_watch import in_words
from eqprop_tui.columns import SCORES
from eqprop_tui.words import age, duration, epochs


def status(which: Sweep = "last", as_json: AsJson = False) -> None:
    """Show how the runs of a sweep stand."""
    sweep = find_sweep(which)
    standings = all_stand(sweep)
    queue: dict[Any, tuple[str, str]] = {}
    if on_slurm := sweep.launcher.get("launcher") == "slurm":
        try:
            queue = slurm.queued(sweep)
        except RunError as error:
            report.say(f"warning: {error}")
    if as_json:
        report.put_json(
            {
                "folder": str(sweep.path),
                "name": sweep.name,
                "launched": is_launched(sweep) or (on_slurm and sweep.search is None and bool(queue)),
                "states": counted(standings),
                "runs": [_as_document(sweep, standing, queue) for standing in standings],
            }
        )
        return
    runs = [one.summary for one in standings if one.summary is not None]
    there = [one for one in SCORES if one.stays(max((len(one.cell(run)) for run in runs), default=0))]
    names = [one.heading for one in there]
    headings = ["state", "run", "epoch", *names, "left", *(["job"] if on_slurm else []), "said"]
    rows = []
    for standing in standings:
        run = standing.summary
        job = [" ".join(queue.get(standing.job.path, ("–",))).lower()] if on_slurm else []
        told = (
            [epochs(run), *(one.cell(run) for one in there), duration(run.seconds_left)]
            if run
            else (len(there) + 2) * ["–"]
        )
        rows.append([standing.state, named(standing.job), *told, *job, standing.reason])
    report.put(report.aligned(headings, rows, right=("epoch", *names, "left")))
    report.put()
    over = all(standing.state in OVER for standing in standings) and len(standings) >= sweep.planned
    trials = f", of {sweep.planned} runs of the search" if sweep.search is not None else ""
    next_step = "" if over else _launched(sweep, standings, on_slurm=on_slurm, queue=queue)
    report.put(in_words(standings) + trials + next_step)


def _launched(
    sweep: SweepFolder,
    standings: list[Standing],
    *,
    on_slurm: bool,
    queue: dict[Any, tuple[str, str]],
) -> str:
    if on_slurm and (sweep.search is None or is_launched(sweep)):
        return f"; {len(queue)} in Slurm's queue"
    if is_launched(sweep):
        return "; a process of its own starts them"
    again = sweep.search is None and all(one.state in (*OVER, "failed") for one in standings)
    failed = ["--retry-failed"] if again else []
    return f"; go on with: {command('sweep', 'resume', sweep.called, *failed)}"


def _as_document(sweep: SweepFolder, standing: Standing, queue: dict[Any, tuple[str, str]]) -> dict[str, Any]:
    run = standing.summary
    return {
        "cell": standing.job.cell.name,
        "seed": standing.job.seed,
        "folder": str(standing.job.path),
        "state": standing.state,
        "reason": standing.reason or None,
        "epoch": run.epoch if run else None,
        **asdict(run.scores if run else Scores()),
        "best": run.best if run else None,
        "last": run.last if run else None,
        "jobs": numbers_of(sweep, standing.job),
        "queue": queue.get(standing.job.path, (None, None))[1],
    }


def list_all(as_json: AsJson = False) -> None:
    """List sweeps, the newest first, and those that can be started."""
    sweeps, files = list_sweeps(), sweep_files()
    found = [(sweep, all_stand(sweep)) for sweep in sweeps]
    if as_json:
        report.put_json(
            {
                "started": [
                    {
                        "folder": str(sweep.path),
                        "name": sweep.name,
                        "created": sweep.created,
                        "cells": len(sweep.plan.cells),
                        "seeds": list(sweep.plan.seeds),
                        "states": counted(standings),
                    }
                    for sweep, standings in found
                ],
                "to start": {name: str(path) for name, path in files.items()},
            }
        )
        return
    if found:
        headings = ("sweep", "cells", "seeds", "runs", "age")
        rows = [
            (
                sweep.name,
                str(len(sweep.plan.cells)),
                str(len(sweep.plan.seeds)),
                in_words(standings),
                age(sweep.created),
            )
            for sweep, standings in found
        ]
        report.put(report.aligned(headings, rows, right=("cells", "seeds", "age")))
        report.put()
    report.put("to start with: eqprop sweep NAME")
    for name, path in files.items():
        try:
            report.put(f"  {name}  {read_sweep(path).title}")
        except ValueError as error:
            report.say(f"warning: {error}")


def stop(
    which: Sweep = "last",
    kill: Annotated[bool, typer.Option("--kill", help="what is not in a checkpoint is lost")] = False,
) -> None:
    """Stop a sweep: its runs after their batch, with a checkpoint."""
    sweep = find_sweep(which)
    standings = all_stand(sweep)
    if all(standing.state in OVER for standing in standings) and len(standings) >= sweep.planned:
        report.say("all of its runs are finished: there is nothing to stop")
        return
    left = stopping.stop(sweep, kill=kill, say=report.say)
    report.say(
        f"stopped; go on with: {command('sweep', 'resume', sweep.called)}" if not left else _left(sweep, left)
    )
    report.put(in_words(all_stand(sweep)))


def _left(sweep: SweepFolder, left: list[Standing]) -> str:
    kill = command("sweep", "stop", sweep.called, "--kill")
    return f"{len(left)} still stop after a long batch; {kill} ends them"
