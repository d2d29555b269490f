"""Beginning a search and going on with one, for those who need not know of Optuna."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from pydantic import ValidationError

from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.folder import RunError
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.local import LocalLauncher
from eqprop_core.sweeps.plan import SweepPlan
from eqprop_core.sweeps.settings import LaunchSettings
from eqprop_core.sweeps.slurm import SlurmLauncher
from eqprop_core.sweeps.space import MOST_TRIALS, SearchSettings, check_space, first_choice, trial_cell

NEEDED = "needs Optuna, which is not installed: pip install 'eqprop[search]'"
FLATTERS = (
    "no images are held out (--val-split 0.1 holds out a tenth): trials are chosen by their test accuracy, "
    "so that of the best one flatters"
)


def require() -> None:
    """Raise `ConfigError` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise ConfigError([Problem("search", None, NEEDED)])


def plan_of_search(plan: SweepPlan, settings: SearchSettings) -> SweepPlan:
    """The plan of a search: the first trial in place of a plan's one cell. Raises `ConfigError`.

    The first trial has the cell's own settings, as far as they may be chosen.
    """
    if len(plan.cells) != 1:
        message = f"goes with one preset or cell, and there are {len(plan.cells)}"
        raise ConfigError([Problem("search", None, message)])
    check_space(plan, settings.space)
    first = trial_cell(plan, settings.space, 0, first_choice(plan, settings.space))
    over = ", ".join(choice.name for choice in settings.space)
    return plan.model_copy(update={"cells": (first,), "title": f"{plan.title}: search over {over}"})


def search_of(sweep: SweepFolder) -> SearchSettings | None:
    """The search that a sweep is, None where it is none. Raises `RunError` where that cannot be read."""
    try:
        return SearchSettings.stored(sweep.search)
    except ValidationError:
        raise RunError(f"{sweep.path}: its search cannot be read") from None


def with_trials(sweep: SweepFolder, trials: int) -> SweepFolder:
    """A search that goes on until there are so many trials. Raises `ConfigError` or `RunError`."""
    settings = search_of(sweep)
    if settings is None:
        raise ConfigError([Problem("trials", trials, "goes with a search, and this sweep is none")])
    least = len(sweep.plan.cells)
    if not least <= trials <= MOST_TRIALS:
        message = f"must be from {least}, the trials that there are, to {MOST_TRIALS:,}"
        raise ConfigError([Problem("trials", trials, message)])
    changed = settings.model_copy(update={"trials": trials})
    try:
        return sweep.extended(search=changed.model_dump(mode="json"))
    except OSError as error:
        raise RunError(f"{sweep.path}: cannot be written: {error.strerror or error}") from None


def searching(
    sweep: SweepFolder, searched: SearchSettings, settings: LaunchSettings, say: Callable[[str], None]
) -> Callable[[], bool]:
    """Go on with a search: what to call again and again, until it returns False. Raises `ConfigError`."""
    require()
    from eqprop_core.sweeps.search import Search

    def launcher(sweep: SweepFolder, jobs: list[Job]) -> LocalLauncher | SlurmLauncher:
        if settings.launcher == "slurm":
            return SlurmLauncher(sweep, settings, jobs, say)
        return LocalLauncher(sweep, settings, say=say, jobs=jobs)

    return Search(sweep, searched, launcher, say).step
