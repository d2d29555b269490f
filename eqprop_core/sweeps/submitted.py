"""What submitit keeps of a run's jobs, below `jobs/<cell>/<seed>`: which there were, and how they ended.

Each job has a folder of its own there, made for it, so that nothing lies there which others have put there
before. The numbers of jobs are read off the names of submitit's files, so that nothing else need be written
down. submitit's pickles are not read.
"""

from __future__ import annotations

import os
import secrets
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
    """The folder of the folders of a run's jobs; files of submitit's in it are of before."""
    return sweep.path / JOBS / job.path.relative_to(sweep.path / RUNS)


def new_place(sweep: SweepFolder, job: Job) -> Path:
    """Make a folder for submitit's files of one job, which others may read at most. Raises `OSError`."""
    place = place_of(sweep, job).absolute() / secrets.token_hex(4)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o755)
    return place


def jobs_of(sweep: SweepFolder, job: Job) -> dict[str, Path]:
    """Numbers that the scheduler gave to a run's jobs, the latest last, with the folders of their files."""
    place = place_of(sweep, job).absolute()
    try:
        paths = [*place.glob("*" + SUBMITTED), *place.glob("*/*" + SUBMITTED)]
        files = sorted((path.stat().st_mtime, path.name, path.parent) for path in paths)
    except OSError:
        return {}
    return {name.removesuffix(SUBMITTED): folder for _, name, folder in files}


def numbers_of(sweep: SweepFolder, job: Job) -> list[str]:
    """Numbers that the scheduler gave to a run's jobs, the latest last."""
    return list(jobs_of(sweep, job))


def ended(sweep: SweepFolder, job: Job, number: str) -> bool:
    """Whether a job has come to its own end, rather than being killed or to be queued again."""
    place = jobs_of(sweep, job).get(number)
    return place is not None and (place / f"{number}_0_result.pkl").exists()


def last_words(sweep: SweepFolder, job: Job) -> str:
    """What the latest job of a run said of an error, empty if nothing."""
    for number, place in list(jobs_of(sweep, job).items())[-1:]:
        try:
            with open_to_read(place / f"{number}_0_log.err") as file:
                file.seek(max(0, file.seek(0, 2) - LAST_LINE))
                lines = file.read(LAST_LINE).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return printable(errors[-1]) if errors else ""
    return ""
