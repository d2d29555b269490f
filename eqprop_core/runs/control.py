"""Requests to a run from outside: a file each in `control/`, taken away by the process that owns the run."""

from __future__ import annotations

import json
import secrets
import stat
import time
from pathlib import Path
from typing import Literal, get_args

from eqprop_core.files import make_folder, read_text
from eqprop_core.runs.folder import RunError, RunFolder, write_text

CONTROL = "control"
Request = Literal["stop", "pause", "resume", "checkpoint", "check"]
REQUESTS: tuple[Request, ...] = get_args(Request)
LARGEST = 65536  # bytes; a larger file is no request


def ask(run: RunFolder, request: Request) -> None:
    """Ask the process that owns a run for something. Raises `RunError` if the folder cannot be written."""
    try:
        folder = run.path / CONTROL
        make_folder(folder)
        name = f"{time.time_ns()}-{secrets.token_hex(3)}.json"
        write_text(folder / name, json.dumps({"request": request}) + "\n")
    except OSError as error:
        raise RunError(f"{run.path}: cannot be asked: {error.strerror or error}") from None


def take(run: RunFolder) -> list[Request]:
    """Take away the requests that are there, the oldest first; what is no request is removed.

    One that cannot be taken away is not obeyed, as it would be again and again. Raises nothing.
    """
    taken: list[Request] = []
    folder = run.path / CONTROL
    try:
        waiting = [] if folder.is_symlink() else sorted(folder.glob("*.json"))
    except OSError:
        return taken
    for path in waiting:
        request = _request_in(path)
        try:
            path.unlink()
        except OSError:
            continue
        if request is not None:
            taken.append(request)
    return taken


def _request_in(path: Path) -> Request | None:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        content = json.loads(read_text(path, LARGEST))
    except (OSError, ValueError, RecursionError):
        return None
    request = content.get("request") if isinstance(content, dict) else None
    return request if request in REQUESTS else None
