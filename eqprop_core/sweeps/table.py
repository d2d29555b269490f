"""What a sweep came to: each cell's mean over its seeds, how far they are apart, and what is missing.

Only runs that are finished are averaged; how many are not, and why, is counted beside them. Reads the folders
of runs and writes nothing; knows no terminal and no torch.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from eqprop_core.config import RunConfig
from eqprop_core.events import Amended, EpochFinished
from eqprop_core.names import can_be_shown
from eqprop_core.problems import ConfigError, printable, shown
from eqprop_core.published import PUBLISHED
from eqprop_core.runs.folder import DATA, RunFolder
from eqprop_core.runs.history import current_amendments, failure, histories
from eqprop_core.runs.listing import RunSummary
from eqprop_core.runs.scores import best_of
from eqprop_core.runs.words import data_in_words
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.plan import Cell, SweepPlan
from eqprop_core.sweeps.standing import PRUNED, WAITING, stands

Of = Literal["last", "best", "train", "validation"]
OF: tuple[Of, ...] = get_args(Of)
PARTS: dict[Of, str] = {"last": "test", "best": "test", "train": "training", "validation": "validation"}
CHANGED = "changed"  # the state of a finished run that was not trained as its cell says
# Settings that may be changed on the way without changing what a run comes to.
ALONGSIDE = ("checkpoint_every", "event_rate", "device", "layout", "data_dir")
# The order in which a cell says what of its seeds is missing: what needs somebody first.
MISSING = (
    *("failed", "lost", "unreachable", "without a figure", CHANGED, "stopped", PRUNED),
    *("running", "paused", "starting", "queued", WAITING),
)


@dataclass(frozen=True)
class Outcome:
    """What one run of a sweep came to.

    `state` is that of a list of runs, `WAITING` where it has not begun, `PRUNED`, or `CHANGED`; `scores` are
    accuracies in per cent, of finished runs alone; `seconds` is the time that its epochs took, `message` what
    a run that failed said, or what was changed; `data` says what a finished run was trained on.
    """

    seed: int
    path: Path
    state: str = WAITING
    summary: RunSummary | None = None
    scores: Mapping[Of, float | None] = field(default_factory=dict)
    seconds: float | None = None
    message: str | None = None
    data: str = ""


def outcome(sweep: SweepFolder, job: Job) -> Outcome:
    """How the run of a job stands, and its figures if it is finished. Raises `OSError`."""
    standing = stands(sweep, job)
    summary, message = standing.summary, standing.reason or None
    if standing.state == "failed" and summary is not None:
        message = message or failure(RunFolder(job.path))
    if standing.state != "finished":
        said = None if message is None else printable(message)
        return Outcome(job.seed, job.path, standing.state, summary, message=said)
    if changes := _changes(sweep, job):
        said = printable(f"trained with {', '.join(changes)}, other than its cell")
        return Outcome(job.seed, job.path, CHANGED, summary, message=said)
    epochs = histories(RunFolder(job.path))
    return Outcome(
        job.seed,
        job.path,
        "finished",
        summary,
        scores_of(epochs),
        sum(epoch.seconds for epoch in epochs),
        data=data_in_words(RunFolder(job.path).meta().get(DATA)),
    )


def _changes(sweep: SweepFolder, job: Job) -> list[str]:
    """Settings by which a run was trained otherwise than its cell says, changed on resuming or in flight."""
    latest: dict[str, object] = {}
    for record in current_amendments(RunFolder(job.path)):
        if isinstance(record.event, Amended):
            latest.update(record.event.settings)
    if not latest:
        return []
    try:
        planned = sweep.plan.config(job.cell, job.seed).stored()
    except ConfigError:  # as where the folder of an imagefolder is not here
        planned = {}
    changed = {n: v for n, v in latest.items() if n not in ALONGSIDE and planned.get(n) != v}
    return [f"{name} {shown(value)}" for name, value in changed.items()]


def scores_of(epochs: Sequence[EpochFinished]) -> dict[Of, float | None]:
    """Accuracies in per cent that finished epochs come to; None where there is none."""
    if not epochs:
        return dict.fromkeys(OF)
    best, last = best_of(epochs), epochs[-1]
    return {
        "last": last.test_accuracy,
        "best": best.test_accuracy if best is not None else None,
        "train": last.train_accuracy,
        "validation": last.validation_accuracy,
    }


@dataclass(frozen=True)
class Measure:
    """Which figure is looked at: of which epoch and images, as error or as accuracy, in per cent."""

    of: Of = "last"
    error: bool = True

    def value(self, accuracy: float) -> float:
        """The figure that an accuracy in per cent stands for."""
        return round(100.0 - accuracy, 9) if self.error else accuracy

    @property
    def heading(self) -> str:
        """`test error %`, `validation accuracy %` …"""
        return f"{PARTS[self.of]} {'error' if self.error else 'accuracy'} %"


@dataclass(frozen=True)
class Row:
    """A cell with its runs; `number` counts the cells of the plan from 1."""

    number: int
    cell: Cell
    outcomes: tuple[Outcome, ...]
    measure: Measure

    @property
    def finished(self) -> list[Outcome]:
        """The runs that are averaged: those that are finished and have a figure."""
        return [run for run in self.outcomes if run.scores.get(self.measure.of) is not None]

    @property
    def values(self) -> list[float]:
        """The figures that are averaged, in the order of the seeds."""
        found = [run.scores[self.measure.of] for run in self.finished]
        return [self.measure.value(accuracy) for accuracy in found if accuracy is not None]

    @property
    def unlike_data(self) -> dict[str, list[int]]:
        """The seeds by what they were trained on, where that is not the same, and not drawn by the seed."""
        seeds: dict[str, list[int]] = {}
        for run in self.finished:
            if run.data:
                seeds.setdefault(run.data, []).append(run.seed)
        return seeds if len(seeds) > 1 and self.cell.settings.get("samples") != "drawn" else {}

    @property
    def mean(self) -> float | None:
        """The mean over the finished seeds, None where none is."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def sd(self) -> float | None:
        """The sample standard deviation (n − 1), None with fewer than two seeds."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def seconds(self) -> float | None:
        """The mean training time of the finished seeds."""
        times = [run.seconds for run in self.finished if run.seconds is not None]
        return statistics.fmean(times) if times else None

    @property
    def missing(self) -> dict[str, int]:
        """How many seeds are not averaged, by the state that they are in."""
        counts = Counter(
            "without a figure" if run.state == "finished" else run.state
            for run in self.outcomes
            if run.scores.get(self.measure.of) is None
        )
        known = {state: counts[state] for state in MISSING if state in counts}
        return {**known, **{state: count for state, count in counts.items() if state not in known}}

    @property
    def whole(self) -> bool:
        """Whether every planned seed is averaged."""
        return not self.missing

    @property
    def published(self) -> float | None:
        """The published figure, where there is one of this measure."""
        error = self.cell.expected_error
        if error is None or PARTS[self.measure.of] != "test":
            return None
        return self.measure.value(100.0 - error)


@dataclass(frozen=True)
class Table:
    """All cells of a sweep by one measure; `said` tells which figure it is, of which images."""

    name: str
    title: str
    measure: Measure
    said: str
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs stand in each state; `finished` comes first."""
        counts = Counter(run.state for row in self.rows for run in row.outcomes)
        order = ("finished", *MISSING)
        known = {state: counts[state] for state in order if state in counts}
        return {**known, **{state: count for state, count in counts.items() if state not in known}}

    @property
    def runs(self) -> int:
        """How many runs are planned."""
        return sum(len(row.outcomes) for row in self.rows)

    def best_first(self) -> list[Row]:
        """The rows, the best mean first; after them those that miss a seed, and those without a mean."""
        better = 1 if self.measure.error else -1
        known = [row for row in self.rows if row.mean is not None]
        rest = [row for row in self.rows if row.mean is None]
        return sorted(known, key=lambda row: (not row.whole, better * (row.mean or 0.0))) + rest

    @property
    def best(self) -> Row | None:
        """The row with the best mean of all its seeds, None where no row has all."""
        return next((row for row in self.best_first()[:1] if row.whole), None)

    @property
    def sources(self) -> list[str]:
        """Where the published figures come from, each once, in the order of the rows."""
        rows = [row for row in self.rows if row.published is not None]
        return list(dict.fromkeys(row.cell.source or "source not given" for row in rows))


def measure_of(sweep: SweepFolder, of: Of | None = None, *, error: bool = True) -> Measure:
    """The measure that is meant: that of a search is what it chooses by, else it is of the last epoch."""
    if of is None and sweep.search is not None:
        with suppress(ConfigError):
            if sweep.plan.config(sweep.plan.cells[0], sweep.plan.seeds[0]).val_split:
                of = "validation"
    return Measure(of or "last", error)


def table_of(
    sweep: SweepFolder,
    measure: Measure = Measure(),
    read: Callable[[SweepFolder, Job], Outcome] = outcome,
) -> Table:
    """The table of a sweep; `read` tells what a run came to. Raises `OSError` where files cannot be read."""
    plan = sweep.plan
    by_cell: dict[str, list[Outcome]] = {cell.name: [] for cell in plan.cells}
    for job in sweep.jobs():
        by_cell[job.cell.name].append(read(sweep, job))
    rows = [
        Row(number, _shown(cell), tuple(by_cell[cell.name]), measure)
        for number, cell in enumerate(plan.cells, 1)
    ]
    return Table(printable(plan.name), printable(plan.title), measure, said_of(plan, measure), tuple(rows))


def _shown(cell: Cell) -> Cell:
    """A cell with names that do nothing to a terminal, whatever stands in the file of the sweep."""
    if can_be_shown(cell.name) and can_be_shown(cell.source or ""):
        return cell
    source = None if cell.source is None else printable(cell.source)
    return cell.model_copy(update={"name": printable(cell.name), "source": source})


def said_of(plan: SweepPlan, measure: Measure) -> str:
    """Which figure a table shows, in a sentence: of which epoch, and on which images."""
    configs = list(_configs(plan))
    images = list(dict.fromkeys(_images(config, measure.of) for config in configs)) or ["unknown images"]
    if measure.of == "train":
        when = "while the last epoch was trained"
    elif measure.of == "best":
        held = {config.val_split > 0 for config in configs}
        on = {True: "validation", False: "test"}
        chosen = " or ".join(f"{on[by]} images" for by in sorted(held)) or "unknown images"
        when = f"of the epoch that was best on the {chosen}"
        if False in held:
            when += ", which flatters"
    else:
        when = "after the last epoch"
    return f"{measure.heading} {when}, on {'; '.join(images)}"


def _configs(plan: SweepPlan) -> Iterable[RunConfig]:
    """A configuration a cell, of those that can be made here."""
    for cell in plan.cells:
        try:
            yield plan.config(cell, plan.seeds[0] if plan.seeds else 0)
        except ConfigError:  # as where the folder of an imagefolder is not here
            continue


def _images(config: RunConfig, of: Of) -> str:
    """The images that a figure is of, in words."""
    part = PARTS[of]
    if part == "validation":
        held = f"{100 * config.val_split:g} % of the training images" if config.val_split else "no images"
        return f"{held} of {config.task}, held out"
    count = getattr(config, "train_samples" if part == "training" else "test_samples")
    if count is not None:
        return f"the first {count:,} {part} images of {config.task}"
    known = PUBLISHED.get(config.task)
    size = None if known is None else known.test_size
    if part == "training":
        size = None if known is None or config.val_split else known.train_size
    return f"the {f'{size:,} ' if size is not None else ''}{part} images of {config.task}"
