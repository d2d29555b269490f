"""What of a sweep's folder may run: only what this user has chosen for it, here.

A folder can be copied, unpacked or shared, and its `sweep.json` has commands for a shell (`setup`) and words
for sbatch. Those that were typed, or were agreed to, are noted in the user's state, by a digest of them and
of the folder's path. What is not noted is shown before a sweep goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import platformdirs
from pydantic import JsonValue

from eqprop_core.problems import printable
from eqprop_core.sweeps.folder import PLAN, SweepFolder

RUN = ("setup", "sbatch")  # settings of a launcher that run, or have something run


def unknown(sweep: SweepFolder, given: Mapping[str, object] = {}) -> list[str]:
    """What the user should have seen before a sweep goes on, a line each; empty where there is nothing.

    `given` are settings that were typed: they stand in for those of the folder.
    """
    foreign = _foreign(sweep.path)
    runs = {name: sweep.launcher[name] for name in RUN if sweep.launcher.get(name) and name not in given}
    if not (foreign or runs) or os.path.exists(_noted(sweep)):  # noqa: PTH110  `exists` may raise
        return []
    lines = [f"{name}: {line}" for name, value in runs.items() for line in _lines(value)]
    return [*foreign, *map(printable, lines)]


def note(sweep: SweepFolder) -> None:
    """Note that the user has chosen, or agreed to, what a sweep's folder says now."""
    with suppress(OSError):  # a home that cannot be written costs a question
        _noted(sweep).parent.mkdir(parents=True, exist_ok=True)
        _noted(sweep).touch()


def _foreign(path: Path) -> list[str]:
    """Which of a sweep's folder and file belong to somebody else."""
    return [
        f"{printable(str(one))} belongs to another user (number {owner})"
        for one in (path, path / PLAN)
        if (owner := one.stat().st_uid) != os.getuid()
    ]


def _lines(value: JsonValue) -> list[str]:
    if isinstance(value, dict):
        return [f"--{name}" if said is True else f"--{name}={said}" for name, said in value.items()]
    return [str(line) for line in value] if isinstance(value, list) else [str(value)]


def _noted(sweep: SweepFolder) -> Path:
    """The file that is there where it was noted."""
    content = json.dumps([str(sweep.path.resolve()), sweep.launcher], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return platformdirs.user_state_path("eqprop") / "sweeps-agreed" / digest
