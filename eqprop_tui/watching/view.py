"""What is shown of a run: the events that hold, in bounded memory however long it trains.

What a resumption takes back is taken back here too. Knows no widget.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from eqprop_core.events import (
    Activity,
    Angles,
    BatchFinished,
    EpochFinished,
    EpochStarted,
    Event,
    Gdu,
    PhaseProgress,
    Record,
    RunFailed,
    RunFinished,
    RunResumed,
    RunStarted,
    Settling,
    Warned,
)
from eqprop_core.runs.words import in_words

MOST_POINTS = 6000
MOST_EPOCHS = 20_000
MOST_CHECKS = 200
MOST_LINES = 1000
MOST_VALUES = 1_000_000  # numbers in all events of a kind that are kept

E = TypeVar("E", bound=Event)


@dataclass
class Points:
    """A curve, thinned by half whenever it has grown too long; `seqs` says which event each point is from."""

    most: int = MOST_POINTS
    x: list[float] = field(default_factory=list)
    y: list[float | None] = field(default_factory=list)
    seqs: list[int] = field(default_factory=list)
    stride: int = 1
    _seen: int = 0

    def add(self, seq: int, x: float, y: float | None) -> None:
        """Add a point at the end."""
        self._seen += 1
        if self._seen % self.stride:
            return
        self.x.append(x)
        self.y.append(y)
        self.seqs.append(seq)
        if len(self.x) >= self.most:
            self.stride *= 2
            for values in (self.x, self.y, self.seqs):
                del values[::2]

    def drop_after(self, seq: int) -> None:
        """Take back what is from later events."""
        keep = bisect_right(self.seqs, seq)
        for values in (self.x, self.y, self.seqs):
            del values[keep:]


class Latest(Generic[E]):
    """The last events of a kind, the oldest first, at most so many, and fewer where they are large."""

    def __init__(self, most: int = 1) -> None:
        self._kept: deque[tuple[int, float, E]] = deque(maxlen=most)
        self._largest = 1

    def add(self, record: Record, event: E) -> None:
        """Add one at the end."""
        self._kept.append((record.seq, record.time, event))
        self._largest = max(self._largest, values_in(event))
        while len(self._kept) > max(1, MOST_VALUES // self._largest):
            self._kept.popleft()

    def drop_after(self, seq: int) -> None:
        """Take back later ones."""
        while self._kept and self._kept[-1][0] > seq:
            self._kept.pop()

    @property
    def all(self) -> list[E]:
        """All that are kept."""
        return [event for _, _, event in self._kept]

    @property
    def last(self) -> E | None:
        """The newest."""
        return self._kept[-1][2] if self._kept else None

    @property
    def time(self) -> float | None:
        """Seconds since 1970 of the newest."""
        return self._kept[-1][1] if self._kept else None


def values_in(event: Event) -> int:
    """About how many numbers an event holds, of those that can hold many."""
    match event:
        case Gdu():
            return sum(4 * len(curve.bptt) + 1 for curve in event.curves) + 6 * len(event.rows)
        case Angles():
            return len(event.angles)
        case EpochStarted() | EpochFinished():
            return len(event.rates)
    return 1


class Epochs(Latest[EpochFinished]):
    """The epochs that are over, in their order; one that was written later takes its place among them."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._mixed = False

    def add(self, record: Record, event: EpochFinished) -> None:
        """Add one."""
        self._mixed |= event.written_later
        super().add(record, event)

    @property
    def all(self) -> list[EpochFinished]:
        """All that are kept."""
        return sorted(super().all, key=lambda event: event.epoch) if self._mixed else super().all

    @property
    def last(self) -> EpochFinished | None:
        """The latest."""
        return max(super().all, key=lambda event: event.epoch, default=None) if self._mixed else super().last


class RunView:
    """The state of a run as its events tell it. On x axes, batch 5 of 10 in epoch 1 is at 0.5.

    `version` grows with every record, so that a reader knows whether there is something new.
    """

    def __init__(self) -> None:
        self.version = 0
        self.seq = 0
        self.accuracy, self.loss, self.speed = Points(), Points(), Points()
        self.epochs = Epochs(MOST_EPOCHS)
        self.gdus: Latest[Gdu] = Latest(MOST_CHECKS)
        self.saved_check: Latest[Gdu] = Latest()  # of its weights, made apart from the training
        self.angles: Latest[Angles] = Latest(MOST_EPOCHS)
        self.rates: Latest[EpochStarted] = Latest(MOST_EPOCHS)
        self.activity: Latest[Activity] = Latest(2)
        self.settling: Latest[Settling] = Latest(2)
        self.batch: Latest[BatchFinished] = Latest(2)
        self.phase: PhaseProgress | None = None
        self.started: RunStarted | None = None
        self.finished: RunFinished | None = None
        self.failed: str | None = None
        self.warnings: deque[str] = deque(maxlen=100)
        self.lines: deque[tuple[int, float, str]] = deque(maxlen=MOST_LINES)

    def add(self, record: Record) -> None:
        """Take in the next record."""
        self.version += 1
        self.seq = record.seq
        event = record.event
        if isinstance(event, RunResumed):
            self._drop_after(event.from_seq)
        if text := in_words(event):
            self.lines.append((record.seq, record.time, text))
        match event:
            case BatchFinished():
                self.phase = None
                self.batch.add(record, event)
                at = event.epoch - 1 + event.batch / max(1, event.batches)
                self.accuracy.add(record.seq, at, event.accuracy)
                self.loss.add(record.seq, at, event.loss)
                self.speed.add(record.seq, at, event.samples_per_s)
            case PhaseProgress():
                self.phase = event
            case EpochStarted():
                self.phase = None
                self.rates.add(record, event)
            case EpochFinished():
                self.phase = None
                self.epochs.add(record, event)
            case Activity():
                self.activity.add(record, event)
            case Settling():
                self.settling.add(record, event)
            case Gdu():
                self.gdus.add(record, event)
            case Angles():
                self.angles.add(record, event)
            case RunStarted():
                self.started = event
            case RunFinished():
                self.finished = event
            case RunFailed():
                self.failed = event.message
            case Warned():
                self.warnings.append(event.message)

    def add_check(self, record: Record) -> None:
        """Take in a check that was saved beside the run's own records."""
        if isinstance(record.event, Gdu):
            self.version += 1
            self.saved_check.add(record, record.event)

    @property
    def check(self) -> Gdu | None:
        """The newest GDU check."""
        return max(self.gdus, self.saved_check, key=lambda kept: kept.time or 0.0).last

    def _drop_after(self, seq: int) -> None:
        """Take back what a resumption does again; the words of it stay, as they were true."""
        self.finished, self.failed, self.phase = None, None, None
        for kept in (
            self.accuracy,
            self.loss,
            self.speed,
            self.epochs,
            self.gdus,
            self.angles,
            self.rates,
            self.activity,
            self.settling,
            self.batch,
        ):
            kept.drop_after(seq)
