"""Marked runs, each with a place of its own that gives its curve a colour and a marker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from eqprop_tui.charts.glyphs import COLOURS, INKS

MARKERS = "▲◆▼★□◇△☆"  # told apart where colours are not; none is the sign of a state


class Marks:
    """Runs in the order of marking. Taking one away changes the look of no other."""

    def __init__(self, runs: Iterable[Path] = ()) -> None:
        self._places: dict[Path, int] = {}
        for run in runs:
            self.add(run)

    def __contains__(self, run: Path) -> bool:
        return run in self._places

    def __iter__(self) -> Iterator[Path]:
        return iter(list(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def add(self, run: Path) -> None:
        """Mark a run; it takes the first place that is free."""
        if run not in self._places:
            taken = set(self._places.values())
            self._places[run] = next(place for place in range(len(taken) + 1) if place not in taken)

    def discard(self, run: Path) -> None:
        """Take the mark of a run away."""
        self._places.pop(run, None)

    def clear(self) -> None:
        """Take all marks away."""
        self._places.clear()

    def colour(self, run: Path) -> int:
        """The colour of a run, counted from 1."""
        return self._places[run] % COLOURS + 1

    def marker(self, run: Path, *, ascii: bool = False) -> str:
        """The character of a run; runs that share a colour have different ones, up to 64 runs."""
        place = self._places[run]
        marker = (place + place // COLOURS) % len(MARKERS)
        return (INKS if ascii else MARKERS)[marker]
