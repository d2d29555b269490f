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
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.processes import own_mark
from eqprop_tui.cli import watch


def test_a_term_signal_at_the_question_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(task="digits", archi=[64, 10, 10], lrs=[0.1, 0.1])
    run = RunFolder.create(tmp_path, config, command=["test"])
    state = {**run.identity(), **own_mark()}
    run.write_state({**state, "state": "running"})
    asked: list[str] = []

    def follow(records: Iterable[Any], **_: Any) -> None:
        if not asked:
            raise KeyboardInterrupt
        run.write_state({**state, "state": "stopped"})

    def terminated(*_: Any) -> tuple[list[Any], list[Any], list[Any]]:
        asked.append("what to do")
        os.kill(os.getpid(), signal.SIGTERM)
        return [sys.stdin], [], []

    monkeypatch.setattr(watch, "follow", follow)
    monkeypatch.setattr(select, "select", terminated)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    with pytest.raises(typer.Exit) as ended:
        watch.watch(run)
    assert ended.value.exit_code == 143
    assert [request.request for request in take(run.path)] == ["stop"]
    assert len(asked) == 1
