"""Starting a new training as a process of its own: the folder, then the process."""

from __future__ import annotations

import secrets

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.launcher import Launched, Start, find_place, launch
from eqprop_core.runs.roots import results_root
from eqprop_core.runs.settings import Plan


def start_new(plan: Plan, wanted: Start | None = None) -> tuple[RunFolder, Launched]:
    """Make the folder of a new run and start its process.

    Raises `ConfigError` for a device that is refused, which leaves no folder behind, and `RunError` where
    the folder cannot be made or the process not be started.
    """
    config = plan.config
    find_place(config)
    if config.seed is None:
        config = config.changed(seed=secrets.randbelow(2**31))
    run = RunFolder.create(
        results_root(config.results), config, command=plan.command, preset=plan.preset, labels=plan.labels
    )
    return run, launch(run, config, wanted or Start())
