"""Watching a run: what signals to the one who watches mean for the run."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer

from eqprop_core.config import RunConfig
from eqprop_core.marks import own_mark
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.listing import called
from eqprop_tui.cli import watch
from eqprop_tui.signals import Ended, heard


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that trains, in this process as its state has it."""
    config = RunConfig(task="digits", archi=[64, 10, 10], lrs=[0.1, 0.1])
    run = RunFolder.create(tmp_path, config, command=["test"])
    run.write_state({**run.identity(), **own_mark(), "state": "running"})
    return run


@pytest.mark.parametrize("asked_for", ["at the question", "while it watches"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGXCPU])
def test_a_signal_ends_who_watches_and_not_the_run(
    number: signal.Signals,
    asked_for: str,
    run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def signalled(*_: Any) -> tuple[list[Any], list[Any], list[Any]]:
        os.kill(os.getpid(), number)
        return [sys.stdin], [], []

    def follow(records: Iterable[Any], **_: Any) -> None:
        if asked_for == "at the question":
            raise KeyboardInterrupt
        signalled()

    monkeypatch.setattr(watch, "follow", follow)
    monkeypatch.setattr(select, "select", signalled)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(os, "isatty", lambda _: True)  # the terminal is there
    with pytest.raises(Ended) as ended, heard():
        watch.watch(run)
    assert ended.value.code == 128 + number
    assert f"the run goes on; watch it again: eqprop runs attach {called(run)}" in capsys.readouterr().err
    assert take(run.path) == []


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE])
def test_a_wake_up_call_is_not_heard_by_who_watches(
    number: signal.Signals, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(records: Iterable[Any], **_: Any) -> None:
        os.kill(os.getpid(), number)
        run.write_state({**run.read_state(), "state": "finished"})

    monkeypatch.setattr(watch, "follow", follow)
    with heard():
        watch.watch(run)
    assert take(run.path) == []


def test_an_interrupt_where_nobody_can_be_asked_leaves_the_run(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def follow(records: Iterable[Any], **_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "follow", follow)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(typer.Exit) as ended:
        watch.watch(run)
    assert ended.value.exit_code == 130
    assert "the run goes on" in capsys.readouterr().err
    assert take(run.path) == []


def test_a_term_signal_at_the_question_stops_a_run_that_this_process_stands_for(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def follow(records: Iterable[Any], **_: Any) -> None:
        if not asked:
            raise KeyboardInterrupt
        run.write_state({**run.read_state(), "state": "stopped"})

    def terminated(*_: Any) -> tuple[list[Any], list[Any], list[Any]]:
        asked.append("what to do")
        os.kill(os.getpid(), signal.SIGTERM)
        return [sys.stdin], [], []

    monkeypatch.setattr(watch, "follow", follow)
    monkeypatch.setattr(select, "select", terminated)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(typer.Exit) as ended:
        watch.watch(run, stands_for_it=True)
    assert ended.value.exit_code == 143
    assert [request.request for request in take(run.path)] == ["stop"]
    assert len(asked) == 1
