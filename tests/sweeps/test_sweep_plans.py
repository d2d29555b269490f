"""What a sweep is made of: cells, seeds and files of sweeps, and what is said of those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_runs import make_run
from small_sweeps import Run

from eqprop_core.presets import PresetError, all_presets
from eqprop_core.problems import ConfigError
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import find_run, list_runs
from eqprop_core.sweeps.file import read_sweep, sweep_files
from eqprop_core.sweeps.folder import SweepFolder, find_sweep, is_sweep, list_sweeps, sweep_of
from eqprop_core.sweeps.job import begin
from eqprop_core.sweeps.making import Wanted, grid_of, make_sweep
from eqprop_core.sweeps.plan import Cell, SweepPlan, seeds_of
from eqprop_core.sweeps.settings import launch_settings, minutes_of

EP = "digits-mlp-ep"


def sweep(*grid: str, names: tuple[str, ...] = (EP,), seeds: str | None = None, **flags: object) -> SweepPlan:
    return make_sweep(Wanted(names, flags, grid_of(grid), seeds))


# --- seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0-4", (0, 1, 2, 3, 4)),
        ("0,2,5", (0, 2, 5)),
        ("0 1 2", (0, 1, 2)),
        ("7", (7,)),
        ("1,3-4 9", (1, 3, 4, 9)),
    ],
)
def test_seeds_are_ranges_and_lists(text: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1,1", "0-1000", "0-2,1", "1.5", "0-", str(2**63)])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        seeds_of(text)


def test_without_seeds_a_sweep_has_those_of_its_file_or_preset(eqprop: Run) -> None:
    assert sweep().seeds == (0,)
    assert make_sweep(Wanted(["digits-sweep"])).seeds == (0, 1)
    said = eqprop("sweep", EP, "--seeds", "0", "1", "5-6", "--dry-run").stdout
    assert "1 cell × 4 seeds = 4 runs" in said


# --- cells ----------------------------------------------------------------------------------------------


def test_cells_are_the_product_of_presets_and_grid_in_order() -> None:
    plan = sweep("alg=EP,BPTT", "betas=0 0.1,0 0.5", names=(EP, "digits-cnn-ep"), seeds="3", epochs="2")
    assert [cell.name for cell in plan.cells][:5] == [
        f"{EP} alg=EP betas=0 0.1",
        f"{EP} alg=EP betas=0 0.5",
        f"{EP} alg=BPTT betas=0 0.1",
        f"{EP} alg=BPTT betas=0 0.5",
        "digits-cnn-ep alg=EP betas=0 0.1",
    ]
    assert len(plan.cells) == 8
    cell = plan.cells[1]
    assert cell.settings == {"alg": "EP", "betas": [0.0, 0.5], "epochs": 2}
    config = plan.config(cell, 3)
    assert (config.seed, config.epochs, config.betas, config.archi) == (3, 2, (0.0, 0.5), (64, 128, 10))


def test_a_plan_keeps_the_settings_of_its_presets(tmp_path: Path) -> None:
    plan = sweep("alg=EP,BPTT")
    stored = SweepPlan.model_validate_json(plan.model_dump_json())
    assert stored == plan
    assert stored.bases[EP] == {
        key: value for key, value in all_presets().presets[EP].config.items() if key not in ("seed", "todo")
    }


def test_a_published_figure_is_that_of_the_preset_as_it_is() -> None:
    symmetric = "cifar10-cnn-cel-ep-symmetric"
    plan = sweep("alg=EP,BPTT", names=(symmetric,), device="cpu")
    assert [cell.expected_error for cell in plan.cells] == [11.7, None]
    assert plan.cells[0].source is not None
    for other in ({"epochs": 1}, {"train_samples": 100}):
        assert sweep("alg=EP", names=(symmetric,), **other).cells[0].expected_error is None


@pytest.mark.parametrize(
    ("grid", "flags", "said"),
    [
        (["alg=EP,FOO"], {}, "cell alg=FOO: --alg FOO: is not one of EP, BPTT, CEP"),
        (["epochs=1,x", "alg=EP,BPTT"], {}, "cell epochs=x alg=BPTT: --epochs x: is not a whole number"),
        (["betas=0 0.1,0.0 0.10"], {}, "cell betas=0 0.1: --grid: is there twice"),
        (["channels=3"], {}, "cell channels=3: --channels: does not apply: MLP takes --archi"),
        (["lr=1"], {}, "--grid lr=1: lr is not a setting; did you mean lrs"),
        (["seed=1,2"], {}, "seed cannot be swept: seeds are given by `seeds`"),
        (["alg"], {}, "write SETTING=VALUE"),
        (["alg=EP,"], {}, "write SETTING=VALUE"),
        (["alg=EP", "alg=BPTT"], {}, "alg is given twice"),
        (["alg=EP,BPTT"], {"alg": "EP"}, "is one for all cells, and the grid has alg"),
        (["epochs=" + ",".join(map(str, range(1, 200))), "mbs=" + ",".join(map(str, range(1, 100)))], {}, "runs; 10,000"),
    ],
)  # fmt: skip
def test_a_wrong_cell_is_named_before_anything_is_made(
    grid: list[str], flags: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        sweep(*grid, **flags)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("digits-mlp-eq",), "there is no sweep or preset of this name; did you mean digits-mlp-ep"),
        (("statsu",), "did you mean status"),
        (("digits-sweep", EP), "is a sweep, which is given alone"),
        ((EP, EP), "is given twice"),
    ],
)
def test_a_name_of_nothing_is_refused_with_the_nearest_ones(names: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep(names=names)


# --- files ----------------------------------------------------------------------------------------------

FILE = """
title = "Two rows"
seeds = [4, 2]
[config]
epochs = 3
[[cells]]
name = "one-sided, mse"
preset = "digits-mlp-ep"
[cells.config]
thirdphase = false
[[cells]]
preset = "digits-mlp-bptt"
[grid]
mbs = [10, 20]
"""


def test_ones_own_sweep_is_found_by_its_name_and_wins_over_its_presets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "eqprop-presets" / "sweeps"
    own.mkdir(parents=True)
    (own / "mine.toml").write_text(FILE)
    assert {"mine", "digits-sweep"} <= set(sweep_files())
    plan = make_sweep(Wanted(["mine"], {"mbs": None}))
    assert (plan.name, plan.title, plan.seeds) == ("mine", "Two rows", (4, 2))
    assert [cell.name for cell in plan.cells] == [
        "one-sided, mse mbs=10", "one-sided, mse mbs=20", "digits-mlp-bptt mbs=10", "digits-mlp-bptt mbs=20",
    ]  # fmt: skip
    assert plan.cells[0].settings == {"epochs": 3, "thirdphase": False, "mbs": 10}
    assert plan.config(plan.cells[3], 4).alg == "BPTT"
    assert make_sweep(Wanted([str(own / "mine.toml")])).cells == plan.cells
    assert not all_presets().problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seeds = 1\nnonsense = 2", "nonsense: is not a key of a sweep"),
        ('seeds = "a"', "seeds a"),
        ("seeds = [1, 1]", "1 is there twice"),
        ("seeds = 0\n[grid]\nalgo = ['EP']", "grid.algo: algo is not a setting; did you mean alg"),
        ("seeds = 0\n[grid]\nalg = 'EP'", "must be a list of values"),
        ("[[cells]]\n[cells.config]\nseed = 1", "seed cannot be swept"),
        ("[[cells]]\nnam = 'a'", "nam of cell 1 is not a key; did you mean name"),
        ("seeds = [", "is not TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_key(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(PresetError) as error:
        read_sweep(path)
    assert str(error.value).startswith(str(path)) and said in str(error.value)


@pytest.mark.parametrize("name", sweep_files())
def test_shipped_sweeps_are_valid(name: str) -> None:
    assert make_sweep(Wanted([name])).title


# --- folders --------------------------------------------------------------------------------------------


def test_a_sweep_is_found_by_folder_and_names_and_its_runs_like_others(tmp_path: Path) -> None:
    plan = sweep("alg=EP,BPTT", seeds="0-1", epochs=1)
    first = SweepFolder.create(tmp_path, plan)
    second = SweepFolder.create(tmp_path, plan.model_copy(update={"name": "other"}))
    assert SweepFolder.create(tmp_path, plan).path != first.path
    assert find_sweep(str(first.path)).plan == plan
    assert find_sweep(second.name, [tmp_path]).path == second.path
    assert find_sweep("other", [tmp_path]).path == second.path
    with pytest.raises(RunError, match="means 2 sweeps"):
        find_sweep(EP, [tmp_path])
    with pytest.raises(RunError, match="did you mean other"):
        find_sweep("othr", [tmp_path])
    assert len(list_sweeps([tmp_path])) == 3
    job = first.jobs()[2]
    assert (job.cell.name, job.seed) == ("alg=BPTT", 0)
    assert job.path == first.path / "runs" / "02-alg=BPTT" / "seed-0"
    run, config = begin(job.path)
    assert (config.alg, config.seed) == ("BPTT", 0)
    make_run(tmp_path, number=1)
    assert {found.path for found in list_runs([tmp_path])} >= {job.path.resolve()}
    assert len(list_runs([tmp_path])) == 2
    assert run.meta()["tags"] == [first.name] and run.meta()["cell"] == "alg=BPTT"
    assert (
        sweep_of(job.path) == first.path.resolve() and sweep_of(find_run(str(run.path)).path.parent) is None
    )
    with pytest.raises(RunError, match="there is a run already"):
        RunFolder.create_at(job.path, config, command=())


def test_a_damaged_plan_is_no_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "x"
    folder.mkdir(parents=True)
    assert not is_sweep(folder)
    for text in ("", "[]", "{}", '{"plan": {"name": "x", "cells": []}}', "[" * 100_000):
        (folder / "sweep.json").write_text(text)
        with pytest.raises(RunError, match="is not the plan of a sweep"):
            SweepFolder.open(folder)
        assert list_sweeps([tmp_path]) == []


def test_where_no_sweep_can_be_made_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "sweeps").write_text("a file")
    plan = SweepPlan(name="x", cells=(Cell(name="a", preset=EP),), seeds=(0,))
    with pytest.raises(RunError, match="cannot make a sweep there"):
        SweepFolder.create(tmp_path, plan)


# --- launchers and the command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30:00", 90), ("2-12:00:00", 3600), ("0:00:30", 0.5), ("5:30", 5.5), ("1-2", 1560)],
)
def test_times_are_those_of_sbatch(text: str, minutes: float) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"launcher": "pbs"}, "--launcher pbs: is not one of local, slurm"),
        ({"partition": "long"}, "--partition long: goes with --launcher slurm"),
        ({"launcher": "slurm", "jobs": 2}, "--jobs 2: goes with --launcher local"),
        ({"launcher": "slurm", "mem": "lots"}, "is no size of memory"),
        ({"time": "soon"}, "is no length of time"),
        ({"time": "1", "grace": 60}, "ends a run before it is told to save"),
        ({"jobs": 0}, "--jobs 0: must be 1 or more"),
        ({"launcher": "slurm", "grace": 3600}, "ends a run before it is told to save"),
        ({"launcher": "slurm", "gpus": 2}, "--gpus 2: must be 1 or less"),
    ],
)
def test_wrong_settings_of_launchers_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        launch_settings(given)
    assert said in str(error.value)


def test_settings_of_before_hold_for_the_same_launcher() -> None:
    assert launch_settings({"launcher": "local", "time": "2"}, {"jobs": 4}).jobs == 4
    assert launch_settings({"launcher": "slurm"}, {"jobs": 4}) == launch_settings({"launcher": "slurm"})


def test_a_dry_run_shows_the_cells_and_starts_nothing(eqprop: Run, tmp_path: Path) -> None:
    said = eqprop("sweep", EP, "--grid", "betas=0 0.1,0 0.5", "--seeds", "0-2", "--dry-run").stdout
    assert "betas=0 0.5" in said and "2 cells × 3 seeds = 6 runs" in said
    document = json.loads(eqprop("sweep", "digits-sweep", "--dry-run", "--json").stdout)
    assert (document["runs"], len(document["cells"])) == (8, 4)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing-like-it"], 2, "error: nothing-like-it: there is no sweep or preset of this name"),
        (["nothing.toml"], 2, "error: nothing.toml: there is no such file"),
        (["status"], 2, "last: is no sweep; there are none yet here"),
        ([EP, "--devices", "cpu,gpu"], 2, "--devices gpu: is not a device"),
        ([EP, "--sbatch", "time=3"], 2, "is seen to by eqprop; give --time"),
        ([EP, "--results", "net%t"], 2, "--results net%t: has %t in its path"),
        ([EP, "--train-samples", "100000"], 2, "there are 1,438 images"),
        ([EP, "--name", "No!"], 2, "is not the name of a sweep"),
    ],
)
def test_what_is_wrong_is_one_message_and_nothing_is_made(
    words: list[str], code: int, said: str, eqprop: Run, tmp_path: Path
) -> None:
    assert said in eqprop("sweep", *words, code=code).stderr
    assert not (tmp_path / "results").exists()
