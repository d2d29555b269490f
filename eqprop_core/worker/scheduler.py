"""What a batch scheduler is asked for by the job that runs under it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from eqprop_core.reasons import reason

SECONDS = 30


@dataclass(frozen=True)
class Requeued:
    """Whether the scheduler will start this job again, and what to say of it."""

    done: bool
    message: str


def requeue() -> Requeued | None:
    """Ask Slurm to start this job again.

    None where it does not run under Slurm, and in a job of submitit's, which sees to that itself.
    """
    job = _own_number()
    if not job or os.environ.get("SUBMITIT_EXECUTOR"):
        return None
    try:
        asked = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Requeued(False, f"job {job} could not be requeued: {reason(error)}")
    if asked.returncode != 0:
        return Requeued(False, f"job {job} could not be requeued: {asked.stderr.strip()[:300]}")
    return Requeued(True, f"job {job} is requeued; the run goes on from this checkpoint when it starts again")


def _own_number() -> str | None:
    """What this job is called; of an array it is this task alone, as its number may be that of the array."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
