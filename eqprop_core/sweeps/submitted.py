"""What submitit keeps of a run's jobs, in `jobs/<cell>/<seed>`: which there were, and how they ended.

The numbers of jobs are read off the names of submitit's files, so that nothing else need be written down.
submitit's pickles are only read by the jobs that they were written for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eqprop_core.files import open_to_read
from eqprop_core.problems import printable
from eqprop_core.sweeps.folder import JOBS, RUNS, Job, SweepFolder

SUBMITTED = "_submitted.pkl"
SAFE = "PYTHONSAFEPATH"
LAST_LINE = 2000  # bytes


@contextmanager
def submitting() -> Iterator[None]:
    """Let submitit's processes import nothing from the folder where they are started, as `python -P`."""
    before = os.environ.get(SAFE)
    os.environ[SAFE] = "1"
    try:
        yield
    finally:
        os.environ.pop(SAFE)
        if before is not None:
            os.environ[SAFE] = before


def place_of(sweep: SweepFolder, job: Job) -> Path:
    """The folder of submitit's files of a run."""
    return sweep.path / JOBS / job.path.relative_to(sweep.path / RUNS)


def numbers_of(sweep: SweepFolder, job: Job) -> list[str]:
    """Numbers that the scheduler gave to a run's jobs, the latest last."""
    try:
        files = [(path.stat().st_mtime, path.name) for path in place_of(sweep, job).glob("*" + SUBMITTED)]
    except OSError:
        return []
    return [name.removesuffix(SUBMITTED) for _, name in sorted(files)]


def ended(sweep: SweepFolder, job: Job, number: str) -> bool:
    """Whether a job has come to its own end, rather than being killed or to be queued again."""
    return (place_of(sweep, job) / f"{number}_0_result.pkl").exists()


def last_words(sweep: SweepFolder, job: Job) -> str:
    """What the latest job of a run said of an error, empty if nothing."""
    for number in reversed(numbers_of(sweep, job)[-1:]):
        try:
            with open_to_read(place_of(sweep, job) / f"{number}_0_log.err") as file:
                file.seek(max(0, file.seek(0, 2) - LAST_LINE))
                lines = file.read(LAST_LINE).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return printable(errors[-1]) if errors else ""
    return ""
