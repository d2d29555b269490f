"""Each accuracy of a run has one name, wherever it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_runs import make_run
from typer.testing import Result

from eqprop_core.events import EpochFinished, Event, RunFinished
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.scores import (
    Scores,
    scores_of_epochs,
    scores_of_finished,
    scores_of_histories,
    scores_of_state,
)
from eqprop_tui.cli.listing import lines

Run = Callable[..., Result]
# Validation (None: none held out) and test accuracy of each epoch, and what they come to.
CASES: list[tuple[list[tuple[float | None, float]], Scores]] = [
    ([(None, 40.0), (None, 55.0), (None, 50.0)], Scores(None, 55.0, 55.0, 50.0)),
    ([(70.0, 61.0), (75.0, 64.0), (75.0, 69.0), (71.0, 66.0)], Scores(75.0, None, 64.0, 66.0)),
    ([(12.5, 100.0)], Scores(12.5, None, 100.0, 100.0)),
    ([], Scores()),
]


def epochs_of(found: list[tuple[float | None, float]]) -> list[EpochFinished]:
    epochs: list[EpochFinished] = []
    best = -1.0
    for number, (validation, test) in enumerate(found, 1):
        judged = test if validation is None else validation
        fields = {"train_accuracy": 1.0, "loss": 0.1, "test_loss": 0.1, "rates": [0.1], "seconds": 1.0}
        epochs.append(
            EpochFinished(
                epoch=number, validation_accuracy=validation, test_accuracy=test, best=judged > best, **fields
            )
        )
        best = max(best, judged)
    return epochs


@pytest.mark.parametrize(("found", "scores"), CASES)
def test_epochs_and_histories_and_the_end_of_a_run_come_to_the_same(
    found: list[tuple[float | None, float]], scores: Scores
) -> None:
    histories = {"validation": [v for v, _ in found], "test": [t for _, t in found]}
    assert scores_of_epochs(epochs_of(found)) == scores_of_histories(histories) == scores
    best = scores.best_test if scores.best_val is None else scores.best_val
    ended = RunFinished(best_accuracy=best, last_accuracy=scores.test_last, seconds=1.0, best_validation=scores.best_val, test_at_best=scores.test_at_best)  # fmt: skip
    assert scores_of_finished(ended) == scores


@pytest.mark.parametrize("val_split", [0.0, 0.25, 5e-05])
@pytest.mark.parametrize("old", [True, False])
def test_a_state_of_before_is_understood(val_split: float, old: bool, tmp_path: Path) -> None:
    state: dict[str, Any] = {"best": 97.0, "last": 95.0}
    if not old:
        state |= {"best_val": 97.0 if val_split else None, "test_at_best": 96.0 if val_split else 97.0}
    run = make_run(tmp_path, state={"state": "finished", "epoch": 3, **state}, val_split=val_split)
    at_best = 97.0 if not val_split else None if old else 96.0
    wanted = Scores(97.0, None, at_best, 95.0) if val_split else Scores(None, 97.0, 97.0, 95.0)
    assert scores_of_state(state, run.path) == wanted
    summary = summarize(run.path)
    assert (summary.scores, summary.best, summary.last) == (wanted, 97.0, 95.0)


def of_validation(root: Path) -> RunFolder:
    """A run that holds images out, of before `state.json` had all figures."""
    found: list[Event] = [*epochs_of([(70.0, 61.0), (75.0, 64.0), (71.0, 66.0)])]
    state = {"state": "finished", "epoch": 3, "best": 75.0, "last": 66.0}
    return make_run(root, number=1, events=found, state=state, val_split=0.25, name="held")


def test_every_command_calls_them_the_same(eqprop: Run, tmp_path: Path) -> None:
    of_validation(tmp_path / "results")
    plain: list[Event] = [*epochs_of([(None, 40.0), (None, 55.0), (None, 50.0)])]
    state = {
        "state": "finished",
        "epoch": 3,
        "best": 55.0,
        "last": 50.0,
        "best_val": None,
        "test_at_best": 55.0,
    }
    make_run(tmp_path / "results", events=plain, state=state, name="plain")
    assert (
        "best val 75.00 %, test at best 64.00 %, test last 66.00 %" in eqprop("runs", "show", "held").stdout
    )
    assert "best test 55.00 %, test last 50.00 %" in eqprop("runs", "show", "plain").stdout
    compared = {line[:14].strip(): line[14:].split() for line in eqprop("runs", "compare", "held", "plain").stdout.splitlines()}  # fmt: skip
    assert compared["best val %"] == ["75.00", "–"] and compared["best test %"] == ["–", "55.00"]
    assert compared["test at best %"] == ["64.00", "–"] and compared["test last %"] == ["66.00", "50.00"]
    for words, names in (
        (["best_val>70"], ["held"]),
        (["best-test>50"], ["plain"]),
        (["test_last>=50"], ["held", "plain"]),
        (["test_at_best<60"], ["plain"]),
        (["best>50"], ["held", "plain"]),
    ):
        found = json.loads(eqprop("runs", "list", "--json", *words).stdout)
        assert sorted(run["name"] for run in found) == names
    shown = json.loads(eqprop("runs", "show", "held", "--json").stdout)
    assert {name: shown[name] for name in ("best_val", "best_test", "test_at_best", "test_last", "best", "last")} == {
        "best_val": 75.0, "best_test": None, "test_at_best": 64.0, "test_last": 66.0, "best": 75.0, "last": 66.0,
    }  # fmt: skip


def test_a_list_has_the_columns_that_its_runs_have(tmp_path: Path) -> None:
    held = summarize(of_validation(tmp_path).path)
    state = {"best": 55.0, "last": 50.0}
    plain = summarize(make_run(tmp_path, state={"state": "finished", "epoch": 3, **state}).path)
    assert "best val" in lines([held], 160)[0] and "best test" not in lines([held], 160)[0]
    assert "best test" in lines([plain], 160)[0] and "best val" not in lines([plain], 160)[0]
    assert all(name in lines([held, plain], 160)[0] for name in ("best val", "best test", "test last"))
