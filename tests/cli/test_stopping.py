"""Signals, locks and damaged checkpoints: nothing costs more than the batches since the last checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result
from waiting import give_way

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import read_events
from eqprop_core.worker import checkpoint
from eqprop_tui.cli.main import app

pytestmark = pytest.mark.usefixtures("hang_up_heard")

Run = Callable[..., Result]
WORDS = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--mmt", "0.9", "--T1", "6", "--T2", "3", "--betas", "0", "0.3", "--mbs", "1", "--seed", "1", "--epochs", "2"]  # fmt: skip


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """`eqprop train` as a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EQPROP_RESULTS": str(folder / "results")}
    return subprocess.Popen(
        [sys.executable, "-m", "eqprop_tui.cli.main", "train", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(found: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """What `found` returns once it is something; fails if the process ends before."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if value := found():
            return value
        assert process.poll() is None, process.communicate()
        give_way()
    raise AssertionError("nothing happened for a minute")


def batches_told(folder: Path) -> list[Path]:
    """The run's folder, once a batch of it has been told."""
    return [
        path.parent
        for path in folder.glob("results/*/*/*/*/events.jsonl")
        if any(record.event.kind == "batch" for record in read_events(path))
    ]


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    folder = tmp_path_factory.mktemp("left-alone")
    done = CliRunner().invoke(app, ["train", *WORDS, "--results", str(folder)])
    assert done.exit_code == 0, done.output
    (run,) = folder.glob("*/*/*/*")
    return run


def ends_as(run: Path, other: Path) -> None:
    """Assert that two runs end with the same weights and histories."""
    ends = [checkpoint.load(folder / "final_checkpoint.tar") for folder in (run, other)]
    assert ends[0]["histories"] == ends[1]["histories"]
    for name, value in ends[0]["model_state_dict"].items():
        assert torch.equal(value, ends[1]["model_state_dict"][name]), name


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_after_the_batch_and_the_run_ends_as_if_it_had_not(
    number: signal.Signals, code: int, tmp_path: Path, eqprop: Run, left_alone: Path
) -> None:
    process = start(tmp_path, *WORDS)
    (run,) = wait_for(lambda: batches_told(tmp_path), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert f"go on with: eqprop train --load-path {summarize(run).id}" in said
    assert json.loads((run / "state.json").read_text())["state"] == "stopped"
    position = checkpoint.load(run / "checkpoint.tar")["position"]
    assert 0 < position["batch"] < 1438 or position["epoch"] > 0

    eqprop("train", "--load-path", run)
    ends_as(run, left_alone)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path: Path, eqprop: Run, left_alone: Path) -> None:
    process = start(tmp_path, *WORDS, "--checkpoint-every", "0.001")
    (run,) = wait_for(
        lambda: [path.parent for path in tmp_path.glob("results/*/*/*/*/checkpoint.prev.tar")], process
    )
    process.kill()
    process.communicate()
    assert json.loads((run / "state.json").read_text())["state"] == "running"
    eqprop("train", "--load-path", run)
    ends_as(run, left_alone)


@pytest.fixture
def run(eqprop: Run, tmp_path: Path) -> Path:
    """A run of two short epochs, complete."""
    eqprop("train", *WORDS, "--train-samples", "30", "--test-samples", "10")
    (folder,) = tmp_path.glob("results/EP/mse/*/*")
    return folder


@pytest.mark.parametrize(
    ("damage", "other", "epoch"),
    [
        ("cut", "checkpoint.prev.tar", 1),
        ("altered", "checkpoint.prev.tar", 1),
        ("empty", "checkpoint.prev.tar", 1),
        ("gone wrong", "final_checkpoint.tar", 2),
        ("cut", "final_checkpoint.tar", 2),
    ],
)
def test_another_checkpoint_takes_the_place_of_a_damaged_one(
    damage: str, other: str, epoch: int, run: Path, eqprop: Run
) -> None:
    path = run / "checkpoint.tar"
    if other == "checkpoint.prev.tar":
        (run / "final_checkpoint.tar").unlink()
    whole = bytearray(path.read_bytes())
    if damage == "altered":
        middle = whole.find(b"\x00\x00\x80", 500)
        whole[max(middle, len(whole) // 2)] ^= 0x55
    path.write_bytes({"cut": whole[:-100], "altered": whole, "empty": b"", "gone wrong": b"x" * 900}[damage])
    said = eqprop("train", "--load-path", run, "--epochs", "1").stderr
    assert f"{other} is used instead" in said
    assert checkpoint.load(path)["position"]["epoch"] == epoch + 1


def test_a_run_to_load_is_named_as_in_other_commands(run: Path, eqprop: Run) -> None:
    for wanted in (summarize(run).id, run.name, "last"):
        assert "train" in eqprop("evaluate", "--load-path", wanted).stdout
    eqprop("train", "--load-path", "last", "--epochs", "1")
    assert summarize(run).epoch == 3
    assert "did you mean last?" in eqprop("gducheck", "--load-path", "lasst", code=2).stderr
    (run.parent / "last").mkdir()
    said = eqprop("gducheck", "--load-path", run.parent / "last", code=2).stderr
    assert "last: holds no run" in said


def test_a_run_has_one_owner_at_a_time(run: Path, eqprop: Run) -> None:
    with RunFolder(run).lock():
        said = eqprop("train", "--load-path", run, "--epochs", "1", code=1).stderr
        assert "is in use by process" in said
        eqprop("evaluate", "--load-path", run, "--save")
    eqprop("train", "--load-path", run, "--epochs", "1")
