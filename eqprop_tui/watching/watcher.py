"""A thread that reads a run's files again and again, and hands on what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eqprop_core.events import Record
from eqprop_core.runs.listing import RunSummary, summarize
from eqprop_core.runs.names import CONSOLE, EVENTS
from eqprop_tui.watching.console import Console
from eqprop_tui.watching.feed import Feed


@dataclass(frozen=True)
class News:
    """What is new of a run: how it stands, records, printed lines, whether its folder is there.

    `more` says that further records lie behind these, and come at once.
    """

    summary: RunSummary
    records: Sequence[Record] = field(default_factory=tuple)
    printed: Sequence[str] = field(default_factory=tuple)
    there: bool = True
    more: bool = False


class Watcher:
    """Calls `hand_on` from a thread with what is new, `pause` seconds apart, until it is stopped."""

    def __init__(self, run: Path, hand_on: Callable[[News], object], pause: float) -> None:
        self.run, self.hand_on, self.pause = run, hand_on, pause
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"watch {run.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; something that is being read is still handed on."""
        self._stopped.set()

    def _watch(self) -> None:
        feed, console = Feed(self.run / EVENTS), Console(self.run / CONSOLE)
        before: tuple[RunSummary, bool] | None = None
        while not self._stopped.is_set():
            records, more = feed.read()
            news = News(summarize(self.run), records, console.read(), self.run.is_dir(), more)
            now = (news.summary, news.there)
            if records or news.printed or now != before:
                self.hand_on(news)
            before = now
            if not more:
                self._stopped.wait(self.pause)
