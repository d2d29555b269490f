"""The runs of a sweep as one line among runs, under which they can be shown. Knows no widget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from eqprop_core.runs.listing import RunSummary
from eqprop_core.sweeps.folder import RUNS
from eqprop_core.sweeps.standing import PRUNED

ACTIVE = ("running", "starting", "paused")
BROKEN = ("failed", "lost", "unreachable")


@dataclass(frozen=True)
class Sweep:
    """A sweep as a list of runs knows it: its folder and name, and how many runs are planned."""

    path: Path
    name: str
    created: str
    planned: int


@dataclass(frozen=True)
class Group:
    """A sweep with all of its runs that have a folder, and those that are `shown`."""

    sweep: Sweep
    runs: tuple[RunSummary, ...]
    shown: tuple[RunSummary, ...] = field(compare=False)

    @property
    def path(self) -> Path:
        """The sweep's folder."""
        return self.sweep.path

    @cached_property
    def counts(self) -> Counter[str]:
        """How many runs stand in each state."""
        return Counter(
            PRUNED if run.state == "stopped" and PRUNED in run.tags else run.state for run in self.runs
        )

    @property
    def words(self) -> str:
        """How many runs are finished of those planned, and how the others stand that have begun."""
        rest = [
            f"{self.counts[state]} {state}"
            for state in (*BROKEN, *ACTIVE, "queued", "stopped", PRUNED)
            if self.counts[state]
        ]
        return ", ".join([f"{self.counts['finished']}/{self.sweep.planned} done", *rest])

    @cached_property
    def summary(self) -> RunSummary:
        """What stands for the sweep in an order of runs: its state, the best score, what its runs share."""

        def shared(name: str) -> str | None:
            values = {getattr(run, name) for run in self.runs}
            return values.pop() if len(values) == 1 else None

        def highest(name: str) -> float | None:
            values = [getattr(run, name) for run in self.runs]
            return max((value for value in values if value is not None), default=None)

        trained = [run.trained for run in self.runs if run.trained is not None]
        took = [run.took for run in self.runs if run.took is not None]
        return RunSummary(
            path=self.path,
            id="",
            name=self.sweep.name,
            state=self._state(),
            preset=shared("preset"),
            model=shared("model"),
            task=shared("task"),
            alg=shared("alg"),
            loss=shared("loss"),
            epoch=sum(run.epoch for run in self.runs),
            epochs=None,
            best=highest("best"),
            last=highest("last"),
            best_val=highest("best_val"),
            test_at_best=highest("test_at_best"),
            device=shared("device"),
            created=self.sweep.created or None,
            seconds_an_epoch=None,
            ahead=None,
            trained=sum(trained) if trained else None,
            took=sum(took) if took else None,
        )

    def _state(self) -> str:
        counts = self.counts
        if any(counts[state] for state in ACTIVE):
            return next(state for state in ACTIVE if counts[state])
        if counts["queued"]:
            return "queued"
        if counts["finished"] + counts[PRUNED] >= self.sweep.planned:
            return "finished"
        return next((state for state in BROKEN if counts[state]), "stopped")


Line = RunSummary | Group


def sweep_folder(run: Path) -> Path | None:
    """The folder that a run's sweep would have, None where its path is not that of a run of one."""
    parents = run.parents
    return parents[2] if len(parents) > 2 and parents[1].name == RUNS else None


def grouped(
    shown: Iterable[RunSummary], every: Iterable[RunSummary], sweeps: Mapping[Path, Sweep], *, empty: bool
) -> tuple[list[RunSummary], list[Group]]:
    """Runs of no sweep, and the sweeps with theirs; `shown` are some of `every` run.

    With `empty`, sweeps of which no run is shown are among them.
    """
    if not sweeps:
        return list(shown), []
    alone: list[RunSummary] = []
    members: dict[Path | None, list[RunSummary]] = {path: [] for path in sweeps}
    seen: dict[Path | None, list[RunSummary]] = {path: [] for path in sweeps}
    for run in every:
        if (path := sweep_folder(run.path)) in members:
            members[path].append(run)
    for run in shown:
        path = sweep_folder(run.path)
        seen.get(path, alone).append(run)
    groups = [
        Group(sweep, tuple(members[path]), tuple(seen[path]))
        for path, sweep in sweeps.items()
        if seen[path] or empty
    ]
    return alone, groups
