"""The first moments of the `eqprop` command."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from eqprop_tui.start import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["eqprop_tui.cli.main", "typer", "pydantic", "eqprop_tui.cli.listing", "eqprop_core.runs.listing"],
)
def test_an_interrupt_while_modules_are_loaded_ends_the_command_without_a_word(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module), "runs", "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    "making",
    [
        "typer.main.get_command",
        "eqprop_tui.cli.late.LateCommand.imported",
        "typer.core.TyperCommand.parse_args",
    ],
)
def test_an_interrupt_while_commands_are_made_ends_the_command_without_a_word(making: str) -> None:
    program = (
        "import os, signal, typer.main, eqprop_tui.cli.late\n"
        f"{making} = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "from eqprop_tui.start import main\n"
        "main()\n"
    )
    words = [sys.executable, "-c", program, "runs", "list"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_the_command_begins_there() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"]["eqprop"] == "eqprop_tui.start:main"
    done = subprocess.run(
        [sys.executable, "-m", "eqprop_tui", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("eqprop ")


@pytest.mark.parametrize("into", ["/dev/full", "a pipe that nobody reads any more", "nowhere"])
def test_what_cannot_be_said_on_standard_error_changes_no_status(into: str) -> None:
    if into == "/dev/full" and not Path(into).exists():
        pytest.skip("the system has no /dev/full")
    reads, writes = os.pipe()
    os.close(reads)
    descriptor = os.open(into, os.O_WRONLY) if into == "/dev/full" else writes
    done = subprocess.run(
        [sys.executable, "-c", "from eqprop_tui.start import main; main()", "runs", "show", "none"],
        stdout=subprocess.PIPE,
        stderr=descriptor,
        preexec_fn=(lambda: os.close(2)) if into == "nowhere" else None,
        check=False,
    )
    for opened in {writes, descriptor}:
        os.close(opened)
    assert (done.returncode, done.stdout) == (2, b"")


FEW_FILES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({now}, {most}))
from {module} import main
sys.exit(main({words}))
"""


@pytest.mark.parametrize(
    ("module", "words"), [("eqprop_tui.start", ""), ("eqprop_core.worker.__main__", "['run']")]
)
def test_where_hardly_a_file_may_be_open_that_is_said(module: str, words: str) -> None:
    program = FEW_FILES.format(module=module, words=words, now=9, most=9)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: only 9 files may be open at once here (ulimit -n): 64 or more are needed\n"


def test_a_limit_of_open_files_that_may_be_raised_is_raised() -> None:
    program = FEW_FILES.format(module="eqprop_tui.start", words="", now=20, most=100)
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
