"""Training goes on where nothing can be written, says so once, and writes again as soon as that is possible.

The disk is a file system of its own, of two megabytes; a folder that cannot be written is one to which the
process has no right.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from on_small_disk import EPOCHS
from small_disk import on_disk

from eqprop_core.config import RunConfig
from eqprop_core.events import Warned
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import EventLog, read_events
from eqprop_core.worker import checkpoint, session
from eqprop_core.worker.session import Session
from eqprop_core.worker.signals import Wishes
from eqprop_tui.cli import work

SMALL: dict[str, Any] = {"task": "digits", "archi": [64, 4, 10], "lrs": [0.1, 0.1], "T1": 3, "T2": 2, "betas": [0, 0.5], "train_samples": 20, "test_samples": 10, "seed": 1}  # fmt: skip
SCRIPT = Path(__file__).parent / "on_small_disk.py"
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]  # fmt: skip


def why_all_powerful() -> str:
    """Why the right to write everywhere cannot be given up; empty where it can."""
    if os.geteuid() != 0:
        return ""
    if shutil.which("setpriv") is None:
        return "this is the superuser, and there is no `setpriv`"
    made = subprocess.run([*POWERLESS, "true"], capture_output=True, text=True, check=False)
    return made.stderr.strip() if made.returncode else ""


def trained(tmp_path: Path, scenario: str, before: list[str]) -> tuple[Any, dict[str, Any]]:
    """The process that trained, and what it found."""
    disk = tmp_path / "disk"
    disk.mkdir()
    source = str(Path(session.__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([source, *sys.path])}
    words = [*before, sys.executable, str(SCRIPT), str(disk), scenario]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert Path(f"{disk}.json").exists(), done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    first, _, resumed = done.stderr.partition("--- resumed\n")
    return SimpleNamespace(status=done.returncode, said=first, resumed=resumed), json.loads(
        Path(f"{disk}.json").read_text()
    )


def test_a_disk_that_stays_full_costs_what_came_after_and_nothing_before(tmp_path: Path) -> None:
    done, found = trained(tmp_path, "full", on_disk(tmp_path / "disk"))
    assert done.status == 1
    assert f"epoch {EPOCHS}" in done.said
    assert found["kept"][:EPOCHS] == [1, 2, 2, 2, 2, 2]
    assert found["checkpoint"] == 2
    assert done.said.count("could not be written: No space left on device") == 1
    assert "checkpoint.tar could not be written: No space left on device; the work goes on, and in 60 s it is tried again" in " ".join(done.said.split())  # fmt: skip
    assert "all epochs are over; what is to be written yet" in " ".join(done.said.split())
    assert "error: not everything was saved: " in done.said
    assert "final_model.pt, checkpoint.tar, final_checkpoint.tar" in done.said
    assert not {"final_model.pt", "final_checkpoint.tar"} & set(found["files"])
    assert not [name for name in found["files"] if name.startswith(".")]
    assert (found["resumed"], found["resumed to"], found["state"]) == (0, 3, "finished")


def test_once_there_is_space_again_everything_is_written_and_what_is_lost_is_said(tmp_path: Path) -> None:
    done, found = trained(tmp_path, "full for a while", on_disk(tmp_path / "disk"))
    assert done.status == 0, done.said
    assert found["kept"][:EPOCHS] == [1, 2, 2, 2, 5, 6]
    assert {"model.pt", "final_model.pt", "final_checkpoint.tar", "checkpoint.tar"} <= set(found["files"])
    numbers = [seq for seq, _, _ in found["events"]]
    assert numbers == sorted(set(numbers))
    (lost,) = [said for _, kind, said in found["events"] if "are lost" in said]
    missing = set(range(1, max(numbers) + 1)) - set(numbers)
    assert lost == f"{len(missing)} events before this could not be written and are lost"
    assert len(missing) > 3
    assert lost in done.said
    assert "not everything was saved" not in done.said


def test_a_folder_that_vanishes_is_one_warning_and_an_end_that_says_so(tmp_path: Path) -> None:
    done, found = trained(tmp_path, "gone", [])
    assert done.status == 1
    assert f"epoch {EPOCHS}" in done.said
    first, last = (said for said in found["warned"] if "saved" in said)  # not of few images and time steps
    assert first.endswith(
        "is gone, deleted or moved to another file system: nothing is saved from here on; the work goes on"
    )
    assert last.startswith("not everything was saved: ")
    assert "error: not everything was saved: " in done.said
    assert not found["exists"]


@pytest.mark.parametrize("scenario", ["read-only", "read-only for a while"])
def test_a_folder_that_becomes_read_only_is_one_warning(scenario: str, tmp_path: Path) -> None:
    if why := why_all_powerful():
        pytest.skip(f"no folder is read-only for this process: {why}")
    done, found = trained(tmp_path, scenario, POWERLESS if os.geteuid() == 0 else [])
    warned = [said for said in found["warned"] if "could not be written: Permission denied" in said]
    assert len(warned) == 1
    if scenario == "read-only":
        assert done.status == 1
        assert found["kept"][:EPOCHS] == [1, 2, 2, 2, 2, 2]
        assert "error: not everything was saved: " in done.said
    else:
        assert done.status == 0, done.said
        assert found["kept"][:EPOCHS] == [1, 2, 2, 2, 5, 6]
        assert "not everything was saved" not in done.said
    assert found["resumed"] == 0


# --- one thing at a time ------------------------------------------------------------------------------


def test_a_checkpoint_that_failed_is_tried_again_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: now[0])
    config = RunConfig(task="digits", archi=[64, 10], lrs=[0.1], checkpoint_every=1000)  # type: ignore[call-arg, arg-type]
    run = RunFolder.create(tmp_path, config, command=["test"])
    trainer = SimpleNamespace(
        state=dict,
        epoch=0,
        batch=1,
        check_finite=lambda: None,
        net=SimpleNamespace(config=config.model_part(), state_dict=dict),
    )
    with Session(run.path, folder=run, config=config) as open_session:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", refuse)
            said = [record.event for record in open_session.save_checkpoint(trainer)]  # type: ignore[arg-type]
        assert isinstance(said[0], Warned) and "in 60 s it is tried again" in said[0].message
        now[0] += 59
        assert not open_session.checkpoint_due()
        now[0] += 2
        assert open_session.checkpoint_due()
        kinds = [record.event.kind for record in open_session.save_checkpoint(trainer)]  # type: ignore[arg-type]
        assert kinds == ["checkpoint_saved"]
        assert not open_session.checkpoint_due()
    assert checkpoint.is_whole(run.path / "checkpoint.tar")


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_line_that_is_written_in_part_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    real_write = os.write
    log.write(Warned(message="one"))
    with monkeypatch.context() as patch:
        parts = iter([10, None])

        def short(descriptor: int, content: bytes) -> int:
            size = next(parts)
            return real_write(descriptor, content[:size]) if size else refuse() or 0

        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            log.write(Warned(message="two"))
    log.write(Warned(message="three"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, content: real_write(descriptor, content[:7]))
        log.write(Warned(message="four"))
    log.close()
    told = [(record.seq, record.event.message) for record in read_events(log.path)]  # type: ignore[attr-defined]
    assert told == [(1, "one"), (3, "three"), (4, "four")]


def test_a_run_that_cannot_be_made_leaves_no_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(task="digits", archi=[64, 10], lrs=[0.1])  # type: ignore[call-arg, arg-type]
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RuntimeError, match="choose a folder that can be written"):
        RunFolder.create(tmp_path, config, command=["test"])
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(tmp_path.glob("*/*/*/*"))


def test_a_signal_that_stops_without_a_checkpoint_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eqprop: Callable[..., Any]
) -> None:
    words = [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value]))]  # fmt: skip
    monkeypatch.setattr(work, "Wishes", lambda: Wishes(signal.SIGTERM))
    eqprop("train", *words, code=143)
    monkeypatch.setattr(checkpoint, "write", refuse)
    said = eqprop("train", *words, code=1).stderr
    assert "error: not everything was saved: checkpoint.tar (No space left on device)" in said


def test_a_checkpoint_that_does_not_reach_the_disk_costs_neither_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.tar"
    before = tmp_path / "checkpoint.prev.tar"
    checkpoint.save(path, {"n": 1})
    checkpoint.save(path, {"n": 2}, before=before)
    assert (checkpoint.load(path)["n"], checkpoint.load(before)["n"]) == (2, 1)
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {"n": 3}, before=before)
    assert (checkpoint.load(path)["n"], checkpoint.load(before)["n"]) == (2, 1)
