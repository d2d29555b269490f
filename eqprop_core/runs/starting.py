"""Starting a training as a process of its own: a new one with its folder, or one that goes on."""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from dataclasses import replace

from eqprop_core import catalogue
from eqprop_core.config import RunConfig
from eqprop_core.problems import ConfigError, Problem, flag
from eqprop_core.published import PUBLISHED
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Launched, Start, find_places, launch
from eqprop_core.runs.listing import ALIVE, summarize
from eqprop_core.runs.names import STATE
from eqprop_core.runs.roots import results_root
from eqprop_core.runs.settings import Plan, make_plan
from eqprop_core.shell import command


def start_new(plan: Plan, wanted: Start | None = None) -> tuple[RunFolder, Launched]:
    """Make the folder of a new run and start its process.

    Raises `ConfigError` for a device or a number of images that is refused, which leaves no folder behind,
    and `RunError` where the folder cannot be made or the process not be started. An interrupt
    before the process has begun leaves no folder either; one that comes later stops the run.
    """
    config = plan.config
    check_sizes(config)
    find_places(config, wanted or Start())
    if config.seed is None:
        config = config.changed(seed=secrets.randbelow(2**31))
    run = RunFolder.create(
        results_root(config.results), config, command=plan.command, preset=plan.preset, labels=plan.labels
    )
    try:
        return run, launch(run, config, wanted or Start())
    except RunError:
        if not (run.path / STATE).exists():  # it was refused before it began
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    except KeyboardInterrupt:
        if run.is_owned():  # its process has begun
            with suppress(OSError):
                ask(run.path, "stop")
        else:
            shutil.rmtree(run.path, ignore_errors=True)  # made above: nothing in it is anybody's
        raise


def go_on(run: RunFolder, wanted: Start | None = None, *, named: str = "") -> Launched:
    """Start a process that goes on with a run which has ended: stopped, failed, lost or finished.

    Raises `RunError`, beginning with what the run was `named`, where a process owns it already, where it is
    complete and `wanted` adds no epochs, or where it cannot go on; `ConfigError` for its settings or device.
    """
    wanted, named = wanted or Start(), named or str(run.path)
    run.refuse_if_foreign()
    state = summarize(run.path).state
    if state in ALIVE:
        raise RunError(f"{named}: is {state} already")
    if run.is_complete() and wanted.more_epochs is None:
        raise RunError(f"{named}: is complete; --epochs N trains N more")
    plan = make_plan("train", {"load_path": str(run.path), **wanted.changes})
    if plan.stored is None:
        raise RunError(f"{named}: has no config.toml to go on with")
    data = _data_of(plan.config)
    to_be_there = plan.config.task not in PUBLISHED or "data_dir" in wanted.changes  # and not to be fetched
    if to_be_there and data.state in ("absent", "damaged"):
        where = f"{flag('data_dir')} DIR says where they are now"
        raise RunError(f"{named}: its data are not in {plan.config.data_root} ({data.note}); {where}")
    try:
        return launch(run, plan.config, wanted)
    except ConfigError as error:
        elsewhere = "; elsewhere it goes on with: " + command(
            "train", "--load-path", run.path.absolute(), "--device", "auto"
        )
        raise ConfigError(
            [
                replace(problem, message=problem.message + elsewhere * (problem.setting == "device"))
                for problem in error.problems
            ]
        ) from None


def check_sizes(config: RunConfig) -> None:
    """Raise `ConfigError` where the data set is here and has fewer images than asked for."""
    data = _data_of(config)
    for name, size in (("train_samples", data.train_size), ("test_samples", data.test_size)):
        wanted = getattr(config, name)
        if wanted is not None and size is not None and wanted > size:
            raise ConfigError([Problem(name, wanted, f"there are {size:,} images")])


def _data_of(config: RunConfig) -> catalogue.DataStatus:
    return catalogue.status(config.task, config.data_root)
