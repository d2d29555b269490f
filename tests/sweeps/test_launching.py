"""What launchers decide without starting anything: whose time is up, what is waited for, where Python looks."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sweeps.made import cell, job_of, make_run, make_sweep

from eqprop_core.devices import RUNS_AT_ONCE
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.places import Place
from eqprop_core.sweeps import job as jobs
from eqprop_core.sweeps.local import Begun, LocalLauncher, _progress, _size_of_events
from eqprop_core.sweeps.settings import launch_settings
from eqprop_core.sweeps.standing import stands
from eqprop_core.sweeps.submitted import SAFE, submitting


@pytest.mark.parametrize(
    ("written", "epoch", "again"),
    [
        (b"", 1, True),  # it has waited for others on its device all the time
        (b"an event\n", 1, False),  # it has begun, and come no further
        (b"an event\n", 2, True),
    ],
)
def test_a_run_whose_time_is_up_goes_on_unless_it_comes_no_further(
    tmp_path: Path, written: bytes, epoch: int, again: bool
) -> None:
    sweep = make_sweep(tmp_path, cell("a"), seeds=[0])
    run = make_run(sweep, "a", 0, 90.0, state="stopped")
    said: list[str] = []
    launcher = LocalLauncher(sweep, launch_settings({"time": "10"}), say=said.append, jobs=[])
    job, started = job_of(sweep, "a", 0), SimpleNamespace(job_id="1")
    run.write_state({**run.read_state(), "epoch": 1})
    begun = Begun(job, Place("cpu"), started, _progress(job), _size_of_events(job))  # type: ignore[arg-type]
    run.write_state({**run.read_state(), "epoch": epoch})
    with (run.path / "events.jsonl").open("ab") as file:
        file.write(written)
    assert launcher._out_of_time(begun, stands(sweep, job)) is again
    assert any("comes no further" in line for line in said) is not again


def test_what_is_submitted_imports_nothing_from_where_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, ""):
        monkeypatch.delenv(SAFE, raising=False)
        if before is not None:
            monkeypatch.setenv(SAFE, before)
        with submitting():
            assert os.environ[SAFE] == "1"
        assert os.environ.get(SAFE) == before


@pytest.mark.parametrize(("host", "asked"), [("another", 3), (None, 1)])
def test_a_lock_that_a_dead_machine_still_has_is_waited_for(
    host: str | None, asked: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_sweep(tmp_path, cell("a"), seeds=[0]), "a", 0, 90.0, state="running")
    run.write_state({**run.read_state(), **({"host": host} if host else {})})
    owned = iter([True, True, False])
    looks: list[bool] = []

    def is_owned(_: Any) -> bool:
        looks.append(next(owned))
        return looks[-1]

    monkeypatch.setattr(RunFolder, "is_owned", is_owned)
    monkeypatch.setattr(jobs, "SECONDS_BETWEEN_LOOKS", 0.0)
    jobs._wait_for_another_host(run)
    assert len(looks) == asked


def test_runs_at_a_time_are_told_how_many_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep(tmp_path, cell("a"))
    made: list[dict[str, Any]] = []
    job = SimpleNamespace(as_text=lambda: "")
    monkeypatch.setattr("eqprop_core.sweeps.local.RunJob", lambda path, **given: made.append(given) or job)
    monkeypatch.setattr("submitit.LocalExecutor.submit", lambda *_: SimpleNamespace(done=lambda: False))
    launcher = LocalLauncher(sweep, launch_settings({"jobs": 3}), say=lambda _: None)
    launcher.step()
    assert [given["environment"][RUNS_AT_ONCE] for given in made] == ["3"] * 3
