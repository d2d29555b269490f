"""Panes of lines: events in words, what the process printed, and the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from textwrap import wrap

from textual.widgets import Log

from eqprop_core.devices import Device
from eqprop_core.problems import printable
from eqprop_tui.charts.data import Chart, Series
from eqprop_tui.panes.base import Pane
from eqprop_tui.watching.view import MOST_LINES, RunView
from eqprop_tui.widgets.chart import ChartView
from eqprop_tui.widgets.picture import Rows, wrapped

MOST_SAMPLES = 600


class LinesPane(Log, Pane):
    """Lines that follow the newest one unless scrolled up; those that are too long go on below, indented."""

    indent = 2

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, max_lines=MOST_LINES, highlight=False)
        self._shown = 0  # number of the last event that is shown
        self._told: deque[str] = deque(maxlen=MOST_LINES)
        self._folded_at = 0  # the width that lines have been folded for

    def append(self, lines: list[str]) -> None:
        """Add lines at the end."""
        if lines:
            told = [printable(line) for line in lines]
            self._told.extend(told)
            self.write_lines(self._folded(told), scroll_end=self.is_vertical_scroll_end)

    def on_resize(self) -> None:
        """Fold all lines for another width."""
        if self._folded_at != self.scrollable_content_region.width:
            follow = self.is_vertical_scroll_end
            self.clear()
            self.write_lines(self._folded(self._told), scroll_end=follow)

    def _folded(self, lines: Iterable[str]) -> list[str]:
        width = self._folded_at = self.scrollable_content_region.width
        if width <= 2 * self.indent:  # not laid out yet
            return list(lines)
        rest = " " * self.indent
        folded = (wrap(line, width, subsequent_indent=rest, replace_whitespace=False) for line in lines)
        return [part for parts in folded for part in parts or [""]]

    def take(self, view: RunView) -> None:
        """Add what is new."""


def _clock(at: float) -> str:
    """The time of day, and before it the day if that is not today."""
    moment = datetime.fromtimestamp(at)
    return moment.strftime("%H:%M:%S" if moment.date() == datetime.now().date() else "%d %b %H:%M:%S")


class EventsPane(LinesPane):
    """What happened, in words."""

    indent = len(" 00:00:00  ")

    def take(self, view: RunView) -> None:
        """Add what is new."""
        new = [(seq, at, text) for seq, at, text in view.lines if seq > self._shown]
        if new:
            self._shown = new[-1][0]
            self.append([f" {_clock(at)}  {text}" for _, at, text in new])


class DevicePane(ChartView, Pane):
    """Memory and load of the run's device since it is watched."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.samples: list[tuple[float, float | None, float | None]] = []
        self.said = "the device is looked at while the run is going on"

    def sample(self, at: float, device: Device | None) -> None:
        """Note how the device is, `at` seconds since the beginning; None where it is not of this computer."""
        if device is None:
            self.said = "the device is not one of this computer"
            return
        total, used = device.memory_total, device.memory_used
        share = 100 * used / total if total and used is not None else None
        load = None if device.load is None else 100 * device.load
        self.samples = [*self.samples[-MOST_SAMPLES:], (at, load, share)]
        self.said = device.name

    def take(self, view: RunView) -> None:
        """Draw again."""
        x = [at for at, _, _ in self.samples]
        load = Series("load", x, [load for _, load, _ in self.samples], 1)
        memory = Series("memory", x, [share for _, _, share in self.samples], 2, line="dashed")
        self.show(Chart(f"% of {self.said}", (load, memory), x_label="seconds"))

    def rows(self, width: int, height: int) -> Rows:
        """The chart, or why there is none."""
        return super().rows(width, height) if self.samples else wrapped(self.said, width, height)
