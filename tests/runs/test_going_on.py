"""Runs that have ended go on, are ended and are deleted only where that can be done, and say why not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from small_runs import epoch, make_run

from eqprop_core.marks import own_mark
from eqprop_core.runs import starting
from eqprop_core.runs.deleting import delete, to_be_deleted
from eqprop_core.runs.ending import end
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.launcher import Start
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.names import FINAL_CHECKPOINT
from eqprop_core.runs.starting import go_on
from eqprop_core.runs.tables import epoch_rows, save_rows


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"state": "running", **own_mark()}, "first: is running already"),
        ({"state": "paused", **own_mark()}, "first: is paused already"),
        ({"state": "finished"}, "first: is complete; --epochs N trains N more"),
    ],
)
def test_what_cannot_go_on(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    run = make_run(tmp_path, state=state)
    (run.path / FINAL_CHECKPOINT).write_bytes(b"weights")
    with pytest.raises(RunError, match=message):
        go_on(run, named="first")


@pytest.mark.parametrize("state", ["stopped", "failed", "finished"])
def test_what_has_ended_goes_on_with_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    run = make_run(tmp_path, state={"state": state}, T1=7)
    launched: list[tuple[int, Start]] = []
    monkeypatch.setattr(starting, "launch", lambda run, config, wanted: launched.append((config.T1, wanted)))
    go_on(run, Start(more_epochs=2))
    assert launched == [(7, Start(more_epochs=2))]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"state": "finished"}, "first: is finished; there is no process to end"),
        ({"state": "starting"}, "there is no process to end"),
        (
            {"state": "running", "host": "elsewhere"},
            "its process is on elsewhere, and signals do not reach there",
        ),
    ],
)
def test_what_cannot_be_ended_from_here(tmp_path: Path, state: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        end(make_run(tmp_path, state={**state, "heartbeat": time.time()}), kill=True, named="first")


def test_of_runs_to_be_deleted_all_must_be_at_rest(tmp_path: Path) -> None:
    rests = make_run(tmp_path)
    trains = make_run(tmp_path, number=1, state={"state": "running", **own_mark()})
    with pytest.raises(RunError, match="is running; stop it first"), to_be_deleted([rests, trains]):
        raise AssertionError("not refused")
    with to_be_deleted([rests]) as summaries:
        assert [summary.state for summary in summaries] == ["finished"]
        with pytest.raises(RunError, match="is in use"):
            rests.lock()
        delete(rests)
    assert not rests.path.exists() and trains.path.exists()


def test_a_table_appears_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path, events=[epoch(1, 40.0), epoch(2, 55.0)])
    assert save_rows(tmp_path / "a.csv", epoch_rows(run)) == 2
    assert (tmp_path / "a.csv").read_text().splitlines()[2].startswith("2,56.0,,55.0,0.5,")


@pytest.mark.parametrize(
    ("state", "known"),
    [
        ({"trained": 27.9, "took": 31.25}, (27.9, 31.25)),
        ({"created": "2026-11-23T10:00:00+00:00", "heartbeat": 1795428060.0}, (None, None)),  # of before
        ({"trained": "long", "took": True}, (None, None)),
        ({"trained": 1e300, "took": 0}, (None, 0)),
    ],
)
def test_how_long_a_run_trained_and_took(
    tmp_path: Path, state: dict[str, Any], known: tuple[float | None, float | None]
) -> None:
    summary = summarize(make_run(tmp_path, state=state).path)
    assert (summary.trained, summary.took) == known
