"""`eqprop runs attach`, and how the end of a run that is watched or killed is told."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from small_runs import epoch, make_run
from typer.testing import Result

from eqprop_core.events import RunFinished
from eqprop_core.marks import own_mark
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import called, summarize
from eqprop_core.runs.log import read_events
from eqprop_core.runs.names import CHECKPOINT, CHECKPOINT_BEFORE, EVENTS
from eqprop_core.runs.roots import forget_root
from eqprop_tui.cli import follow, steer, watch

Run = Callable[..., Result]
FINISHED = RunFinished(best_accuracy=55.0, last_accuracy=54.0, seconds=7.0)


def test_a_complete_run_is_summed_up_as_training_does(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", events=[epoch(1, 55.0), epoch(2, 54.0, best=False), FINISHED])
    said = eqprop("runs", "attach", run.path)
    assert "epoch 2" in said.stderr
    assert "best test 55.00 %, test last 54.00 %, took 7.0 s" in said.stdout
    assert f"saved in {run.path}" in said.stdout


def test_a_run_that_others_have_stopped_is_no_error(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", events=[epoch(1)], state={"state": "stopped"})
    said = eqprop("runs", "attach", run.path, code=0)
    assert f"stopped; go on with: eqprop runs resume {summarize(run.path).id}" in said.stderr
    assert said.stdout == ""


def test_a_run_that_has_failed_or_died_is_an_error(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", state={"state": "failed", "message": "no memory"})
    assert "no memory" in eqprop("runs", "attach", run.path, code=1).stderr
    run.write_state({**run.identity(), "state": "lost"})
    said = eqprop("runs", "attach", run.path, code=1).stderr
    assert f"its process has died; go on with: eqprop runs resume {summarize(run.path).id}" in said


def test_a_run_of_another_machine_that_is_silent_is_not_said_to_have_died(
    eqprop: Run, tmp_path: Path
) -> None:
    silent = {"state": "running", "host": "else\x1bwhere", "pid": 7, "heartbeat": time.time() - 3600}
    run = make_run(tmp_path / "results", state=silent)
    said = " ".join(eqprop("runs", "attach", run.path, code=1).stderr.split())
    assert "nothing is heard of its process on else\\x1bwhere; whether it goes on cannot be told" in said
    assert "died" not in said and "resume" not in said


def test_a_run_that_was_perhaps_killed_for_its_memory_is_told_so(eqprop: Run, tmp_path: Path) -> None:
    used = {"memory": 95 * 2**20, "memory_limit": 100 * 2**20}
    mine = {"state": "running", "heartbeat": time.time(), **own_mark(), "process_started": -1.0}  # is gone
    run = make_run(tmp_path / "results", state={**mine, **used})
    said = eqprop("runs", "attach", run.path, code=1).stderr
    assert "its process has died, perhaps out of memory; go on with: eqprop runs resume" in said


def test_the_last_words_are_whole_lines_that_the_process_printed(eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results", state={"state": "lost"})
    logged = [f"2026-11-27 18:33:43 epoch {number}  train 54.59 %" for number in range(200)]
    for printed, said in ([], ""), (["Killed by somebody"], ": Killed by somebody"):
        (run.path / "console.log").write_text("\n".join([*logged, *printed, *logged[:3], ""]))
        assert f"its process has died{said}; go on with" in eqprop("runs", "attach", run.path, code=1).stderr


def test_a_run_that_cannot_be_asked_to_stop_is_told_by_a_signal_or_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    (run.path / "control").touch()  # in place of the folder: no request can be written, as on a full disk
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with process:
        monkeypatch.setattr(watch, "process_to_signal", lambda *_: psutil.Process(process.pid))
        watch.stop(run)
        assert process.wait(60) == -signal.SIGTERM
    assert "stopping after this batch" in capsys.readouterr().err
    monkeypatch.setattr(watch, "process_to_signal", lambda *_: None)
    watch.stop(run)
    assert "it cannot be asked to stop: File exists" in capsys.readouterr().err


def test_a_request_that_cannot_be_written_is_told_with_what_can_be_done(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = {"state": "running", "heartbeat": time.time(), **own_mark()}
    run = make_run(tmp_path / "results", state=mine)
    (run.path / "control").touch()
    said = eqprop("runs", "checkpoint", run.path, code=1).stderr
    assert said == f"error: {run.path}: cannot be asked: File exists\n"  # no signal reaches it, as another's
    monkeypatch.setattr(steer, "process_to_signal", lambda *_: psutil.Process())
    said = eqprop("runs", "checkpoint", run.path, code=1).stderr
    assert f"{run.path}: cannot be asked: File exists; eqprop runs stop {called(run)} --terminate" in said


def test_of_a_long_history_the_last_epochs_are_shown_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, events=[epoch(number) for number in range(1, 64)])
    first = watch._last_epochs(run)
    assert f"… 43 epochs before; all of them: eqprop runs tail {called(run)}" in capsys.readouterr().err
    screen = Console(file=io.StringIO(), force_terminal=True, color_system=None, highlight=False, width=100)
    outcome = follow.Outcome()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(follow.report, "console", lambda **_: screen)
    follow.follow(read_events(run.path / EVENTS), epochs=63, into=outcome, shown_from=first)
    assert isinstance(screen.file, io.StringIO)
    told = [
        line.split()[1] for line in screen.file.getvalue().splitlines() if "epoch " in line and "loss" in line
    ]
    assert told == [str(number) for number in range(44, 64)]
    assert len(outcome.epochs) == 63


@pytest.mark.parametrize(
    ("begun", "said"),
    [(True, "stopped; go on with: "), (False, "stopped before its first checkpoint; begin again: ")],
)
def test_a_stopped_run_claims_the_checkpoint_that_it_has(
    begun: bool, said: str, tmp_path: Path, eqprop: Run
) -> None:
    run = make_run(tmp_path / "results", state={"state": "stopped"})
    if not begun:
        (run.path / CHECKPOINT).unlink()
        (run.path / CHECKPOINT_BEFORE).unlink()
    assert said in eqprop("runs", "attach", run.path).stderr


def test_a_short_history_is_shown_whole(tmp_path: Path) -> None:
    assert watch._last_epochs(make_run(tmp_path, events=[epoch(number) for number in range(1, 21)])) == 0


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        (True, "killed; what came after the last checkpoint is lost; go on with: eqprop runs resume "),
        (False, "killed before its first checkpoint; begin again: eqprop runs resume "),
    ],
)
def test_what_a_kill_has_cost_is_told(
    kept: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    if not kept:
        (run.path / CHECKPOINT).unlink()
        (run.path / CHECKPOINT_BEFORE).unlink()
    watch.tell_killed(run)
    assert said + summarize(run.path).id in capsys.readouterr().err


def test_hints_name_a_run_by_its_id_where_that_finds_it(tmp_path: Path) -> None:
    run: RunFolder = make_run(tmp_path)
    assert called(run) == summarize(run.path).id
    assert forget_root(tmp_path)
    assert called(run) == str(run.path)
