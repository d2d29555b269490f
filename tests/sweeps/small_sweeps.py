"""Sweeps that take some seconds, waiting for what they come to, and what must be equal to undisturbed runs."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from interruptions import end_of, same
from typer.testing import Result
from waiting import give_way

from eqprop_core.command_line import command_line
from eqprop_core.files import read_json
from eqprop_core.marks import marked
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import read_events
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.process import LOCK
from eqprop_core.sweeps.standing import all_stand

SMALL = [
    "--task", "digits", "--archi", "64", "10", "10", "--lrs", "0.05", "0.05", "--T1", "6", "--T2", "3",
    "--mbs", "2", "--test-samples", "60", "--checkpoint-every", "0.002", "--device", "cpu",
]  # fmt: skip
Run = Callable[..., Result]


def started(eqprop: Run, *words: str) -> SweepFolder:
    """A sweep of small runs that is started and left alone."""
    return SweepFolder.open(Path(eqprop("sweep", *SMALL, *words, "--detach").stdout.strip()))


def wait_for(found: Callable[[], Any], limit: float = 600.0) -> Any:
    """Wait until there is something, and return it; the limit is for what never comes, on any machine."""
    deadline = time.monotonic() + limit
    while not (value := found()):
        assert time.monotonic() < deadline
        give_way()
    return value


def trains(job: Job, again: int = 0) -> bool:
    """Whether a run that has been resumed `again` times is in an epoch, with a checkpoint made since."""
    said = [record.event.kind for record in events(job)]
    resumed = [place for place, kind in enumerate(said) if kind == "run_resumed"]
    begun = resumed[-1] if resumed else 0
    return len(resumed) == again and "checkpoint_saved" in said[begun:] and "run_finished" not in said


def events(job: Job) -> list[Any]:
    path = job.path / "events.jsonl"
    return list(read_events(path)) if path.exists() else []


def kinds(job: Job) -> Counter[str]:
    """How often a run has said what."""
    return Counter(record.event.kind for record in events(job))


def states(sweep: SweepFolder) -> dict[str, int]:
    """How many runs stand how."""
    return dict(Counter(standing.state for standing in all_stand(sweep)))


def worker(job: Job) -> psutil.Process:
    """The process that trains a run."""
    process = marked(RunFolder(job.path).read_state())
    assert process is not None
    return process


def launcher(sweep: SweepFolder) -> psutil.Process:
    """The process that starts the runs of a sweep."""
    process = wait_for(lambda: marked(read_json(sweep.path / LOCK)))
    assert isinstance(process, psutil.Process)
    return process


def ends_like_an_undisturbed_run(eqprop: Run, sweep: SweepFolder, job: Job) -> None:
    """Assert that a run of a sweep has the weights, histories and optimizer of one that nobody disturbed."""
    config = sweep.plan.config(job.cell, job.seed)
    command = command_line(config)
    said = eqprop(
        "train", *shlex.split(command), "--results", str(sweep.path / "alone"), "--foreground"
    ).stdout
    alone = RunFolder(Path(said.split("saved in ")[1].strip()))
    assert same(end_of(RunFolder(job.path)), end_of(alone)), job.path
