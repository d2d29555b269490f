"""Who may import whom: the contracts of pyproject.toml, and what a command loads when it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_floor_imports_from_those_below_it_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_process_that_waits_for_its_device_has_loaded_little() -> None:
    program = (
        "import sys\n"
        "import eqprop_core.worker.__main__\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'matplotlib', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["presets", "list"],
        ["train", "--preset", "digits-mlp-ep", "--dry-run"],
        ["runs", "list"],
        ["runs", "prune"],
        ["sweep", "table", "--help"],
        ["sweep", "list"],
    ],
    ids=" ".join,
)
def test_commands_that_need_no_torch_do_not_load_it(arguments: list[str]) -> None:
    refuse_to_load({"torch", "textual", "matplotlib", "numpy"}, arguments)


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"], ["runs", "list"]], ids=" ".join)
def test_commands_that_need_no_settings_do_not_load_their_schema(arguments: list[str]) -> None:
    others = {f"eqprop_tui.cli.{name}" for name in ("flags", "work", "presets", "data", "showing", "steer")}
    refuse_to_load({"eqprop_core.config", "eqprop_core.events", "psutil", "tomli_w", *others}, arguments)


def refuse_to_load(heavy: set[str], arguments: list[str]) -> None:
    """Assert that `eqprop` with these arguments does what it is to, and loads none of these modules."""
    program = (
        "import sys\n"
        "from eqprop_tui.cli.main import app\n"
        "try:\n"
        "    app(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"heavy = {heavy} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_first_screen_needs_no_numpy() -> None:
    program = "import sys, eqprop_tui.app\nassert not {'torch', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
