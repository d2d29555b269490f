"""A thread that reads several runs again and again, for their curves beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.problems import ConfigError
from eqprop_core.runs.comparing import Compared
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.names import EVENTS
from eqprop_tui.watching.feed import Feed
from eqprop_tui.watching.looking import PAUSE, Looking
from eqprop_tui.watching.view import RunView

Curve = tuple[tuple[float, ...], tuple[float | None, ...]]  # x and y


@dataclass(frozen=True)
class Side:
    """One of the runs: what is compared of it, and its curves by batch, with x in epochs.

    `batches` is how many an epoch has, `expected` the published accuracy in per cent; None if not known.
    Until all that was there has been `read`, the curves are a part of what they will be.
    """

    path: Path
    compared: Compared
    expected: float | None = None
    batches: int | None = None
    accuracy: Curve = ((), ())
    loss: Curve = ((), ())
    there: bool = True
    read: bool = True


class _Reader:
    """Reads one run: what is new of its events, its settings once, and again where they were changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.feed, self.view = Feed(path / EVENTS), RunView()
        self.settings: dict[str, object] | None = None
        self.expected: float | None = None
        self.batches: int | None = None
        self.whole = False  # whether all that was there has been read
        self._before: tuple[object, Side] | None = None

    def read(self) -> bool:
        """Take in a piece of the events; whether there is more."""
        records, more = self.feed.read()
        for record in records:
            self.view.add(record)
            if record.event.kind == "amended":
                self.settings = None
        if self.view.started is not None:
            self.batches = self.view.started.batches
        self.whole = self.whole or not more
        return more

    def side(self) -> Side:
        """What is known now; the same object as before where nothing has changed."""
        run = RunFolder(self.path)
        summary, there = summarize(self.path), self.path.is_dir()
        known = (self.view.version, summary, there, self.whole)
        if self._before is not None and self._before[0] == known:
            return self._before[1]
        if self.settings is None:
            try:
                self.settings = run.settings_now() or {}
            except (ConfigError, RunError):
                self.settings = {}
            self.expected = run.expected_accuracy()
        epochs = {event.epoch: event for event in self.view.epochs.all}
        in_order = [epochs[number] for number in sorted(epochs)]
        compared = Compared(summary, self.settings, in_order)
        accuracy, loss = self.view.accuracy, self.view.loss
        side = Side(
            self.path,
            compared,
            self.expected,
            self.batches,
            (tuple(accuracy.x), tuple(accuracy.y)),
            (tuple(loss.x), tuple(loss.y)),
            there,
            self.whole,
        )
        self._before = known, side
        return side


class Comparer(Looking):
    """Calls `hand_on` from a thread with what is known of the runs, in their order, until it is stopped."""

    def __init__(self, hand_on: Callable[[Sequence[Side]], object], pause: float = PAUSE) -> None:
        super().__init__("compare runs", pause)
        self.hand_on = hand_on
        self._wanted: list[Path] = []
        self._readers: dict[Path, _Reader] = {}
        self._sides: dict[Path, Side] = {}
        self._before: list[Side] | None = None

    def compare(self, runs: Iterable[Path]) -> None:
        """Read these runs from now on; those that were read before are not read anew."""
        self._wanted = list(runs)
        self.look()

    def once(self, *, anew: bool) -> bool:
        """Read a piece of each run, and hand on what has changed."""
        wanted = self._wanted
        self._readers = {path: self._readers.get(path) or _Reader(path) for path in wanted}
        self._sides = {path: side for path, side in self._sides.items() if path in self._readers}
        more = False
        for path, reader in self._readers.items():
            behind = reader.read()
            more = more or behind
            if not behind or path not in self._sides:
                self._sides[path] = reader.side()
                if len(self._sides) < len(wanted):  # the first curves need not wait for the others
                    self.hand_on([self._sides[path] for path in wanted if path in self._sides])
        now = [self._sides[path] for path in wanted]
        if self._before is None or list(map(id, now)) != list(map(id, self._before)):
            self.hand_on(now)
        self._before = now
        return more
