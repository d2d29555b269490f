"""The curves of a sweep: for each cell the figure of each of its seeds, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass

from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import histories
from eqprop_core.runs.listing import ALIVE
from eqprop_core.sweeps.table import Outcome, Row, Table

_FIELDS = {
    "last": "test_accuracy",
    "best": "test_accuracy",
    "train": "train_accuracy",
    "validation": "validation_accuracy",
}


@dataclass(frozen=True)
class Curves:
    """A cell and the figures in per cent of its seeds, the first of each being that of epoch 1.

    They are those of the seeds that are averaged; while none is finished, those of the seeds that run
    (`live`), as far as they are.
    """

    row: Row
    seeds: list[list[float | None]]
    live: bool


def curves_of(table: Table) -> list[Curves]:
    """The curves of each cell, in their order. Raises `OSError` where files cannot be read."""
    return [_curves(row) for row in table.rows]


def clearest(curves: list[Curves], most: int) -> list[Curves]:
    """At most so many of them, the best ones by their mean, in their order."""
    better = 1 if curves and curves[0].row.measure.error else -1

    def rank(one: Curves) -> tuple[bool, float]:
        mean = one.row.mean
        return (mean is None, 0.0 if mean is None else better * mean)

    kept = {one.row.number for one in sorted(curves, key=rank)[:most]}
    return [one for one in curves if one.row.number in kept]


def _curves(row: Row) -> Curves:
    counted = row.finished
    live = not counted
    runs = [run for run in row.outcomes if run.state in ALIVE] if live else counted
    return Curves(row, [values for run in runs if (values := _values(row, run))], live)


def _values(row: Row, run: Outcome) -> list[float | None]:
    """The figure of each epoch of a run, None where an epoch has none."""
    name = _FIELDS[row.measure.of]
    found = {epoch.epoch: getattr(epoch, name) for epoch in histories(RunFolder(run.path))}
    return [
        None if (accuracy := found.get(number)) is None else row.measure.value(accuracy)
        for number in range(1, max(found, default=0) + 1)
    ]
