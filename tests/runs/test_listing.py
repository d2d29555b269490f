"""Finding runs, and telling how they stand."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from eqprop_core.marks import own_mark
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.listing import find_run, list_runs, matching, standing, summarize

NOW = 1.8e9
HERE: dict[str, Any] = {"state": "running", **own_mark()}

HERE_BUT_GONE = {"host": socket.gethostname(), "pid": 2**22 + 1}


def make(root: Path, time_of_day: str, content: str | None = None, **state: Any) -> Path:
    folder = root / "EP" / "mse" / "2026-11-23" / time_of_day
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("")
    (folder / "state.json").write_text(content if content is not None else json.dumps(state))
    return folder


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "running"),
        ({"state": "paused"}, "paused"),
        ({"state": "starting", "pid": None, "heartbeat": NOW}, "starting"),
        ({"state": "starting", "pid": None, "heartbeat": NOW - 3600}, "lost"),
        ({"state": "finished", "pid": 2**22 + 1}, "finished"),
        ({"pid": 2**22 + 1}, "lost"),
        ({"process_started": 1.0}, "lost"),
        ({"pid": "text"}, "lost"),
        ({"pid": None}, "lost"),
        ({"host": "elsewhere", "heartbeat": NOW}, "running"),
        ({"host": "elsewhere", "heartbeat": NOW - 3600}, "unreachable"),
        ({"host": "elsewhere", "heartbeat": "text"}, "unreachable"),
        ({"host": "elsewhere", "heartbeat": NOW + 30}, "running"),
        ({"host": "elsewhere", "heartbeat": NOW + 3600}, "unreachable"),
        ({"host": "elsewhere", "heartbeat": float("nan")}, "unreachable"),
        ({"host": "elsewhere", "heartbeat": float("inf")}, "unreachable"),
        ({"host": "elsewhere", "heartbeat": 10**400}, "unreachable"),
        ({"host": "elsewhere", "heartbeat": True}, "unreachable"),
        ({"state": "starting", "pid": None, "heartbeat": NOW + 3600}, "lost"),
        ({"state": "starting", "heartbeat": NOW - 3600}, "starting"),
        ({"process_started": 10**400}, "lost"),
        ({"state": None}, "None"),
        ({"boot": "another"}, "lost"),
        ({"boot": None}, "lost"),
    ],
)
def test_how_a_run_stands(changes: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert standing(tmp_path, {**HERE, **changes}, now=NOW) == expected


def test_a_clock_that_is_set_while_a_run_trains_does_not_make_it_lost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    boot, create_time = psutil.boot_time, psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: boot() + 7200)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 7200)
    assert standing(tmp_path, HERE) == "running"


def test_a_run_is_found_by_folder_id_name_or_last(tmp_path: Path) -> None:
    old = make(tmp_path, "10-00-00", id="aa11bb22", name="old", created="2026-11-23T10:00:00")
    new = make(tmp_path, "11-00-00", id="aa99cc33", name="new", created="2026-11-23T11:00:00")
    for wanted, folder in ((str(old), old), ("aa1", old), ("old", old), ("last", new), ("aa99cc33", new)):
        assert find_run(wanted, [tmp_path]).path.resolve() == folder.resolve()
    with pytest.raises(RunError, match="means 2 runs"):
        find_run("aa", [tmp_path])
    with pytest.raises(RunError, match="is no run"):
        find_run("zz", [tmp_path])
    with pytest.raises(RunError, match="is no run"):
        find_run("last", [tmp_path / "empty"])


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", '{"epoch": "x", "id": 7, "best": true}', "\x00", "[" * 9999, '{"epoch": 1e999}'],
)
def test_a_state_that_cannot_be_read_hides_no_other_run(content: str, tmp_path: Path) -> None:
    make(tmp_path, "10-00-00", content)
    make(tmp_path, "11-00-00", id="cc", name="good", created="2026")
    assert {run.name for run in list_runs([tmp_path])} == {"10-00-00", "good"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"memory": 95, "memory_limit": 100}, "perhaps out of memory"),
        ({"memory": 101, "memory_limit": 100}, "perhaps out of memory"),
        ({"memory": 50, "memory_limit": 100}, None),
        ({"memory": 95}, None),
        ({"memory": 95, "memory_limit": 0}, None),
        ({"memory": 95, "memory_limit": "text"}, None),
        ({"memory": 95, "memory_limit": 100, "state": "finished"}, None),
    ],
)
def test_a_lost_run_that_was_near_its_memory_limit_says_so(
    changes: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    summary = summarize(make(tmp_path, "10-00-00", **{"state": "running", **HERE_BUT_GONE, **changes}))
    assert summary.state == changes.get("state", "lost")
    assert summary.reason == expected


@pytest.mark.parametrize("tags", [["a", "b"], [], None, "ab", [1, ["x"], "a\nb", ""]])
def test_tags_are_read_and_what_is_none_is_left_out(tags: object, tmp_path: Path) -> None:
    summary = summarize(make(tmp_path, "10-00-00", tags=tags, samples_per_s=12.5))
    assert summary.tags == (tuple(tags) if tags in (["a", "b"], []) else ())  # type: ignore[arg-type]
    assert summary.samples_per_s == 12.5


@pytest.mark.parametrize(
    ("words", "states", "tags", "expected"),
    [
        ([], [], [], {"one", "two"}),
        (["ONE"], [], [], {"one"}),
        (["cnn", "stopped"], [], [], {"two"}),
        (["one", "two"], [], [], set()),
        (["sweep"], [], [], {"one", "two"}),
        ([], ["stopped", "failed"], [], {"two"}),
        ([], [], ["sweep", "first"], {"one"}),
        ([], [], ["swee"], set()),
        (["mnist-mlp"], ["finished"], ["sweep"], {"one"}),
    ],
)
def test_runs_are_chosen_by_words_state_and_tags(
    words: list[str], states: list[str], tags: list[str], expected: set[str], tmp_path: Path
) -> None:
    make(tmp_path, "10-00-00", name="one", state="finished", preset="mnist-mlp-ep", tags=["sweep", "first"])
    make(tmp_path, "11-00-00", name="two", state="stopped", model="CNN", tags=["sweep"])
    chosen = matching(list_runs([tmp_path]), words, states=states, tags=tags)
    assert {run.name for run in chosen} == expected


def test_a_typo_gives_near_names(tmp_path: Path) -> None:
    make(tmp_path, "10-00-00", id="aa11bb22", name="digits-mlp-ep")
    with pytest.raises(RunError, match=r"digts-mlp: is no run; did you mean digits-mlp-ep\?"):
        find_run("digts-mlp", [tmp_path])
    with pytest.raises(RunError, match=r"did you mean aa11bb22\?"):
        find_run("aa11bb23", [tmp_path])
    with pytest.raises(RunError, match="is no run; give a folder"):
        find_run("nothing like it", [tmp_path])
    with pytest.raises(RunError, match="is no run; there are none yet"):
        find_run("x", [tmp_path / "empty"])
