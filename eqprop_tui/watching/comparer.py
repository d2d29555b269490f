"""A thread that reads several runs again and again, for their curves beside each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from eqprop_core.problems import ConfigError
from eqprop_core.runs.comparing import Compared
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.listing import summarize
from eqprop_core.runs.names import EVENTS
from eqprop_tui.watching.feed import Feed
from eqprop_tui.watching.view import RunView

PAUSE = 2.0  # seconds between two looks
Curve = tuple[tuple[float, ...], tuple[float | None, ...]]  # x and y


@dataclass(frozen=True)
class Side:
    """One of the runs: what is compared of it, and its curves by batch, with x in epochs.

    `batches` is how many an epoch has, `expected` the published accuracy in per cent; None if not known.
    """

    path: Path
    compared: Compared
    expected: float | None = None
    batches: int | None = None
    accuracy: Curve = ((), ())
    loss: Curve = ((), ())
    there: bool = True


class _Reader:
    """Reads one run: what is new of its events, its settings once, and again where they were changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.feed, self.view = Feed(path / EVENTS), RunView()
        self.settings: dict[str, object] | None = None
        self.expected: float | None = None
        self.batches: int | None = None
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
        return more

    def side(self) -> Side:
        """What is known now; the same object as before where nothing has changed."""
        run = RunFolder(self.path)
        summary, there = summarize(self.path), self.path.is_dir()
        known = (self.view.version, summary, there)
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
        )
        self._before = known, side
        return side


class Comparer:
    """Calls `hand_on` from a thread with what is known of the runs, in their order, until it is stopped."""

    def __init__(self, hand_on: Callable[[Sequence[Side]], object], pause: float = PAUSE) -> None:
        self.hand_on, self.pause = hand_on, pause
        self._wanted: list[Path] = []
        self._readers: dict[Path, _Reader] = {}
        self._stopped = self._changed = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="compare runs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is being read may still be handed on."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def compare(self, runs: Iterable[Path]) -> None:
        """Read these runs from now on; those that were read before are not read anew."""
        with self._condition:
            self._wanted, self._changed = list(runs), True
            self._condition.notify()

    def _watch(self) -> None:
        sides: dict[Path, Side] = {}
        before: list[Side] | None = None
        while True:
            with self._condition:
                wanted, self._changed = list(self._wanted), False
                if self._stopped:
                    return
            self._readers = {path: self._readers.get(path) or _Reader(path) for path in wanted}
            sides = {path: side for path, side in sides.items() if path in self._readers}
            more = False
            for path, reader in self._readers.items():
                behind = reader.read()
                more = more or behind
                if not behind or path not in sides:
                    sides[path] = reader.side()
                    if len(sides) < len(wanted):  # the first curves need not wait for the others
                        self.hand_on([sides[path] for path in wanted if path in sides])
            now = [sides[path] for path in wanted]
            if before is None or list(map(id, now)) != list(map(id, before)):
                self.hand_on(now)
            before = now
            with self._condition:
                if not (self._stopped or self._changed or more):
                    self._condition.wait(self.pause)
