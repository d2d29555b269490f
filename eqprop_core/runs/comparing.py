"""Runs side by side: in which settings they differ, how they went and what they came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eqprop_core.config import RunConfig, facts
from eqprop_core.events import Amended, EpochFinished
from eqprop_core.runs.folder import DATA, RunFolder
from eqprop_core.runs.history import current_amendments, histories
from eqprop_core.runs.listing import RunSummary, summarize
from eqprop_core.runs.scores import Scores, best_of, scores_of_epochs
from eqprop_core.runs.words import data_in_words

NOT_COMPARED = ("name", "todo")


@dataclass(frozen=True)
class Compared:
    """One of several runs: how it stands, its settings as they are now, its epochs, and what was changed.

    `data` says what it was trained on; empty where that is not recorded.
    """

    summary: RunSummary
    settings: dict[str, Any]
    epochs: list[EpochFinished]
    changes: Sequence[Amended] = ()
    data: str = ""

    @property
    def last(self) -> EpochFinished | None:
        """The last epoch, None where none is finished."""
        return self.epochs[-1] if self.epochs else None

    @property
    def best(self) -> EpochFinished | None:
        """The epoch whose weights are kept as the best, None where none is finished."""
        return best_of(self.epochs)

    @property
    def scores(self) -> Scores:
        """What its epochs came to."""
        return scores_of_epochs(self.epochs)

    @property
    def seconds(self) -> float:
        """Time that the finished epochs took."""
        return sum(epoch.seconds for epoch in self.epochs)


def looked_at(run: RunFolder) -> Compared:
    """What is compared of a run. Raises `ConfigError` or `RunError` for settings that cannot be read."""
    data = data_in_words(run.meta().get(DATA))
    return Compared(summarize(run.path), run.settings_now() or {}, histories(run), changes_of(run), data)


def changes_of(run: RunFolder) -> list[Amended]:
    """The changes of settings that hold, made on resuming and in flight, in order."""
    return [record.event for record in current_amendments(run) if isinstance(record.event, Amended)]


def settings_that_differ(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """Each setting that is not the same in all runs: its values, one a run, None where it is not set."""
    differing: dict[str, list[Any]] = {}
    for name in RunConfig.model_fields:
        values = [run.settings.get(name) for run in runs]
        if name not in NOT_COMPARED and any(value != values[0] for value in values):
            differing[name] = values
    return differing


def data_that_differ(runs: Sequence[Compared]) -> list[str]:
    """What each run was trained on, where that is recorded and not the same in all; else an empty list."""
    known = {run.data for run in runs if run.data}
    return [run.data for run in runs] if len(known) > 1 else []


def names(compared: Sequence[Compared]) -> list[str]:
    """What runs are called beside each other: their names, with the id where two have the same."""
    called = [run.summary.name for run in compared]
    return [
        name if called.count(name) == 1 else f"{name} {run.summary.id or run.summary.path.name}"
        for name, run in zip(called, compared, strict=True)
    ]


def unlike_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run that are not the defaults, in the order of the settings."""
    differing: dict[str, Any] = {}
    for name, field in RunConfig.model_fields.items():
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if name in settings and facts(name)["stored"] and settings[name] != default:
            differing[name] = settings[name]
    return differing
