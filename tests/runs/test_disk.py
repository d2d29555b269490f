"""What runs take on disk, and that pruning removes what was named and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from small_runs import make_run

from eqprop_core.problems import ConfigError
from eqprop_core.runs.disk import KINDS, REMOVABLE, Kind, files_of, idle_seconds, kind_of, prunable, prune
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.settings import make_plan


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = make_run(tmp_path / "results")
    for name in (
        "gdu/w.npz",
        "gdu/w.png",
        "train-test_acc.png",
        "checks/a/events.jsonl",
        "checks/a/gdu/w.npz",
    ):
        path = run.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789")
    return run


def names(run: RunFolder) -> set[str]:
    return {str(file.path) for file in files_of(run.path)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("checkpoint.tar", "checkpoints"),
        ("checkpoint.prev.tar", "checkpoints"),
        (".checkpoint.tar.tmp", "checkpoints"),
        ("final_checkpoint.tar", "checkpoints"),
        ("model.pt", "models"),
        ("final_model.pt", "models"),
        ("gdu/synapses.0.weight.npz", "arrays"),
        ("gdu/synapses.0.weight.png", "figures"),
        ("neural_activity.png", "figures"),
        ("events.jsonl", "events"),
        ("console.log", "events"),
        ("checks/2026/gdu/x.npz", "checks"),
        ("checks/2026/model.pt", "checks"),
        ("config.toml", "other"),
        ("notes/model.pt", "other"),
    ],
)
def test_each_file_has_a_kind(path: str, kind: str) -> None:
    assert kind_of(Path(path)) == kind


def test_all_files_are_counted_with_their_sizes(run: RunFolder) -> None:
    on_disk = {
        path.relative_to(run.path): path.stat().st_size for path in run.path.rglob("*") if path.is_file()
    }
    assert {file.path: file.size for file in files_of(run.path)} == on_disk
    assert {file.kind for file in files_of(run.path)} == set(KINDS)


@pytest.mark.parametrize("kind", REMOVABLE)
def test_only_what_is_named_is_removed(kind: Kind, run: RunFolder) -> None:
    before = {str(file.path): file.kind for file in files_of(run.path)}
    removed = prune(run, [kind])
    assert {str(file.path) for file in removed} == {
        name for name, is_kind in before.items() if is_kind == kind
    }
    assert names(run) - {"lock"} == {name for name, is_kind in before.items() if is_kind != kind}
    assert prune(run, [kind]) == []


def test_a_removed_check_leaves_no_empty_folder(run: RunFolder) -> None:
    prune(run, ["checks"])
    assert list((run.path / "checks").iterdir()) == []


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_checkpoints_that_a_run_goes_on_from_stay(state: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, state={"state": state})
    assert prune(run, ["checkpoints"]) == []
    assert (run.path / "checkpoint.tar").exists()


def test_checkpoints_stay_where_there_is_no_model_to_evaluate(run: RunFolder) -> None:
    (run.path / "model.pt").unlink()
    assert prune(run, ["checkpoints"]) == []
    assert len(prune(run, ["checkpoints", "models"])) == 3  # both were named


@pytest.mark.parametrize(
    "state",
    [
        {"state": "running", "host": "elsewhere"},
        {"state": "running", "host": "elsewhere", "heartbeat": 0},
        {"state": "odd"},
    ],
    ids=["running", "unreachable", "unknown"],
)
def test_nothing_is_removed_of_a_run_that_a_process_may_own(state: dict[str, Any], tmp_path: Path) -> None:
    run = make_run(tmp_path, state={"heartbeat": time.time(), **state})
    before = names(run)
    assert prunable(run.path, KINDS) == []
    assert prune(run, KINDS) == []
    assert names(run) - {"lock"} == before


def test_a_run_whose_lock_is_held_is_refused(run: RunFolder) -> None:
    before = names(run)
    with run.lock(), pytest.raises(RunError, match="is in use"):
        prune(run, REMOVABLE)
    assert names(run) - {"lock"} == before


def test_nothing_is_counted_or_removed_through_links(run: RunFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("w.npz", "model.pt"):
        (outside / name).write_text("mine")
    (run.path / "gdu" / "linked.npz").symlink_to(outside / "w.npz")
    (run.path / "checks" / "linked").symlink_to(outside)
    (run.path / "model.pt").unlink()
    (run.path / "model.pt").symlink_to(outside / "model.pt")
    prune(run, REMOVABLE)
    assert {path.name for path in outside.iterdir()} == {"w.npz", "model.pt"}
    for name in ("gdu/linked.npz", "checks/linked", "model.pt"):
        assert (run.path / name).is_symlink()


def test_what_cannot_be_removed_is_named(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *, dir_fd: int) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(RunError, match=r"w\.npz: cannot be removed: Permission denied"):
        prune(run, ["arrays"])


def test_a_run_without_checkpoints_is_not_begun_again_by_mistake(run: RunFolder) -> None:
    prune(run, ["arrays"])
    assert not run.without_checkpoints()
    prune(run, ["checkpoints"])
    with pytest.raises(
        RunError, match="its checkpoints were removed; it can be evaluated and checked, not resumed"
    ):
        make_plan("train", {"load_path": str(run.path), "epochs": "3"})
    make_plan("evaluate", {"load_path": str(run.path)})


def test_checkpoints_stay_where_their_removal_cannot_be_noted(run: RunFolder) -> None:
    (run.path / "meta.json").write_text("{ torn")
    with pytest.raises(RunError, match=r"meta.json: cannot be read"):
        prune(run, ["checkpoints"])
    assert (run.path / "checkpoint.tar").exists()
    assert (run.path / "meta.json").read_text() == "{ torn"


def test_a_run_is_idle_since_its_last_sign_of_life(tmp_path: Path) -> None:
    now = time.time()
    beat = make_run(tmp_path, state={"heartbeat": now - 5000})
    assert idle_seconds(beat.path, now=now) == pytest.approx(5000)
    for wrong in (None, "x", now + 9000):  # a clock that jumped tells nothing
        run = make_run(tmp_path, state={"heartbeat": wrong})
        os.utime(run.path / "state.json", (now - 700, now - 700))
        assert idle_seconds(run.path, now=now) == pytest.approx(700, abs=1)


def test_settings_are_complained_about_as_ever(run: RunFolder) -> None:
    with pytest.raises(ConfigError):
        make_plan("train", {"load_path": str(run.path), "epochs": "x"})
