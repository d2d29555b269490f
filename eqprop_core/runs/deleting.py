"""Deleting whole runs: only what eqprop made, and only while no process has it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import ALIVE, RunSummary, summarize


@contextmanager
def to_be_deleted(runs: Sequence[RunFolder]) -> Iterator[list[RunSummary]]:
    """Own runs, so that none begins to train meanwhile; gives how they stand.

    Raises `RunError` if one of them may not be deleted: a link, no run of eqprop, or one with a process.
    """
    with ExitStack() as owned:
        summaries = []
        for run in runs:
            summary = summarize(run.path)
            _refuse_what_is_no_run(run)
            if summary.state in (*ALIVE, "unreachable"):
                raise RunError(f"{run.path}: is {summary.state}; stop it first")
            owned.enter_context(run.lock())
            summaries.append(summary)
        yield summaries


def delete(run: RunFolder) -> None:
    """Delete the folder of a run that is owned by `to_be_deleted`. Raises `RunError`."""
    try:
        shutil.rmtree(run.path)
    except OSError as error:
        where = os.fsdecode(error.filename) if error.filename else run.path
        raise RunError(f"{where}: cannot be deleted: {error.strerror or error}") from None


def _refuse_what_is_no_run(run: RunFolder) -> None:
    """Raise `RunError` for what is better not deleted whole: a link, or a folder that eqprop did not make."""
    if run.path.is_symlink():
        raise RunError(f"{run.path}: is a link; give the folder that it points to")
    run.refuse_if_foreign()
    if "id" not in run.meta():
        raise RunError(f"{run.path}: has no meta.json of a run; delete it by hand if it is one")
