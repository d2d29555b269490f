"""Runs side by side: their curves in one chart, how they stand, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.message import Message

from eqprop_tui.comparison import AXES, MEASURES, Looked, chart_of
from eqprop_tui.keys import bindings
from eqprop_tui.marks import Marks
from eqprop_tui.screens.add_run import AddRun
from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.watching.comparer import Comparer, Side
from eqprop_tui.widgets.chart import SMOOTHINGS, ChartView
from eqprop_tui.widgets.sides import Differences, SidesTable
from eqprop_tui.widgets.text_lines import TextLines


class CompareScreen(BaseScreen):
    """Compares the marked runs; adding and removing here marks them, or takes their marks away."""

    PLACE = "compare"
    BINDINGS = bindings("compare")
    AUTO_FOCUS = "ChartView"

    class Read(Message):
        """What is known of the runs now."""

        def __init__(self, sides: Sequence[Side]) -> None:
            super().__init__()
            self.sides = sides

    def __init__(self, marks: Marks) -> None:
        super().__init__()
        self.marks = marks
        self.looked = Looked()
        self.sides: list[Side] = []
        self.comparer = Comparer(lambda sides: self.post_message(self.Read(sides)))

    def body(self) -> ComposeResult:
        """The runs, the chart, the settings."""
        yield SidesTable(self.marks, id="sides")
        yield TextLines(id="looked")
        yield ChartView(id="curves")
        yield Differences(self.marks, id="differences")

    def on_mount(self) -> None:
        """Begin to read."""
        self.comparer.compare(self.marks)
        self.comparer.start()
        self._show()

    def on_unmount(self) -> None:
        """Nobody reads on."""
        self.comparer.stop()

    @property
    def chart(self) -> ChartView:
        """The chart."""
        return self.query_one(ChartView)

    @property
    def table(self) -> SidesTable:
        """The runs."""
        return self.query_one(SidesTable)

    @on(Read)
    def _read(self, event: Read) -> None:
        self.sides = list(event.sides)
        self._show()

    @on(SidesTable.Picked)
    @on(ChartView.Pointed)
    def _show(self) -> None:
        """Draw what has changed."""
        sides = [side for side in self.sides if side.path in self.marks]
        ascii = self.eqprop.looks.glyphs.ascii
        self.table.styles.height = max(1, min(len(self.marks), 8 if self.has_class("-tall") else 4))
        self.table.show(sides)
        differences = self.query_one(Differences)
        differences.show(sides, self.table.place)
        most = 8 if self.has_class("-tall") else 4
        differences.styles.height = max(1, min(len(differences.settings) + 1, most))
        self.chart.show(chart_of(sides, self.marks, self.looked, ascii=ascii))
        count = len(self.marks)
        said = "1 run" if count == 1 else f"{count} runs"
        if (drawn := sum(side.read for side in sides)) < count:
            said = f"reading …   {drawn} of {said} drawn"
        self.head.say(Text("compare", "bold"), said)
        self.query_one("#looked", TextLines).show(self._looked())
        self.show_keys()

    def _looked(self) -> Text:
        """What is looked at, what is chosen in bold."""
        narrow = self.has_class("-narrow")
        gap = "  " if narrow else "    "
        line = Text(" ")
        for words, chosen in (
            (list(MEASURES), self.looked.measure),
            (list(AXES), self.looked.axis),
        ):
            for place, word in enumerate(words):
                line.append(" · " if place else "", "dim")
                line.append(word, "bold" if word == chosen else "dim")
            line.append(gap)
        smoothing = SMOOTHINGS[self.chart.smoothing]
        word = "smooth" if narrow else "smoothing"
        line.append(f"{word} {smoothing:g}" if smoothing else f"{word} none", "dim")
        line.append(f"{gap}log {'on' if self.chart.drawn().log_y else 'off'}", "dim")
        return line

    def on_resize(self) -> None:
        """Another size has room for more or fewer rows."""
        super().on_resize()
        self.call_after_refresh(self._show)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what needs a run where there is none."""
        return not (action in ("remove", "watch", "choose") and not self.marks)

    def action_axis(self) -> None:
        """Epochs, batches or time."""
        following = AXES[(AXES.index(self.looked.axis) + 1) % len(AXES)]
        self.looked = replace(self.looked, axis=following)
        self.chart.action_whole()
        self._show()

    def action_measure(self) -> None:
        """Another accuracy, or the loss."""
        order = list(MEASURES)
        following = order[(order.index(self.looked.measure) + 1) % len(order)]
        self.looked = replace(self.looked, measure=following)
        self.chart.view = replace(self.chart.view, y=None)
        self._show()

    def action_smooth(self) -> None:
        """None, some, much."""
        self.chart.action_smooth()

    def action_log(self) -> None:
        """A logarithmic y axis, or a linear one."""
        self.chart.action_log()

    def action_choose(self, by: int) -> None:
        """Choose another run."""
        self.table.move(by)

    def action_scroll(self, by: int) -> None:
        """Show other settings."""
        self.query_one(Differences).scroll(by)

    def action_add(self) -> None:
        """Add a run to the chart."""

        def answered(path: str | None) -> None:
            if path is not None:
                self.marks.add(Path(path))
                self.table.chosen = Path(path)
                self._changed()

        self.app.push_screen(AddRun(self.eqprop.options.results, self.marks), answered)

    def action_remove(self) -> None:
        """Take the chosen run out of the chart; the others look as before."""
        if self.table.chosen is not None:
            self.marks.discard(self.table.chosen)
            self._changed()

    def action_watch(self) -> None:
        """Watch the chosen run."""
        if self.table.chosen is not None:
            self.eqprop.open_run(self.table.chosen)

    def _changed(self) -> None:
        self.comparer.compare(self.marks)
        self._show()
