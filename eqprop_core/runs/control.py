"""Requests to a run from outside: a file each in `control/`, taken away by the process that owns the run.

The standard library only, since a process that waits for its turn serves requests too.
"""

from __future__ import annotations

import json
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from eqprop_core.files import bounded_json, make_folder, read_text, write_text
from eqprop_core.runs.names import CONTROL

Request = Literal["stop", "pause", "resume", "checkpoint", "check", "set"]
REQUESTS: tuple[Request, ...] = get_args(Request)
LARGEST = 65536  # bytes; a larger file is no request


@dataclass(frozen=True)
class Bounds:
    """What a setting that can be changed in flight accepts: above `low`, up to `high`."""

    low: float
    high: float
    whole: bool = False

    def accept(self, value: object) -> bool:
        """Whether a value is one of these."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        return self.low < value <= self.high and (not self.whole or isinstance(value, int))


CHANGEABLE: dict[str, Bounds] = {
    "lr_factor": Bounds(0, 1e6),  # on all learning rates, after their decay
    "epochs": Bounds(0, 10**6, whole=True),  # the number of the last one
    "checkpoint_every": Bounds(0, 10**6),  # minutes
    "event_rate": Bounds(0, 10),  # batch events a second
}


@dataclass(frozen=True)
class Asked:
    """A request as it was found; `settings` are those of `set`, all within their bounds."""

    request: Request
    settings: dict[str, int | float] = field(default_factory=dict)


def ask(run: Path, request: Request, settings: Mapping[str, int | float] | None = None) -> None:
    """Ask the process that owns the run in this folder for something. Raises `OSError`."""
    folder = run / CONTROL
    make_folder(folder)
    name = f"{time.time_ns()}-{secrets.token_hex(3)}.json"
    content: dict[str, Any] = {"request": request}
    if settings:
        content["settings"] = dict(settings)
    write_text(folder / name, json.dumps(content) + "\n")


def take(run: Path) -> list[Asked]:
    """Take away the requests that are there, the oldest first; what is no request is removed.

    One that cannot be taken away is not obeyed, as it would be again and again. Raises nothing.
    """
    taken: list[Asked] = []
    for path in _there(run):
        asked = _understood(_content(path))
        try:
            path.unlink()
        except OSError:
            continue
        if asked is not None:
            taken.append(asked)
    return taken


def waiting(run: Path) -> list[Asked]:
    """The requests that nobody has taken yet, the oldest first. Raises nothing."""
    return [asked for path in _there(run) if (asked := _understood(_content(path))) is not None]


def _there(run: Path) -> list[Path]:
    folder = run / CONTROL
    try:
        return [] if folder.is_symlink() else sorted(folder.glob("*.json"))
    except OSError:
        return []


def _content(path: Path) -> object:
    """What a file holds, None for one that is no small ordinary file of JSON."""
    try:
        return bounded_json(read_text(path, LARGEST)) if stat.S_ISREG(path.lstat().st_mode) else None
    except (OSError, ValueError, RecursionError):
        return None


def _understood(content: object) -> Asked | None:
    """The request that a file holds, or None if it is none."""
    if not isinstance(content, dict) or content.get("request") not in REQUESTS:
        return None
    settings = content.get("settings", {})
    if not isinstance(settings, dict):
        return None
    valid = all(name in CHANGEABLE and CHANGEABLE[name].accept(value) for name, value in settings.items())
    return Asked(content["request"], settings) if valid else None
