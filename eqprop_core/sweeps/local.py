"""Starts the runs of a sweep on this machine, so many at a time on each device, through submitit.

What has been done and what is going on is read off the runs' folders and the processes that there are, so
that a launcher that is killed and started again goes on where the other one was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from eqprop_core.config import RunConfig
from eqprop_core.devices import RUNS_AT_ONCE, list_devices
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Start, find_places
from eqprop_core.runs.names import EVENTS
from eqprop_core.runs.places import Place, choose_place
from eqprop_core.runs.processes import is_about, may_signal
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.job import RunJob
from eqprop_core.sweeps.plan import SweepPlan
from eqprop_core.sweeps.settings import LaunchSettings
from eqprop_core.sweeps.standing import Standing, all_stand, named, stands, to_do
from eqprop_core.sweeps.submitted import ended, jobs_of, new_place, submitting

if TYPE_CHECKING:
    from submitit.local.local import LocalJob

SECONDS_BETWEEN_LOOKS = 0.3
FOR_EVER = 60 * 24 * 365 * 10.0  # minutes
SUBMITIT = "submitit.local._local"  # what its jobs run
LONGEST_PID = 10  # digits
Say = Callable[[str], None]


@dataclass
class Begun:
    """A run that is going on: its device, submitit's job where this launcher started it, where it began.

    `events` is the size of what it had written down by then.
    """

    job: Job
    place: Place
    started: LocalJob[Any] | None
    before: tuple[Any, ...]
    events: int = 0


class LocalLauncher:
    """Starts what is to be done of a sweep, `step` by step, until nothing is left and nothing goes on.

    With `jobs`, only these; more may be added on the way.
    """

    def __init__(
        self,
        sweep: SweepFolder,
        settings: LaunchSettings,
        *,
        retry_failed: bool = False,
        say: Say = print,
        jobs: Iterable[Job] | None = None,
    ) -> None:
        self.sweep, self.settings, self.say = sweep, settings, say
        self.places, _ = places_of(sweep.plan, settings)
        self.stopping = False
        self._going_on: list[Begun] = []
        self._to_do: list[Job] = []
        for standing in all_stand(sweep, jobs):
            if goes_on(sweep, standing):
                place = next((p for p in self.places if _is_on(standing, p)), self.places[0])
                self._going_on.append(Begun(standing.job, place, None, ()))
                say(f"{named(standing.job)}: goes on, {standing.state}")
            elif to_do(standing, retry_failed=retry_failed):
                self._to_do.append(standing.job)
            else:
                say(f"{named(standing.job)}: is {standing.state}, left alone")

    @property
    def room(self) -> int:
        """How many runs there is room for at a time."""
        return len(self.places) * self.settings.jobs

    def add(self, jobs: Iterable[Job]) -> None:
        """Start these as well, when there is room."""
        self._to_do += jobs

    def drop(self, job: Job) -> None:
        """Do not start a run that has not been started yet."""
        if job in self._to_do:
            self._to_do.remove(job)

    def over(self, job: Job) -> bool:
        """Whether a run is neither left to start nor going on."""
        return job not in self._to_do and all(begun.job.path != job.path for begun in self._going_on)

    def step(self) -> bool:
        """Look once, and start what there is room for; whether anything is left or goes on."""
        for begun in list(self._going_on):
            standing = stands(self.sweep, begun.job)
            if not self._over(begun, standing):
                continue
            self._going_on.remove(begun)
            if self._out_of_time(begun, standing):
                self._to_do.insert(0, begun.job)
            else:
                self.say(
                    f"{named(begun.job)}: {standing.state}{'; ' if standing.reason else ''}{standing.reason}"
                )
        while self._to_do and not self.stopping and (place := self._free()) is not None:
            self._start(self._to_do.pop(0), place)
        return bool(self._going_on) if self.stopping else bool(self._going_on or self._to_do)

    def _over(self, begun: Begun, standing: Standing) -> bool:
        if begun.started is not None and not begun.started.done():
            return False
        return not goes_on(self.sweep, standing)

    def _out_of_time(self, begun: Begun, standing: Standing) -> bool:
        """Whether a run has only been saved because its time was up, and has come further since it began."""
        if begun.started is None or standing.state != "stopped" or self.settings.time is None:
            return False
        if ended(self.sweep, begun.job, begun.started.job_id):
            return False
        if begun.events == _size_of_events(begun.job):  # it has only waited for others on its device
            return True
        if begun.before == _progress(begun.job):
            self.say(f"{named(begun.job)}: comes no further in the time that it is given (--time)")
            return False
        return True

    def _free(self) -> Place | None:
        """The device with the fewest runs, if there is one with room."""
        counts = [sum(begun.place == place for begun in self._going_on) for place in self.places]
        fewest = min(counts)
        return self.places[counts.index(fewest)] if fewest < self.settings.jobs else None

    def _start(self, job: Job, place: Place) -> None:
        standing = stands(self.sweep, job)
        if standing.alive or standing.state == "finished":  # begun or ended by others meanwhile
            self.say(f"{named(job)}: is {standing.state} already")
            return
        from eqprop_core.sweeps.submitting import TIMEOUTS, Here

        task = RunJob(
            job.path.absolute(),
            place=place,
            now=self.settings.jobs > 1,
            grace=self.settings.grace,
            environment={
                "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
                RUNS_AT_ONCE: str(self.room),
            },
        )
        before, events = _progress(job), _size_of_events(job)
        try:
            executor = Here(new_place(self.sweep, job), max_num_timeout=TIMEOUTS)
            executor.update_parameters(
                timeout_min=self.settings.time or FOR_EVER, signal_delay_s=self.settings.grace
            )
            with submitting():
                started: Any = executor.hand_over(task)
        except OSError as error:
            raise RunError(f"{named(job)}: cannot be started: {error.strerror or error}") from None
        self._going_on.append(Begun(job, place, started, before, events))
        self.say(f"{named(job)}: started on {place.key}")


def refuse_patterns(results: Path) -> None:
    """Raise `ConfigError` for a folder whose path submitit's local jobs would take for a pattern."""
    if found := re.search("%[jtAa]", str(results.absolute())):
        message = (
            f"has {found[0]} in its path, which stands for a number in names of jobs; give another folder"
        )
        raise ConfigError([Problem("results", str(results), message)])


def places_of(plan: SweepPlan, settings: LaunchSettings) -> tuple[list[Place], list[str]]:
    """The devices on which a sweep is run here, each once, and what to know of them. Raises `ConfigError`.

    Without any chosen, it is the one on which a single run would be.
    """
    wanted = settings.devices or (_first(plan).device,)
    there = list_devices()
    places: list[Place] = []
    warnings: list[str] = []
    for device in wanted:
        if device == "auto":
            (place, *_), said = find_places(_first(plan).changed(device="auto"), Start())
        else:
            place, warning = choose_place(device, lambda _: 0, there)
            if place.key == "cpu" and device != "cpu" and settings.devices:  # chosen for the sweep, by hand
                raise ConfigError([Problem("devices", device, "there is no GPU here; cpu is the CPU")])
            said = [warning] if warning else []
        warnings += [one for one in said if one not in warnings]
        if place not in places:
            places.append(place)
    return places, warnings


def _first(plan: SweepPlan) -> RunConfig:
    return plan.config(plan.cells[0], plan.seeds[0])


def goes_on(sweep: SweepFolder, standing: Standing) -> bool:
    """Whether a run has a process, or a job on this machine that will give it one again."""
    if standing.alive:
        return True
    return standing.state != "finished" and bool(processes_of(sweep, standing.job))


def processes_of(sweep: SweepFolder, job: Job) -> list[psutil.Process]:
    """The processes of submitit on this machine that watch over a run's job."""
    found = []
    for number, place in jobs_of(sweep, job).items():
        if not number.isdecimal() or len(number) > LONGEST_PID:
            continue
        with suppress(psutil.Error, OverflowError):
            process = psutil.Process(int(number))
            own = may_signal(process, sweep.path) and is_about(process, SUBMITIT, place)
            if own and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _is_on(standing: Standing, place: Place) -> bool:
    return standing.summary is not None and standing.summary.device == place.key


def _progress(job: Job) -> tuple[Any, ...]:
    """How far a run has come: what changes if it learns anything."""
    state = RunFolder(job.path).read_state()
    return state.get("epoch"), state.get("batch")


def _size_of_events(job: Job) -> int:
    """Bytes of what a run has written down of its training."""
    with suppress(OSError):
        return (job.path / EVENTS).stat().st_size
    return 0
