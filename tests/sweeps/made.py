"""Sweeps that look as if they had been trained: their folders and files, without training."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from small_runs import TINY, epoch

from eqprop_core.events import Event, RunFailed
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import EventLog
from eqprop_core.runs.names import EVENTS
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.plan import Cell, SweepPlan

BASE = {
    key: list(value) if isinstance(value, tuple) else value for key, value in TINY.items() if key != "seed"
}
WHEN = datetime(2026, 11, 27, 10, 0, 0)


def cell(name: str, *, expected: float | None = None, source: str | None = None, **settings: Any) -> Cell:
    return Cell(name=name, settings={**BASE, "epochs": 2, **settings}, expected_error=expected, source=source)


def make_sweep(root: Path, *cells: Cell, seeds: Sequence[int] = (0, 1, 2), name: str = "tiny") -> SweepFolder:
    plan = SweepPlan(name=name, title="a tiny sweep", cells=cells, seeds=tuple(seeds))
    return SweepFolder.create(root, plan, command=["eqprop", "sweep"], now=WHEN)


def job_of(sweep: SweepFolder, name: str, seed: int) -> Job:
    return next(job for job in sweep.jobs() if (job.cell.name, job.seed) == (name, seed))


def make_run(
    sweep: SweepFolder,
    name: str,
    seed: int,
    *tests: float,
    state: str = "finished",
    mark: Mapping[str, Any] | None = None,
    **fields: Any,
) -> RunFolder:
    """The run of a cell, with these test accuracies after its epochs; a failed one says why.

    `mark` is that of the process that owns a run which is alive.
    """
    job = job_of(sweep, name, seed)
    config = sweep.plan.config(job.cell, seed)
    run = RunFolder.create_at(
        job.path, config, command=["eqprop", "sweep"], labels={"name": f"{name} seed {seed}"}
    )
    for number, test in enumerate(tests, 1):
        tell(run, epoch(number, test, best=test > max(tests[: number - 1], default=-1.0), **fields))
    if state == "failed":
        tell(run, RunFailed(message="the loss is not finite; a smaller learning rate may help"))
    facts = {"state": state, "epoch": len(tests), "epochs": config.epochs, "host": socket.gethostname()}
    scores = {"best": max(tests, default=None), "last": tests[-1] if tests else None}
    run.write_state({**run.identity(), **facts, **scores, **(mark or {})})
    return run


def tell(run: RunFolder, *events: Event) -> None:
    log = EventLog(run.path / EVENTS)
    for event in events:
        log.write(event)
    log.close()
