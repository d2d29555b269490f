"""Runs in processes of their own: what they are started with, how they wait, what they leave behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from small_runs import make_run
from typer.testing import Result
from waiting import give_way
from warm_worker import SPAWN

from eqprop_core.events import Warned
from eqprop_core.marks import own_mark
from eqprop_core.runs import launcher, logout
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import ALIVE, list_runs, summarize
from eqprop_core.runs.log import read_events
from eqprop_core.runs.queue import in_line, line_of, take_ticket
from eqprop_core.worker.__main__ import main
from eqprop_tui.cli import watch

pytestmark = pytest.mark.usefixtures("warm_workers")

Run = Callable[..., Result]
SMALL = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "4", "--T2", "2", "--betas", "0", "0.3", "--seed", "1", "--train-samples", "40", "--test-samples", "10"]  # fmt: skip
LONG = [*SMALL[:-4], "--mbs", "1", "--epochs", "40000"]


@pytest.fixture(autouse=True)
def _processes_end(tmp_path: Path) -> Iterator[None]:
    yield
    for run in list_runs([tmp_path / "results"]):
        with suppress(psutil.Error, KeyError, TypeError):
            pid = RunFolder(run.path).read_state()["pid"]
            if run.state in ALIVE and pid != os.getpid():
                psutil.Process(pid).kill()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings get processes of their own, as they do for a person."""
    monkeypatch.delenv("EQPROP_FOREGROUND")


def stands(folder: Path, *wanted: str) -> dict[str, Any]:
    """Wait until a run stands as wanted; returns its `state.json`."""
    for _ in range(60_000):
        if (state := summarize(folder).state) in wanted:
            return RunFolder(folder).read_state()
        assert state in ALIVE, (state, (folder / "console.log").read_text())
        give_way()
    raise AssertionError(f"{state}, not {wanted}")


def stand_in(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of this name, found before all others."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("apart", "cold_workers")
def test_a_training_is_watched_to_its_end_in_a_process_of_its_own(eqprop: Run, tmp_path: Path) -> None:
    done = eqprop(
        "train", *SMALL, "--epochs", "2", "--name", "mine", "--tag", "a", "--tag", "b c", "--note", "why not"
    )
    assert "epoch 2" in done.stderr
    assert "saved in" in done.stdout
    (folder,) = tmp_path.glob("results/*/*/*/*")
    state = stands(folder, "finished")
    assert state["pid"] != os.getpid()
    assert state["name"] == "mine"
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["tags"], meta["note"], meta["device"]) == (["a", "b c"], "why not", "cpu")
    assert meta["torch"]
    assert "epoch 2" in (folder / "console.log").read_text()
    again = json.loads(
        eqprop("train", "--load-path", folder, "--epochs", "1", "--lrs", "0.05", "0.05", "--json").stdout
    )
    assert [event["epoch"] for event in again["epochs"]] == [3]
    assert RunFolder(folder).amendments() == {"lrs": [0.05, 0.05], "epochs": 3}
    assert "is complete" in eqprop("train", "--load-path", folder, code=1).stderr
    assert summarize(folder).state == "finished"


@pytest.mark.usefixtures("apart")
def test_a_training_that_fails_says_why_and_exits_with_1(eqprop: Run, tmp_path: Path) -> None:
    words = [
        *SMALL,
        "--loss",
        "cel",
        "--lrs",
        "1e6",
        "1e6",
        "--wds",
        "1e6",
        "1e6",
        "--epochs",
        "9",
        "--mbs",
        "2",
    ]
    assert "failed: the loss is" in eqprop("train", *words, code=1).stderr
    (folder,) = tmp_path.glob("results/*/*/*/*")
    assert summarize(folder).state == "failed"


@pytest.mark.parametrize("words", [["--tag", "a\nb"], ["--note", ""], ["--detach", "--foreground"], ["--detach", "--no-save"], ["--name", "last"], ["--name", "a/b"], ["--name=-x"], ["--train-samples", "9999", "--dry-run"]])  # fmt: skip
def test_what_cannot_be_is_refused(words: list[str], eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *SMALL, *words, code=2)
    assert not (tmp_path / "results").exists()


def test_runs_on_one_device_wait_for_each_other_unless_told_otherwise(
    eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detached(*words: str) -> Path:
        return Path(eqprop("train", *words, "--detach").stdout.strip()).resolve()

    first = detached(*LONG)
    stands(first, "running")
    second = detached(*SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(launcher, "spawn", SPAWN)  # a program, to see what it has loaded as it waits
        third = detached(*SMALL)
    assert stands(second, "queued")["ahead"] == 1
    assert stands(third, "queued")["ahead"] == 2
    waiting = psutil.Process(RunFolder(third).read_state()["pid"])
    assert not any("torch" in mapped.path for mapped in waiting.memory_maps())
    assert in_line(line_of("cpu")) == [first, second, third]
    at_once = detached(*SMALL, "--now")
    stands(at_once, "finished")
    assert "waiting for its device" in eqprop("runs", "pause", third, code=1).stderr
    asked_too_early = eqprop("runs", "resume", third, code=1).stderr
    assert "is queued already; --now begins at once" in asked_too_early
    fourth = detached(*SMALL)
    stands(fourth, "queued")
    eqprop("runs", "resume", fourth, "--now")
    stands(fourth, "finished")
    assert stands(first, "running")
    eqprop("runs", "stop", second)
    stands(second, "stopped")
    assert stands(third, "queued")
    eqprop("runs", "stop", first, "--kill")
    assert summarize(first).state == "lost"
    stands(third, "finished")
    eqprop("runs", "resume", second)
    stands(second, "finished")
    psutil.wait_procs(
        [psutil.Process(pid) for pid in [RunFolder(second).read_state()["pid"]] if psutil.pid_exists(pid)], 60
    )
    assert in_line(line_of("cpu")) == []


def test_a_command_is_run_when_the_run_has_ended(eqprop: Run, tmp_path: Path) -> None:
    command = f'echo "$EQPROP_NAME $EQPROP_STATE $EQPROP_BEST $EQPROP_RUN" >> {tmp_path}/told; exit 3'
    run = Path(eqprop("train", *SMALL, "--name", "n", "--detach", "--on-finish", command).stdout.strip())
    stands(run, "finished")
    with suppress(psutil.NoSuchProcess):
        psutil.Process(RunFolder(run).read_state()["pid"]).wait(60)
    name, state, best, path = (tmp_path / "told").read_text().split()
    assert (name, state, path) == ("n", "finished", str(run.resolve()))
    assert float(best) == summarize(run).best
    assert "ended with status 3" in (run / "console.log").read_text()
    *_, last = read_events(run / "events.jsonl")
    assert isinstance(last.event, Warned) and last.event.message == "--on-finish ended with status 3"
    eqprop("train", *SMALL, "--name", "n", "--on-finish", command)
    assert len((tmp_path / "told").read_text().splitlines()) == 2


def test_a_run_that_goes_on_shows_how_far_it_had_come(eqprop: Run) -> None:
    run = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    until_epoch(run, 1)
    eqprop("runs", "stop", run)
    stopped = stands(run, "stopped")
    eqprop("runs", "resume", run)
    resumed = stands(run, "running")
    told = ("epoch", "best", "last", "seconds_an_epoch")
    assert {name: resumed[name] for name in told} == {name: stopped[name] for name in told}


@pytest.mark.usefixtures("apart")
def test_epochs_that_were_added_are_not_forgotten_when_the_process_dies(eqprop: Run) -> None:
    run = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    until_epoch(run, 1)
    eqprop("runs", "stop", run)
    stands(run, "stopped")
    eqprop("train", "--load-path", run, "--epochs", "50000", "--detach")
    planned = stands(run, "running")["epochs"]
    assert planned > 50000
    while '"kind": "amended"' not in (run / "events.jsonl").read_text():  # it runs before it has said so
        give_way()
    eqprop("runs", "stop", run, "--kill")
    eqprop("runs", "resume", run)
    while stands(run, "running", "starting")["epochs"] != planned:
        give_way()


@pytest.mark.usefixtures("cold_workers")
def test_a_stop_that_is_asked_while_the_process_begins_is_heard(eqprop: Run) -> None:
    run = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    ask(run, "stop")
    stands(run, "stopped")
    assert summarize(run).epoch == 0


def test_a_run_does_not_hear_a_hang_up(eqprop: Run) -> None:
    run = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    process = psutil.Process(stands(run, "running")["pid"])
    process.send_signal(signal.SIGHUP)
    until_epoch(run, summarize(run).epoch + 1)
    assert summarize(run).state == "running"
    eqprop("runs", "stop", run)
    stands(run, "stopped")


def test_a_run_that_was_complete_still_is_when_more_of_it_is_stopped_in_line(eqprop: Run) -> None:
    complete = Path(eqprop("train", *SMALL, "--detach").stdout.strip())
    stands(complete, "finished")
    first = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    stands(first, "running")
    eqprop("runs", "resume", complete, "--epochs", "5")
    stands(complete, "queued")
    eqprop("runs", "stop", complete)
    stands(complete, "finished")


def test_a_command_at_the_end_can_train_on_the_same_device(eqprop: Run, tmp_path: Path) -> None:
    words = " ".join(["train", *SMALL, "--name", "second"])
    command = f"env -u EQPROP_FOREGROUND {sys.executable} -m eqprop_tui.cli.main {words}"
    run = Path(eqprop("train", *SMALL, "--detach", "--on-finish", command).stdout.strip())
    stands(run, "finished")
    with suppress(psutil.NoSuchProcess):
        psutil.Process(RunFolder(run).read_state()["pid"]).wait(120)
    assert [summary.state for summary in list_runs([tmp_path / "results"])] == ["finished"] * 2


@pytest.mark.usefixtures("cold_workers")
def test_files_of_the_folder_where_a_run_is_started_are_not_taken_for_modules(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "random.py").write_text("raise SystemExit('not this one')")
    stands(Path(eqprop("train", *SMALL, "--detach").stdout.strip()), "finished")


def test_a_device_that_is_refused_leaves_no_folder(eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *SMALL, "--device", "mps", "--detach", code=2)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "where", ["folder._commit", "launcher.take_tickets", "launcher.outliving", "launcher.line_of"]
)
def test_an_interrupt_before_the_process_begins_leaves_no_folder(
    where: str, eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(f"eqprop_core.runs.{where}", interrupted)
    said = eqprop("train", *SMALL, "--detach", code=130).stderr
    assert said == "interrupted before the run began\n"
    assert list(tmp_path.glob("results/*/*/*/*")) == []


@pytest.mark.usefixtures("cold_workers")
def test_an_interrupt_when_the_process_has_begun_stops_the_run(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = launcher.spawn

    def interrupted(*words: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        spawn(*words)

    monkeypatch.setattr(launcher, "spawn", interrupted)
    eqprop("train", *LONG, "--detach", code=130)
    (run,) = tmp_path.glob("results/*/*/*/*")
    stands(run, "stopped")
    assert summarize(run).epoch == 0


@pytest.mark.parametrize(("state", "waits"), [("stopped", True), ("running", False)])
def test_a_process_that_has_just_ended_is_given_time_to_let_go(
    state: str, waits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, state={"state": state, "heartbeat": time.time(), **own_mark()})
    lock = run.lock()
    with monkeypatch.context() as patch:
        patch.setattr(launcher.time, "sleep", lambda _: lock.close())
        launcher._wait_until_given_back(run)
    assert lock.closed == waits
    lock.close()


@pytest.mark.parametrize("apart", [True, False])
def test_a_run_that_has_lost_its_id_gets_another_when_it_goes_on(
    apart: bool, eqprop: Run, tmp_path: Path
) -> None:
    eqprop("train", *SMALL)
    (folder,) = tmp_path.glob("results/*/*/*/*")
    (folder / "meta.json").unlink()
    if apart:
        eqprop("runs", "resume", folder, "--epochs", "1")
        stands(folder, "finished")
    else:
        eqprop("train", "--load-path", folder, "--epochs", "1")
    assert len(summarize(folder).id) == 8
    assert summarize(folder).name == folder.name
    assert summarize(folder).created is not None


def test_what_keeps_a_process_from_being_started_is_named(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "spawn", SPAWN)
    run = make_run(tmp_path / "results", state={"state": "stopped"})
    (run.path / "console.log").symlink_to(tmp_path / "elsewhere")
    said = " ".join(eqprop("runs", "resume", run.path, code=1).stderr.split())
    assert (
        f"its process cannot be started: is a link, which is not written through: {run.path}/console.log"
        in said
    )
    assert summarize(run.path).state == "stopped"


def until_epoch(run: Path, epoch: int) -> None:
    """Wait until a run has finished an epoch."""
    while summarize(run).epoch < epoch:
        assert summarize(run).state in ALIVE, (run / "console.log").read_text()
        give_way()


def test_a_run_whose_process_ended_before_it_could_say_anything_is_lost(eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *SMALL)
    (folder,) = tmp_path.glob("results/*/*/*/*")
    run = RunFolder(folder)
    run.write_state({**run.read_state(), "state": "starting", "pid": None, "heartbeat": time.time()})
    assert summarize(folder).state == "lost"
    with run.lock():
        assert summarize(folder).state == "starting"


def test_a_process_that_hangs_before_it_says_anything_can_be_killed(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stand_in(tmp_path / "bin", "python", "kill -STOP $$", patch)
        patch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
        run = Path(eqprop("train", *SMALL, "--detach").stdout.strip())
    assert summarize(run).state == "starting"
    eqprop("runs", "stop", run, "--kill")
    assert summarize(run).state == "lost"
    assert "is lost; there is no process to end" in eqprop("runs", "stop", run, "--kill", code=1).stderr


def test_a_run_whose_folder_was_deleted_can_be_found_and_ended(
    eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    process = psutil.Process(stands(run, "running")["pid"])

    def deleted(*_: Any, **__: Any) -> None:
        process.suspend()  # it writes all the time, also where a folder is moved to
        shutil.rmtree(run)
        process.resume()

    monkeypatch.setattr(watch, "follow", deleted)
    with pytest.raises(RunError, match=f"its folder is gone; process {process.pid} still trains"):
        watch.watch(RunFolder(run))
    second = eqprop("train", *SMALL, "--alg", "BPTT", "--detach")  # whose folder is not called the same
    assert f"{run.name}, whose folder is gone: kill {process.pid} ends it" in second.stderr
    assert "its folder is gone" in eqprop("runs", "stop", run).stderr
    assert not process.is_running()
    stands(Path(second.stdout.strip()), "finished")
    assert "is no run" in eqprop("runs", "stop", run, code=2).stderr


def worker(run: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The worker, as a scheduler would start it."""
    return subprocess.run(
        [sys.executable, "-m", "eqprop_core.worker", str(run), *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_worker_that_is_started_by_hand_owns_its_run(
    eqprop: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eqprop("train", *SMALL)
    (folder,) = tmp_path.glob("results/*/*/*/*")
    assert worker(folder, "--more-epochs", "1").returncode == 0
    assert summarize(folder).epoch == 2
    main([str(folder)])  # in this process, as torch is loaded in it
    assert "is complete" in capsys.readouterr().err
    assert summarize(folder).state == "finished"
    with RunFolder(folder).lock():
        assert main([str(folder), "--more-epochs", "1"]) == 1
    assert "is in use" in capsys.readouterr().err


def test_a_worker_writes_nothing_into_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = worker(tmp_path)
    assert (done.returncode, done.stderr) == (2, f"error: {tmp_path}: is no run: it has no config.toml\n")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("answer", ["exit 0", "echo no such job >&2; exit 1", None])
def test_usr2_saves_a_checkpoint_and_requeues_under_a_scheduler(
    answer: str | None, eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer is not None:
        stand_in(tmp_path / "bin", "scontrol", f'echo "$@" >> {tmp_path}/asked; {answer}', monkeypatch)
        monkeypatch.setenv("SLURM_JOB_ID", "77")
    run = Path(eqprop("train", *LONG, "--detach").stdout.strip())
    state = stands(run, "running")
    psutil.Process(state["pid"]).send_signal(12)
    if answer == "exit 0":
        stands(run, "stopped")
    else:
        while not (run / "checkpoint.tar").exists():
            assert summarize(run).state == "running"
    if answer is not None:
        while not ((tmp_path / "asked").exists() and (tmp_path / "asked").read_text().endswith("\n")):
            give_way()
        assert (tmp_path / "asked").read_text() == "requeue 77\n"
    if answer == "exit 0":
        said = [
            record.event.message
            for record in read_events(run / "events.jsonl")
            if record.event.kind == "warning"
        ]
        assert any("job 77 is requeued" in message for message in said)


@pytest.mark.parametrize(
    ("kills", "lingers", "wrapped", "said"),
    [("b false", "no", False, False), ("b true", "no", False, True), ("b true", "yes", True, False)],
)
def test_where_log_out_ends_processes_a_run_is_put_into_a_scope_or_the_person_is_told(
    kills: str, lingers: str, wrapped: bool, said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert logout.outliving(["a"]) == (["a"], [])  # no session of logind's
    monkeypatch.setenv("XDG_SESSION_ID", "3")
    for name, answer in (("busctl", kills), ("loginctl", lingers), ("systemd-run", "")):
        stand_in(tmp_path / "bin", name, f'echo "{answer}"', monkeypatch)
    words, warnings = logout.outliving(["a", "b"])
    assert words[-2:] == ["a", "b"]
    assert (len(words) > 2) == wrapped
    assert bool(warnings) == said
    assert not said or "loginctl enable-linger" in warnings[0]


def test_a_run_in_a_scope_is_still_given_its_lock_and_its_ticket(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_SESSION_ID", "3")
    for name, script in (
        ("busctl", "echo b true"),
        ("loginctl", "echo yes"),
        ("systemd-run", 'shift 5; exec "$@"'),
    ):
        stand_in(tmp_path / "bin", name, script, monkeypatch)
    run = Path(eqprop("train", *SMALL, "--detach").stdout.strip())
    stands(run, "finished")


def test_a_ticket_whose_worker_never_came_is_nobodys(tmp_path: Path) -> None:
    ticket = take_ticket(line_of("cpu"), tmp_path)
    os.close(ticket.descriptor)
    assert in_line(line_of("cpu")) == []


def test_of_processes_that_are_started_at_once_each_inherits_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [os.pipe() for _ in range(4)]
    numbers = [number for end in ends for number in end]
    seen: list[list[int]] = []
    gone_on = threading.Barrier(len(ends))

    def started(*words: Any, **how: Any) -> int:
        give_way()
        seen.append([number for number in numbers if os.get_inheritable(number)])
        return 0

    def begin(end: tuple[int, int]) -> None:
        gone_on.wait()
        launcher.spawn(["true"], tmp_path / "log", {}, end)

    monkeypatch.setattr(os, "posix_spawn", started)
    threads = [threading.Thread(target=begin, args=(end,)) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(map(list, ends))
    for number in numbers:
        os.close(number)
