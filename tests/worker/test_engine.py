"""What starts the processes of a run on one machine: it sees how they end, and leaves none behind."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from forked import CONTEXT
from small_runs import make_run
from waiting import give_way

from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.worker import engine
from eqprop_core.worker.signals import Wishes

SLEEP = "import time; time.sleep(600)"
FREEZE = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    found = make_run(tmp_path)
    found.write_state({**found.read_state(), "state": "running"})
    return found


def trained(run: RunFolder, scripts: list[str], monkeypatch: pytest.MonkeyPatch, stop: bool = False) -> int:
    """The exit status of a run each of whose processes does what its script says."""
    monkeypatch.setattr(engine, "SECONDS_TO_END", 1.0)
    monkeypatch.setattr(engine, "SECONDS_TO_SERVE", 0.5)
    monkeypatch.setattr(engine, "LOOKS_AT_STATES", 2)
    return engine.own_together(words_for(run, scripts, monkeypatch), Wishes(), None)


def words_for(run: RunFolder, scripts: list[str], monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    script = f"import json, sys; exec({scripts!r}[json.loads(sys.argv[-1])['rank']])"
    monkeypatch.setattr(engine, "_words", lambda words, lock: [sys.executable, "-S", "-c", script])
    return argparse.Namespace(run=run.path, nproc=len(scripts))


@pytest.mark.parametrize(
    ("scripts", "status", "state", "message"),
    [
        (["", ""], 0, "running", None),  # rank 0 would have said how it ended
        (["", SLEEP], 0, "running", None),
        (["", FREEZE], 0, "running", None),
        (["raise SystemExit(3)", SLEEP], 3, "failed", "process 0 of 2 (from 0) ended with status 3"),
        ([SLEEP, "raise SystemExit(2)", SLEEP], 2, "failed", "process 1 of 3 (from 0) ended with status 2"),
        (
            [SLEEP, "import os; os.kill(os.getpid(), 11)"],
            1, "failed", "process 1 of 2 (from 0) was ended by SIGSEGV",
        ),
        pytest.param(
            [SLEEP, "import os; os.kill(os.getpid(), 41)"],
            1, "failed", "process 1 of 2 (from 0) was ended by signal 41",
            marks=pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="has no signals without a name"),
        ),
        ([FREEZE, "raise SystemExit(1)"], 1, "failed", "process 0 of 2 (from 0), pid {}, is stopped"),
    ],
)  # fmt: skip
def test_how_they_end_is_written_down_and_none_is_left(
    scripts: list[str],
    status: int,
    state: str,
    message: str | None,
    run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids: list[int] = []
    wait = engine._wait
    monkeypatch.setattr(
        engine, "_wait", lambda started, run: (pids.extend(p.pid for p in started), wait(started, run))[1]
    )
    assert trained(run, scripts, monkeypatch) == status
    assert len(pids) == len(scripts) and not any(map(psutil.pid_exists, pids))
    assert run.read_state()["state"] == state
    if message is not None:
        assert str(run.read_state()["message"]).startswith(message.format(pids[0]))
    assert not run.is_owned()


def test_a_stop_ends_a_run_whose_owner_is_stopped(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    wait = engine._wait
    monkeypatch.setattr(engine, "_wait", lambda started, of: (ask(of.path, "stop"), wait(started, of))[1])
    assert trained(run, [FREEZE, SLEEP], monkeypatch) == 1
    assert "process 0 of 2 (from 0), pid" in run.read_state()["message"]


def test_a_process_that_cannot_be_started_is_said_in_words(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_for(run, ["", ""], monkeypatch)
    monkeypatch.setattr(engine, "_words", lambda words, lock: ["/nowhere/python"])
    assert engine.own_together(words, Wishes(), None) == 1
    assert "could not be started: No such file or directory" in run.read_state()["message"]


def owner(path: Path) -> None:
    tied = "from eqprop_core.worker.neighbours import Links, end_with; "
    tied += "end_with(Links.of_document(sys.argv[-1]).parent); "
    scripts = [tied + SLEEP, tied + FREEZE]
    script = f"import json, sys; exec({scripts!r}[json.loads(sys.argv[-1])['rank']])"
    engine._words = lambda words, lock: [sys.executable, "-c", script]
    engine.own_together(argparse.Namespace(run=path, nproc=2), Wishes(), None)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no PR_SET_PDEATHSIG")
def test_none_outlives_the_one_that_started_them_even_one_that_is_stopped(run: RunFolder) -> None:
    process = CONTEXT.Process(target=owner, args=(run.path,))
    process.start()
    there: list[psutil.Process] = []
    while len(there) < 2 or not any(one.status() == psutil.STATUS_STOPPED for one in there):
        assert process.is_alive()
        there = psutil.Process(process.pid).children()
        give_way()
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    _, left = psutil.wait_procs(there, timeout=60)
    assert not left
    assert not run.is_owned()


def test_a_signal_that_comes_while_they_are_started_reaches_all_of_them(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = engine.subprocess.Popen
    told = iter([True, False])

    def begin(*words: Any, **how: Any) -> Any:
        process = started(*words, **how)
        if next(told):  # before anybody can know of this process
            signal.raise_signal(signal.SIGTERM)
        return process

    monkeypatch.setattr(engine.subprocess, "Popen", begin)
    assert trained(run, [SLEEP, SLEEP], monkeypatch) == 128 + signal.SIGTERM
