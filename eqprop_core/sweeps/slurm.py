"""The runs of a sweep as jobs of Slurm: submitted through submitit, asked after and cancelled.

All runs are submitted at once, each as a job of its own: the order is the scheduler's.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from eqprop_core.problems import printable
from eqprop_core.reasons import reason
from eqprop_core.runs.folder import RunError
from eqprop_core.shell import command
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.job import RunJob
from eqprop_core.sweeps.settings import USUAL_MINUTES, LaunchSettings
from eqprop_core.sweeps.standing import all_stand, named, stands, to_do
from eqprop_core.sweeps.submitted import jobs_of, new_place, numbers_of, submitting

SECONDS = 60
TRIALS_AT_ONCE = 4  # of a search, where nothing else is said: the scheduler has room for many
SECONDS_BETWEEN_QUESTIONS = 30.0  # for the queue


def require(results: Path) -> None:
    """Raise `RunError` where there is no Slurm, `ConfigError` where it can write no logs."""
    if missing := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        raise RunError(f"--launcher slurm needs Slurm, and there is no {', '.join(missing)} here")
    from eqprop_core.sweeps.submitting import refuse_unwritable

    refuse_unwritable(results)


def submit_all(
    sweep: SweepFolder,
    settings: LaunchSettings,
    *,
    retry_failed: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Submit what is to be done of a sweep and is not in Slurm's queue already; returns how many.

    Raises `RunError` where Slurm is not here, or refuses a job.
    """
    queue = queued(sweep) if any(numbers_of(sweep, job) for job in sweep.jobs()) else {}
    submitted = 0
    for standing in all_stand(sweep):
        job = standing.job
        if job.path in queue:
            say(f"{named(job)}: job {queue[job.path][0]} is {queue[job.path][1].lower()}")
        elif to_do(standing, retry_failed=retry_failed, has_no_job=True):
            number = _submit(sweep, settings, job, submitted)
            submitted += 1
            say(f"{named(job)}: submitted as job {number}")
        else:
            say(f"{named(job)}: is {standing.state}, left alone")
    return submitted


def _submit(sweep: SweepFolder, settings: LaunchSettings, job: Job, before: int) -> str:
    """Submit one run; returns the number of its job."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from eqprop_core.sweeps.submitting import TIMEOUTS, Executor, environment, patterns_in_names_alone

    parameters = _parameters(sweep, settings, job)
    named_so = {name.replace("_", "-") for name in (*parameters, *parameters["additional_parameters"])}
    try:
        executor = Executor(new_place(sweep, job), max_num_timeout=TIMEOUTS)
        executor.update_parameters(**parameters)
        with environment(named_so), submitting(), patterns_in_names_alone():
            submitted: Any = executor.hand_over(RunJob(job.path.absolute(), grace=settings.grace))
    except (RuntimeError, FailedJobError, FailedSubmissionError, FileNotFoundError) as error:
        resume = command("sweep", "resume", sweep.called)
        done = f"; {before} were submitted before, and {resume} submits the others" if before else ""
        raise RunError(f"{named(job)}: {_refused(error)}{done}") from None
    except OSError as error:
        raise RunError(f"{named(job)}: cannot be submitted: {error.strerror or error}") from None
    return str(submitted.job_id)


class SlurmLauncher:
    """Submits the runs of a search as its trials are chosen, and knows which have left the queue."""

    def __init__(
        self, sweep: SweepFolder, settings: LaunchSettings, jobs: Sequence[Job], say: Callable[[str], None]
    ) -> None:
        self.sweep, self.settings, self.say = sweep, settings, say
        self.room = TRIALS_AT_ONCE * len(sweep.plan.seeds)
        self._asked, self._queue = time.monotonic(), queued(sweep)
        going_on = [job for job in jobs if job.path in self._queue]
        self.add(
            job
            for job in jobs
            if job not in going_on and to_do(stands(sweep, job), retry_failed=False, has_no_job=True)
        )

    def add(self, jobs: Iterable[Job]) -> None:
        """Submit these."""
        for job in jobs:
            number = _submit(self.sweep, self.settings, job, 0)
            self._queue[job.path] = (number, "PENDING")
            self.say(f"{named(job)}: submitted as job {number}")

    def drop(self, job: Job) -> None:
        """Cancel a run that has not begun."""
        if job.path in self._queue:  # of jobs that are over, Slurm may know nothing any more
            with suppress(RunError):  # it may have begun or ended meanwhile
                cancel([self._queue[job.path][0]], pending=True)

    def over(self, job: Job) -> bool:
        """Whether a run is complete, or has left the queue otherwise."""
        standing = stands(self.sweep, job)
        return not standing.alive and (standing.state == "finished" or job.path not in self._queue)

    def step(self) -> None:
        """Ask for the queue again, not too often; where Slurm gives no answer, it is as it was."""
        if time.monotonic() - self._asked >= SECONDS_BETWEEN_QUESTIONS:
            self._asked = time.monotonic()
            with suppress(RunError):
                self._queue = queued(SweepFolder.open(self.sweep.path))  # with the trials of meanwhile


def _refused(error: Exception) -> str:
    """Why Slurm did not take a job."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
    return f"Slurm does not take it: {printable(said.strip())[:300]}"


def _parameters(sweep: SweepFolder, settings: LaunchSettings, job: Job) -> dict[str, Any]:
    """submitit's names of what sbatch is given."""
    from eqprop_core.sweeps.submitting import CORES_OF_THE_STEP

    minutes = settings.time if settings.time is not None else USUAL_MINUTES
    wished = {name: value for name, value in settings.sbatch.items() if value != ""}
    more: dict[str, Any] = {"requeue": True, **wished}
    if settings.mem is not None:
        more["mem"] = settings.mem
    given = {
        "job_name": printable(f"{sweep.plan.name} {named(job)}")[:100],  # a line break would be a command
        "time": math.ceil(minutes),
        "signal_delay_s": settings.grace,
        "partition": settings.partition,
        "gpus_per_node": settings.gpus,
        "cpus_per_task": settings.cpus,
        "account": settings.account,
        "qos": settings.qos,
        "constraint": settings.constraint,
        "setup": [*settings.setup, CORES_OF_THE_STEP],
        "additional_parameters": more,
    }
    # submitit's own key of the workload is refused by clusters that keep account of such keys
    return {"wckey": None, **{name: value for name, value in given.items() if value is not None}}


def queued(sweep: SweepFolder) -> dict[Path, tuple[str, str]]:
    """Number and state of the jobs of a sweep that Slurm still has, by the run's path. Raises `RunError`.

    A job that is completing is among them: it may be about to be queued again. Numbers are read off names of
    files, which others may have made: a job is the sweep's only if Slurm runs a script of the sweep for it.
    """
    jobs = {number: (job, place) for job in sweep.jobs() for number, place in jobs_of(sweep, job).items()}
    if not jobs:
        return {}
    answer = _asked(["squeue", "--noheader", "--format=%i %T %o", f"--user={os.getuid()}"])
    found = {}
    for line in answer.splitlines():
        number, state, script = (*line.strip().split(maxsplit=2), "", "", "")[:3]
        job, place = jobs.get(number, (None, sweep.path))
        if job is not None and (not script or _is_in(place, script)):
            found[job.path] = (number, state)
    return found


def _is_in(place: Path, script: str) -> bool:
    """Whether the script of a job of Slurm's is one that was written into the folder of the job's files."""
    with suppress(OSError, ValueError, RuntimeError):
        return Path(script).parent.resolve() == place.resolve()
    return False


def cancel(numbers: Sequence[str], *, pending: bool = False) -> None:
    """Cancel jobs, those alone that are `pending` if wished. Raises `RunError`."""
    if numbers:
        _asked(["scancel", *(["--state=PENDING"] if pending else []), *numbers])


def _asked(words: list[str]) -> str:
    """What a command of Slurm's prints."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise RunError(f"{words[0]} is not here; ask on a machine of the Slurm cluster") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{words[0]}: {reason(error)}") from None
    if done.returncode != 0:
        raise RunError(f"{words[0]}: {printable(done.stderr.strip())[:300] or 'failed'}")
    return done.stdout
