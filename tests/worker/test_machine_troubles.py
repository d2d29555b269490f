"""What a worker says when its machine gives it trouble."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from eqprop_core.events import EpochFinished, Warned
from eqprop_core.files import deleted, open_to_lock
from eqprop_core.learning import trainer
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import read_events
from eqprop_core.worker import heartbeat
from eqprop_core.worker.heartbeat import Heartbeat
from eqprop_core.worker.session import Session

Run = Callable[..., Result]
SMALL = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--train-samples", "40", "--test-samples", "10", "--mbs", "40"]  # fmt: skip


def beats(folder: Path, jump: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said of a clock that jumps."""
    said: list[str] = []
    heart = Heartbeat(RunFolder(folder), {}, warn=said.append)
    now = time.time
    monkeypatch.setattr(heartbeat.time, "time", lambda: now() + jump)
    heart._look_at_clock()
    heart._look_at_clock()
    return said


def test_a_clock_that_jumps_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (said,) = beats(tmp_path, -3600, monkeypatch)
    assert "jumped by -3,600 s" in said


def test_a_clock_that_drifts_is_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert beats(tmp_path, 5, monkeypatch) == []


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize(
    ("available", "hint"),
    [(2**20 * 60, "--mbs"), (100, "no --mbs would fit"), (2**40, "a smaller --mbs than 40")],
)
def test_out_of_memory_says_how_much_there_was_and_what_would_fit(
    error: RuntimeError,
    available: int,
    hint: str,
    eqprop: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("eqprop_core.worker.out_of_memory.memory_here", lambda: (available, 2**41))
    monkeypatch.setattr(trainer, "train_batch", fail)
    said = eqprop("train", *SMALL, code=1).stderr
    assert "out of memory on cpu: " in said
    assert "needs about" in said
    assert hint in " ".join(said.split())
    (run,) = tmp_path.glob("results/*/*/*/*")
    assert RunFolder(run).read_state()["state"] == "failed"


def test_other_errors_are_not_taken_for_it(eqprop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(trainer, "train_batch", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        eqprop("train", *SMALL)


@pytest.mark.parametrize("taken", [False, True], ids=["gone", "another took its place"])
def test_a_training_whose_folder_was_deleted_ends_by_itself(
    taken: bool, eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, others = Session.after, list[Path]()

    def delete(session: Session, event: Any, trained: Any) -> Any:
        if isinstance(event, EpochFinished) and event.epoch == 2:
            assert session.path is not None
            assert session._heartbeat is not None
            with session._heartbeat._lock:  # no sign of life is on its way meanwhile
                was = session.path
                shutil.rmtree(was.rename(tmp_path / "away"))
                for other in (was, tmp_path / "away") if taken else ():
                    other.mkdir()
                    (other / "lock").touch()
                    others.append(other)
        return after(session, event, trained)

    monkeypatch.setattr(Session, "after", delete)
    monkeypatch.setattr(heartbeat, "SECONDS_BETWEEN_BEATS", 0.01)
    said = eqprop("train", *SMALL, "--epochs", "1000000", code=1).stderr
    assert "was deleted: the training ends after this batch" in said
    assert "not everything was saved" in said
    assert [[path.name for path in other.iterdir()] for other in others] == [["lock"]] * len(others)


def test_a_folder_that_was_deleted_is_told_from_one_that_was_moved(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    descriptor = open_to_lock(run / "lock")
    assert not deleted(run / "lock", descriptor)
    run.rename(tmp_path / "moved")
    assert not deleted(run / "lock", descriptor)
    shutil.rmtree(tmp_path / "moved")
    assert deleted(run / "lock", descriptor)
    run.mkdir()
    (run / "lock").touch()  # of another run
    assert deleted(run / "lock", descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("absent", "gives_up"), [([1] * 12, 1), ([1] * 11 + [0] + [1] * 11, 0), ([1] * 40, 1)]
)
def test_a_folder_that_is_gone_for_less_than_a_minute_ends_nothing(
    absent: list[int], gives_up: int, tmp_path: Path
) -> None:
    looks, given_up = iter(absent), []
    heart = Heartbeat(
        RunFolder(tmp_path),
        {},
        warn=lambda _: None,
        deleted=lambda: bool(next(looks)),
        give_up=lambda: given_up.append(True),
    )
    for _ in absent:
        heart._look_at_folder()
    assert len(given_up) == gives_up


def test_what_is_asked_after_the_last_batch_is_told(
    eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Session.finish

    def asked_late(session: Session, trained: Any) -> Any:
        assert session.path is not None
        ask(session.path, "set", {"epochs": 9})
        while list((session.path / "control").iterdir()):
            os.sched_yield()
        return finish(session, trained)

    monkeypatch.setattr(Session, "finish", asked_late)
    eqprop("train", *SMALL)
    (run,) = tmp_path.glob("results/*/*/*/*")
    told = [record.event for record in read_events(run / "events.jsonl")]
    assert [event.message for event in told if isinstance(event, Warned)][-1:] == [
        "set came too late: the run was ending"
    ]
