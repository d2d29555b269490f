"""Charts of a run: accuracy, loss, settling, angles, learning rates, as data for the chart widget."""

from __future__ import annotations

from collections.abc import Sequence

from eqprop_core.events import GduCurve
from eqprop_tui.charts.data import Chart, Reference, Series
from eqprop_tui.watching.view import RunView

QUIET = 8  # the colour of what is behind
MOST_CURVES = 60  # in a chart; of more, nobody tells one from another


def accuracy_chart(view: RunView, expected: float | None) -> Chart:
    """Running, training, validation and test accuracy in per cent; the published figure as a line."""
    epochs = view.epochs.all
    x = [event.epoch for event in epochs]
    series = [
        Series("running", view.accuracy.x, view.accuracy.y, colour=QUIET),
        Series("train", x, [event.train_accuracy for event in epochs], colour=2, line="dashed"),
        Series("test", x, [event.test_accuracy for event in epochs], colour=1),
    ]
    if any(event.validation_accuracy is not None for event in epochs):
        held_out = [event.validation_accuracy for event in epochs]
        series.append(Series("validation", x, held_out, colour=3, line="dotted"))
    references = (Reference("paper", expected),) if expected is not None else ()
    return Chart("accuracy %", tuple(series), references, x_label="epochs")


def loss_chart(view: RunView) -> Chart:
    """Running, training and test loss by epoch."""
    epochs = view.epochs.all
    x = [event.epoch for event in epochs]
    series = [
        Series("running", view.loss.x, view.loss.y, colour=QUIET),
        Series("train", x, [event.loss for event in epochs], colour=2, line="dashed"),
        Series("test", x, [event.test_loss for event in epochs], colour=1),
    ]
    return Chart("loss", tuple(series), x_label="epochs")


def settling_chart(view: RunView) -> Chart:
    """The largest change of the state at each time step, one line a phase, on a logarithmic axis."""
    settling = view.settling.last
    if settling is None:
        return Chart("largest change of the state", x_label="time steps", log_y=True)
    series = tuple(
        Series(name, range(1, len(changes) + 1), changes, colour=place)
        for place, (name, changes) in enumerate(settling.phases.items(), 1)
    )
    where = f"largest change, epoch {settling.epoch}, batch {settling.batch}"
    return Chart(where, series, x_label="time steps", log_y=True, whole_x=True)


def angles_chart(view: RunView) -> Chart:
    """Angle between forward and backward weights of each pair, in degrees, by epoch."""
    events = view.angles.all
    names = list(dict.fromkeys(name for event in events for name in event.angles))
    x = [event.epoch for event in events]
    series = tuple(
        Series(name, x, [event.angles.get(name) for event in events], place)
        for place, name in enumerate(names[:MOST_CURVES], 1)
    )
    title = "angle of forward and backward weights °"
    return Chart(_of_all(len(names)) + title, series, x_label="epochs")


def rates_chart(view: RunView) -> Chart:
    """The learning rate of each connection by epoch, on a logarithmic axis."""
    events = view.rates.all
    count = max((len(event.rates) for event in events), default=0)
    series = tuple(
        Series(
            f"connection {place + 1}",
            [event.epoch for event in events],
            [event.rates[place] if place < len(event.rates) else None for event in events],
            place + 1,
        )
        for place in range(min(count, MOST_CURVES))
    )
    return Chart(_of_all(count) + "learning rates", series, x_label="epochs", log_y=True, whole_x=True)


def _of_all(count: int) -> str:
    """How a title begins where not all curves are drawn."""
    return f"{MOST_CURVES} of {count:,}: " if count > MOST_CURVES else ""


def gdu_chart(curve: GduCurve | None) -> Chart:
    """One element's update that has built up by each time step: BPTT solid, EP dashed, +β and −β dotted."""
    if curve is None:
        return Chart("no curves", x_label="time steps")
    lines = [("BPTT", curve.bptt, 1, "solid"), ("EP", curve.ep, 2, "dashed")]
    lines += [("EP +β", curve.plus, 3, "dotted"), ("EP −β", curve.minus, 4, "dotted")]
    series = tuple(
        Series(name, range(1, len(values) + 1), _summed(values), colour, line=line)  # type: ignore[arg-type]
        for name, values, colour, line in lines
        if values
    )
    return Chart(f"[{curve.element}] {curve.name}", series, x_label="time steps", whole_x=True)


def _summed(values: Sequence[float | None]) -> list[float | None]:
    total, sums = 0.0, []
    for value in values:
        total = float("nan") if value is None else total + value
        sums.append(total)
    return list(sums)
