"""Results folders: the one that new runs go to, and those that were used before, so that runs are found."""

from __future__ import annotations

import json
import os
from pathlib import Path

import platformdirs

from eqprop_core.files import expanded, read_text, write_text


def results_root(chosen: str | None = None) -> Path:
    """Where runs are kept: the one `chosen` by --results, else EQPROP_RESULTS, else ./results."""
    return expanded(Path(chosen or os.environ.get("EQPROP_RESULTS") or "results"))


def default_roots() -> list[Path]:
    """EQPROP_RESULTS or ./results, and every results folder that was used before."""
    return [results_root(), *known_roots()]


def remember_root(root: Path) -> None:
    """Note a results folder in the user's state, so that its runs are found from any directory."""
    path = roots_file()
    try:
        known = known_roots()
        if root.resolve() not in known:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps([str(item) for item in [*known, root.resolve()]]) + "\n")
    except OSError:
        pass  # a home that cannot be written only costs this convenience


def roots_file() -> Path:
    """Where the results folders that were used are noted."""
    return platformdirs.user_state_path("eqprop") / "results-folders.json"


def known_roots() -> list[Path]:
    """Results folders that were used and still exist."""
    try:
        listed = json.loads(read_text(roots_file()))
        return [Path(item) for item in listed if isinstance(item, str) and Path(item).is_dir()]
    except (OSError, ValueError, TypeError, RecursionError):
        return []
