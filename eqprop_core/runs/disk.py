"""What runs take on disk, by kind of file, and removing what is no longer needed.

Looks and removes inside run folders only and never through a link: folders are opened without following any,
and files are removed relative to the folder that was opened.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from eqprop_core.runs.folder import PRUNED, RunError, RunFolder
from eqprop_core.runs.listing import AT_REST, number, summarize
from eqprop_core.runs.names import (
    BEST_MODEL,
    CHECKPOINT,
    CHECKPOINT_BEFORE,
    CHECKS,
    CONSOLE,
    EVENTS,
    FINAL_CHECKPOINT,
    FINAL_MODEL,
    STATE,
)
from eqprop_core.runs.reference import is_reference

Kind = Literal["checkpoints", "models", "arrays", "figures", "events", "checks", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REMOVABLE: tuple[Kind, ...] = ("checkpoints", "models", "arrays", "figures", "checks")
KINDS_BY_NAME: dict[str, Kind] = {
    CHECKPOINT: "checkpoints",
    CHECKPOINT_BEFORE: "checkpoints",
    FINAL_CHECKPOINT: "checkpoints",
    BEST_MODEL: "models",
    FINAL_MODEL: "models",
    EVENTS: "events",
    CONSOLE: "events",
}


@dataclass(frozen=True)
class Found:
    """A file of a run: its path relative to the run's folder, its kind and its size in bytes."""

    path: Path
    kind: Kind
    size: int


def files_of(run: Path) -> list[Found]:
    """The regular files of a run, by path; links and what lies behind them are left out."""
    return sorted((found for found, _ in _walk(run)), key=lambda found: found.path)


def kind_of(path: Path) -> Kind:
    """The kind of a file, by its path relative to the run's folder."""
    if path.parts[0] == CHECKS:
        return "checks"
    name = path.name
    if name.startswith(".") and name.endswith(".tmp"):  # left behind by a process that was killed
        name = name[1:-4]
    if len(path.parts) == 1 and name in KINDS_BY_NAME:
        return KINDS_BY_NAME[name]
    return {".npz": "arrays", ".png": "figures"}.get(Path(name).suffix, "other")  # type: ignore[return-value]


def prunable(run: Path, kinds: Collection[Kind]) -> list[Found]:
    """The files of these kinds that a run can do without.

    Checkpoints are kept where the run may still go on from them: in one that is not finished. They are kept
    too where there is no `model.pt` to evaluate, unless models are to be removed as well. A run that some
    process may own has nothing to remove, nor has a folder of the reference.
    """
    state = summarize(run).state
    if state not in AT_REST or is_reference(run):
        return []
    found = files_of(run)
    evaluable = "models" in kinds or any(file.path == Path(BEST_MODEL) for file in found)
    if state != "finished" or not evaluable:
        kinds = [kind for kind in kinds if kind != "checkpoints"]
    return [file for file in found if file.kind in kinds and file.kind in REMOVABLE]


def prune(run: RunFolder, kinds: Collection[Kind]) -> list[Found]:
    """Remove what `prunable` says, owning the run meanwhile; returns the files that were removed.

    That checkpoints were removed is noted in `meta.json`, so that the run is not begun again by mistake.
    Raises `RunError` if a process owns the run, or naming the file that could not be removed.
    """
    with run.lock():
        chosen = {file.path: file for file in prunable(run.path, kinds)}
        if not chosen:
            return []
        removed: list[Found] = []
        try:
            if any(file.kind == "checkpoints" for file in chosen.values()):
                run.relabel(**{PRUNED: ["checkpoints"]})
            for found, folder in _walk(run.path):
                if found.path in chosen:
                    os.unlink(found.path.name, dir_fd=folder)
                    removed.append(found)
            if (run.path / CHECKS).is_dir():
                _remove_empty(run.path / CHECKS)
        except OSError as error:
            raise RunError(
                f"{run.path / (error.filename or '')}: cannot be removed: {error.strerror or error}"
            ) from None
    return sorted(removed, key=lambda file: file.path)


def idle_seconds(run: Path, *, now: float | None = None) -> float:
    """Time since the run's last sign of life: its last heartbeat, or the change of its files without one."""
    now = time.time() if now is None else now
    beat = number(RunFolder(run).read_state().get("heartbeat"))
    if beat is not None and beat <= now:
        return now - beat
    path = run / STATE if (run / STATE).exists() else run
    return max(0.0, now - path.stat().st_mtime)


def _walk(run: Path) -> Iterator[tuple[Found, int]]:
    """The regular files of a run, each with a descriptor of its folder, which is open only until the next."""
    for top, _, names, folder in os.fwalk(run, follow_symlinks=False):
        for name in names:
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:  # removed meanwhile
                continue
            if stat.S_ISREG(status.st_mode):
                path = Path(top, name).relative_to(run)
                yield Found(path, kind_of(path), status.st_size), folder


def _remove_empty(top: Path) -> None:
    """Remove the folders below `top` that nothing is left in, and `top` itself."""
    for _, folders, _, folder in os.fwalk(top, topdown=False, follow_symlinks=False):
        for name in folders:
            try:
                os.rmdir(name, dir_fd=folder)
            except OSError:  # something is in it, or it is a link
                continue
