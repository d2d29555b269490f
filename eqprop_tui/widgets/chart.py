"""A line chart that can be pointed at, zoomed and moved by keys and by the mouse."""

from __future__ import annotations

from dataclasses import replace

from textual import events
from textual.message import Message

from eqprop_tui.charts import lines
from eqprop_tui.charts.data import Chart, View, axes_of, panned, zoomed
from eqprop_tui.charts.text import to_segments
from eqprop_tui.keys import bindings
from eqprop_tui.looks import Looks
from eqprop_tui.widgets.picture import PictureView, Rows

SMOOTHINGS = (0.0, 0.6, 0.9)
ZOOM = 1.5
PAN = 0.2  # share of the axis


class ChartView(PictureView, can_focus=True):
    """Shows a `Chart`; view, smoothing, logarithm and cursor are the person's."""

    BINDINGS = bindings("chart")

    class Pointed(Message):
        """Another column is read out."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.chart = Chart()
        self.view = View()
        self.smoothing = 0
        self.logarithmic: bool | None = None  # None: as the chart has it
        self.column: int | None = None  # of the cursor
        self._dragged: int | None = None

    def show(self, chart: Chart) -> None:
        """Show other data in the same view."""
        self.chart = chart
        self.redraw()

    def drawn(self) -> Chart:
        """The chart as it is looked at."""
        return replace(
            self.chart,
            view=self.view,
            smoothing=SMOOTHINGS[self.smoothing] or self.chart.smoothing,
            log_y=self.chart.log_y if self.logarithmic is None else self.logarithmic,
        )

    def rows(self, width: int, height: int) -> Rows:
        """The picture."""
        looks = Looks.of(self.app)
        picture = lines.draw(self.drawn(), width, height, glyphs=looks.glyphs, cursor=self.column)
        return to_segments(picture, looks.palette)

    def action_cursor(self, by: int) -> None:
        """Move the cursor by a column; it begins at the last point."""
        width = self.size.width
        self.column = min(max((width - 1 if self.column is None else self.column) + by, 0), width - 1)
        self._again()

    def action_zoom(self, way: int) -> None:
        """Come closer (1) or go away (-1) around the cursor, or around the middle."""
        at = 0.5 if self.column is None else (self.column + 0.5) / max(1, self.size.width)
        self.view = zoomed(self.view, axes_of(self.drawn()), ZOOM if way > 0 else 1 / ZOOM, x_at=at)
        self._again()

    def action_pan(self, way: int) -> None:
        """Move along x."""
        self.view = panned(self.view, axes_of(self.drawn()), x_by=way * PAN)
        self._again()

    def action_pan_y(self, way: int) -> None:
        """Move along y."""
        self.view = panned(self.view, axes_of(self.drawn()), y_by=way * PAN)
        self._again()

    def action_whole(self) -> None:
        """Show all there is, without a cursor."""
        self.view, self.column = View(), None
        self._again()

    def action_log(self) -> None:
        """Turn the y axis into a logarithmic one, or back."""
        self.logarithmic = not self.drawn().log_y
        self.view = replace(self.view, y=None)
        self._again()

    def action_smooth(self) -> None:
        """None, some, much."""
        self.smoothing = (self.smoothing + 1) % len(SMOOTHINGS)
        self._again()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag."""
        self._dragged = event.x
        self.capture_mouse()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Dragged: done. Clicked: read out the points there."""
        self.release_mouse()
        if self._dragged == event.x:
            self.column = event.x
            self._again()
        self._dragged = None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the picture along x."""
        if self._dragged is None or event.delta_x == 0:
            return
        by = -event.delta_x / max(1, self.size.width)
        self.view = panned(self.view, axes_of(self.drawn()), x_by=by)
        self._dragged = -1  # no click any more
        self._again()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Come closer."""
        event.stop()
        self.column = event.x
        self.action_zoom(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Go away."""
        event.stop()
        self.column = event.x
        self.action_zoom(-1)

    def _again(self) -> None:
        self.redraw()
        self.post_message(self.Pointed())


class ChartKeys:
    """The keys of a chart for a screen, whichever widget has the focus: mixed into it."""

    def pointed_chart(self) -> ChartView | None:
        """The chart that the keys are meant for; None where none is shown."""
        raise NotImplementedError

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_cursor(by)

    def action_zoom(self, way: int) -> None:
        """Come closer or go away."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_zoom(way)

    def action_pan(self, way: int) -> None:
        """Move along x."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_pan(way)

    def action_pan_y(self, way: int) -> None:
        """Move along y."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_pan_y(way)

    def action_whole(self) -> None:
        """Show all there is."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_whole()

    def action_log(self) -> None:
        """Logarithmic or linear."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_log()

    def action_smooth(self) -> None:
        """None, some, much."""
        if (chart := self.pointed_chart()) is not None:
            chart.action_smooth()
