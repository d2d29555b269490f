"""The time that a run's process waits in line for its device, without torch and with little memory.

It obeys two requests: to stop, and to resume, which is to begin at once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from eqprop_core.files import read_json, write_text
from eqprop_core.marks import own_mark
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.names import STATE
from eqprop_core.runs.processes import SECONDS_BETWEEN_BEATS
from eqprop_core.runs.queue import Ticket, before_all
from eqprop_core.worker.signals import Wishes

SECONDS_BETWEEN_LOOKS = 0.5


def wait_for_turn(run: RunFolder, tickets: Sequence[Ticket], wishes: Wishes) -> bool:
    """Wait until no run is ahead in any line, or until it is told to begin, keeping the run's `state.json`.

    False if it was asked to stop before.
    """
    own = psutil.Process()
    run.hold()
    facts = {**read_json(run.path / STATE), "state": "queued", **own_mark()}
    said: tuple[int, float] | None = None
    while ahead := _ahead(tickets):
        now = time.monotonic()
        if said is None or said[0] != ahead or now - said[1] >= SECONDS_BETWEEN_BEATS:
            said = (ahead, now)
            labels = run.meta()  # a person may have given the run another name
            facts.update({name: labels[name] for name in ("name", "tags") if name in labels})
            _write(
                run.path / STATE,
                {**facts, "ahead": ahead, "heartbeat": time.time(), "memory": own.memory_info().rss},
            )
        asked = {asked.request for asked in take(run.path)}
        if wishes.stop is not None or "stop" in asked:
            mark_stopped(run.path / STATE)
            return False
        if "resume" in asked:
            break
        time.sleep(SECONDS_BETWEEN_LOOKS)
    _write(run.path / STATE, {**facts, "state": "starting", "heartbeat": time.time()})
    return True


def sign(state: Path) -> None:
    """Say in the run's `state` file which process owns it from now on."""
    if facts := read_json(state):
        _write(state, {**facts, **own_mark(), "heartbeat": time.time()})


def mark_stopped(state: Path) -> None:
    """Say that the run was stopped before it began; one that was complete before still is."""
    facts = read_json(state)
    if facts.get("state") in ("starting", "queued"):
        how = "finished" if facts.get("before") == "finished" else "stopped"
        _write(state, {**facts, "state": how, "heartbeat": time.time()})


def _ahead(tickets: Sequence[Ticket]) -> int:
    """How many runs come before; none where the line cannot be read any more."""
    try:
        return len(before_all(tickets))
    except OSError:
        return 0


def _write(path: Path, state: dict[str, Any]) -> None:
    with suppress(OSError):  # a full disk must not cost the place in line
        write_text(path, json.dumps(state) + os.linesep)
