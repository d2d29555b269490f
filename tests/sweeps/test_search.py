"""A search chooses, trains, prunes and goes on; its launcher here trains in an instant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from small_runs import epoch
from sweeps.made import tell

from eqprop_core.marks import own_mark
from eqprop_core.problems import ConfigError
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.sweeps.folder import Job, SweepFolder, find_sweep
from eqprop_core.sweeps.making import Wanted, make_sweep
from eqprop_core.sweeps.search import JOURNAL, Search
from eqprop_core.sweeps.searching import plan_of_search, search_of, with_trials
from eqprop_core.sweeps.space import SearchSettings, space_of
from eqprop_core.sweeps.stopping import stop
from eqprop_core.sweeps.table import measure_of, table_of
from eqprop_tui import sweep_words

Accuracy = Callable[[dict[str, Any], int, int], float | None]  # of settings, seed, epoch; None: the run fails
EPOCHS = 5


class Instant:
    """A launcher whose runs do an epoch at each step, and stop when they are asked to."""

    def __init__(self, accuracy: Accuracy, jobs: Iterable[Job], room: int = 2) -> None:
        self.accuracy, self.room = accuracy, room
        self.waiting = list(jobs)
        self.begun: dict[Path, Job] = {}
        self.dropped: list[Job] = []
        self.most = 0

    def add(self, jobs: Iterable[Job]) -> None:
        self.waiting += jobs

    def drop(self, job: Job) -> None:
        if job in self.waiting:
            self.waiting.remove(job)
            self.dropped.append(job)

    def over(self, job: Job) -> bool:
        return job not in self.waiting and job.path not in self.begun

    def step(self) -> None:
        for path, job in list(self.begun.items()):
            self._train(path, job)
        while self.waiting and len(self.begun) < self.room:
            job = self.waiting.pop(0)
            self.begun[job.path] = job
        self.most = max(self.most, len(self.begun))

    def _train(self, path: Path, job: Job) -> None:
        run = RunFolder(path)
        if not (path / "config.toml").exists():
            config = find_sweep(str(path.parents[2])).plan.config(job.cell, job.seed)
            RunFolder.create_at(path, config, command=["eqprop"], labels={"tags": ["sweep"]})
        number = int(run.read_state().get("epoch") or 0) + 1
        accuracy = self.accuracy(dict(job.cell.settings), job.seed, number)
        state = "running"
        if accuracy is None:
            state = "failed"
        else:
            tell(run, epoch(number, 1.0, validation_accuracy=accuracy))
            state = "finished" if number == EPOCHS else state
        if state == "running" and any(asked.request == "stop" for asked in take(path)):
            state = "stopped"
        run.write_state({**run.identity(), **own_mark(), "state": state, "epoch": number, "heartbeat": 0.0})
        if state != "running":
            del self.begun[path]


def begin(root: Path, *words: str, trials: int = 8, seeds: str = "0", **more: Any) -> SweepFolder:
    made = make_sweep(Wanted(["digits-mlp-ep"], {"epochs": EPOCHS, "val_split": 0.2}, seeds=seeds))
    settings = SearchSettings(space=space_of(words), trials=trials, **more)
    return SweepFolder.create(
        root, plan_of_search(made, settings), search=settings.model_dump(mode="json"), command=["eqprop"]
    )


def searching(sweep: SweepFolder, accuracy: Accuracy, room: int = 2) -> tuple[Search, list[str]]:
    settings = search_of(sweep)
    assert settings is not None
    said: list[str] = []
    return Search(sweep, settings, lambda _, jobs: Instant(accuracy, jobs, room), said.append), said


def run_out(search: Search, steps: int = 500) -> None:
    for _ in range(steps):
        if not search.step():
            return
    raise AssertionError("the search does not end")


def states(search: Search) -> list[str]:
    return [trial.state.name for trial in search.study.get_trials(deepcopy=False)]


def by_rate(settings: dict[str, Any], seed: int, number: int) -> float:
    """Better the nearer a rate is to 0.1; steadily better by epoch."""
    return 90 - 300 * abs(settings["lrs"][0] - 0.1) + number + seed


def test_each_trial_is_a_cell_with_runs_and_its_accuracy_is_told(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", prune=False)
    search, said = searching(sweep, by_rate)
    run_out(search)
    sweep = SweepFolder.open(sweep.path)
    assert states(search) == ["COMPLETE"] * 8
    assert len(sweep.plan.cells) == 8
    for trial, cell in zip(search.study.trials, sweep.plan.cells, strict=True):
        assert cell.name.startswith(f"trial {trial.number} lrs=")
        assert cell.settings["lrs"] == [trial.params["lrs"]] * 2
        assert trial.value == pytest.approx(by_rate(dict(cell.settings), 0, EPOCHS))
        assert trial.intermediate_values.keys() == set(range(1, EPOCHS + 1))
    assert search.study.best_trial.number == min(
        range(8), key=lambda n: abs(search.study.trials[n].params["lrs"] - 0.1)
    )
    assert f"trial 0: validation accuracy {search.study.trials[0].value:.2f} %" in said
    assert search.launcher.most == 2  # type: ignore[attr-defined]


def test_the_table_lists_trials_best_first_by_what_they_are_chosen_by(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", prune=False, trials=4)
    search, _ = searching(sweep, by_rate)
    run_out(search)
    sweep = SweepFolder.open(sweep.path)
    table = table_of(sweep, measure_of(sweep))
    assert table.measure.heading == "validation error %"
    means = [row.mean for row in table.best_first()]
    assert means == sorted(means) and means[0] == pytest.approx(100 - search.study.best_value)


def test_a_trial_that_is_worse_than_most_is_asked_to_stop_and_told_pruned(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "T1=int:1,100", trials=8)

    def worse_and_worse(settings: dict[str, Any], seed: int, number: int) -> float:
        bad = SweepFolder.open(sweep.path).plan.cells.index(cell_with(sweep, settings)) >= 6
        return number + (10 if bad else 80)

    search, said = searching(sweep, worse_and_worse)
    run_out(search)
    assert states(search) == ["COMPLETE"] * 6 + ["PRUNED"] * 2
    table = table_of(SweepFolder.open(sweep.path))
    assert [sweep_words.seeds(row) for row in table.rows[6:]] == ["0 of 1, 1 pruned"] * 2
    assert table.rows[7].outcomes[0].summary.epoch < EPOCHS  # type: ignore[union-attr]
    assert any("worse than others after epoch" in line for line in said)


def cell_with(sweep: SweepFolder, settings: dict[str, Any]) -> Any:
    return next(
        cell for cell in reversed(SweepFolder.open(sweep.path).plan.cells) if dict(cell.settings) == settings
    )


def test_without_pruning_all_are_trained_to_the_end(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "T1=int:1,100", trials=7, prune=False)
    search, _ = searching(sweep, lambda settings, seed, number: 90.0 - settings["T1"])
    run_out(search)
    assert states(search) == ["COMPLETE"] * 7


def test_a_trial_of_which_a_seed_fails_has_failed_and_others_go_on(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "T1=int:1,100", trials=3, seeds="0-1", prune=False)
    first = dict(sweep.plan.cells[0].settings)

    def fails(settings: dict[str, Any], seed: int, number: int) -> float | None:
        return None if settings == first and seed == 1 and number == 2 else 50.0 + seed

    search, said = searching(sweep, fails)
    run_out(search)
    assert states(search) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert search.study.trials[1].value == pytest.approx(50.5)  # the mean of both seeds
    assert any(line.startswith("trial 0: failed") for line in said)
    row = table_of(SweepFolder.open(sweep.path), measure_of(sweep)).rows[0]
    assert sweep_words.seeds(row) == "1 of 2, 1 failed"


def test_a_search_that_was_killed_goes_on_with_its_trials(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=5, prune=False)
    killed, _ = searching(sweep, by_rate)
    for _ in range(4):
        killed.step()
    going = [(one.number, one.reported) for one in killed.going]
    assert [number for number, _ in going] == [0, 1] and going[0][1] >= 1
    del killed

    search, _ = searching(SweepFolder.open(sweep.path), by_rate)
    assert [(one.number, one.reported) for one in search.going] == going
    assert search.going[0].jobs[0].path == sweep.jobs()[0].path
    run_out(search)
    assert states(search) == ["COMPLETE"] * 5
    assert len(SweepFolder.open(sweep.path).plan.cells) == 5
    assert len({cell.settings["lrs"][0] for cell in search.sweep.plan.cells}) == 5  # type: ignore[index]


def test_a_trial_chosen_before_the_end_but_without_a_cell_gets_one(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=3, prune=False)
    killed, _ = searching(sweep, by_rate)
    killed.study.ask(killed.space)
    asked = killed.study.ask(killed.space)  # and killed before its cell was written
    search, _ = searching(SweepFolder.open(sweep.path), by_rate)
    assert search.sweep.plan.cells[1].settings["lrs"] == [asked.params["lrs"]] * 2
    run_out(search)
    assert states(search) == ["COMPLETE"] * 3


def test_a_pruned_run_is_not_begun_again(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=2, prune=False)
    killed, _ = searching(sweep, by_rate)
    for _ in range(3):
        killed.step()
    going = killed.going[1]
    run = RunFolder(going.jobs[0].path)
    run.relabel(tags=["pruned"])
    run.write_state({**run.read_state(), "state": "stopped"})  # and killed before Optuna was told
    search, _ = searching(SweepFolder.open(sweep.path), by_rate)
    run_out(search)
    assert states(search) == ["COMPLETE", "PRUNED"]


def test_a_pruned_run_that_a_killed_launcher_has_left_going_on_is_waited_for(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=2, prune=False)
    killed, _ = searching(sweep, by_rate)
    for _ in range(3):
        killed.step()
    run = RunFolder(killed.going[1].jobs[0].path)
    run.relabel(tags=["pruned"])  # it is asked to stop, and in a long batch as its launcher is killed
    search, _ = searching(SweepFolder.open(sweep.path), by_rate)
    search.step()
    assert states(search)[1] == "RUNNING"
    assert [asked.request for asked in take(run.path)] == ["stop"]
    run.write_state({**run.read_state(), "state": "stopped"})
    run_out(search)
    assert states(search) == ["COMPLETE", "PRUNED"]


def test_the_best_trial_has_all_of_its_seeds(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "T1=int:1,100", trials=3, seeds="0-1", prune=False)
    first = dict(sweep.plan.cells[0].settings)

    def fails(settings: dict[str, Any], seed: int, number: int) -> float | None:
        return (99.0 if seed == 0 else None) if settings == first else 50.0

    search, _ = searching(sweep, fails)
    run_out(search)
    table = table_of(SweepFolder.open(sweep.path), measure_of(sweep))
    assert table.best is not None and table.best.number != 1
    assert [row.number for row in table.best_first()][-1] == 1


def test_a_search_goes_on_after_a_line_that_a_full_disk_has_cut(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=3, prune=False)
    cut, _ = searching(sweep, by_rate)
    for _ in range(4):
        cut.step()
    with (sweep.path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 6, "worker_id"')
    search, _ = searching(SweepFolder.open(sweep.path), by_rate)
    run_out(search)
    assert states(search) == ["COMPLETE"] * 3
    (sweep.path / JOURNAL).write_text("nothing of Optuna's\n")
    with pytest.raises(RunError, match=r"study\.journal: cannot be read"):
        searching(SweepFolder.open(sweep.path), by_rate)


def test_all_trials_are_stopped_whatever_was_known_of_the_sweep_before(tmp_path: Path) -> None:
    before = begin(tmp_path, "lrs=loguniform:0.01,1", trials=3, prune=False)
    search, _ = searching(before, by_rate, room=3)
    for _ in range(3):
        search.step()
    assert len(before.jobs()) < len(search.going) == 3
    said: list[str] = []
    stop(before, say=said.append, limit=0.0)
    assert len(said) == 3
    assert all([asked.request for asked in take(one.jobs[0].path)] == ["stop"] for one in search.going)


def test_a_run_that_a_person_stops_counts_as_pruned(tmp_path: Path) -> None:
    from eqprop_core.runs.control import ask

    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=2, prune=False)
    search, _ = searching(sweep, by_rate)
    for _ in range(4):
        search.step()
    ask(search.going[0].jobs[0].path, "stop")
    run_out(search)
    assert states(search) == ["PRUNED", "COMPLETE"]


def test_more_trials_than_two_digits_do_not_move_folders(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=200)
    before = sweep.jobs()[0].path
    for number in range(1, 120):
        sweep = sweep.extended(sweep.plan.cells[0].model_copy(update={"name": f"trial {number}"}))
    assert SweepFolder.open(sweep.path).jobs()[0].path == before


def test_a_search_that_is_over_goes_on_with_more_trials(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "lrs=loguniform:0.01,1", trials=2, prune=False)
    search, _ = searching(sweep, by_rate)
    run_out(search)
    sweep = with_trials(SweepFolder.open(sweep.path), 4)
    assert SweepFolder.open(sweep.path).planned == 4
    search, _ = searching(sweep, by_rate)
    run_out(search)
    assert states(search) == ["COMPLETE"] * 4
    for trials, message in ((3, "must be from 4, the trials that there are"), (10**6, "to 9,999")):
        with pytest.raises(ConfigError, match=message):
            with_trials(search.sweep, trials)


def test_the_study_can_be_read_by_optuna_itself(tmp_path: Path) -> None:
    sweep = begin(tmp_path, "act=tanh,mysig", "T1=logint:1,50", trials=2, prune=False)
    search, _ = searching(sweep, lambda settings, seed, number: 50.0)
    run_out(search)
    backend = optuna.storages.journal.JournalFileBackend(str(sweep.path / "study.journal"))
    study = optuna.load_study(study_name="search", storage=optuna.storages.JournalStorage(backend))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert json.loads((sweep.path / "sweep.json").read_text())["search"]["trials"] == 2
