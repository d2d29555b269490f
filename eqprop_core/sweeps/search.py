"""A search: Optuna chooses the settings of trials, each trained as a cell of the sweep; bad ones are ended.

What was chosen and what came of it is in `study.journal` of the sweep's folder, the cells in its plan, so
that a search which is killed and begun again goes on with the trials that were on their way. One process at
a time searches: the one that has the sweep's lock. Needs the extra `search`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from eqprop_core.reasons import reason
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.history import histories
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.plan import Cell
from eqprop_core.sweeps.space import LOGARITHMIC, WHOLE, Choice, SearchSettings, first_choice, trial_cell
from eqprop_core.sweeps.standing import OVER, PRUNED, Standing, stands

JOURNAL = "study.journal"
STUDY = "search"
Say = Callable[[str], None]


class Launcher(Protocol):
    """What starts the runs of trials."""

    @property
    def room(self) -> int:
        """How many runs there is room for at a time."""

    def add(self, jobs: Iterable[Job]) -> None:
        """Start these when there is room."""

    def drop(self, job: Job) -> None:
        """Do not start one that has not begun."""

    def over(self, job: Job) -> bool:
        """Whether a run is neither left to start nor going on."""

    def step(self) -> object:
        """Look once, and start what there is room for."""


@dataclass
class Going:
    """A trial that is on its way: its runs, one a seed, and the epochs that Optuna has been told of.

    `asked` are the runs that were asked to end, each once before it began and once since.
    """

    number: int
    trial: optuna.Trial
    jobs: list[Job]
    reported: int = 0
    seen: tuple[int, ...] = ()
    pruned: bool = False
    asked: set[tuple[Path, bool]] = field(default_factory=set)


class Search:
    """Chooses trials and has them trained, `step` by step, until there have been as many as wished.

    `launcher_of` makes what starts runs, given those that are on their way.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        settings: SearchSettings,
        launcher_of: Callable[[SweepFolder, list[Job]], Launcher],
        say: Say = print,
    ) -> None:
        self.sweep, self.settings, self.say = sweep, settings, say
        first = sweep.plan.config(sweep.plan.cells[0], sweep.plan.seeds[0])
        self.part = "validation" if first.val_split else "test"
        self.study = open_study(sweep, settings)
        self.space = {choice.name: distribution(choice) for choice in settings.space}
        trials = self.study.get_trials(deepcopy=False)
        self._write_cells(trials)
        self.going = [
            Going(
                trial.number,
                optuna.Trial(self.study, trial._trial_id),  # Optuna has no public way back to one
                self._jobs(trial.number),
                max(trial.intermediate_values, default=0),
            )
            for trial in trials
            if trial.state == TrialState.RUNNING
        ]
        for going in self.going:
            going.pruned = any(PRUNED in RunFolder(job.path).stored_tags() for job in going.jobs)
        self.launcher = launcher_of(
            self.sweep, [job for going in self.going if not going.pruned for job in going.jobs]
        )
        self.chosen = sum(trial.state != TrialState.WAITING for trial in trials)
        self.at_once = settings.at_once or max(1, self.launcher.room // len(sweep.plan.seeds))

    def step(self) -> bool:
        """Look once; whether anything is left to choose or goes on. Raises `RunError` or `OSError`."""
        self.launcher.step()
        for going in list(self.going):
            self._look(going)
        while len(self.going) < self.at_once and self.chosen < self.settings.trials:
            self._choose()
        return bool(self.going)

    # --- choosing ---------------------------------------------------------------------------------------

    def _choose(self) -> None:
        """Have a trial chosen, written down and started."""
        trial = self.study.ask(self.space)
        self.chosen += 1
        self._write_cells(self.study.get_trials(deepcopy=False))
        going = Going(trial.number, trial, self._jobs(trial.number))
        self.going.append(going)
        self.launcher.add(going.jobs)

    def _write_cells(self, trials: Sequence[FrozenTrial]) -> None:
        """Add the cells of trials that were chosen and have none yet."""
        known = len(self.sweep.plan.cells)
        chosen = [trial for trial in trials if trial.state != TrialState.WAITING]
        new = [self._cell(trial) for trial in chosen if trial.number >= known]
        if new:
            self.sweep = self.sweep.extended(*new)

    def _cell(self, trial: FrozenTrial) -> Cell:
        return trial_cell(self.sweep.plan, self.settings.space, trial.number, trial.params)

    def _jobs(self, number: int) -> list[Job]:
        seeds = len(self.sweep.plan.seeds)
        return self.sweep.jobs()[number * seeds : (number + 1) * seeds]

    # --- looking ----------------------------------------------------------------------------------------

    def _look(self, going: Going) -> None:
        """Tell Optuna how far a trial is, end it if it is not worth going on, and say what came of it."""
        over = all(self.launcher.over(job) for job in going.jobs)  # asked first: what came before is read
        standings = [stands(self.sweep, job) for job in going.jobs]
        over = over and not any(standing.alive for standing in standings)  # some may be a killed launcher's
        if going.pruned:
            self._end(standings, going.asked)
        curves = self._curves(going, standings)
        for epoch in range(going.reported + 1, min(map(len, curves), default=0) + 1):
            going.trial.report(statistics.fmean(curve[epoch - 1] for curve in curves), epoch)
            going.reported = epoch
            worse = self.settings.prune and not going.pruned and going.trial.should_prune()
            if worse and not over and any(standing.state != "finished" for standing in standings):
                self._prune(going, standings)
        if over:
            self.going.remove(going)
            self._tell(going, standings)

    def _curves(self, going: Going, standings: Sequence[Standing]) -> list[list[float]]:
        """Accuracies by epoch of each seed, where there is an epoch more than there was; else none."""
        epochs = tuple(one.summary.epoch if one.summary is not None else 0 for one in standings)
        if epochs == going.seen:
            return []
        going.seen = epochs
        return [self._accuracies(job) for job in going.jobs]

    def _accuracies(self, job: Job) -> list[float]:
        """The accuracy of each epoch in per cent, up to the first that has none."""
        found = []
        for epoch in histories(RunFolder(job.path)):
            accuracy = epoch.validation_accuracy if self.part == "validation" else epoch.test_accuracy
            if accuracy is None:
                break
            found.append(accuracy)
        return found

    def _prune(self, going: Going, standings: Sequence[Standing]) -> None:
        """Ask the runs of a trial to stop after their batch, and mark them as pruned."""
        going.pruned = True
        self.say(f"trial {going.number}: worse than others after epoch {going.reported}; it is ended")
        self._end(standings, going.asked)

    def _end(self, standings: Sequence[Standing], asked: set[tuple[Path, bool]]) -> None:
        """End what is not finished of a trial that is pruned, also what has begun since."""
        for standing in standings:
            step = standing.job.path, standing.alive
            if step in asked or standing.state in OVER:
                continue
            asked.add(step)
            if standing.alive:
                _mark(standing.job)
                ask(standing.job.path, "stop")
            else:
                self.launcher.drop(standing.job)

    def _tell(self, going: Going, standings: Sequence[Standing]) -> None:
        """Tell Optuna what a trial that is over came to."""
        last = [self._accuracies(job)[-1:] for job in going.jobs]
        states = {standing.state for standing in standings}
        if states == {"finished"} and all(last):
            value = statistics.fmean(values[0] for values in last)
            self.study.tell(going.number, value)
            self.say(f"trial {going.number}: {self.part} accuracy {value:.2f} %")
        elif states <= {*OVER, "stopped", *(["waiting"] if going.pruned else [])} and going.reported:
            self.study.tell(going.number, state=TrialState.PRUNED)
            for standing in standings:  # once more: a process that ends writes the tags that it began with
                if standing.state in ("stopped", PRUNED):
                    _mark(standing.job)
            self.say(f"trial {going.number}: pruned after epoch {going.reported}")
        else:
            self.study.tell(going.number, state=TrialState.FAIL)
            reasons = "; ".join(standing.reason for standing in standings if standing.reason)
            self.say(f"trial {going.number}: failed{': ' if reasons else ''}{reasons}")


def _mark(job: Job) -> None:
    """Mark a run as pruned, so that tables say so and it is not begun again."""
    run = RunFolder(job.path)
    with suppress(RunError, OSError):
        run.relabel(lambda tags: list(dict.fromkeys([*tags, PRUNED])))


# --- Optuna ---------------------------------------------------------------------------------------------


def open_study(sweep: SweepFolder, settings: SearchSettings) -> optuna.Study:
    """The study in a sweep's folder; a new one begins with what the first cell of the plan has.

    Raises `RunError` for a journal that cannot be read. The caller has the sweep's lock.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = str(sweep.path.absolute() / JOURNAL)
    _mend(sweep.path / JOURNAL)
    # Locked by a file that is made exclusively, which holds on network file systems, too.
    storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
    try:
        study = optuna.create_study(
            storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True, pruner=pruner()
        )
    except (ValueError, KeyError, TypeError) as error:  # as of lines that are not Optuna's
        raise RunError(f"{sweep.path / JOURNAL}: cannot be read: {reason(error)}") from None
    trials = study.get_trials(deepcopy=False)
    study.sampler = optuna.samplers.TPESampler(  # another sequence each time that it is begun again
        seed=(sweep.plan.seeds[0] + len(trials)) % 2**32, constant_liar=True
    )
    if not trials:
        study.enqueue_trial(first_choice(sweep.plan, settings.space))
    return study


def _mend(journal: Path) -> None:
    """Take away a last line that ends in its middle, as on a full disk: the next would be glued to it."""
    try:
        with journal.open("rb+") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole != len(content):
                file.truncate(whole)
    except FileNotFoundError:
        return


def pruner() -> optuna.pruners.BasePruner:
    """Ends a trial whose best accuracy so far is below the median of the others at the same epoch."""
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)


def distribution(choice: Choice) -> BaseDistribution:
    """What may be chosen, in Optuna's terms."""
    if choice.kind == "values":
        return CategoricalDistribution(choice.values)
    log = choice.kind in LOGARITHMIC
    if choice.kind in WHOLE:
        return IntDistribution(int(choice.low), int(choice.high), log=log, step=1 if log else choice.step)
    return FloatDistribution(choice.low, choice.high, log=log)
