"""Stopping a whole sweep: no more runs are started, and those that go on stop after their batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from eqprop_core.reasons import reason
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.processes import process_to_signal
from eqprop_core.sweeps import slurm
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.local import processes_of
from eqprop_core.sweeps.process import end_launcher
from eqprop_core.sweeps.standing import Standing, all_stand, named

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_STOP = 60.0
SECONDS_TO_DIE = 10.0  # after SIGKILL

Say = Callable[[str], None]


def stop(
    sweep: SweepFolder, *, kill: bool = False, say: Say, limit: float = SECONDS_TO_STOP
) -> list[Standing]:
    """Stop a sweep; returns the runs that still go on after `limit` seconds.

    Each saves a checkpoint after its batch; those that are killed lose what came after the last one. Raises
    `RunError` where the launcher or the scheduler cannot be told.
    """
    on_slurm = sweep.launcher.get("launcher") == "slurm"
    end_launcher(sweep)
    sweep = SweepFolder.open(sweep.path)  # a search has added trials
    if on_slurm:
        waiting = [number for number, state in slurm.queued(sweep).values() if state == "PENDING"]
        slurm.cancel(waiting, pending=True)
        say(f"{len(waiting)} waiting jobs cancelled") if waiting else None
    asked: set[Path] = set()
    deadline = time.monotonic() + (0 if kill else limit)
    while True:
        left = [standing for standing in all_stand(sweep) if standing.alive or _begins(sweep, standing)]
        for standing in left:
            if standing.alive and standing.job.path not in asked and not kill:
                asked.add(standing.job.path)
                say(f"{named(standing.job)}: {_ask(standing)}")
        if not left or time.monotonic() >= deadline:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    if on_slurm:
        going_on = [number for number, _ in slurm.queued(sweep).values()]
        slurm.cancel(going_on)
        say(f"{len(going_on)} jobs cancelled") if going_on else None
        return []
    if kill:
        for standing in left:
            _kill(sweep, standing)
            say(f"{named(standing.job)}: killed")
        return []
    return left


def _ask(standing: Standing) -> str:
    """Ask a run to stop; how that went, in words."""
    try:
        ask(standing.job.path, "stop")
    except OSError as error:
        process = process_to_signal(standing.job.path, RunFolder(standing.job.path).read_state())
        if process is None:
            return f"cannot be asked to stop: {error.strerror or error}"
        with suppress(psutil.Error):
            process.terminate()
    return "stops after its batch"


def _begins(sweep: SweepFolder, standing: Standing) -> bool:
    """Whether a job of this machine is about to start the run."""
    return not standing.alive and bool(processes_of(sweep, standing.job))


def _kill(sweep: SweepFolder, standing: Standing) -> None:
    """End the processes of a run, those that would start it again first."""
    path = standing.job.path
    worker = process_to_signal(path, RunFolder(path).read_state()) if path.exists() else None
    watching = processes_of(sweep, standing.job)
    below = [child for process in watching for child in _below(process)]
    ended = [*watching, *below, *([worker] if worker is not None else [])]
    for process in ended:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
        except psutil.Error as error:
            raise RunError(
                f"{named(standing.job)}: process {process.pid} cannot be ended: {reason(error)}"
            ) from None
    deadline = time.monotonic() + SECONDS_TO_DIE
    while any(map(_is_there, ended)) and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _is_there(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _below(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children(recursive=True)
    return []
