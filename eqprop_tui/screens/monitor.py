"""One run, live."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult

from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.watching.view import RunView
from eqprop_tui.watching.watcher import News, Watcher
from eqprop_tui.widgets.chart import ChartView


class MonitorScreen(BaseScreen):
    """Watches the run at `path`."""

    PLACE = "monitor"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.view = RunView()

    def body(self) -> ComposeResult:
        """The chart."""
        yield ChartView(id="curves")

    def on_mount(self) -> None:
        """Begin to read."""
        self.watcher = Watcher(self.path, self._hand_on, self.eqprop.frame)
        self.watcher.start()

    def on_unmount(self) -> None:
        """Nobody reads on."""
        self.watcher.stop()

    def _hand_on(self, news: News) -> None:
        self.app.call_from_thread(self._take_in, news)

    def _take_in(self, news: News) -> None:
        for record in news.records:
            self.view.add(record)
        self.head.say(news.summary.name)
