"""Files that commands are asked to write: `-`, devices, pipes, folders, and what is there already."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_runs import epoch, make_run
from typer.testing import CliRunner, Result

from eqprop_core.problems import ConfigError
from eqprop_core.shell import command
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_core.sweeps.plan import Cell, SweepPlan
from eqprop_tui import output
from eqprop_tui.cli import report
from eqprop_tui.cli.consoles import Screen
from eqprop_tui.cli.main import app
from eqprop_tui.screens.run_actions import judge_file

Run = Callable[..., Result]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "results", events=[epoch(1), epoch(2)], state={"state": "finished"}, name="first")
    make_run(tmp_path / "results", number=1, events=[epoch(1)], state={"state": "finished"}, name="second")


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("more", [[], ["--force"], ["--batches"]])
def test_rows_go_to_standard_output_by_any_of_its_names(
    name: str, more: list[str], eqprop: Run, tmp_path: Path
) -> None:
    said = eqprop("runs", "export", "first", "--to", name, *more).stdout
    assert said == eqprop("runs", "export", "first", *more).stdout
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("words", "shown"),
    [(["runs", "compare", "first", "second"], "best test %"), (["sweep", "table", "tiny"], "a tiny sweep")],
)
def test_a_picture_goes_to_standard_output_alone(words: list[str], shown: str, tmp_path: Path) -> None:
    cells = (Cell(name="one", settings={"task": "digits", "archi": [64, 10], "lrs": [0.1]}),)
    plan = SweepPlan(name="tiny", title="a tiny sweep", cells=cells, seeds=(0,))
    SweepFolder.create(tmp_path / "results", plan, command=["eqprop", "sweep"])
    result = CliRunner().invoke(app, [*words, "--figure", "-"], prog_name="eqprop")
    assert result.exit_code == 0, result.stderr
    assert result.stdout_bytes.startswith(PNG) and result.stdout_bytes.endswith(b"IEND\xaeB`\x82")
    assert shown in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    result = CliRunner().invoke(app, [*words, "--figure", "-", "--json"], prog_name="eqprop")
    assert result.exit_code == 2 and "--figure -: is a picture on standard output" in result.stderr


@pytest.mark.usefixtures("two")
def test_devices_and_pipes_are_written_into_and_stay(eqprop: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    eqprop("runs", "export", "first", "--to", pipe, "--force")
    reader.join(30)
    assert read[0].startswith("epoch,") and pipe.is_fifo()
    assert "2 rows in /dev/null" in eqprop("runs", "export", "first", "--to", os.devnull).stderr
    assert Path(os.devnull).is_char_device()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "first", "--to", "results"], "--to results: is a folder"),
        (["export", "first", "--to", ""], "is a folder"),
        (["export", "first", "--to", "kept.csv"], "--to kept.csv: is there already; --force overwrites it"),
        (["compare", "first", "second", "--figure", "no/a.png"], "--figure no/a.png: there is no folder no"),
        (["compare", "first", "second", "--figure", "kept.png"], "--force overwrites it"),
        (["compare", "first", "second", "--figure", "/dev/stderr"], "must end in .png"),
    ],
)
def test_what_cannot_be_written_is_refused_and_what_is_there_stays(
    words: list[str], said: str, eqprop: Run, tmp_path: Path
) -> None:
    for name in ("kept.csv", "kept.png"):
        (tmp_path / name).write_text("precious")
    assert said in eqprop("runs", *words, code=2).stderr
    assert {(tmp_path / name).read_text() for name in ("kept.csv", "kept.png")} == {"precious"}


def test_the_application_asks_for_a_file_and_not_for_standard_output() -> None:
    assert "is standard output, which is this screen" in (judge_file("-") or "")


def test_a_terminal_is_shown_no_bytes_of_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal: Any = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        with pytest.raises(ConfigError, match="standard output is a terminal"):
            output.picture_file(Path("-"), force=False)


def test_lines_are_broken_between_words_on_a_terminal_alone() -> None:
    path = "/a-path/" + "longer/" * 12 + "than-a-line"
    text = f"error: {'of several words ' * 6}\n  {path}: is no run"
    for terminal in (False, True):
        file = io.StringIO()
        file.isatty = lambda terminal=terminal: terminal  # type: ignore[method-assign,misc]
        report.put_words(Console(file=file, width=40, color_system=None), text)
        printed = file.getvalue()
        assert (max(map(len, printed.replace(path, "").splitlines())) <= 40) == terminal
        assert path in printed and printed.split() == text.split()


def test_a_command_stays_on_one_line_also_on_a_terminal() -> None:
    words = command("runs", "resume", "/a folder/with a name; of many, words", "--epochs", 10)
    file = io.StringIO()
    file.isatty = lambda: True  # type: ignore[method-assign]
    screen = Screen(file=file, width=30, color_system=None)
    report.put_words(screen, f"the run has been stopped; go on with: {words}; {'or leave it ' * 5}")
    printed = file.getvalue()
    assert words in printed and "\n" in printed.split(words)[0] and "\n" in printed.split(words)[1].strip()


def test_a_name_that_a_run_has_already_is_told(two: None, eqprop: Run) -> None:
    words = ["train", "--preset", "digits-mlp-ep", "--dry-run", "--name"]
    assert "--name first: " in eqprop(*words, "first").stderr
    assert eqprop(*words, "another").stderr == ""


def test_training_without_rates_tells_of_presets(eqprop: Run) -> None:
    assert "a preset brings them: --preset NAME" in eqprop("train", code=2).stderr
    assert "preset" not in eqprop("reference", "--todo", "train", code=2).stderr
