"""What of a run's events holds: those that a later resumption took back are left out.

A run that goes on from a checkpoint writes `run_resumed` with the number of the last event that this one
knows of, and does the rest again. What holds is therefore found from the end: the events since the last
resumption, before them those up to the number that it names, and so on. Files are read as a stream: memory
grows with the number of resumptions, not of events.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Collection, Iterator
from pathlib import Path

from eqprop_core.events import Amended, EpochFinished, Record, RunFailed, RunResumed
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import event_lines, read_events, record_of
from eqprop_core.runs.names import EVENTS
from eqprop_core.runs.reference import records_of
from eqprop_core.runs.words import in_words

TAIL = 2**20  # bytes at the end of a file, for its last events


def current_events(path: Path, kinds: Collection[str] = ()) -> Iterator[Record]:
    """The records of an events file that hold, in order; with `kinds`, only those.

    They are the file's records at the time of the call's first step: what is appended meanwhile is left out.
    A file that is not there has none, but where its folder is one of the reference. Raises `OSError` where it
    cannot be read.
    """
    try:
        end = path.stat().st_size
    except FileNotFoundError:
        yield from (r for r in records_of(path.parent) if not kinds or r.event.kind in kinds)
        return
    spans = _spans(path, end)
    starts = [first for first, _ in spans]
    for line in event_lines(path, end=end):
        record = record_of(line, kinds)
        if record is None:
            continue
        place = bisect_right(starts, record.seq) - 1
        if place >= 0 and record.seq <= spans[place][1]:
            yield record


def _spans(path: Path, end: int) -> list[tuple[int, float]]:
    """First and last numbers of the stretches of events that hold, in order; `end` is the size in bytes."""
    resumed = [
        (record.seq, min(record.event.from_seq, record.seq - 1))
        for line in event_lines(path, end=end)
        if (record := record_of(line, (RunResumed.kind,))) and isinstance(record.event, RunResumed)
    ]
    spans: list[tuple[int, float]] = []
    last = float("inf")
    for seq, from_seq in sorted(resumed, reverse=True):
        if seq <= last:  # itself not taken back
            spans.append((seq, last))
            last = from_seq
    spans.append((0, last))
    return spans[::-1]


def histories(run: RunFolder) -> list[EpochFinished]:
    """Each finished epoch of a run once, in order, with accuracies, losses, learning rates and seconds."""
    epochs = {
        record.event.epoch: record.event
        for record in current_events(run.path / EVENTS, (EpochFinished.kind,))
        if isinstance(record.event, EpochFinished)
    }
    return [epochs[number] for number in sorted(epochs)]


def current_amendments(run: RunFolder) -> list[Record]:
    """The changes of settings that hold, on resuming and in flight, as records of `Amended`, in order."""
    return list(current_events(run.path / EVENTS, (Amended.kind,)))


def last_words(run: RunFolder, count: int) -> list[tuple[float, str]]:
    """Time and text of the last `count` events that have words; looks at the end of the file only."""
    try:
        with (run.path / EVENTS).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read(TAIL).split(b"\n")[1 if size > TAIL else 0 :]
    except FileNotFoundError:
        return []
    said: list[tuple[float, str]] = []
    for line in reversed(lines):
        record = record_of(line)
        if record is not None and (text := in_words(record.event)):
            said.append((record.time, text))
            if len(said) == count:
                break
    return said[::-1]


def failure(run: RunFolder) -> str | None:
    """What a run that failed said at its end, None where nothing is known of it."""
    message = run.read_state().get("message")
    if isinstance(message, str):
        return message
    said: str | None = None
    for record in read_events(run.path / EVENTS, (RunFailed.kind,)):
        if isinstance(record.event, RunFailed):
            said = record.event.message
    return said
