"""Processes that race for a run, each a whole command: one has it, whatever the file system makes of `flock`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from small_runs import TINY

from eqprop_core.config import RunConfig
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import AT_REST, summarize
from eqprop_core.runs.log import read_events

pytestmark = pytest.mark.slow
STANDINS = {
    "works": "",
    "lets everybody through": "import fcntl\nfcntl.flock = lambda *_: None\n",
    "ENOLCK": "import errno, fcntl\ndef flock(*_): raise OSError(errno.ENOLCK, 'no locks')\nfcntl.flock = flock\n",
}


@pytest.fixture(params=STANDINS)
def surroundings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of processes in which `flock` does as on a file system with or without locks."""
    (tmp_path / "standin").mkdir()
    (tmp_path / "standin" / "sitecustomize.py").write_text(STANDINS[request.param])
    surroundings = {**os.environ, "PYTHONPATH": str(tmp_path / "standin"), "OMP_NUM_THREADS": "1"}
    del surroundings["EQPROP_FOREGROUND"]
    return surroundings


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    config = RunConfig(**{**TINY, "train_samples": 20, "test_samples": 10, "epochs": 2, "device": "cpu"})
    return RunFolder.create(tmp_path / "results", config, command=["eqprop", "train"])


def at_once(count: int, words: list[str], surroundings: dict[str, str]) -> list[tuple[int, str]]:
    """What processes that are started together end with and say."""
    started = [
        subprocess.Popen(words, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(count)
    ]
    said = [process.communicate(timeout=600)[0] for process in started]
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


def numbers_once(run: RunFolder) -> bool:
    """Whether no two events have one number."""
    return max(Counter(record.seq for record in read_events(run.path / "events.jsonl")).values()) == 1


def test_of_workers_of_one_run_that_are_started_at_once_one_trains(
    run: RunFolder, surroundings: dict[str, str]
) -> None:
    words = [sys.executable, "-m", "eqprop_core.worker", str(run.path)]
    ends = at_once(3, words, surroundings)
    assert sorted(code for code, _ in ends) == [0, 1, 1], ends
    assert all("is in use by process" in text for code, text in ends if code), ends
    assert summarize(run.path).state == "finished"
    assert numbers_once(run)


def test_of_commands_that_resume_one_run_at_once_one_does(
    run: RunFolder, surroundings: dict[str, str]
) -> None:
    words = [sys.executable, "-m", "eqprop_tui", "runs", "resume", str(run.path), "--now"]
    ends = at_once(2, words, surroundings)
    assert sorted(code for code, _ in ends) == [0, 1], ends
    assert all("is in use by process" in text or " already" in text for code, text in ends if code), ends
    while summarize(run.path).state not in AT_REST:
        os.sched_yield()
    assert summarize(run.path).state == "finished"
    assert numbers_once(run)
