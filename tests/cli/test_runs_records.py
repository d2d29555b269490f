"""Runs are compared, labelled, exported, pruned and deleted; nothing is lost that was not named."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from small_runs import batch, epoch, make_run
from typer.testing import CliRunner, Result

from eqprop_core.events import Amended, RunResumed
from eqprop_core.runs.folder import RunFolder
from eqprop_tui.cli.main import app

Run = Callable[..., Result]


@pytest.fixture
def two(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    """Two finished runs that differ in their learning rates and momentum."""
    first = make_run(tmp_path / "results", events=[epoch(1, 40.0), epoch(2, 55.0), epoch(3, 50.0, best=False)], name="first")  # fmt: skip
    second = make_run(tmp_path / "results", number=1, events=[epoch(1, 45.0)], name="second", lrs=(0.3, 0.4), mmt=0.9)  # fmt: skip
    return first, second


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# --- compare --------------------------------------------------------------------------------------------


def test_runs_are_compared_by_what_differs_and_what_they_came_to(
    eqprop: Run, two: object, tmp_path: Path
) -> None:
    said = eqprop("runs", "compare", "first", "second").stdout
    assert list(tmp_path.glob("*.png")) == []
    lines = {line.split("  ")[0]: line.split() for line in said.splitlines()}
    assert lines["--lrs"] == ["--lrs", "0.1", "0.2", "0.3", "0.4"]
    assert lines["--mmt"] == ["--mmt", "0.0", "0.9"]
    assert "--archi" not in lines and "--name" not in lines
    assert lines["best test %"][-2:] == ["55.00", "45.00"]
    assert lines["test last %"][-2:] == ["50.00", "45.00"]
    assert "changed on the way" not in lines
    assert not {"val last %", "best val %", "test at best %"} & set(lines)  # neither has any
    said = eqprop("runs", "compare", "first", "second", "--figure", "comparison.png").stdout
    assert "curves in comparison.png" in said
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.format == "PNG"


def test_a_comparison_tells_what_was_changed_on_the_way(eqprop: Run, tmp_path: Path) -> None:
    flight = [Amended(settings={"lr_factor": 0.25}, epoch=3, batch=9), Amended(settings={"mmt": 0.5})]
    make_run(tmp_path / "results", events=[epoch(1, 40.0), *flight], name="first")
    make_run(tmp_path / "results", number=1, events=[epoch(1, 45.0)], name="second")
    said = " ".join(eqprop("runs", "compare", "first", "second", "--no-figure").stdout.split())
    assert "changed on the way --lr-factor 0.25 since epoch 3; --mmt 0.5 on resuming –" in said
    document = json.loads(eqprop("runs", "compare", "first", "second", "--no-figure", "--json").stdout)
    told = [[change["settings"] for change in run["amendments"]] for run in document["runs"]]
    assert told == [[{"lr_factor": 0.25}, {"mmt": 0.5}], []]


def test_a_comparison_as_json_has_histories(eqprop: Run, two: object) -> None:
    document = json.loads(eqprop("runs", "compare", "first", "second", "--no-figure", "--json").stdout)
    assert document["settings"] == {"lrs": [[0.1, 0.2], [0.3, 0.4]], "mmt": [0.0, 0.9]}
    assert [run["best_test_accuracy"] for run in document["runs"]] == [55.0, 45.0]
    assert [len(run["history"]) for run in document["runs"]] == [3, 1]
    assert document["figure"] is None
    assert not Path("comparison.png").exists()


def test_a_picture_that_is_there_is_not_overwritten(eqprop: Run, two: object, tmp_path: Path) -> None:
    (tmp_path / "comparison.png").write_text("mine")
    words = ("runs", "compare", "first", "second", "--figure")
    assert "--force overwrites it" in eqprop(*words, "comparison.png", code=2).stderr
    assert (tmp_path / "comparison.png").read_text() == "mine"
    eqprop(*words, "comparison.png", "--force")
    assert (tmp_path / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    for wrong, message in (("a.jpg", "must end in .png"), ("no/a.png", "there is no folder no")):
        assert message in eqprop(*words, wrong, code=2).stderr


def test_one_run_cannot_be_compared(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    assert "give two to 20 different ones" in eqprop("runs", "compare", "first", two[0].path, code=2).stderr


def test_many_runs_are_compared_in_tables_that_fit(eqprop: Run, tmp_path: Path) -> None:
    made = [make_run(tmp_path / "results", number=n, seed=n, events=[epoch(1, 50.0 + n)]) for n in range(20)]
    said = eqprop("runs", "compare", *(run.path for run in made)).stdout
    assert max(map(len, said.splitlines())) <= 120
    assert said.count("--seed") > 1
    assert all(f"{50 + n}.00" in said for n in range(20))


# --- note -----------------------------------------------------------------------------------------------


def test_labels_are_changed_and_shown(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    said = eqprop(
        "runs", "note", "first", "--name", "best one", "--tag", "a", "--tag", "b", "--note", "see log"
    ).stdout
    assert said.splitlines() == ["name  best one", "tags  a, b", "note  see log"]
    assert eqprop("runs", "note", "best one").stdout == said
    eqprop("runs", "note", "best one", "--untag", "a", "--tag", "b", "--tag", "c", "--note", "")
    document = json.loads(eqprop("runs", "note", "best one", "--json").stdout)
    assert document == {"name": "best one", "tags": ["b", "c"], "note": None}
    listed = json.loads(eqprop("runs", "list", "--tag", "c", "--json").stdout)
    assert [run["name"] for run in listed] == ["best one"]
    assert json.loads((two[0].path / "meta.json").read_text())["id"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "a\nb"], "--name"),
        (["--name", " "], "--name"),
        (["--name", "n" * 121], "--name"),
        (["--tag", "x" * 201], "--tag"),
        (["--note", "\x1b[31m"], "--note"),
        (["--untag", "none"], "--untag none: is not a tag of the run; the run has no tags"),
    ],
)
def test_labels_that_a_list_could_not_show_are_refused(
    words: list[str], message: str, eqprop: Run, two: tuple[RunFolder, RunFolder]
) -> None:
    before = (two[0].path / "meta.json").read_text()
    assert message in eqprop("runs", "note", "first", *words, code=2).stderr
    assert (two[0].path / "meta.json").read_text() == before


def test_a_meta_file_that_cannot_be_read_is_not_overwritten(
    eqprop: Run, two: tuple[RunFolder, RunFolder]
) -> None:
    (two[0].path / "meta.json").write_text('{"id": "torn')
    assert "cannot be read" in eqprop("runs", "note", two[0].path, "--tag", "a", code=1).stderr
    assert (two[0].path / "meta.json").read_text() == '{"id": "torn'


# --- export ---------------------------------------------------------------------------------------------


def test_epochs_are_exported_as_csv(eqprop: Run, two: object) -> None:
    table = rows(eqprop("runs", "export", "first").stdout)
    assert [row["test_accuracy"] for row in table] == ["40.0", "55.0", "50.0"]
    assert [row["best"] for row in table] == ["1", "1", "0"]
    assert (table[0]["validation_accuracy"], table[0]["lr_1"], table[0]["lr_2"]) == ("", "0.1", "0.2")


def test_batches_are_exported_without_those_done_again(eqprop: Run, tmp_path: Path) -> None:
    events = [batch(1), batch(2), RunResumed(from_seq=1, epoch=1, batch=1), batch(2), batch(3)]
    make_run(tmp_path / "results", events=events)
    assert [row["batch"] for row in rows(eqprop("runs", "export", "last", "--batches").stdout)] == [
        "1",
        "2",
        "3",
    ]
    assert "no epoch is written down yet" in eqprop("runs", "export", "last").stderr


def test_a_file_that_is_there_is_not_overwritten(eqprop: Run, two: object, tmp_path: Path) -> None:
    eqprop("runs", "export", "first", "--to", "a.csv")
    whole = (tmp_path / "a.csv").read_text()
    assert len(rows(whole)) == 3
    assert "--force overwrites it" in eqprop("runs", "export", "second", "--to", "a.csv", code=2).stderr
    assert (tmp_path / "a.csv").read_text() == whole
    eqprop("runs", "export", "second", "--to", "a.csv", "--force")
    assert len(rows((tmp_path / "a.csv").read_text())) == 1
    assert "cannot be written" in eqprop("runs", "export", "first", "--to", "no/a.csv", code=1).stderr
    assert "is a folder" in eqprop("runs", "export", "first", "--to", ".", code=2).stderr


# --- prune ----------------------------------------------------------------------------------------------


def test_without_a_rule_use_is_shown_and_nothing_removed(
    eqprop: Run, two: tuple[RunFolder, RunFolder]
) -> None:
    before = sorted(two[0].path.iterdir())
    said = eqprop("runs", "prune").stdout
    assert "all, 2 runs" in said
    assert next(line.split() for line in said.splitlines() if line.startswith("models")) == [
        "models",
        "4",
        "3.2",
        "kB",
    ]
    document = json.loads(eqprop("runs", "prune", "--json").stdout)
    assert document[0]["bytes"]["checkpoints"] == 1600
    assert sorted(two[0].path.iterdir()) == before


def test_what_goes_is_listed_and_asked_for_first(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    result = CliRunner().invoke(app, ["runs", "prune", "--checkpoints"], input="n\n")
    assert result.exit_code == 1
    assert "checkpoints 2" in result.stdout and "remove 3.2 kB for good?" in result.stderr
    assert (two[0].path / "checkpoint.tar").exists()
    assert eqprop("runs", "prune", "--checkpoints", "--yes").stderr == "removed 4 files, 3.2 kB\n"
    assert not (two[0].path / "checkpoint.tar").exists()
    assert (two[0].path / "model.pt").exists()
    assert "nothing to remove" in eqprop("runs", "prune", "--checkpoints").stdout


def test_json_lists_what_would_go_and_removes_only_with_yes(
    eqprop: Run, two: tuple[RunFolder, RunFolder]
) -> None:
    (document, _) = json.loads(eqprop("runs", "prune", "--models", "--json").stdout)
    assert (document["removable"], document["removed"]) == (["final_model.pt", "model.pt"], None)
    assert (two[1].path / "model.pt").exists()
    (document, _) = json.loads(eqprop("runs", "prune", "--models", "--json", "--yes").stdout)
    assert document["removed"] == ["final_model.pt", "model.pt"]
    assert not (two[1].path / "model.pt").exists()


def test_words_and_age_choose_the_runs_to_prune(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    eqprop("runs", "prune", "--checkpoints", "--runs", "first finished", "--yes")
    assert [(run.path / "checkpoint.tar").exists() for run in two] == [False, True]
    os.utime(two[1].path / "state.json", (1e9, 1e9))
    eqprop("runs", "prune", "--models", "--older-than", "100", "--yes")
    assert [(run.path / "model.pt").exists() for run in two] == [True, False]
    eqprop("runs", "prune", "--older-than", "-1", code=2)


def test_a_run_in_use_is_left_alone_and_said(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    with two[0].lock():
        said = eqprop("runs", "prune", "--checkpoints", "--yes", code=1).stderr
    assert "is in use" in said
    assert [(run.path / "checkpoint.tar").exists() for run in two] == [True, False]


def test_a_pruned_run_can_be_evaluated_but_not_resumed(eqprop: Run, tmp_path: Path) -> None:
    tiny = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "6", "--T2", "3"]
    eqprop("train", *tiny, "--train-samples", "20", "--test-samples", "20", "--seed", "1")
    (run,) = tmp_path.glob("results/*/*/*/*")
    document = json.loads(eqprop("evaluate", "--load-path", run, "--json").stdout)
    eqprop("runs", "prune", "--checkpoints", "--arrays", "--figures", "--checks", "--yes")
    assert not list(run.glob("*.tar")) and not list(run.glob("*.png"))
    assert json.loads(eqprop("evaluate", "--load-path", run, "--json").stdout)["parts"] == document["parts"]
    said = eqprop("train", "--load-path", run, "--epochs", "1", code=1).stderr
    assert "its checkpoints were removed" in said
    eqprop("runs", "show", run)
    eqprop("runs", "export", run)


# --- delete ---------------------------------------------------------------------------------------------


def test_several_runs_are_deleted_after_asking_once(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    words = ["runs", "delete", "first", str(two[1].path), "second"]
    result = CliRunner().invoke(app, words, input="n\n")
    assert result.exit_code == 1 and "delete these 2 runs?" in result.stderr
    assert all(run.path.exists() for run in two)
    assert CliRunner().invoke(app, words, input="y\n").exit_code == 0
    assert not any(run.path.exists() for run in two)


def test_none_is_deleted_if_one_is_in_use_or_unknown(eqprop: Run, two: tuple[RunFolder, RunFolder]) -> None:
    with two[1].lock():
        eqprop("runs", "delete", "first", "second", "--yes", code=1)
    eqprop("runs", "delete", "first", "nonsense", "--yes", code=2)
    two[1].write_state({**two[1].read_state(), "state": "starting", "heartbeat": time.time()})
    with two[1].lock():
        said = eqprop("runs", "delete", "first", "second", "--yes", code=1).stderr
    assert "is starting; stop it first" in said
    assert all(run.path.exists() for run in two)


def test_a_link_and_a_folder_that_is_no_run_are_not_deleted(
    eqprop: Run, two: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    link, site = tmp_path / "link", tmp_path / "site"
    link.symlink_to(two[0].path)
    site.mkdir()
    (site / "config.toml").write_text("title = 'a site'")
    assert "is a link" in eqprop("runs", "delete", link, "--yes", code=1).stderr
    assert "delete it by hand" in eqprop("runs", "delete", site, "--yes", code=1).stderr
    assert link.exists() and site.exists()


def test_what_cannot_be_deleted_is_named(eqprop: Run, two: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "gdu"))

    monkeypatch.setattr(shutil, "rmtree", refuse)
    assert (
        "gdu: cannot be deleted: Permission denied"
        in eqprop("runs", "delete", "first", "--yes", code=1).stderr
    )
