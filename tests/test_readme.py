"""What the README says is so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_two_commands_stand_first_and_are_what_ci_runs() -> None:
    demo, tests = (text.strip() for _, text in BLOCKS[:2])
    assert demo == "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/eqprop demo"
    assert tests == "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest"
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert tests in lines
    assert demo in lines


def test_the_python_example_runs() -> None:
    (example,) = (text for kind, text in BLOCKS if kind == "python")
    names: dict[str, object] = {}
    exec(example.replace("T1, T2, beta = 60", "T1, T2, beta = 15"), names)
    assert set(names["g"]) == set(names["b"])  # type: ignore[call-overload]


def test_the_commands_of_the_first_hour_are_accepted(eqprop: Callable[..., Result], data_root: Path) -> None:
    (hour,) = (text for _, text in BLOCKS if "presets list" in text)
    few = ["--epochs", "1", "--train-samples", "8", "--test-samples", "8", "--seed", "0"]
    run = ""
    for line in hour.strip().splitlines():
        words = shlex.split(line, comments=True)[1:]
        words = [run if word.endswith("DATE/TIME") else word for word in words]
        if words[0] == "train":
            words += [*few, "--data-dir", str(data_root)]
        said = eqprop(*words).stdout
        if words[0] == "train" and "saved in" in said:
            run = run or said.split("saved in ")[1].split()[0]


def test_every_command_of_the_table_exists(eqprop: Callable[..., Result]) -> None:
    for command in re.findall(r"^\| `eqprop ([a-z ]+)`", README, flags=re.MULTILINE):
        eqprop(*command.split(), "--help")
