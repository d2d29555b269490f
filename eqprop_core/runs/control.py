"""Requests to a run from outside: a file each in `control/`, taken away by the process that owns the run."""

from __future__ import annotations

import json
import secrets
import time
from typing import Literal, get_args

from eqprop_core.runs.folder import RunError, RunFolder, write_text

CONTROL = "control"
Request = Literal["stop", "pause", "resume", "checkpoint", "check"]
REQUESTS: tuple[Request, ...] = get_args(Request)
LARGEST = 65536  # bytes; a larger file is no request


def ask(run: RunFolder, request: Request) -> None:
    """Ask the process that owns a run for something. Raises `RunError` if the folder cannot be written."""
    try:
        folder = run.path / CONTROL
        folder.mkdir(exist_ok=True)
        name = f"{time.time_ns()}-{secrets.token_hex(3)}.json"
        write_text(folder / name, json.dumps({"request": request}) + "\n")
    except OSError as error:
        raise RunError(f"{run.path}: cannot be asked: {error.strerror or error}") from None


def take(run: RunFolder) -> list[Request]:
    """Take away the requests that are there, the oldest first; what is no request is removed."""
    taken: list[Request] = []
    try:
        waiting = sorted((run.path / CONTROL).glob("*.json"))
    except OSError:
        return taken
    for path in waiting:
        try:
            small = path.stat().st_size <= LARGEST
            content = json.loads(path.read_text(encoding="utf-8")) if small else None
            path.unlink()
        except (OSError, ValueError, RecursionError):
            path.unlink(missing_ok=True)
            continue
        request = content.get("request") if isinstance(content, dict) else None
        if request in REQUESTS:
            taken.append(request)
    return taken
