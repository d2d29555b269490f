"""A run in a process of its own: it is watched, steered, paused, stopped and resumed from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from typer.testing import Result
from waiting import give_way

from eqprop_core.events import CheckpointSaved, Warned
from eqprop_core.runs.control import ask, take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import ALIVE, summarize
from eqprop_core.runs.log import follow_events, read_events
from eqprop_core.runs.names import CONTROL
from eqprop_core.worker import checkpoint

pytestmark = pytest.mark.usefixtures("warm_workers")

Run = Callable[..., Result]
WORDS = [
    "--thirdphase",  # one-sided, the few time steps would be warned of
    "--task",
    "digits",
    "--archi",
    "64",
    "8",
    "10",
    "--lrs",
    "0.1",
    "0.1",
    "--mmt",
    "0.9",
    "--T1",
    "6",
    "--T2",
    "3",
    "--betas",
    "0",
    "0.3",
    "--mbs",
    "1",
    "--seed",
    "1",
]


def until(folder: RunFolder, kind: str, *, after: int = 0, **fields: Any) -> Any:
    """The first event of a kind (and with such fields) after number `after`; fails if the process ends before."""
    state = lambda: summarize(folder.path).state  # noqa: E731
    path = folder.path / "events.jsonl"
    while not path.exists():
        assert folder.read_state().get("state") != "failed", folder.read_state()
        give_way()
    for record in follow_events(path, after=after, ended=lambda: state() not in ALIVE):
        if record.event.kind == kind and all(getattr(record.event, k) == v for k, v in fields.items()):
            return record
    raise AssertionError(f"no {kind} {fields} in {[r.event.kind for r in read_events(path)]}")


@pytest.fixture
def words(request: pytest.FixtureRequest) -> list[str]:
    """More flags for a run."""
    return list(getattr(request, "param", []))


@pytest.fixture
def detached(eqprop: Run, words: list[str]) -> Iterator[RunFolder]:
    """A run that has begun its first epoch, in a process of its own."""
    printed = eqprop("train", *WORDS, "--epochs", "4000", *words, "--detach").stdout.strip()
    folder = RunFolder(Path(printed))
    until(folder, "epoch_started")
    yield folder
    owner = folder.read_state()["pid"]
    if owner != os.getpid():  # some tests end a run in their own process
        with suppress(psutil.Error):
            psutil.Process(owner).kill()


def test_a_run_is_steered_from_outside_and_ends_as_if_it_had_been_left_alone(
    detached: RunFolder, eqprop: Run, tmp_path: Path
) -> None:
    eqprop("runs", "checkpoint", detached.path)
    until(detached, "checkpoint_saved")
    eqprop("runs", "pause", detached.path)
    paused = until(detached, "control_applied", request="pause")
    assert summarize(detached.path).state == "paused"
    assert "is paused already; go on with" in eqprop("runs", "pause", detached.path, code=1).stderr
    assert "is in use by process" in eqprop("train", "--load-path", detached.path, code=1).stderr

    eqprop("runs", "resume", detached.path)
    resumed = until(detached, "control_applied", request="resume")
    assert (resumed.event.epoch, resumed.event.batch) == (paused.event.epoch, paused.event.batch)
    between = [r for r in read_events(detached.path / "events.jsonl") if paused.seq < r.seq < resumed.seq]
    assert {record.event.kind for record in between} <= {"control_received"}

    for request, answer in (("checkpoint", "checkpoint_saved"), ("check", "gdu")):
        eqprop("runs", request, detached.path)
        until(detached, answer, after=resumed.seq)

    eqprop("runs", "stop", detached.path)
    until(detached, "control_applied", request="stopped")
    process = (
        psutil.Process(detached.read_state()["pid"])
        if psutil.pid_exists(detached.read_state()["pid"])
        else None
    )
    if process is not None:
        process.wait(30)
    assert summarize(detached.path).state == "stopped"
    assert "there is no process to ask" in eqprop("runs", "pause", detached.path, code=1).stderr

    position = checkpoint.load(detached.path / "checkpoint.tar")["position"]
    epochs = str(position["epoch"] + 1)
    eqprop("train", "--load-path", detached.path, "--epochs", "1")
    eqprop("train", *WORDS, "--epochs", epochs, "--results", tmp_path / "whole")
    (whole,) = tmp_path.glob("whole/*/*/*/*")
    ends = [checkpoint.load(folder / "final_checkpoint.tar") for folder in (detached.path, whole)]
    assert ends[0]["histories"] == ends[1]["histories"]
    for name, value in ends[0]["model_state_dict"].items():
        assert torch.equal(value, ends[1]["model_state_dict"][name])


@pytest.mark.parametrize("words", [["--T1", "1000000"]], indirect=True)
@pytest.mark.parametrize("wish", ["stop", "pause"])
def test_a_request_is_heard_in_a_batch_without_end_and_asked_twice_drops_it(
    wish: str, detached: RunFolder, eqprop: Run
) -> None:
    begun = until(detached, "phase").seq
    eqprop("runs", "checkpoint", detached.path)
    eqprop("runs", wish, detached.path)
    until(detached, "control_received", after=begun, request=wish)
    assert {event.kind for event in in_tail(detached)} == {"run_started", "epoch_started", "phase", "control_received"}  # fmt: skip
    assert "at once, dropping the batch" in eqprop("runs", wish, detached.path, "--now").stderr
    applied = until(detached, "control_applied", request={"stop": "stopped"}.get(wish, wish)).event
    assert (applied.epoch, applied.batch) == (1, 0)
    saved = [event for event in in_tail(detached) if isinstance(event, CheckpointSaved)]
    assert (saved[0].file, saved[0].batch) == ("checkpoint.tar", 0)


def test_settings_are_changed_in_flight_and_hold_on_resuming(detached: RunFolder, eqprop: Run) -> None:
    for words in (["--lr-factor", "0"], ["--epochs", "-1"], ["--event-rate", "11"], []):
        eqprop("runs", "set", detached.path, *words, code=2)
    eqprop("runs", "set", detached.path, "--lr-factor", "0.5", "--epochs", "3900", "--event-rate", "5")
    changed = until(detached, "amended").event
    assert changed.settings == {"lr_factor": 0.5, "epochs": 3900, "event_rate": 5.0}
    assert changed.batch is not None
    until(detached, "control_applied", request="set")
    eqprop("runs", "set", detached.path, "--checkpoint-every", "0.001")
    until(detached, "checkpoint_saved")
    assert [event for event in in_tail(detached) if isinstance(event, Warned)] == []
    assert summarize(detached.path).epochs == 3900
    eqprop("runs", "stop", detached.path, "--terminate")
    assert summarize(detached.path).state == "stopped"
    state = checkpoint.load(detached.path / "checkpoint.tar")
    assert (state["lr_factor"], state["epochs"]) == (0.5, 3900)
    last = max(record.seq for record in read_events(detached.path / "events.jsonl"))
    eqprop("runs", "resume", detached.path)
    assert until(detached, "epoch_started", after=last).event.rates == [0.05, 0.05]
    assert [event for event in in_tail(detached) if isinstance(event, Warned)] == []
    eqprop("runs", "stop", detached.path, "--kill")
    assert summarize(detached.path).state == "lost"
    assert "no process" in eqprop("runs", "stop", detached.path, "--kill", code=1).stderr


def in_tail(folder: RunFolder) -> list[Any]:
    """All events that a run has told."""
    return [record.event for record in read_events(folder.path / "events.jsonl")]


def test_a_last_epoch_that_is_over_is_refused(detached: RunFolder, eqprop: Run) -> None:
    until(detached, "epoch_finished")
    while summarize(detached.path).epoch < 1:  # the state is written after the event
        give_way()
    said = eqprop("runs", "set", detached.path, "--epochs", "1", code=2).stderr
    assert "--epochs 1: epoch 1 is over already" in said
    ask(detached.path, "set", {"epochs": 1})  # in the instant after such a question
    until(detached, "control_applied", request="set")
    (warning,) = [event for event in in_tail(detached) if isinstance(event, Warned)]
    assert "epoch 1 is over" in warning.message
    assert summarize(detached.path).epochs == 4000


def test_a_killed_run_is_lost_and_resumed(detached: RunFolder, eqprop: Run) -> None:
    eqprop("runs", "checkpoint", detached.path)
    until(detached, "checkpoint_saved")
    process = psutil.Process(detached.read_state()["pid"])
    process.kill()
    psutil.wait_procs([process], 30)
    assert summarize(detached.path).state == "lost"
    listed = json.loads(eqprop("runs", "list", "--json").stdout)
    assert [(run["path"], run["state"]) for run in listed] == [(str(detached.path.resolve()), "lost")]
    last = max(record.seq for record in read_events(detached.path / "events.jsonl"))
    eqprop("runs", "resume", detached.path)
    until(detached, "run_resumed", after=last)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *WORDS, "--train-samples", "5", "--test-samples", "5")
    (folder,) = tmp_path.glob("results/*/*/*/*")
    weights = checkpoint.load(folder / "final_model.pt")["model_state_dict"]
    for name in ("checkpoint.tar", "model.pt", "final_model.pt", "final_checkpoint.tar"):
        (folder / name).unlink()
    eqprop("train", "--load-path", folder)
    again = checkpoint.load(folder / "final_model.pt")["model_state_dict"]
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_run_that_cannot_begin_says_why(eqprop: Run, tmp_path: Path) -> None:
    words = ["--task", "imagefolder", "--data-dir", tmp_path, "--archi", "3072", "10", "--lrs", "0.1"]
    assert "is no folder" in eqprop("train", *words, "--detach", code=2).stderr
    assert not (tmp_path / "results").exists()


def test_requests_are_taken_once_and_in_order(tmp_path: Path) -> None:
    assert take(tmp_path) == []
    for request in ("pause", "resume", "stop"):
        ask(tmp_path, request)  # type: ignore[arg-type]
    ask(tmp_path, "set", {"epochs": 3})
    (tmp_path / CONTROL / "1-odd.json").write_text('{"request": "explode"}')
    (tmp_path / CONTROL / "2-odd.json").write_text("[[[")
    (tmp_path / CONTROL / "3-odd.json").write_bytes(b"\xff" * 100)
    (tmp_path / CONTROL / "4-odd.json").write_text('{"request": ["stop"]}')
    (tmp_path / CONTROL / "5-odd.json").write_text(" " * 100_000 + '{"request": "stop"}')
    (tmp_path / CONTROL / "6-odd.json").write_text('{"request": "set", "settings": {"epochs": 0.5}}')
    (tmp_path / CONTROL / "7-odd.json").write_text('{"request": "set", "settings": {"seed": 3}}')
    taken = [(asked.request, asked.settings) for asked in take(tmp_path)]
    assert taken == [("pause", {}), ("resume", {}), ("stop", {}), ("set", {"epochs": 3})]
    assert take(tmp_path) == []
    assert list((tmp_path / CONTROL).iterdir()) == []


def test_a_finished_run_is_deleted_after_asking_and_a_running_one_never(eqprop: Run, tmp_path: Path) -> None:
    eqprop("train", *WORDS, "--train-samples", "5", "--test-samples", "5")
    (folder,) = tmp_path.glob("results/*/*/*/*")
    with RunFolder(folder).lock():
        eqprop("runs", "delete", folder, "--yes", code=1)
    assert folder.exists()
    eqprop("runs", "delete", folder, "--yes")
    assert not folder.exists()


def test_events_that_are_being_written_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = '{"v":1,"seq":%d,"t":1.0,"kind":"warning","message":"m"}\n'
    parts = iter([line % 1, (line % 2)[:20], (line % 2)[20:], "torn nonsense\n" + line % 3])
    path.write_text("")

    def ended() -> bool:
        part = next(parts, None)
        if part is not None:
            with path.open("a") as file:
                file.write(part)
        return part is None

    assert [record.seq for record in follow_events(path, ended=ended, pause=0)] == [1, 2, 3]
