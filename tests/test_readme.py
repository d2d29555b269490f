"""What the README says is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from small_runs import make_run
from typer.testing import Result
from waiting import give_way

from eqprop_core.devices import list_devices
from eqprop_core.presets import all_presets, load_preset
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import ALIVE, find_run, summarize
from eqprop_core.runs.log import read_events
from eqprop_core.sweeps.folder import list_sweeps

ANY = {"running", "paused", "stopped", "finished", "lost"}
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


@pytest.mark.usefixtures("warm_workers")
def test_the_commands_of_the_life_of_a_run_do_what_they_say(
    eqprop: Callable[..., Result], tmp_path: Path
) -> None:
    (life,) = (text for _, text in BLOCKS if "runs attach" in text)
    lines = [shlex.split(line, comments=True)[1:] for line in life.strip().splitlines()]
    run = RunFolder(Path(eqprop(*lines[0], "--mbs", "2").stdout.strip()))
    before = {"pause": ALIVE, "resume": ("paused", "lost"), "stop": ("running",), "compare": ("stopped",)}
    for words in lines[1:]:
        wait_for_state(run, before.get(words[1], ANY))
        if words[1] == "attach":
            program = [sys.executable, "-m", "eqprop_tui.cli.main", *words]
            reader = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
            continue
        said = eqprop(*words).stdout
        if words[1] == "show":
            assert str(run.path.resolve()) in said
        if words[1] == "checkpoint":
            wait_for(lambda: (run.path / "checkpoint.tar").exists())
        if "--kill" in words:
            assert summarize(run.path).state == "lost"
            assert "its process has died" in " ".join(reader.communicate()[1].split())
    events = [record.event.kind for record in read_events(run.path / "events.jsonl")]
    assert {kind: events.count(kind) for kind in ("run_resumed", "gdu", "amended")} == {
        "run_resumed": 1,
        "gdu": 1,
        "amended": 1,
    }
    assert summarize(run.path).epochs == 900
    assert (tmp_path / "comparison.png").exists()


def test_the_commands_of_ones_own_presets_do_what_they_say(
    eqprop: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "sed -i s/Made/made/")
    make_run(tmp_path / "results", number=1)
    (own,) = (text for _, text in BLOCKS if "presets new" in text)
    for line in own.strip().splitlines():
        words = shlex.split(line, comments=True)[1:]
        eqprop(*words, *(["--yes"] if words[1] == "delete" else []))
    assert {name for name, preset in all_presets().presets.items() if not preset.shipped} == {"mine", "again"}
    assert load_preset("mine").description.startswith("made from digits-cnn-ep")


def test_the_commands_that_tend_runs_are_accepted(eqprop: Callable[..., Result], tmp_path: Path) -> None:
    (tending,) = (text for _, text in BLOCKS if "runs export" in text)
    runs = [make_run(tmp_path / "results", number=number, mbs=number + 1) for number in range(2)]
    for line in tending.strip().splitlines():
        paths = iter([str(run.path) for run in runs])
        words = [next(paths) if word == "RUN" else word for word in shlex.split(line, comments=True)[1:]]
        eqprop(*words, *(["--yes"] if words[1] in ("prune", "delete") else []))
    assert (tmp_path / "comparison.png").exists() and (tmp_path / "curves.csv").exists()
    assert not any(run.path.exists() for run in runs)


def test_the_commands_for_several_devices_do_what_they_say(eqprop: Callable[..., Result]) -> None:
    (several,) = (text for _, text in BLOCKS if "--nproc 2" in text)
    first, second, gpus = (shlex.split(line, comments=True)[1:] for line in several.strip().splitlines())
    few = ["--epochs", "1", "--train-samples", "40", "--test-samples", "8", "--seed", "0"]
    eqprop(*first, *few)
    run = find_run("both")
    assert (summarize(run.path).state, summarize(run.path).processes) == ("finished", 2)
    eqprop(*second)
    wait_for(lambda: summarize(run.path).epoch == 2 and summarize(run.path).state == "finished")
    assert summarize(run.path).processes == 1
    if not any(device.key == "cuda:3" for device in list_devices()):
        assert "--devices 0,1,2,3: there is no GPU" in eqprop(*gpus, "--dry-run", code=2).stderr


@pytest.mark.slow
def test_the_commands_of_many_runs_do_what_they_say(eqprop: Callable[..., Result]) -> None:
    (many,) = (text for _, text in BLOCKS if "sweep status" in text)
    few = ["--train-samples", "20", "--test-samples", "20", "--device", "cpu"]
    for line in many.strip().splitlines():
        words = shlex.split(line, comments=True)[1:]
        begins = words[1] in ("digits-sweep", "digits-mlp-ep")
        said = eqprop(*words, *(few if begins else [])).stdout
        if "--jobs" in words:
            assert said.startswith("8 finished\n")
        if words[1] == "resume":
            assert said.startswith("4 finished\n")
    assert [len(sweep.jobs()) for sweep in list_sweeps()] == [4, 8]


def wait_for_state(run: RunFolder, wanted: Collection[str]) -> None:
    """Wait until the run stands as wanted; a detached process is slow to begin on a busy machine."""
    wait_for(lambda: (state := summarize(run.path).state) in wanted and state != "starting")


def wait_for(found: Callable[[], bool]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline
        give_way()


def test_every_command_of_the_table_exists(eqprop: Callable[..., Result]) -> None:
    for command in re.findall(r"^\| `eqprop ([a-z ]+)`", README, flags=re.MULTILINE):
        eqprop(*command.split(), "--help")
