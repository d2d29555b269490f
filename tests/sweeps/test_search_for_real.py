"""Searches that train: here with a launcher that is killed, and through stand-ins for Slurm."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sweeps import Run, launcher, states, wait_for
from test_sweep_slurm import slurm  # noqa: F401  a fixture

from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.process import is_launched
from eqprop_core.sweeps.search import open_study
from eqprop_core.sweeps.searching import search_of

SEARCH = ["--search", "lrs=loguniform:0.001,0.5", "--search", "act=mysig,tanh", "--val-split", "0.2"]


def trials(sweep: SweepFolder) -> list[str]:
    """How the trials of a search ended."""
    settings = search_of(sweep)
    assert settings is not None
    return [trial.state.name for trial in open_study(sweep, settings).get_trials(deepcopy=False)]


@pytest.mark.slow
def test_a_search_whose_launcher_is_killed_comes_to_all_of_its_trials(eqprop: Run) -> None:
    words = ["digits-mlp-ep", *SEARCH, "--trials", "5", "--epochs", "3", "--jobs", "2", "--device", "cpu"]
    sweep = SweepFolder.open(Path(eqprop("sweep", *words, "--detach").stdout.strip()))
    wait_for(lambda: states(SweepFolder.open(sweep.path)).get("finished"))
    launcher(sweep).kill()
    wait_for(lambda: not is_launched(sweep))
    said = eqprop("sweep", "resume").stdout
    sweep = SweepFolder.open(sweep.path)
    ended = trials(sweep)
    assert len(ended) == len(sweep.plan.cells) == 5
    assert set(ended) <= {"COMPLETE", "PRUNED"} and ended.count("COMPLETE") >= 4
    assert said.startswith("best: trial ") and "validation error %" in said
    table = eqprop("sweep", "table").stdout.splitlines()
    assert table[4].startswith(said.split()[1] + " " + said.split()[2])  # the best one first


@pytest.mark.slow
def test_a_search_through_slurm_submits_each_trial_as_it_is_chosen(
    slurm: Path,  # noqa: F811
    eqprop: Run,
) -> None:
    words = ["digits-mlp-ep", *SEARCH, "--trials", "3", "--at-once", "2", "--no-prune", "--epochs", "1"]
    said = eqprop("sweep", *words, "--launcher", "slurm").stdout
    assert said.startswith("best: trial ")
    (sweep,) = (SweepFolder.open(path.parent) for path in Path().glob("results/sweeps/*/sweep.json"))
    assert trials(sweep) == ["COMPLETE"] * 3
    assert states(sweep) == {"finished": 3}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--search", "lrs=uniform:1"], "--search lrs=uniform:1: uniform takes LOW,HIGH"),
        (["--trials", "5"], "--trials 5: goes with --search"),
        (["--search", "T1=int:1,9", "--grid", "act=tanh,mysig"], "cannot go with --search"),
        (["--search", "T1=int:1,9", "--T1", "5"], "T1 is given as a flag, too"),
        (["--search", "T1=int:1,9", "--trials", "0"], "--trials 0: must be 1 or more"),
        (["digits-cnn-ep", "--search", "T1=int:9,19"], "goes with one preset or cell, and there are 2"),
    ],
)
def test_what_cannot_be_searched_is_said_and_nothing_is_made(
    eqprop: Run, tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in eqprop("sweep", "digits-mlp-ep", *words, code=2).stderr
    assert not (tmp_path / "results").exists()


def test_without_optuna_the_way_to_it_is_said(eqprop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eqprop_core.sweeps.searching.find_spec", lambda name: None)
    said = eqprop("sweep", "digits-mlp-ep", "--search", "T1=int:9,19", code=2).stderr
    assert said == "error: --search: needs Optuna, which is not installed: pip install 'eqprop[search]'\n"


def test_a_dry_run_shows_the_first_trial_and_what_is_chosen_from(eqprop: Run) -> None:
    done = eqprop("sweep", "digits-mlp-ep", "--search", "T1=int:9,39", "--trials", "7", "--dry-run")
    assert "trial 0 T1=20" in done.stdout
    assert "and 6 trials more, chosen from T1=int:9,39" in done.stdout
    assert "7 trials × 1 seed = 7 runs" in done.stdout
    assert "trials are chosen by their test accuracy, so that of the best one flatters" in done.stderr
    held = ("--val-split", "0.1")
    assert not eqprop("sweep", "digits-mlp-ep", "--search", "T1=int:9,39", *held, "--dry-run").stderr
