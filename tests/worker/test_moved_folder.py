"""A run goes on in its folder wherever that is moved to, and leaves nothing unfinished behind in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eqprop_core.config import RunConfig
from eqprop_core.events import EpochFinished, Record, Warned
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import histories
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.log import read_events
from eqprop_core.worker import checkpoint, requests
from eqprop_core.worker.__main__ import main as worker
from eqprop_core.worker.session import Session

SMALL: dict[str, Any] = {"task": "digits", "archi": [64, 4, 10], "lrs": [0.1, 0.1], "T1": 3, "T2": 2, "betas": [0, 0.5], "train_samples": 20, "test_samples": 10, "seed": 1, "epochs": 4}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "results", RunConfig(**SMALL), command=["test"])


def after_epoch(patch: pytest.MonkeyPatch, number: int, happen: Any) -> None:
    """Let something happen once an epoch is over and saved."""
    usual = Session.after

    def after(self: Session, event: Any, trainer: Any) -> Iterator[Record]:
        yield from usual(self, event, trainer)
        if isinstance(event, EpochFinished) and event.epoch == number:
            happen()

    patch.setattr(Session, "after", after)


@pytest.mark.parametrize(
    "into", ["beside it", "with the folders above it", "and another one is in its place"]
)
def test_a_run_whose_folder_is_moved_goes_on_there(
    into: str, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, now = run.path, run.path.with_name("moved")

    def move() -> None:
        nonlocal now
        if into == "with the folders above it":
            (tmp_path / "results").rename(tmp_path / "others")
            now = tmp_path / "others" / before.relative_to(tmp_path / "results")
        else:
            before.rename(now)
            if into == "and another one is in its place":
                shutil.copytree(now, before)

    after_epoch(monkeypatch, 2, move)
    assert worker([str(before)]) == 0
    assert summarize(now).state == "finished"
    assert [epoch.epoch for epoch in histories(RunFolder(now))] == [1, 2, 3, 4]
    assert checkpoint.load(now / "checkpoint.tar")["position"]["epoch"] == 4
    for name in ("final_model.pt", "final_checkpoint.tar", "train-test_acc.png"):
        assert (now / name).exists(), name
    said = [r.event.message for r in read_events(now / "events.jsonl") if isinstance(r.event, Warned)]
    assert f"{before} was moved: the run goes on in {now}" in said
    if into == "and another one is in its place":
        assert checkpoint.load(before / "checkpoint.tar")["position"]["epoch"] == 2
        assert not (before / "final_model.pt").exists()
    else:
        assert not before.exists()


def test_a_run_is_steered_where_it_was_moved_to(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "SECONDS_BETWEEN_LOOKS", 0.001)
    run.relabel(name="to be moved")
    now = run.path.with_name("moved")
    usual, asked = Session.checkpoint_due, []

    def due(self: Session) -> bool:
        if not asked:
            asked.append(run.path.rename(now))
            ask(now, "stop")
            while list(now.glob("control/*.json")):  # until it has been read
                os.sched_yield()
        return usual(self)

    monkeypatch.setattr(Session, "checkpoint_due", due)
    assert worker([str(run.path)]) == 0
    assert summarize(now).state == "stopped"
    assert summarize(now).name == "to be moved"
    assert (now / "checkpoint.tar").exists()


def test_what_a_process_that_was_killed_left_unfinished_is_removed_at_the_next_start(run: RunFolder) -> None:
    (run.path / "gdu").mkdir()
    left = (".checkpoint.tar.tmp", ".checkpoint.prev.tar", ".model.pt.tmp", ".state.json.tmp", "gdu/.arrays.npz.tmp")  # fmt: skip
    for name in left:
        (run.path / name).write_bytes(b"half")
    assert worker([str(run.path)]) == 0
    assert [path.name for path in run.path.rglob(".*")] == []


@pytest.mark.parametrize("name", ["checkpoint.tar", "checkpoint.prev.tar"])
@pytest.mark.parametrize("times", [1, 2])
def test_renames_that_fail_leave_nothing_behind_once_the_run_has_ended(
    name: str, times: int, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, failed = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        if Path(target).name == name and len(failed) < times:
            failed.append(name)
            raise OSError(5, "Input/output error")
        return usual(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    worker([str(run.path)])
    assert len(failed) == times
    assert [path.name for path in run.path.rglob(".*")] == []


def test_a_checkpoint_that_was_kept_already_is_not_kept_under_a_second_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = tmp_path / "checkpoint.tar", tmp_path / "checkpoint.prev.tar"
    checkpoint.save(path, {"n": 1})
    usual = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if Path(target) == path:
            raise OSError(5, "Input/output error")
        return usual(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        with pytest.raises(OSError, match="Input/output"):
            checkpoint.save(path, {"n": 2}, before=before)
    checkpoint.save(path, {"n": 3}, before=before)  # the two names are of one file now
    assert (checkpoint.load(path)["n"], checkpoint.load(before)["n"]) == (3, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.prev.tar", "checkpoint.tar"]
