"""Working folders and results folders whose names are no text."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from small_runs import make_run
from typer.testing import Result

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import find_run
from eqprop_core.runs.settings import make_plan

Run = Callable[..., Result]
TINY = ["--task", "digits", "--archi", "64", "8", "10", "--lrs", "0.1", "0.1", "--T1", "4", "--T2", "2", "--train-samples", "20", "--test-samples", "10", "--seed", "1"]  # fmt: skip


@pytest.fixture(params=[b"caf\xe9", b"\xff\xfe", b"d\xe4ta \x80"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder whose name is not UTF-8."""
    folder = tmp_path / os.fsdecode(request.param)
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no such names here")
    return folder


def test_a_run_in_a_folder_that_is_not_utf8_goes_on_and_is_listed_shown_and_deleted(
    odd: Path, eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(odd)
    run = make_run(Path("results"), state={"state": "stopped"})
    for path in (run.path, run.path.absolute()):
        plan = make_plan("train", {"load_path": str(path)})
        assert plan.stored is not None and plan.stored.path == path
    for words in (["list"], ["list", "--json"], ["show", "last"]):
        assert run.path.name in eqprop("runs", *words).stdout
    eqprop("evaluate", "--load-path", run.path.absolute(), "--dry-run")
    assert find_run("last").path.exists()
    eqprop("runs", "delete", run.path, "--yes")
    assert not run.path.exists()


def test_a_training_in_a_folder_that_is_not_utf8_is_like_any_other(
    tmp_path: Path, eqprop: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"na\xefve")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("no such names here")
    monkeypatch.chdir(folder)
    assert "saved in results/" in eqprop("train", *TINY).stdout
    eqprop("train", "--load-path", find_run("last").path, "--epochs", "1")
    assert RunFolder(find_run("last").path).read_state()["epoch"] == 2
    eqprop("evaluate", "--load-path", "last", "--save")


@pytest.mark.parametrize("flag", ["--results", "--data-dir"])
def test_a_setting_that_cannot_be_written_down_is_refused_by_its_name_before_there_is_a_folder(
    flag: str, odd: Path, eqprop: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(odd)
    said = eqprop("train", *TINY, flag, odd, code=2).stderr
    assert said.startswith(f"error: {flag} ") and said.endswith("has bytes in it that are not UTF-8\n")
    assert not any(odd.iterdir())


def test_a_command_line_that_is_not_utf8_is_written_down_escaped(odd: Path) -> None:
    config = make_plan("train", {"task": "digits", "archi": [64, 8, 10], "lrs": [0.1, 0.1]}).config
    run = RunFolder.create_at(odd / "run", config, command=["eqprop", "sweep", "--results", str(odd)])
    said = (run.path / "hyperparameters.txt").read_text("utf-8")
    assert "--results \"$(printf %b '" in said  # a shell that is given the line takes the very bytes
    assert find_run(str(run.path)).path == run.path


@pytest.mark.parametrize("asked", ["run ", "r\u200bun", "ru\uff4e"])
def test_a_run_that_is_asked_for_by_a_name_that_looks_the_same_is_named(
    tmp_path: Path, asked: str, eqprop: Run
) -> None:
    (tmp_path / "kept" / "run").mkdir(parents=True)
    told = eqprop("evaluate", "--load-path", f"kept/{asked}", code=2).stderr
    assert "asked for was" in told and "and there is run" in told
