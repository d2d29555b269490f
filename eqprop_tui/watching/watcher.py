"""A thread that reads a run's files again and again, and hands on what is new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eqprop_core.events import Record
from eqprop_core.runs.listing import RunSummary, summarize
from eqprop_core.runs.names import CONSOLE, EVENTS
from eqprop_tui.watching.checks import SavedChecks
from eqprop_tui.watching.console import Console
from eqprop_tui.watching.feed import Feed
from eqprop_tui.watching.looking import PAUSE, Looking


@dataclass(frozen=True)
class News:
    """What is new of a run: how it stands, records, printed lines, whether its folder is there.

    `checks` are GDU checks that were saved beside its own records.
    `more` says that further records lie behind these, and come at once.
    """

    summary: RunSummary
    records: Sequence[Record] = field(default_factory=tuple)
    printed: Sequence[str] = field(default_factory=tuple)
    there: bool = True
    more: bool = False
    checks: Sequence[Record] = field(default_factory=tuple)


class Watcher(Looking):
    """Calls `hand_on` from a thread with what is new, `pause` seconds apart, until it is stopped."""

    def __init__(self, run: Path, hand_on: Callable[[News], object], pause: float = PAUSE) -> None:
        super().__init__(f"watch {run.name}", pause, share=1.0)  # what is new is little
        self.run, self.hand_on = run, hand_on
        self._feed, self._console = Feed(run / EVENTS), Console(run / CONSOLE)
        self._checks = SavedChecks(run)
        self._before: tuple[RunSummary, bool] | None = None

    def once(self, *, anew: bool) -> bool:
        """Hand on what is new."""
        records, more = self._feed.read()
        printed, checks = self._console.read(), self._checks.read()
        news = News(summarize(self.run), records, printed, self.run.is_dir(), more, checks)
        now = (news.summary, news.there)
        if records or printed or checks or now != self._before:
            self.hand_on(news)
        self._before = now
        return more
