"""What a full disk kept from being told of epochs is told once there is room, or when the run is resumed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from eqprop_core.config import RunConfig
from eqprop_core.events import EpochFinished, Record
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import histories
from eqprop_core.runs.log import EventLog, read_events
from eqprop_core.runs.tables import epoch_rows
from eqprop_core.worker.__main__ import main as worker
from eqprop_core.worker.session import Session
from eqprop_tui.watching.view import RunView

SMALL: dict[str, Any] = {"task": "digits", "archi": [64, 4, 10], "lrs": [0.1, 0.1], "T1": 3, "T2": 2, "betas": [0, 0.5], "train_samples": 20, "test_samples": 10, "seed": 1, "epochs": 5}  # fmt: skip
Run = Callable[..., Result]


def trained(tmp_path: Path, name: str = "run") -> RunFolder:
    run = RunFolder.create_at(tmp_path / name, RunConfig(**SMALL), command=["test"])
    assert worker([str(run.path)]) == 0
    return run


def plain(epochs: list[EpochFinished]) -> list[dict[str, Any]]:
    """What does not depend on clocks."""
    return [epoch.model_dump(exclude={"seconds"}) for epoch in epochs]


def test_epochs_that_could_not_be_told_are_told_in_their_places_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(tmp_path, "whole")
    usual_append, usual_after = EventLog._append, Session.after
    full: list[bool] = []

    def append(self: EventLog, content: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        usual_append(self, content)

    def after(self: Session, event: Any, trainer: Any) -> Iterator[Record]:
        yield from usual_after(self, event, trainer)
        if isinstance(event, EpochFinished):
            full[:] = [True] if event.epoch in (1, 2) else []

    monkeypatch.setattr(EventLog, "_append", append)
    monkeypatch.setattr(Session, "after", after)
    run = trained(tmp_path)
    assert plain(histories(run)) == plain(histories(whole))
    numbers = [record.seq for record in read_events(run.path / "events.jsonl")]
    assert numbers == sorted(set(numbers))
    lost = set(range(1, numbers[-1])) - set(numbers)
    said = (run.path / "console.log").read_text()
    assert lost and f"{len(lost)} events before this could not be written and are lost" in said


@pytest.mark.parametrize("gone", [{2}, {1, 3}, {5}, {1, 2, 3, 4, 5}])
def test_holes_in_what_was_told_are_filled_from_the_checkpoint_when_a_run_is_resumed(
    gone: set[int], tmp_path: Path, eqprop: Run
) -> None:
    run = trained(tmp_path)
    before = histories(run)
    events = run.path / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    records = list(read_events(events))
    assert len(lines) == len(records)
    events.write_bytes(
        b"".join(
            line
            for line, record in zip(lines, records, strict=True)
            if not (isinstance(record.event, EpochFinished) and record.event.epoch in gone)
        )
    )
    assert len(histories(run)) == 5 - len(gone)
    assert worker([str(run.path), "--more-epochs", "1"]) == 0
    after = histories(run)
    assert [epoch.epoch for epoch in after] == [1, 2, 3, 4, 5, 6]
    for was, now in zip(before, after, strict=False):
        assert now.written_later == (now.epoch in gone)
        expected = was.model_dump()
        if now.written_later:
            expected |= {"rates": [], "seconds": 0.0, "test_loss": None, "written_later": True}
        assert now.model_dump() == expected

    told = list(csv.reader(io.StringIO(eqprop("runs", "export", run.path).stdout)))
    assert [row[0] for row in told[1:]] == ["1", "2", "3", "4", "5", "6"]
    seconds = told[0].index("seconds")
    assert [row[seconds] == "" for row in told[1:]] == [number in gone for number in range(1, 7)]
    assert len(list(epoch_rows(run))) == 7

    view = RunView()
    for record in read_events(events):
        view.add(record)
    assert [epoch.epoch for epoch in view.epochs.all] == [1, 2, 3, 4, 5, 6]
    assert view.epochs.last is not None and view.epochs.last.epoch == 6

    size = events.stat().st_size
    assert worker([str(run.path), "--more-epochs", "1"]) == 0  # and are not told once more
    with events.open("rb") as file:
        file.seek(size)
        assert b'written_later":true' not in file.read()
