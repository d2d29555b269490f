"""The process that starts the runs of a sweep: what a folder says of it is not believed."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from made import cell, job_of, make_sweep

from eqprop_core import locks
from eqprop_core.marks import own_mark, seconds_after_boot
from eqprop_core.runs.folder import RunError
from eqprop_core.sweeps import process, slurm
from eqprop_core.sweeps.local import processes_of
from eqprop_core.sweeps.submitted import SUBMITTED, place_of


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user's that has nothing to do with the sweep."""
    with subprocess.Popen(["sh", "-c", "read _"], stdin=subprocess.PIPE) as started:
        yield started
        started.kill()


def test_a_launcher_that_was_not_started_for_the_sweep_is_not_ended(
    victim: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(tmp_path, cell("a"))
    monkeypatch.setattr(process, "SECONDS_TO_SIGN", 0.0)
    began = seconds_after_boot(psutil.Process(victim.pid))
    with process.take(sweep.path / "lock") as lock:
        (sweep.path / "lock").write_text(
            json.dumps({**own_mark(), "pid": victim.pid, "process_started": began})
        )
        with pytest.raises(RunError, match="cannot be ended from here"):
            process.end_launcher(sweep)
        lock.sign()
        with pytest.raises(RunError, match="being started already, by process"):
            process.start_launcher(sweep, process.LaunchSettings(), retry_failed=False)
    assert victim.poll() is None


def test_a_number_of_a_job_is_a_process_only_if_submitit_runs_there(
    victim: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    sweep = make_sweep(tmp_path, cell("a"))
    job = job_of(sweep, "a", 0)
    place_of(sweep, job).mkdir(parents=True)
    for number in (str(victim.pid), "1", "9" * 30, "0", "²"):
        (place_of(sweep, job) / f"{number}{SUBMITTED}").touch()
    assert processes_of(sweep, job) == []
    words = ["sh", "-c", "echo; read _", "-m", "submitit.local._local", str(place_of(sweep, job).absolute())]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        watching.stdout.readline()
        (place_of(sweep, job) / f"{watching.pid}{SUBMITTED}").touch()
        assert [found.pid for found in processes_of(sweep, job)] == [watching.pid]
        watching.kill()


def test_a_number_of_a_job_is_of_slurm_only_if_its_script_is_the_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = make_sweep(tmp_path / "with space", cell("a"), seeds=(0, 1))
    jobs = sweep.jobs()
    for number, job in enumerate(jobs, 100):
        place_of(sweep, job).mkdir(parents=True)
        (place_of(sweep, job) / f"{number}{SUBMITTED}").touch()
    script = place_of(sweep, jobs[1]).absolute() / "submission_file_abc.sh"
    answer = f"100 RUNNING /home/me/thesis.sh\n101 PENDING {script}\n102 RUNNING {script}\n\n"
    monkeypatch.setattr(slurm, "_asked", lambda _: answer)
    assert slurm.queued(sweep) == {jobs[1].path: ("101", "PENDING")}
    monkeypatch.setattr(slurm, "_asked", lambda _: "100 RUNNING\n")  # where it does not tell
    assert slurm.queued(sweep) == {jobs[0].path: ("100", "RUNNING")}


def test_a_sweep_of_another_user_is_not_launched_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path, **how: bool) -> int:
        raise PermissionError(errno.EACCES, "another user's", str(path))

    sweep = make_sweep(tmp_path, cell("a"))
    process.take(sweep.path / "lock").close()
    monkeypatch.setattr(locks, "open_to_lock", refuses)
    assert not process.is_launched(sweep)
