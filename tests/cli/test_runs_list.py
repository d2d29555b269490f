"""`eqprop runs list` and `show`: everything that matters in the room there is."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from small_runs import batch, epoch, make_run
from typer.testing import Result

from eqprop_core.events import Amended, RunFailed, RunResumed
from eqprop_core.marks import own_mark
from eqprop_core.runs.listing import RunSummary
from eqprop_tui.cli.listing import COLUMNS, coloured, lines
from eqprop_tui.words import stands

Run = Callable[..., Result]
LONG = "cifar10-vfcnn-softmax-same-update-with-a-very-long-name-of-its-own"


def summary(**changes: Any) -> RunSummary:
    values: dict[str, Any] = {
        "path": Path("/x"), "id": "1a2b3c4d", "name": LONG, "state": "running", "preset": "cifar10-vfcnn",
        "model": "VFCNN", "task": "CIFAR10", "alg": "BPTT", "loss": "mse", "epoch": 117, "epochs": 120,
        "best": 100.0, "last": 88.8, "device": "cuda:0", "created": "2026-11-23T10:00:00+00:00",
        "seconds_an_epoch": 36000.0, "ahead": None, "samples_per_s": 12345.6,
    }  # fmt: skip
    return RunSummary(**{**values, **changes})


MANY = [
    summary(),
    summary(name="数字の網" * 9, state="lost", reason="perhaps out of memory"),
    summary(name="short", state="queued", ahead=11, epoch=0, best=None, last=None, samples_per_s=None),
    summary(state="unreachable", device="cuda:15", created="nonsense", model=None),
]


@pytest.mark.parametrize("width", [60, 72, 80, 81, 100, 109, 110, 132, 160, 250])
def test_the_list_never_wraps(width: int) -> None:
    drawn = lines(MANY, width)
    assert len(drawn) == 1 + len(MANY)
    assert max(map(cell_len, drawn)) <= width
    assert coloured(MANY, width).plain == "\n".join(drawn)


def test_what_matters_most_is_there_at_80_columns_and_everything_at_200() -> None:
    headings = lines(MANY, 80)[0].split()
    assert {"state", "id", "name", "epoch", "best", "test", "left"} <= set(headings)
    there = [column.heading for column in COLUMNS if column.heading not in ("best val", "test at best")]
    assert lines(MANY, 220)[0].split() == " ".join(there).split()


def test_names_that_are_cut_end_with_an_ellipsis() -> None:
    narrow, wide = lines([summary()], 80)[1], lines([summary(name="n" * 38)], 200)[1]
    assert "…" in narrow and LONG[:10] in narrow
    assert "n" * 38 in wide


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "queued", "ahead": 1}, "queued 2"),
        ({"state": "queued"}, "queued"),
        ({"state": "lost", "reason": "perhaps out of memory"}, "lost, perhaps out of memory"),
        ({}, "running"),
    ],
)
def test_how_a_run_stands_in_words(changes: dict[str, Any], expected: str) -> None:
    assert stands(summary(**changes)) == expected
    assert expected in lines([summary(**changes)], 160)[1]


def test_a_run_lost_near_its_memory_limit_is_lost_in_json_with_a_reason(eqprop: Run, tmp_path: Path) -> None:
    gone = {"state": "running", "host": socket.gethostname(), "pid": None, "memory": 99, "memory_limit": 100}
    make_run(tmp_path / "results", state=gone)
    (document,) = json.loads(eqprop("runs", "list", "--json").stdout)
    assert (document["state"], document["reason"]) == ("lost", "perhaps out of memory")
    assert "lost, perhaps out of memory" in eqprop("runs", "list").stdout
    assert "lost, memory?" in lines([summary(state="lost", reason="perhaps out of memory")], 80)[1]


def test_words_states_and_tags_choose(eqprop: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "results", number=0, name="first", state={"tags": ["sweep"]})
    make_run(
        tmp_path / "results", number=1, name="second", state={"state": "stopped", "tags": ["sweep", "x"]}
    )

    def chosen(*words: str) -> list[str]:
        return [run["name"] for run in json.loads(eqprop("runs", "list", "--json", *words).stdout)]

    assert chosen() == ["second", "first"]
    assert chosen("FIRST") == ["first"]
    assert chosen("sweep", "stopped") == ["second"]
    assert chosen("--state", "stopped", "--state", "finished") == ["second", "first"]
    assert chosen("--tag", "sweep", "--tag", "x") == ["second"]
    assert chosen("--state", "failed") == []
    assert "no run matches" in eqprop("runs", "list", "nonsense").stderr
    said = eqprop("runs", "list", "--state", "stoped", code=2).stderr
    assert "--state stoped: is not one of starting, queued" in said


def test_a_results_folder_that_is_not_there_is_an_error(eqprop: Run) -> None:
    for command in ("list", "prune"):
        said = eqprop("runs", command, "--results", "nope", code=2).stderr
        assert said == "error: --results nope: there is no such folder\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "last", "--epochs", "zero"], "--epochs: is not a whole number"),
        (["set", "last", "--lr-factor", "x"], "--lr-factor: is not a number"),
        (["resume", "last", "--epochs", "1.5"], "--epochs: is not a whole number"),
        (["prune", "--older-than", "x"], "--older-than: is not a number"),
    ],
)
def test_what_is_no_number_is_said_in_a_line(words: list[str], said: str, eqprop: Run) -> None:
    assert eqprop("runs", *words, code=2).stderr == f"error: {said}\n"


def test_without_runs_the_list_is_empty(eqprop: Run) -> None:
    assert json.loads(eqprop("runs", "list", "--json").stdout) == []
    assert "no runs yet" in eqprop("runs", "list").stderr


def test_watching_needs_a_terminal(eqprop: Run) -> None:
    assert "--watch: needs a terminal" in eqprop("runs", "list", "--watch", code=2).stderr
    assert "--watch: cannot go with --json" in eqprop("runs", "list", "--watch", "--json", code=2).stderr


def test_a_watched_list_is_drawn_again_in_place_until_ctrl_c(tmp_path: Path) -> None:
    run = make_run(tmp_path, name="watched")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = "from eqprop_tui.cli import listing\nlisting.SECONDS_BETWEEN_LOOKS = 0.05\nfrom eqprop_tui.cli.main import main\nmain()"
    words = [sys.executable, "-c", program, "runs", "list", "--watch", "--results", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(words, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm"})
    os.close(theirs)
    shown, deadline = "", time.monotonic() + 60

    def until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            assert time.monotonic() < deadline, shown
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 65536).decode()

    until("watched")
    run.write_state({**run.read_state(), "state": "stopped"})
    until("stopped")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    os.close(ours)
    assert "\x1b[1A" in shown  # the cursor went up: the same lines were drawn over


def test_a_run_is_shown_with_all_that_one_wants_to_know(eqprop: Run, tmp_path: Path) -> None:
    events = [epoch(1, 40.0), batch(1, 2), RunResumed(from_seq=1, epoch=2, batch=0), Amended(settings={"mmt": 0.5}), RunFailed(message="out of memory on cpu")]  # fmt: skip
    run = make_run(tmp_path / "results", events=events, state={"state": "failed", "best": 40.0, "last": 40.0, "epoch": 1}, T1=33)  # fmt: skip
    run.relabel(tags=["a", "b"], note="look at \x1b[31mthis")
    said = eqprop("runs", "show", "last").stdout
    for text in (
        str(run.path.resolve()), "created ", "a, b", "look at \\x1b[31mthis", "out of memory on cpu", "--T1               33",
        "--mmt 0.5", "checkpoint.tar", "800 B", "eqprop runs resume", "eqprop evaluate --load-path", "best test 40.00 %",
    ):  # fmt: skip
        assert text in said
    assert "--act" not in said  # as by default
    document = json.loads(eqprop("runs", "show", "last", "--json").stdout)
    assert document["message"] == "out of memory on cpu"
    assert document["settings"]["T1"] == 33 and document["settings"]["mmt"] == 0.5
    assert [change["settings"] for change in document["amendments"]] == [{"mmt": 0.5}]
    assert {"path": "model.pt", "kind": "models", "size": 800} in document["files"]


@pytest.mark.parametrize(
    ("state", "first"),
    [
        ({"state": "stopped"}, "eqprop runs resume"),
        ({"state": "finished"}, "eqprop runs resume"),
        ({"state": "running", "host": "elsewhere"}, "eqprop runs attach"),
        ({"state": "odd"}, "eqprop evaluate"),
    ],
)
def test_what_to_do_next_depends_on_how_a_run_stands(
    state: dict[str, Any], first: str, eqprop: Run, tmp_path: Path
) -> None:
    make_run(tmp_path / "results", state={"heartbeat": time.time(), **state})
    assert json.loads(eqprop("runs", "show", "last", "--json").stdout)["next"][0].startswith(first)


@pytest.mark.parametrize("config", ["", "T1 = 'x'\nodd = 1\n", "torn = ["])
def test_a_run_with_settings_that_cannot_be_read_is_shown(config: str, eqprop: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path / "results")
    (run.path / "config.toml").write_text(config)
    (run.path / "meta.json").write_text("[]")
    said = eqprop("runs", "show", run.path).stdout
    assert ("settings that cannot be read\n  " in said) == bool(config)
    assert "settings that are not the defaults" not in said
    eqprop("runs", "show", run.path, "--json")


@pytest.mark.parametrize("command", ["show", "note", "export", "delete", "compare"])
def test_a_typo_gives_near_names(command: str, eqprop: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "results", name="digits-mlp")
    assert "did you mean digits-mlp?" in eqprop("runs", command, "digts-mlp", code=2).stderr


def test_a_run_that_cannot_write_what_it_came_to_is_seen(tmp_path: Path, eqprop: Run) -> None:
    files = "final_model.pt (No space left on device)"
    run = make_run(tmp_path / "results", state={"state": "running", **own_mark(), "waits": files})
    assert "running, waits to save" in eqprop("runs", "list").stdout
    said = eqprop("runs", "show", run.path).stdout
    assert f"waits     to write {files}" in said
    run.write_state({**run.read_state(), "state": "finished"})
    assert "waits" not in eqprop("runs", "list").stdout + eqprop("runs", "show", run.path).stdout
