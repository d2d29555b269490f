"""Panes that are one chart, and the one of neural activity."""

from __future__ import annotations

from collections.abc import Callable

from eqprop_core.events import Activity
from eqprop_tui.charts.data import Chart
from eqprop_tui.charts.histogram import Histogram, draw_histograms
from eqprop_tui.charts.text import to_segments
from eqprop_tui.looks import Looks
from eqprop_tui.panes.base import Pane
from eqprop_tui.watching.view import RunView
from eqprop_tui.widgets.chart import ChartView
from eqprop_tui.widgets.picture import PictureView, Rows, wrapped


class ChartPane(ChartView, Pane):
    """A chart that a function makes of a run; `empty` is said while there are no data."""

    def __init__(self, chart_of: Callable[[RunView], Chart], empty: str, *, id: str) -> None:
        super().__init__(id=id)
        self.chart_of, self.empty = chart_of, empty

    def take(self, view: RunView) -> None:
        """Draw it again."""
        self.show(self.chart_of(view))

    def rows(self, width: int, height: int) -> Rows:
        """The chart, or the sentence."""
        if not any(len(series.x) for series in self.chart.series):
            return wrapped(self.empty, width, height)
        return super().rows(width, height)


class ActivityPane(PictureView, Pane, can_focus=True):
    """A histogram of each layer's neurons, with the share that is stuck at either bound."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.activity: Activity | None = None

    def take(self, view: RunView) -> None:
        """Draw the newest."""
        self.activity = view.activity.last
        self.redraw()

    def rows(self, width: int, height: int) -> Rows:
        """The histograms side by side."""
        if self.activity is None:
            return wrapped("no activity has been sampled yet", width, height)
        looks = Looks.of(self.app)
        histograms = [
            Histogram(layer.name, layer.counts, layer.edges[0], layer.edges[-1], layer.at_low, layer.at_high)
            for layer in self.activity.layers
            if layer.edges
        ]
        picture = draw_histograms(histograms, width, height, glyphs=looks.glyphs)
        return to_segments(picture, looks.palette)
