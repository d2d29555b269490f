"""Runs beside each other as a chart and as a table of settings. Knows no widget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from eqprop_core.problems import shown
from eqprop_core.runs.comparing import names, settings_that_differ
from eqprop_tui.charts.data import Chart, Reference, Series
from eqprop_tui.marks import Marks
from eqprop_tui.watching.comparer import Curve, Side

MEASURES = {
    "test": "test accuracy %",
    "train": "training accuracy %",
    "validation": "validation accuracy %",
    "loss": "loss",
}
AXES = ("epochs", "batches", "time")
# name, seconds, and up to how many seconds it is used
UNITS = (
    ("s", 1.0, 180.0),
    ("min", 60.0, 10_800.0),
    ("h", 3600.0, float("inf")),
)
_FIELDS = {
    "test": "test_accuracy",
    "train": "train_accuracy",
    "validation": "validation_accuracy",
    "loss": "loss",
}


@dataclass(frozen=True)
class Looked:
    """What is looked at: a key of MEASURES over one of AXES."""

    measure: str = "test"
    axis: str = "epochs"


def chart_of(sides: Sequence[Side], marks: Marks, looked: Looked, *, ascii: bool = False) -> Chart:
    """The curves of the runs, each in its colour and with its marker.

    A run that is still being read is not drawn. Over batches, training accuracy and loss are those of each
    batch, as far as they are kept; over time, x is training time. The published accuracy is drawn where all
    runs have the same.
    """
    seconds = max((side.compared.seconds for side in sides), default=0.0)
    unit, size, _ = next(unit for unit in UNITS if seconds <= unit[2])
    series = []
    called = names([side.compared for side in sides])
    for side, name in zip(sides, called, strict=True):
        if side.path in marks and side.read:
            x, y = _curve(side, looked, size)
            marker = marks.marker(side.path, ascii=ascii)
            series.append(Series(name, x, y, colour=marks.colour(side.path), marker=marker))
    expected = {side.expected for side in sides}
    published = expected.pop() if len(expected) == 1 else None
    references = (
        (Reference("published", published),) if published is not None and looked.measure != "loss" else ()
    )
    label = {"time": f"training time, {unit}"}.get(looked.axis, looked.axis)
    return Chart(
        title=MEASURES[looked.measure],
        series=tuple(series),
        references=references,
        x_label=label,
        whole_x=looked.axis == "batches",
        empty="no data" if all(side.read for side in sides) and len(sides) >= len(marks) else "reading …",
    )


def _curve(side: Side, looked: Looked, unit: float) -> Curve:
    """The points of one run."""
    batches = side.batches
    if looked.axis == "batches" and looked.measure in ("train", "loss") and batches:
        x, y = side.accuracy if looked.measure == "train" else side.loss
        if any(value is not None for value in y):
            return tuple(value * batches for value in x), y
    epochs = side.compared.epochs
    values = tuple(getattr(epoch, _FIELDS[looked.measure]) for epoch in epochs)
    if looked.axis == "time":
        return tuple(passed / unit for passed in accumulate(epoch.seconds for epoch in epochs)), values
    if looked.axis == "batches":
        if not batches:
            return (), ()
        return tuple(float(epoch.epoch * batches) for epoch in epochs), values
    return tuple(float(epoch.epoch) for epoch in epochs), values


def differing(sides: Sequence[Side]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all runs: their names, and a value a run."""
    found = settings_that_differ([side.compared for side in sides])
    return [
        (name, ["–" if value is None else shown(value) for value in values]) for name, values in found.items()
    ]
