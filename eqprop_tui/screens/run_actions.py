"""What is done with runs from a screen, without the screen: each may take a while and says what it did.

All raise `RunError`, `ConfigError` or `OSError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eqprop_core.problems import printable
from eqprop_core.runs.control import CHANGEABLE, ask
from eqprop_core.runs.deleting import delete, to_be_deleted
from eqprop_core.runs.ending import end
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Start
from eqprop_core.runs.listing import ALIVE, RunSummary, summarize
from eqprop_core.runs.starting import go_on
from eqprop_core.runs.tables import epoch_rows, save_rows
from eqprop_core.sweeps import trust
from eqprop_core.sweeps.folder import SweepFolder
from eqprop_tui.columns import padded
from eqprop_tui.commands import Commands
from eqprop_tui.output import is_standard
from eqprop_tui.screens.dialogs import Answer

WAYS_TO_STOP = (
    Answer("s", "stop", "after its batch, with a checkpoint"),
    Answer("n", "now", "now, dropping the batch, with a checkpoint"),
    Answer("t", "terminate", "terminate: by a signal, for a process that does not listen"),
    Answer("k", "kill", "kill: what is not in a checkpoint is lost"),
)
WAYS_TO_LEAVE_THE_LINE = (
    Answer("s", "stop", "leave the line: it has not begun, and R begins it"),
    *WAYS_TO_STOP[2:3],
    Answer("k", "kill", "kill: nothing is lost, as it has not begun"),
)
WAYS_TO_STOP_SWEEP = (
    Answer("s", "stop", "no more runs are started, and those that go on stop after their batch"),
    Answer("k", "kill", "kill: what is not in a checkpoint is lost"),
)
LISTED = 6  # runs that a question names one by one
WIDEST_NAME = 30


def resume(path: Path, more_epochs: int | None) -> str:
    """Let a paused run go on, or start one again that has ended."""
    run = RunFolder(path)
    name = summarize(path).name
    if summarize(path).state == "paused":
        ask(path, "resume")
        return f"{name}: asked to go on"
    launched = go_on(run, Start(more_epochs=more_epochs), named=name)
    waits = f", waits for {launched.place.key} behind {len(launched.ahead)}" if launched.ahead else ""
    return "\n".join([f"{name} goes on{waits}", *launched.warnings])


def stop_sweep(commands: Commands, sweep: Path, how: str) -> str:
    """Stop a whole sweep in one of `WAYS_TO_STOP_SWEEP`, as `eqprop sweep stop` does."""
    return _of_sweep(commands, "stop", sweep, *(["--kill"] if how == "kill" else []))


def agreement(sweep: Path) -> tuple[Callable[[], None], list[str]]:
    """What a sweep would run that the person has not chosen for it, and what notes that it may.

    Raises `RunError`.
    """
    folder = SweepFolder.open(sweep)
    return partial(trust.note, folder), trust.unknown(folder)


def resume_sweep(commands: Commands, sweep: Path) -> str:
    """Go on with a sweep, as `eqprop sweep resume` does."""
    _of_sweep(commands, "resume", sweep, "--detach")
    return f"{printable(sweep.name)} goes on"


def _of_sweep(commands: Commands, command: str, sweep: Path, *words: str) -> str:
    status, out, diagnostics = commands.carry_out(["sweep", command, str(sweep), *words])
    if status != 0:
        *_, last = [f"{command} of the sweep ended with status {status}", *diagnostics.strip().splitlines()]
        raise RunError(printable(last.removeprefix("error: ")))
    return f"{printable(sweep.name)}: {printable(out.strip())}"


def judge_epochs(text: str) -> str | None:
    """What is wrong with a number of epochs."""
    most = int(CHANGEABLE["epochs"].high)
    try:
        good = 1 <= int(text) <= most
    except ValueError:
        good = False
    return None if good else f"give a whole number from 1 to {most:,}"


def stop(paths: Sequence[Path], how: str) -> str:
    """Stop runs in one of `WAYS_TO_STOP`; one that cannot be stopped does not keep others from it."""
    failed, done = [], 0
    waited = [path for path in paths if summarize(path).state == "queued"]
    for path in paths:
        try:
            _stop(path, how)
            done += 1
        except (RunError, OSError) as error:
            failed.append(f"{error}")
    if failed:
        raise RunError("\n".join(failed))
    said = {"stop": "asked to stop after the batch", "now": "asked to stop now"}.get(how, "ended")
    if how == "stop" and waited and len(waited) == len(paths):
        said = "asked to leave the line"
    return f"{summarize(paths[0]).name}: {said}" if len(paths) == 1 else f"{done} runs: {said}"


def _stop(path: Path, how: str) -> None:
    summary = summarize(path)
    if how in ("terminate", "kill"):
        end(RunFolder(path), kill=how == "kill", named=summary.name)
        return
    if summary.state not in ALIVE:
        raise RunError(f"{summary.name}: is {summary.state}; there is no process to ask")
    for _ in range(2 if how == "now" else 1):
        ask(path, "stop")


def delete_all(paths: Sequence[Path]) -> str:
    """Delete runs; if one of them may not be, none is."""
    runs = [RunFolder(path) for path in paths]
    with to_be_deleted(runs):
        for run in runs:
            delete(run)
    return f"deleted {paths[0]}" if len(paths) == 1 else f"deleted {len(paths)} runs"


def export(path: Path, file: Path) -> str:
    """Write a row for each epoch of a run into a file that is not there yet."""
    if wrong := judge_file(str(file)):
        raise RunError(f"{file}: {wrong}")
    count = save_rows(file.expanduser(), epoch_rows(RunFolder(path)))
    return f"{count} epochs in {file}"


def file_for(run: RunSummary) -> str:
    """A name for the table of a run, of letters that every file system takes."""
    plain = re.sub(r"[^\w.-]+", "-", run.name).strip("-.")[:80] or "run"
    return f"{plain}-{run.id}.csv" if run.id else f"{plain}.csv"


def judge_file(text: str) -> str | None:
    """What is wrong with the name of a file to write."""
    path = Path(text).expanduser() if text.strip() else None
    if path is None:
        return "give the name of a file"
    if is_standard(path):
        return "is standard output, which is this screen; give the name of a file"
    try:
        if path.is_dir():
            return "is a folder; give a file in it"
        if path.exists() or path.is_symlink():
            return "is there already; give another name"
        if not path.parent.is_dir():
            return f"there is no folder {printable(str(path.parent))}"
    except (OSError, ValueError, RuntimeError):
        return "is no name that a file can have"
    return None


def settings_of(path: Path) -> dict[str, Any]:
    """The settings of a run as they are now."""
    return RunFolder(path).settings_now() or {}


def named(runs: Sequence[RunSummary]) -> str:
    """One run by its name, several by their number."""
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"


def listed(runs: Sequence[RunSummary]) -> list[str]:
    """A line a run, the last one for those that there is no room for."""
    lines = [
        f"  {run.state:<9} {padded(run.name, WIDEST_NAME)}  {printable('/'.join(run.path.parts[-2:]))}"
        for run in runs[:LISTED]
    ]
    return lines + ([f"  … and {len(runs) - LISTED} more"] if len(runs) > LISTED else [])
