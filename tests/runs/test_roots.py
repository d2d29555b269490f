"""Results folders that were used are found again, whoever used others at the same time."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import Result

from eqprop_core.runs import roots
from eqprop_core.runs.roots import (
    default_roots,
    forget_root,
    known_roots,
    noted_roots,
    remember_root,
    roots_folder,
    unreachable_roots,
)

Run = Callable[..., Result]


def made(tmp_path: Path, count: int) -> list[Path]:
    """So many results folders."""
    folders = [(tmp_path / f"results-{number}").resolve() for number in range(count)]
    for folder in folders:
        folder.mkdir()
    return folders


def test_four_hundred_starts_at_once_lose_none_of_each_others_folders(tmp_path: Path) -> None:
    folders = made(tmp_path, 400)
    with ThreadPoolExecutor(40) as starts:
        list(starts.map(remember_root, folders))
    assert set(known_roots()) == set(folders)


def test_nor_do_processes_nor_starts_in_one_folder(tmp_path: Path) -> None:
    folders = made(tmp_path, 10)
    context = multiprocessing.get_context("fork")
    starts = [context.Process(target=lambda: [remember_root(f) for f in folders]) for _ in range(8)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
        assert start.exitcode == 0
    assert set(known_roots()) == set(folders)
    assert len(list(roots_folder().iterdir())) == 10  # nothing is left behind


def test_a_folder_that_is_not_there_during_a_start_is_there_again_later(tmp_path: Path, eqprop: Run) -> None:
    (root,) = made(tmp_path, 1)
    remember_root(root)
    root.rename(tmp_path / "not mounted")
    (other,) = made(tmp_path, 1)
    other.rename(tmp_path / "other")
    remember_root(tmp_path / "other")
    assert known_roots() == [tmp_path / "other"]
    assert unreachable_roots() == [root]
    assert f"not reachable now: {root}; eqprop runs folders --forget" in eqprop("runs", "list").stderr
    (tmp_path / "not mounted").rename(root)
    assert set(known_roots()) == {tmp_path / "other", root}
    assert root in default_roots()
    assert "not reachable" not in eqprop("runs", "list").stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_may_not_be_looked_into_costs_no_other(tmp_path: Path) -> None:
    first, second = made(tmp_path, 2)
    (first / "inner").mkdir()
    remember_root(first / "inner")
    remember_root(second)
    first.chmod(0)
    assert known_roots() == [second]
    first.chmod(0o700)


def test_a_folder_is_forgotten_when_that_is_asked_for(tmp_path: Path, eqprop: Run) -> None:
    first, second = made(tmp_path, 2)
    remember_root(first)
    remember_root(second)
    (first / "kept").touch()
    assert eqprop("runs", "folders").stdout == f"{first}\n{second}\n"
    second.rmdir()
    assert f"{second}  not reachable now" in eqprop("runs", "folders").stdout
    document = json.loads(eqprop("runs", "folders", "--forget", second, "--json").stdout)
    assert document == [{"folder": str(first), "reachable": True}]
    assert eqprop("runs", "folders", "--forget", first).stdout == ""
    assert (first / "kept").exists()
    assert "is no results folder that was used" in eqprop("runs", "folders", "--forget", first, code=2).stderr
    assert not forget_root(first)


def test_what_earlier_versions_noted_in_one_file_is_taken_over(tmp_path: Path) -> None:
    first, second, third = made(tmp_path, 3)
    old = roots_folder().with_suffix(".json")
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text(json.dumps([str(first), str(second), 3, None]))
    assert known_roots() == [first, second]
    remember_root(third)
    assert not old.exists()
    assert set(known_roots()) == {first, second, third}
    old.write_text(json.dumps([str(first)]))
    assert forget_root(first)
    assert set(known_roots()) == {second, third}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'"\\u0000"', b"[" * 10**5])
def test_a_note_that_is_damaged_costs_itself_alone(content: bytes, tmp_path: Path) -> None:
    first, second = made(tmp_path, 2)
    remember_root(first)
    (note,) = roots_folder().iterdir()
    remember_root(second)
    note.write_bytes(content)
    assert known_roots() == [second]
    remember_root(first)
    assert set(known_roots()) == {first, second}


def test_of_very_many_those_that_are_gone_and_used_longest_ago_are_forgotten_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roots, "MOST_NOTED", 3)
    folders = made(tmp_path, 5)
    for number, folder in enumerate(folders[:3]):
        remember_root(folder)
        os.utime(roots._file_of(roots_folder(), folder), (number, number))
    folders[1].rmdir()
    remember_root(folders[3])
    assert noted_roots() == [folders[0], folders[2], folders[3]]
    remember_root(folders[4])
    assert noted_roots() == [folders[2], folders[3], folders[4]]


def test_a_run_that_is_not_kept_leaves_no_folder_behind(eqprop: Run) -> None:
    words = ["--epochs", "1", "--train-samples", "20", "--test-samples", "10", "--no-save"]
    eqprop("train", "--preset", "digits-mlp-ep", *words)
    assert noted_roots() == []
