"""Variables that are not as other programs set them, and a working folder that is gone: said in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eqprop_core.devices import threads_wished
from eqprop_core.problems import ConfigError
from eqprop_core.worker import preparing
from eqprop_core.worker.__main__ import main
from eqprop_core.worker.ranks import Rank, rank_here
from eqprop_tui import start

TWO = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "here",
    "MASTER_PORT": "29500",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "rank"),
    [
        ({}, Rank(1, 2, 0, 1)),
        ({"RANK": " 0 ", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}, Rank(0, 4, 1, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": None, "MASTER_PORT": None}, None),
        ({"RANK": None, "WORLD_SIZE": None}, None),  # what is left of another program
        (dict.fromkeys(TWO), None),
    ],
)
def test_which_process_this_is(changes: dict[str, str | None], rank: Rank | None) -> None:
    told = {name: value for name, value in {**TWO, **changes}.items() if value is not None}
    assert rank_here(told) == rank


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RANK", "", "the variable RANK: is empty, and must be a whole number from 0 to 1"),
        ("RANK", "first", "the variable RANK: is first, and must be"),
        ("RANK", "2", "the variable RANK: is 2, and must be"),
        ("RANK", "-1", "the variable RANK: is -1, and must be"),
        ("RANK", "1.0", "the variable RANK: is 1.0, and must be"),
        ("RANK", "\u0661", "the variable RANK: is \u0661, and must be"),
        ("RANK", "9" * 5000, "the variable RANK: is 999"),
        ("RANK", None, "the variable RANK: is not set, and must be"),
        ("WORLD_SIZE", None, "the variable WORLD_SIZE: is not set, and must be"),
        ("WORLD_SIZE", "0", "the variable WORLD_SIZE: is 0, and must be a whole number from 1"),
        ("LOCAL_RANK", "1", "the variable LOCAL_RANK: is 1, and must be a whole number from 0 to 0"),
        ("LOCAL_WORLD_SIZE", "3", "the variable LOCAL_WORLD_SIZE: is 3, and must be a whole number from 1 to 2"),
        ("LOCAL_WORLD_SIZE", None, "the variable LOCAL_WORLD_SIZE: is not set"),
        ("MASTER_PORT", "0", "the variable MASTER_PORT: is 0, and must be a whole number from 1 to 65,535"),
        ("MASTER_PORT", "70000", "the variable MASTER_PORT: is 70000"),
        ("MASTER_PORT", "\x1b[2J", "the variable MASTER_PORT: is \\x1b[2J"),
        ("MASTER_ADDR", " ", "the variable MASTER_ADDR: is "),
    ],
)  # fmt: skip
def test_variables_that_torchrun_would_not_set_are_refused_in_words(
    name: str,
    value: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable, told in {**TWO, name: value}.items():
        if told is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, told)
    with pytest.raises(ConfigError):
        rank_here()
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1
    assert "a process that trains alone has neither RANK nor WORLD_SIZE" in error
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "threads"),
    [
        ("3", 3), (" 2 ", 2), ("4,2", 4), ("", None), ("0", None), ("-1", None), ("two", None), ("1.5", None),
        ("9" * 400, None),
    ],
)  # fmt: skip
def test_threads_are_those_of_a_variable_that_has_a_number(
    value: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_wished() == threads
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    small: Any = SimpleNamespace(config=SimpleNamespace(connections=list))
    preparing.choose_threads(small, 1)
    assert chosen == ([] if threads else [1])


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("80", True),
        ("1", True),
        ("0", False),
        ("-5", False),
        ("x", False),
        ("", False),
        ("99999999999", False),
    ],
)
@pytest.mark.parametrize("name", ["COLUMNS", "LINES", "TERMINAL_WIDTH"])
def test_sizes_of_a_terminal_that_are_none_are_forgotten(
    name: str, value: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    start._forget_nonsense()
    assert (name in os.environ) is kept


@pytest.mark.parametrize("words", [["runs", "list"], ["train", "--preset", "digits-mlp-ep"], ["devices"], []])
def test_in_a_working_folder_that_is_gone_a_command_says_so(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from eqprop_tui.cli.main import main as command

    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(sys, "argv", ["eqprop", *words])
    with pytest.raises(SystemExit) as ended:
        command()
    monkeypatch.chdir(tmp_path)
    assert ended.value.code == 1
    assert capfd.readouterr().err.startswith("error: the working folder is not there any more; ")


def test_help_needs_no_working_folder_and_a_worker_makes_do(tmp_path: Path) -> None:
    def told(*words: str) -> subprocess.CompletedProcess[str]:
        gone = tmp_path / "gone"
        gone.mkdir()
        program = f"import os, runpy, sys; os.rmdir({str(gone)!r}); sys.argv = {list(words)!r}"
        program += f"; runpy.run_module({words[0]!r}, run_name='__main__')"
        return subprocess.run(
            [sys.executable, "-P", "-c", program], cwd=gone, capture_output=True, text=True, check=False
        )

    shown = told("eqprop_tui", "runs", "--help")
    assert shown.returncode == 0 and "Usage" in shown.stdout
    worked = told("eqprop_core.worker", str(tmp_path))
    assert worked.returncode in (1, 2) and "is no run: it has no config.toml" in worked.stderr


def test_pictures_are_drawn_whatever_another_program_says_of_windows() -> None:
    words = [sys.executable, "-P", "-c", "import eqprop_core.worker.figures"]
    surroundings = {**os.environ, "MPLBACKEND": "nonsense"}
    done = subprocess.run(words, env=surroundings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
