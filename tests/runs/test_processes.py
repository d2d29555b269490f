"""Which process is a run's: what a `state.json` says is believed only where the process says so, too."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_runs import make_run

from eqprop_core.marks import boot_id, own_mark, seconds_after_boot
from eqprop_core.runs.ending import end
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Launched
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.places import Place
from eqprop_core.runs.processes import process_to_signal, worker_of
from eqprop_tui.cli.watch import tell_launch

Started = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def started() -> Iterator[Started]:
    """Start a process that sleeps, with these words in its command line."""
    made: list[subprocess.Popen[bytes]] = []

    def start(*words: str, **how: Any) -> subprocess.Popen[bytes]:
        sleeping = ["sh", "-c", "echo; read _", *words]
        made.append(subprocess.Popen(sleeping, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **how))
        assert made[-1].stdout is not None
        made[-1].stdout.readline()
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def mark(pid: int) -> dict[str, Any]:
    """What a process says of itself."""
    started = seconds_after_boot(psutil.Process(pid))
    return {**own_mark(), "pid": pid, "process_started": started, "state": "running"}


def refused(run: RunFolder, victim: subprocess.Popen[bytes]) -> None:
    for kill in (False, True):
        with pytest.raises(RunError, match=r"no process to end|which you have not started for it"):
            end(run, kill=kill)
    assert victim.poll() is None


def test_the_worker_of_a_run_is_ended(tmp_path: Path, started: Started) -> None:
    run = make_run(tmp_path)
    for words, kill in (
        (["-P", "-m", "eqprop_core.worker", str(run.path), "--lock", "3"], True),
        (["-m", "eqprop_core.worker", "--now", run.path.name], False),
    ):
        worker = started(*words, cwd=run.path.parent)
        run.write_state(mark(worker.pid))
        assert summarize(run.path).state == "running"
        assert end(run, kill=kill) == "lost"
        assert not psutil.pid_exists(worker.pid)


def test_a_worker_that_has_not_signed_is_found_by_its_command_line(tmp_path: Path, started: Started) -> None:
    run = make_run(tmp_path)
    worker = started("-m", "eqprop_core.worker", str(run.path))
    found = worker_of(run.path)
    assert found is not None
    assert found.pid == worker.pid
    assert worker_of(run.path.parent) is None


UNTOLD: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as it is": lambda mark: mark,
    "no boot": lambda mark: {**mark, "boot": None},
    "boot left out": lambda mark: {name: value for name, value in mark.items() if name != "boot"},
    "another boot": lambda mark: {**mark, "boot": str(boot_id())[::-1]},
    "a start that is no number": lambda mark: {**mark, "process_started": True},
    "a start of NaN": lambda mark: {**mark, "process_started": float("nan")},
    "another start": lambda mark: {**mark, "process_started": mark["process_started"] + 5},
    "a number with a point": lambda mark: {**mark, "pid": float(mark["pid"])},
    "a number as text": lambda mark: {**mark, "pid": str(mark["pid"])},
    "a group": lambda mark: {**mark, "pid": -mark["pid"]},
}


@pytest.mark.parametrize("told", UNTOLD)
def test_a_process_that_is_not_the_runs_is_not_ended(told: str, tmp_path: Path, started: Started) -> None:
    run = make_run(tmp_path)
    victim = started("an", "editor", str(run.path))
    run.write_state(UNTOLD[told](mark(victim.pid)))
    assert summarize(run.path).state == "lost"
    refused(run, victim)


@pytest.mark.parametrize("pid", [0, 1, -1, True, 10**30, 1.5, None, [1], "1"])
def test_a_number_that_is_no_process_of_the_run_ends_nothing(pid: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    beginning = seconds_after_boot(psutil.Process(1))
    (run.path / "state.json").write_text(json.dumps({**mark(1), "pid": pid, "process_started": beginning}))
    assert summarize(run.path).state == "lost"
    with pytest.raises(RunError, match="no process to end"):
        end(run, kill=True)


def test_neither_this_process_nor_a_thread_of_it_is_ended(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        for pid in (os.getpid(), thread.native_id):
            run.write_state({**mark(os.getpid()), "pid": pid})
            assert process_to_signal(run.path, run.read_state()) is None
            with pytest.raises(RunError):
                end(run, kill=True)
    finally:
        done.set()
        thread.join()


def test_the_copy_of_a_run_is_not_the_run(tmp_path: Path, started: Started) -> None:
    run, copy = make_run(tmp_path, number=0), make_run(tmp_path, number=1)
    worker = started("-m", "eqprop_core.worker", str(run.path))
    for folder in (run, copy):
        folder.write_state(mark(worker.pid))
    assert [summarize(folder.path).state for folder in (run, copy)] == ["running", "lost"]
    refused(copy, worker)


@pytest.mark.parametrize("flock", [True, False])
def test_a_process_that_holds_the_lock_is_ended_only_if_it_is_ours(
    flock: bool, tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path)
    if not flock:
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with run.lock() as lock:
        other = started("somebody", "who", "reads", pass_fds=[lock.fileno()])
        ours = started("/usr/bin/eqprop", "train", "--foreground", pass_fds=[lock.fileno()])
    run.write_state(mark(other.pid))
    assert summarize(run.path).state == "running"
    refused(run, other)
    run.path.rename(moved := run.path.with_name("moved"))
    (moved / "state.json").write_text(json.dumps(mark(ours.pid)))
    assert end(RunFolder(moved), kill=True) == "lost"  # wherever its folder is


def test_a_lock_with_a_second_name_makes_no_process_another_runs(tmp_path: Path, started: Started) -> None:
    mine = make_run(tmp_path / "mine")
    with mine.lock() as lock:
        ours = started("-m", "eqprop_core.worker", str(mine.path), pass_fds=[lock.fileno()])
    other = make_run(tmp_path / "other")
    (other.path / "lock").hardlink_to(mine.path / "lock")
    other.write_state(mark(ours.pid))
    refused(other, ours)
    mine.write_state(mark(ours.pid))
    assert process_to_signal(mine.path, mine.read_state()) is not None  # by its command line


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user, too")
def test_root_ends_no_process_of_another_user_than_the_runs(tmp_path: Path, started: Started) -> None:
    run = make_run(tmp_path)
    words = ["-m", "eqprop_core.worker", str(run.path)]
    worker = started(*words, user=65534)
    run.write_state(mark(worker.pid))
    refused(run, worker)
    assert worker_of(run.path) is None
    os.chown(run.path, 65534, 65534)
    assert process_to_signal(run.path, run.read_state()) is not None


def test_a_run_ahead_whose_process_is_stopped_is_told(
    tmp_path: Path, started: Started, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    worker = started("-m", "eqprop_core.worker", str(run.path))
    run.write_state({**mark(worker.pid), "state": "queued"})
    worker.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WNOWAIT)
    tell_launch(Launched(Place("cpu"), (run.path,), ()))
    assert f"which is stopped: kill -CONT {worker.pid} wakes it" in " ".join(capsys.readouterr().err.split())
