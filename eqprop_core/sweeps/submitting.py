"""How a run of a sweep is handed to Slurm, or to a process here: the script, and the environment of sbatch.

submitit writes the script; what it leaves to be wished for is put right here. The script starts
`python -m eqprop_core.sweeps.submitting FOLDER JOB`: submitit's own beginning of a job, in a folder of any
name, but for the pickle, which whoever can write there could have put in its place. The job is told as text.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from submitit import LocalExecutor, SlurmExecutor
from submitit.core import submission, utils
from submitit.core.core import PicklingExecutor

from eqprop_core.problems import ConfigError, Problem
from eqprop_core.sweeps.folder import JOBS, RUNS
from eqprop_core.sweeps.job import RunJob

TIMEOUTS = 1_000_000  # a job that is out of time is queued again as often as it takes
LOGS = {"output": "%j_0_log.out", "error": "%j_0_log.err"}  # as submitit calls them

# srun has not taken over --cpus-per-task since 22.05, and takes it from this variable alone.
CORES_OF_THE_STEP = '[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK'

# --- the environment ----------------------------------------------------------------------------------

# Where the command is given inside a job, variables tell of that job, and some would be taken for wishes of
# the new one. So these beginnings are held back ...
HELD_BACK = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
# ... and the places of a process among others, as torchrun and Slurm set them.
OF_A_PROCESS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# What says which cluster is meant and by what right one asks there passes, and what a site says of itself:
# without them Slurm's commands find no cluster, or another one.
PASSED = re.compile(
    r"SLURM_(?:CONF|CLUSTERS|JWT|SACK_.+|TIME_FORMAT|SITE.*"
    r"|(?:.+_)?(?:HOME|ROOT|PREFIX|PATH|BIN|SBIN|LIB|VERSION|SYSCONFDIR))"
)
# SBATCH_… are wishes of a person or a site for every job, and pass. But they win over what the script says;
# so those are held back that the script has a word on of its own, always ...
OF_THE_SCRIPT = {
    "ARRAY_INX", "ERROR", "INPUT", "JOBID", "JOB_NAME", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "REQUEUE",
    "SIGNAL", "TIMELIMIT", "WAIT",
}  # fmt: skip
# ... or by what was wished (parameters that are another's name for the same, or stand against it), ...
INSTEAD = {
    "mem": ("MEM_PER_CPU", "MEM_PER_GPU", "MEM_PER_NODE"),
    "gpus-per-node": ("GPUS", "GPUS_PER_NODE", "GPUS_PER_TASK", "GRES"),
}
# ... and what Slurm puts into a job of how its processes are bound.
BOUND = ("SBATCH_CPU_BIND", "SBATCH_MEM_BIND")


@contextmanager
def environment(parameters: Collection[str]) -> Iterator[None]:
    """Hold back what would mislead sbatch, where these parameters of it are in the script."""
    held = {name: os.environ.pop(name) for name in list(os.environ) if _misleads(name, parameters)}
    try:
        yield
    finally:
        os.environ.update(held)


def _misleads(name: str, parameters: Collection[str]) -> bool:
    if name.startswith("SBATCH_"):
        said = {other for one in parameters for other in INSTEAD.get(one, (one.upper().replace("-", "_"),))}
        return name.startswith(BOUND) or name.removeprefix("SBATCH_") in OF_THE_SCRIPT | said
    return name in OF_A_PROCESS or (name.startswith(HELD_BACK) and not PASSED.fullmatch(name))


# --- the script ---------------------------------------------------------------------------------------


class Told(PicklingExecutor):
    """What submitit's executors have in common here: they start this module, with the job as text."""

    def hand_over(self, job: RunJob) -> Any:
        """Have a job started; submitit's handle of it."""
        self.told = job.as_text()
        return self.submit(job)

    @property
    def _submitit_command_str(self) -> str:
        words = shlex.join([str(self.folder), self.told])
        return f"{self.python} -uP -m {__spec__.name} {words}"  # type: ignore[attr-defined]


class Here(Told, LocalExecutor):
    """submitit's, for processes on this machine."""


class Executor(Told, SlurmExecutor):
    """submitit's, for Slurm; its logs are in its folder whatever that is called."""

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        folder, given = self.folder, self.parameters
        self.folder = Path(escaped(folder))
        logs = {name: str(self.folder / log) for name, log in LOGS.items()}
        self.parameters = {
            **given, "additional_parameters": {**given.get("additional_parameters", {}), **logs}
        }  # fmt: skip
        try:
            return super()._make_submission_file_text(command, uid)
        finally:
            self.folder, self.parameters = folder, given


def escaped(path: Path) -> str:
    """A path where Slurm would take `%j` and the like for patterns."""
    return str(path).replace("%", "%%")


def refuse_unwritable(results: Path) -> None:
    """Raise `ConfigError` for a folder of results in which Slurm can write no log.

    A backslash keeps Slurm from filling in the number of the job, and is left out of the path; a script has
    no way to write a line break or what is not UTF-8.
    """
    path = str(results.absolute())
    if "\\" in path:
        what = "a backslash"
    elif re.search(r"[\x00-\x1f\x7f]", path):
        what = "a control character"
    elif re.search(r"[\ud800-\udfff]", path):  # how Python reads such bytes
        what = "bytes that are not UTF-8"
    else:
        return
    message = f"has {what} in its path, and Slurm could write no log there; give another folder"
    raise ConfigError([Problem("results", path, message)])


# --- inside the job -----------------------------------------------------------------------------------


@contextmanager
def patterns_in_names_alone() -> Iterator[None]:
    """Keep submitit from filling in numbers of jobs for a %j in the name of a folder."""
    changed: Any = utils.JobPaths
    fill_in, parent = changed._format_id, changed.get_first_id_independent_folder

    def in_the_name(self: Any, path: Path | str) -> Path:
        path = Path(path)
        return path if path == self._folder else path.with_name(fill_in(self, path.name).name)

    changed._format_id = in_the_name
    changed.get_first_id_independent_folder = staticmethod(lambda folder: Path(folder).absolute())
    try:
        yield
    finally:
        changed._format_id, changed.get_first_id_independent_folder = fill_in, staticmethod(parent)


def begin(folder: str, told: str | None) -> None:
    """Do the job that was told; one of before, whose script tells none, is known by its folder."""
    if told is None:
        cell, seed = Path(folder).parts[-2:]
        job = RunJob(next(up for up in Path(folder).parents if up.name == JOBS).parent / RUNS / cell / seed)
    else:
        job = RunJob.from_text(told)
    delayed = utils.DelayedSubmission(job)
    delayed.set_timeout(0, TIMEOUTS)
    changed: Any = utils.DelayedSubmission
    changed.load = classmethod(lambda cls, path: delayed)  # in place of the pickle at the path
    with patterns_in_names_alone():
        submission.process_job(folder)


if __name__ == "__main__":
    begin(*sys.argv[1:3], *[None] * (3 - len(sys.argv)))
