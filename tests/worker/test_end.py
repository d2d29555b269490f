"""The end of a run can be repeated: whatever of it is missing is written when the run is resumed.

Killed at any call by which its end is written, a run is resumed and then finished, with the weights, the
optimizer's state and the events of one that was left alone. What cannot be written is waited for, until there
is room or the run is stopped.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from interruptions import Processes, Strike, end_of, said, same, values_of, warnings_of
from test_bit_exact import TABLE

from eqprop_core.config import RunConfig
from eqprop_core.events import Activity, Record, RunFinished, Warned
from eqprop_core.learning.trainer import Trainer
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import current_events
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import read_events
from eqprop_core.runs.names import BEST_MODEL, EVENTS, FINAL_CHECKPOINT, FINAL_MODEL, STATE
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.job import begin
from eqprop_core.sweeps.making import Wanted, make_sweep
from eqprop_core.sweeps.standing import stands, to_do
from eqprop_core.worker import checkpoint, session
from eqprop_core.worker.__main__ import main as worker
from eqprop_core.worker.pictures import Pictures

SMALL: dict[str, Any] = {
    "task": "digits", "archi": [64, 4, 10], "lrs": [0.1, 0.1], "T1": 3, "T2": 2, "betas": [0, 0.5],
    "train_samples": 20, "test_samples": 10, "seed": 1, "epochs": 2,
}  # fmt: skip


def finished_events(run: RunFolder) -> int:
    """How often a reader is told that the run is finished."""
    return len(list(current_events(run.path / EVENTS, (RunFinished.kind,))))


def killed_at_the_end(
    name: str, tmp_path: Path, data_root: Path, first: int, step: int
) -> tuple[int, list[str]]:
    """Kill a run at the calls `first`, `first + step` … of its end and resume it; how many, and what differs."""
    processes = Processes()
    config = RunConfig(**TABLE[name], data_dir=str(data_root))
    whole = RunFolder.create(tmp_path / "whole", config, command=[name])
    processes.complete(whole)
    expected = end_of(whole), values_of(whole), warnings_of(whole)
    kept = RunFolder.create(tmp_path / "kept", config, command=[name])
    assert processes.work(kept, Strike("end", 1)) < 0
    wrong: list[str] = []
    call = first
    while True:
        run = RunFolder(tmp_path / "run")
        shutil.copytree(kept.path, run.path)
        struck = processes.work(run, Strike("call of the end", call)) < 0
        status = processes.work(run) if struck and not run.is_complete() else 0
        found = end_of(run), values_of(run), warnings_of(run)
        if not (
            status == 0 and same(found, expected) and finished_events(run) == 1
            and summarize(run.path).state == "finished" and run.is_complete()
        ):  # fmt: skip
            wrong.append(f"call {call}: {status}, {summarize(run.path).state}\n{said(run)}")
        left = [path.name for path in run.path.iterdir() if path.name.startswith(".")]
        if left:
            wrong.append(f"call {call}: leaves {left}")
        shutil.rmtree(run.path)
        if not struck:
            return call, wrong
        call += step


def test_a_run_that_is_killed_at_its_end_is_finished_when_it_is_resumed(
    tmp_path: Path, data_root: Path
) -> None:
    calls, wrong = killed_at_the_end("symmetric, dropout, decay", tmp_path, data_root, 2, 9)
    assert not wrong
    assert calls > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_a_run_can_be_killed_at_every_call_of_its_end(name: str, tmp_path: Path, data_root: Path) -> None:
    calls, wrong = killed_at_the_end(name, tmp_path, data_root, 1, 1)
    print(f"\n{name}: killed at each of {calls - 1} calls of its end, {len(wrong)} went wrong")
    assert not wrong


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A small run, whose last tries follow each other at once."""
    monkeypatch.setattr(session, "SECONDS_TO_LAST_TRY", 0.0)
    return RunFolder.create(tmp_path, RunConfig(**SMALL), command=["test"])


def warned(run: RunFolder) -> list[str]:
    events = (record.event for record in read_events(run.path / EVENTS))
    return [event.message for event in events if isinstance(event, Warned)]


def at_each_try(monkeypatch: pytest.MonkeyPatch, happen: Callable[[int], None]) -> None:
    """Have something happen before each new try to write what is left to be written."""
    tries = 0
    usual = session.Session.set_state

    def set_state(self: session.Session, **changes: Any) -> None:
        nonlocal tries
        usual(self, **changes)
        if changes.get("waits"):
            tries += 1
            happen(tries)

    monkeypatch.setattr(session.Session, "set_state", set_state)


@pytest.mark.parametrize(
    "names",
    [(FINAL_MODEL,), (FINAL_CHECKPOINT,), (FINAL_MODEL, FINAL_CHECKPOINT, "model.pt", "checkpoint.tar")],
)
def test_what_cannot_be_written_at_the_end_is_waited_for(
    names: tuple[str, ...], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, full = checkpoint.write, [True]
    seen: list[tuple[str, str]] = []

    def written(path: Path, content: memoryview, **named: Any) -> None:
        refuse() if full[0] and path.name in names else write(path, content, **named)

    def happen(tries: int) -> None:
        summary = summarize(run.path)
        seen.append((summary.state, summary.waits or ""))
        full[0] = tries < 3

    monkeypatch.setattr(checkpoint, "write", written)
    at_each_try(monkeypatch, happen)
    assert worker([str(run.path)]) == 0
    assert [state for state, _ in seen] == ["running"] * 3
    assert all(name in seen[0][1] and "No space left on device" in seen[0][1] for name in names)
    assert sum("is kept in memory and tried again" in message for message in warned(run)) == 1
    assert not [message for message in warned(run) if "not everything" in message]
    summary = summarize(run.path)
    assert (summary.state, summary.waits) == ("finished", None)
    assert run.is_complete() and finished_events(run) == 1
    assert checkpoint.is_whole(run.path / FINAL_MODEL) and checkpoint.is_whole(run.path / FINAL_CHECKPOINT)


def test_the_best_weights_are_not_waited_for_where_there_was_no_memory_to_keep_them(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = session.Session._save_model

    def no_room(*_: Any) -> None:
        raise MemoryError

    def saved(self: session.Session, trainer: Trainer, name: str) -> Iterator[Record]:
        with monkeypatch.context() as patch:
            if name == BEST_MODEL:
                patch.setattr(checkpoint, "packed_model", no_room)
            yield from save(self, trainer, name)

    monkeypatch.setattr(session.Session, "_save_model", saved)
    at_each_try(monkeypatch, lambda tries: ask(run.path, "stop"))
    assert worker([str(run.path)]) == 1
    assert warned(run)[-1] == f"not everything was saved: {BEST_MODEL} (MemoryError)"
    assert (summarize(run.path).state, finished_events(run)) == ("finished", 1)


def test_what_is_given_up_is_written_when_the_run_is_resumed(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoint,
            "write",
            lambda path, *words, **named: refuse() if "final" in path.name else write(path, *words, **named),
        )
        at_each_try(patch, lambda tries: ask(run.path, "stop"))
        patch.setattr(session, "SECONDS_TO_LAST_TRY", 60.0)
        assert worker([str(run.path)]) == 1
    assert summarize(run.path).state == "stopped"
    assert finished_events(run) == 0
    assert warned(run)[-1].startswith("not everything was saved: final_model.pt, final_checkpoint.tar")
    assert worker([str(run.path)]) == 0
    whole = RunFolder.create(tmp_path / "whole", RunConfig(**SMALL), command=["test"])
    assert worker([str(whole.path)]) == 0
    assert same(end_of(run), end_of(whole))
    assert (summarize(run.path).state, finished_events(run)) == ("finished", 1)


def test_a_last_state_that_cannot_be_written_is_tried_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = RunFolder.write_state, []

    def written(self: RunFolder, state: Any) -> None:
        if state["state"] == "finished" and len(refused) < 3:
            refused.append(state)
            raise OSError(5, "Input/output error")
        write(self, state)

    monkeypatch.setattr(RunFolder, "write_state", written)
    assert worker([str(run.path)]) == 0
    assert len(refused) == 3
    assert (summarize(run.path).state, finished_events(run)) == ("finished", 1)
    assert [message for message in warned(run) if STATE in message] == [
        "state.json could not be written: Input/output error"
    ]


def test_the_last_state_is_written_on_a_full_disk(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write_state({"state": "running", "note": "x" * 100})
    monkeypatch.setattr(os, "fsync", refuse)
    run.write_state({"state": "finished"})
    assert json.loads((run.path / STATE).read_text()) == {"state": "finished"}
    run.write_state({"state": "finished", "note": "y" * 200})
    assert run.read_state()["note"] == "y" * 200
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".")] == []


def test_a_complete_run_is_complete_and_writes_what_was_taken_from_it(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert worker([str(run.path)]) == 0
    events = (run.path / EVENTS).read_bytes()
    assert worker([str(run.path)]) == 1
    assert "is complete after 2 epochs; --epochs N trains N more" in capsys.readouterr().err
    assert summarize(run.path).state == "finished"
    assert (run.path / EVENTS).read_bytes() == events
    before = checkpoint.load(run.path / FINAL_CHECKPOINT)
    (run.path / FINAL_CHECKPOINT).unlink()
    assert not run.is_complete()
    assert worker([str(run.path)]) == 0
    after = checkpoint.load(run.path / FINAL_CHECKPOINT)
    assert all(same(after[name], before[name]) for name in before if name != "seq")
    assert run.is_complete() and finished_events(run) == 1
    run.describe({"pruned": ["models"]})
    (run.path / FINAL_MODEL).unlink()
    assert run.is_complete()


def test_the_pictures_of_an_end_that_is_repeated_are_those_of_the_first(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Activity | None] = []
    monkeypatch.setattr(Pictures, "draw", lambda self, histories: drawn.append(self.activity))
    assert worker([str(run.path)]) == 0
    (run.path / FINAL_MODEL).unlink()
    assert worker([str(run.path)]) == 0
    assert drawn[-1] is not None and drawn[-1] == drawn[-2]


def test_the_arrays_of_a_check_are_there_with_the_checkpoint_and_drawn_at_an_end_that_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(**{**SMALL, "check_thm": True})
    run, killed = (RunFolder.create(tmp_path / name, config, command=["test"]) for name in ("a", "b"))
    assert worker([str(run.path)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "finish", lambda self, trainer: refuse())
        with pytest.raises(OSError, match="No space"):  # the end was never reached
            worker([str(killed.path)])
    assert not list((killed.path / "gdu").glob("*.png"))
    assert worker([str(killed.path)]) == 0
    files = sorted(path.name for path in (run.path / "gdu").iterdir())
    assert files == sorted(path.name for path in (killed.path / "gdu").iterdir())
    for name in files:
        assert (run.path / "gdu" / name).read_bytes() == (killed.path / "gdu" / name).read_bytes(), name


@pytest.mark.parametrize("left_as", ["running", "failed"])
def test_a_run_of_a_sweep_that_died_at_its_end_counts_again(left_as: str, tmp_path: Path) -> None:
    plan = make_sweep(Wanted(["digits-mlp-ep"], {"epochs": 1, "train_samples": 20, "test_samples": 10}))
    sweep = SweepFolder.create(tmp_path, plan, command=("eqprop",), launcher={})
    (job,) = sweep.jobs()
    run, _ = begin(job.path)
    assert worker([str(run.path)]) == 0
    whole = stands(sweep, job)
    run.write_state({**run.read_state(), "state": left_as, "pid": 2**22 + 1})
    for name in (FINAL_MODEL, FINAL_CHECKPOINT):
        (run.path / name).unlink()
    assert to_do(stands(sweep, job), retry_failed=True)
    assert worker([str(run.path)]) == 0
    again = stands(sweep, job)
    assert whole.summary is not None and again.summary is not None
    assert (again.state, again.summary.scores) == (whole.state, whole.summary.scores)
    assert again.state == "finished" and not to_do(again, retry_failed=True)
