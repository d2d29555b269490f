"""Owns a run from its start to its end: chooses the device before torch starts, trains, says how it ended."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from eqprop_core.catalogue import DataError
from eqprop_core.events import RunFailed, RunFinished, Warned
from eqprop_core.locks import Lock
from eqprop_core.problems import ConfigError, tell
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import is_run
from eqprop_core.runs.names import CONFIG
from eqprop_core.runs.places import Place, choose_place
from eqprop_core.runs.settings import Plan, make_plan
from eqprop_core.runs.words import NOT_SAVED, in_words
from eqprop_core.worker.ranks import Rank, joined, refuse_idle, told
from eqprop_core.worker.signals import Wishes

if TYPE_CHECKING:
    from eqprop_core.learning.sharing import Group


def own(words: argparse.Namespace, wishes: Wishes, lock: Lock | None, here: Rank | None = None) -> int:
    """Train the run that the worker's words name; returns the exit status.

    `here` is this process among those that train together, rank 0; None where it trains alone.
    """
    run = RunFolder(words.run)
    if lock is None and not is_run(run.path):  # a lock and a state would be left in somebody else's folder
        tell(f"error: {run.path}: is no run: it has no {CONFIG}")
        return 2
    run.hold()
    try:
        if lock is None:
            lock = run.lock()
            take(run.path)  # asked of a process that is gone
    except RunError as error:
        tell(f"error: {error}")
        return 1  # its state is the owner's to write
    try:
        return _train(run, words, wishes, lock, here)
    except Exception as error:
        if run.read_state().get("state") != "failed":
            run.fail(f"{type(error).__name__}: {error}")
        raise
    finally:
        words.run = run.path
        lock.close()


def _train(run: RunFolder, words: argparse.Namespace, wishes: Wishes, lock: Lock, here: Rank | None) -> int:
    try:
        more = {} if words.more_epochs is None else {"epochs": words.more_epochs}
        plan = make_plan("train", {"load_path": str(run.path), **words.changes, **more})
        if here is None:
            place = _chosen_place(plan, words)
            finished, unsaved = _work(run, plan, wishes, lock, place, None)
        else:
            refuse_idle(plan.config, here.size)
            with joined(here, wishes, words.together) as group:
                plan = told(plan, group)
                place = here.place(plan.config.device, words.devices)
                finished, unsaved = _work(run, plan, wishes, lock, place, group)
    except (ConfigError, RunError, DataError) as error:
        if run.read_state().get("state") != "failed":
            run.fail(str(error))
        tell(f"error: {error}")
        return 2 if isinstance(error, ConfigError) else 1
    if unsaved:
        return 1
    if here is not None:  # who started the processes would take another status for a failure of one of them
        return 0
    return 0 if finished or wishes.stop is None else 128 + wishes.stop


def _chosen_place(plan: Plan, words: argparse.Namespace) -> Place:
    """The device of a process that trains alone, which is then the only one that torch sees."""
    if words.device:
        return Place(words.device, words.uuid)
    place, warning = choose_place(plan.config.device, lambda _: 0)
    if warning:
        tell(f"warning: {warning}")
    os.environ.update(place.environment)
    return place


def _work(
    run: RunFolder,
    plan: Plan,
    wishes: Wishes,
    lock: Lock,
    place: Place,
    group: Group | None,
) -> tuple[bool, bool]:
    """Train; returns whether the run finished, and whether something of worth could not be saved."""
    from eqprop_core.worker import process  # torch: it sees what the environment says now
    from eqprop_core.worker.preparing import count_tiny_as_zero

    count_tiny_as_zero()
    work = process.begin(plan, run=run, wishes=wishes, place=place, lock=lock, group=group)
    unsaved = finished = False
    for record in work.records:
        finished |= isinstance(record.event, RunFinished)
        if isinstance(record.event, RunFailed):
            tell(in_words(record.event))
        unsaved |= isinstance(record.event, Warned) and record.event.message.startswith(NOT_SAVED)
    return finished, unsaved
