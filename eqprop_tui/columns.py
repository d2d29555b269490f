"""Columns of a list of runs: which there is room for, and how wide each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from eqprop_core.runs.listing import RunSummary
from eqprop_tui.words import accuracy, cut

GAP = 2  # cells between two columns


@dataclass(frozen=True)
class Column:
    """A column of the list. Those with the lowest `rank` are shown first where there is little room.

    `narrow` is what a column that can be cut may be cut to, `wide` what it may grow to. One that is
    `sparse` is left out where no run has anything there.
    """

    heading: str
    cell: Callable[[RunSummary], str]
    rank: int
    right: bool = False
    narrow: int | None = None
    wide: int = 40
    sparse: bool = False

    def stays(self, longest: int) -> bool:
        """Whether it is there, its longest text taking so many cells; that of nothing takes one."""
        return not self.sparse or longest > 1


SCORES = (
    Column("best val", lambda run: accuracy(run.best_val), 2, right=True, sparse=True),
    Column("best test", lambda run: accuracy(run.best_test), 2, right=True, sparse=True),
    Column(
        "test at best",
        lambda run: accuracy(None if run.best_test is not None else run.test_at_best),
        6,
        right=True,
        sparse=True,
    ),
    Column("test last", lambda run: accuracy(run.last), 5, right=True),
)


def fitted(columns: Sequence[Column], full: Mapping[str, int], width: int) -> dict[str, int]:
    """Widths by heading of the columns that `width` cells have room for; `full` is what each would take.

    What matters most is shown where not all has room; what is left over goes to what was cut.
    """
    least = {
        column.heading: full[column.heading]
        if column.narrow is None
        else min(full[column.heading], column.narrow)
        for column in columns
    }
    widths: dict[str, int] = {}
    room = width + GAP
    ranked = sorted(columns, key=lambda column: column.rank)
    for column in ranked:
        if column.rank == 0 or least[column.heading] + GAP <= room:
            widths[column.heading] = least[column.heading]
            room -= least[column.heading] + GAP
    for column in ranked:
        if column.heading in widths:
            wished = min(full[column.heading], column.wide) - widths[column.heading]
            more = max(0, min(wished, room))
            widths[column.heading] += more
            room -= more
    return widths


def padded(text: str, width: int, right: bool = False) -> str:
    """The text in exactly `width` cells."""
    if text.isascii() and len(text) <= width:  # most are
        return text.rjust(width) if right else text.ljust(width)
    text = cut(text, width)
    space = " " * (width - cell_len(text))
    return space + text if right else text + space
