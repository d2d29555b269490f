"""A sweep on this machine does every run once, whatever happens to its processes, through submitit's executor."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_sweeps import (
    SMALL,
    Run,
    ends_like_an_undisturbed_run,
    events,
    kinds,
    launcher,
    started,
    states,
    trains,
    wait_for,
    worker,
)

from eqprop_core.sweeps.folder import Job, SweepFolder, list_sweeps
from eqprop_core.sweeps.local import processes_of
from eqprop_core.sweeps.making import Wanted, make_sweep
from eqprop_core.sweeps.process import is_launched
from eqprop_core.sweeps.submitted import numbers_of


def tell_to_make_room(sweep: SweepFolder, job: Job) -> None:
    """Signal a run's job, as is also done when its time is up."""
    (controller,) = processes_of(sweep, job)
    (watching,) = controller.children()
    watching.send_signal(signal.SIGUSR2)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--grid", "alg=EP,BPTT"], id="two runs"),
        pytest.param(
            ["--grid", "alg=EP,BPTT", "--grid", "betas=0 0.1,0 0.5", "--seeds", "0-2"],
            id="twelve runs",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_run_is_done_once_whatever_happens_to_processes(words: list[str], eqprop: Run) -> None:
    """A worker and the launcher are killed; another job is told to make room, is saved and goes on."""
    sweep = started(eqprop, *words, "--epochs", "6", "--jobs", "2")
    killed, moved, *others = sweep.jobs()
    struck: list[Job] = []

    def kill() -> None:
        launcher(sweep).kill()
        worker(killed).kill()

    for _ in range(2):  # they may come to train in any order
        job = wait_for(
            lambda: next((job for job in (killed, moved) if trains(job) and job not in struck), None)
        )
        struck.append(job)
        if job == killed:
            kill()
        else:
            tell_to_make_room(sweep, moved)
    wait_for(lambda: not is_launched(sweep) and not processes_of(sweep, killed))
    assert states(sweep)["lost"] == 1
    told = eqprop("sweep", "resume", sweep.name, "--jobs", "2").stderr
    assert "finished" in told
    assert states(sweep) == {"finished": len(sweep.jobs())}
    for job in sweep.jobs():
        resumed = 1 if job in (killed, moved) else 0
        assert (kinds(job)["run_finished"], kinds(job)["run_resumed"]) == (1, resumed)
        ends_like_an_undisturbed_run(eqprop, sweep, job)
    assert all((kinds(job)["run_started"], kinds(job)["epoch_finished"]) == (1, 6) for job in others)
    assert len(numbers_of(sweep, killed)) == 2 and len(numbers_of(sweep, moved)) == 1
    assert eqprop("sweep", "resume", sweep.name).stdout.startswith(f"{len(sweep.jobs())} finished")
    assert all(kinds(job)["run_finished"] == 1 for job in sweep.jobs())


@pytest.mark.slow
def test_a_run_that_is_out_of_time_goes_on_as_often_as_it_takes(eqprop: Run) -> None:
    """More often than the six times that submitit starts a job again by itself; each time once it trains."""
    words = ["--time", "10:00", "--epochs", "40"]
    sweep = started(eqprop, *words)
    (job,) = sweep.jobs()
    for again in range(8):
        wait_for(lambda again=again: trains(job, again))
        tell_to_make_room(sweep, job)
    wait_for(lambda: not is_launched(sweep))
    assert states(sweep) == {"finished": 1}, (sweep.path / "launcher.log").read_text()
    assert (kinds(job)["run_resumed"], kinds(job)["run_finished"]) == (8, 1)
    ends_like_an_undisturbed_run(eqprop, sweep, job)


@pytest.mark.slow
def test_a_sweep_is_stopped_and_goes_on(eqprop: Run) -> None:
    eqprop("sweep", "list")  # nobody has started any
    asked = [*SMALL, "--seeds", "0-1", "--epochs", "5000"]
    words = [sys.executable, "-m", "eqprop_tui.cli.main", "sweep", *asked]
    watching = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    (sweep,) = wait_for(list_sweeps)
    first, second = sweep.jobs()
    wait_for(lambda: trains(first))
    watching.send_signal(signal.SIGINT)
    said = watching.communicate()[1]
    assert watching.returncode == 130
    assert f"its runs go on; eqprop sweep status {sweep.name} shows them" in said
    assert states(sweep) == {"running": 1, "waiting": 1}
    assert is_launched(sweep)
    eqprop("sweep", "stop", sweep.name)
    assert states(sweep) == {"stopped": 1, "waiting": 1}
    assert not is_launched(sweep)
    assert processes_of(sweep, first) == []
    assert not second.path.exists()
    begun = len(events(first))
    eqprop("sweep", "resume", sweep.name, "--detach")
    wait_for(lambda: len(events(first)) > begun)
    assert kinds(first)["run_resumed"] == 1
    eqprop("sweep", "resume", sweep.name, code=1)  # by two launchers at once
    eqprop("sweep", "stop", "last", "--kill")
    assert states(sweep) == {"lost": 1, "waiting": 1}


def test_a_failed_run_is_tried_again_only_when_asked(eqprop: Run, tmp_path: Path) -> None:
    plan = make_sweep(Wanted(["digits-mlp-ep"], {"epochs": 1, "train_samples": 8, "test_samples": 8}))
    sweep = SweepFolder.create(tmp_path / "results", plan)
    (job,) = sweep.jobs()
    job.path.mkdir(parents=True)
    (job.path / "config.toml").write_text("nonsense = 1\n")
    for _ in range(2):
        said = eqprop("sweep", "resume", "last", "--devices", "cpu", code=1)
        assert "1 failed" in said.stdout and "--retry-failed" in said.stderr
        assert "nonsense" in eqprop("sweep", "status").stdout
    assert len(numbers_of(sweep, job)) == 1
    eqprop("sweep", "resume", "last", "--retry-failed", "--devices", "cpu", code=1)
    assert len(numbers_of(sweep, job)) == 2
