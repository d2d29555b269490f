"""The table of runs: as many columns as there is room for, a cursor that stays with its run.

The runs of a sweep are one line, under which they can be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message

from eqprop_core.runs.listing import RunSummary, summarize
from eqprop_core.runs.scores import NAMES
from eqprop_tui.charts.text import PALETTES
from eqprop_tui.columns import GAP, SCORES, Column, fitted, padded
from eqprop_tui.groups import BROKEN, Group, Line, sweep_folder
from eqprop_tui.looks import Looks
from eqprop_tui.marks import Marks
from eqprop_tui.widgets.picture import PictureView, Rows
from eqprop_tui.words import cut, cut_inside, duration, epochs, stands, when

MARK = 2  # cells before each row, for its mark
SIGN = 2  # and before its state

COLUMNS = (
    Column("state", stands, 0, narrow=8, wide=27),
    Column("name", lambda run: run.name, 0, narrow=14),
    Column("preset", lambda run: run.preset or "–", 12, narrow=14, wide=28),
    Column("model", lambda run: run.model or "–", 9),
    Column("alg", lambda run: run.alg or "–", 4),
    Column("loss", lambda run: run.loss or "–", 8),
    Column("epoch", epochs, 1, right=True),
    *SCORES,
    Column("device", lambda run: run.device or "–", 7, narrow=6, wide=12),
    Column("started", lambda run: when(run.created), 6),
    Column("trained", lambda run: duration(run.trained), 10, right=True),
    Column("took", lambda run: duration(run.took), 13, right=True),
    Column("left", lambda run: duration(run.seconds_left), 3, right=True),
)
HEADINGS = tuple(column.heading for column in COLUMNS)
STATE, NAME = HEADINGS.index("state"), HEADINGS.index("name")
LEAST_NAME = 8  # cells of the name of a sweep
INDENT = "  "  # of the names of runs under their sweep
ORDER: dict[str, Callable[[RunSummary], str | float | None]] = {
    "state": lambda run: run.state,
    "name": lambda run: run.name.casefold(),
    "preset": lambda run: run.preset,
    "model": lambda run: run.model,
    "alg": lambda run: run.alg,
    "loss": lambda run: run.loss,
    "epoch": lambda run: run.epoch,
    "best val": lambda run: run.best_val,
    "best test": lambda run: run.best_test,
    "test at best": lambda run: run.test_at_best,
    "test last": lambda run: run.last,
    "device": lambda run: run.device,
    "started": lambda run: run.created,
    "trained": lambda run: run.trained,
    "took": lambda run: run.took,
    "left": lambda run: run.seconds_left,
}


@dataclass
class Choice:
    """What a person has chosen to see: order, filter, the run or sweep that is pointed at, opened sweeps."""

    column: str = "started"
    falling: bool = True
    filter: str = ""
    run: Path | None = None
    opened: set[Path] = field(default_factory=set)


Sorted = TypeVar("Sorted", RunSummary, Line)


def in_order(lines: Sequence[Sorted], column: str, *, falling: bool) -> list[Sorted]:
    """Runs by a column; those without a value last, either way, and equal ones as they came."""

    def key(line: Sorted) -> Any:
        return ORDER[column](line.summary if isinstance(line, Group) else line)

    with_value = [line for line in lines if key(line) is not None]
    without = [line for line in lines if key(line) is None]
    return sorted(with_value, key=key, reverse=falling) + without


class RunsTable(PictureView, can_focus=True):
    """Rows of runs under headings; draws only what is in sight."""

    class Chosen(Message):
        """A run was clicked that was pointed at already."""

    class Pointed(Message):
        """Another run is pointed at."""

    class Sorted(Message):
        """A heading was clicked."""

    def __init__(self, choice: Choice, marks: Marks, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.choice, self.marks = choice, marks
        self.runs: list[RunSummary] = []
        self.groups: list[Group] = []
        self.lines: list[Line] = []  # what has a row
        self.empty: Sequence[str] = ()  # what is said where there is no run
        self._alone: list[RunSummary] = []  # those of no sweep
        self._cells: dict[Path, tuple[RunSummary, list[str], list[int]]] = {}
        self._longest = [0] * len(COLUMNS)  # cells of the longest text of each
        self._top = 0
        self._starts: list[tuple[int, str]] = []  # where headings begin

    # --- what is shown ----------------------------------------------------------------------------------

    def show(self, alone: Sequence[RunSummary], groups: Sequence[Group] = ()) -> None:
        """Show other runs, those of sweeps in groups; the cursor stays with its run, or near where it was."""
        before = self.place
        self.groups = list(groups)
        self._alone = list(alone)
        order, falling = self.choice.column, self.choice.falling
        self.lines, self.runs = [], []
        top: list[Line] = [*alone, *groups]
        for line in in_order(top, order, falling=falling):
            self.lines.append(line)
            if isinstance(line, Group):
                members = in_order(line.shown, order, falling=falling)
                self.lines += members if self.is_open(line) else ()
                self.runs += members
            else:
                self.runs.append(line)
        known = self._cells
        self._cells = {}
        within = {group.path for group in groups}
        for run in self.runs:
            kept = known.get(run.path)
            if kept is None or (kept[0] is not run and kept[0] != run):
                texts = [column.cell(run) for column in COLUMNS]
                if sweep_folder(run.path) in within:
                    texts[NAME] = INDENT + texts[NAME]
                kept = (run, texts, [cell_len(text) for text in texts])
            self._cells[run.path] = kept
        self._longest = [0] * len(COLUMNS)
        for line in self.lines:
            if isinstance(line, Group):
                self._longest[STATE] = max(self._longest[STATE], cell_len(line.summary.state))
            else:
                self._longest = list(map(max, self._longest, self._cells[line.path][2]))
        if self.place is None and self.lines:
            self.choice.run = self._instead(before)
        self.redraw()
        self.post_message(self.Pointed())

    def sort(self) -> None:
        """Put the runs that are there in the order that is chosen now."""
        self.show(self._alone, self.groups)

    def _instead(self, before: int | None) -> Path:
        """What is pointed at where that has no row any more: its sweep, or what is where it was."""
        sweep = sweep_folder(self.choice.run) if self.choice.run is not None else None
        if any(line.path == sweep for line in self.lines) and sweep is not None:
            return sweep
        return self.lines[min(before or 0, len(self.lines) - 1)].path

    def is_open(self, group: Group) -> bool:
        """Whether the runs of a sweep have rows: where it was opened, or while runs are looked for."""
        return group.path in self.choice.opened or bool(self.choice.filter)

    @property
    def place(self) -> int | None:
        """The row of the run or sweep that is pointed at."""
        return next((row for row, line in enumerate(self.lines) if line.path == self.choice.run), None)

    @property
    def line(self) -> Line | None:
        """The run or the sweep that is pointed at."""
        return self.lines[place] if (place := self.place) is not None else None

    @property
    def run(self) -> RunSummary | None:
        """The run that is pointed at, None where it is a sweep."""
        return line if isinstance(line := self.line, RunSummary) else None

    @property
    def group(self) -> Group | None:
        """The sweep that is pointed at, or whose run is."""
        line = self.line
        if line is None or isinstance(line, Group):
            return line
        path = sweep_folder(line.path)
        return next((group for group in self.groups if group.path == path), None)

    def open(self, group: Group, *, wide: bool) -> None:
        """Show the runs of a sweep under it, or do not."""
        (self.choice.opened.add if wide else self.choice.opened.discard)(group.path)
        if not wide:
            self.choice.run = group.path
        self.sort()

    def summary(self, path: Path) -> RunSummary:
        """How a run stands; read from its folder where the table does not show it."""
        kept = self._cells.get(path)
        return kept[0] if kept is not None else summarize(path)

    def move(self, by: int) -> None:
        """Point `by` rows further down, as far as there are any."""
        if self.lines:
            place = min(max((self.place or 0) + by, 0), len(self.lines) - 1)
            self.choice.run = self.lines[place].path
            self.redraw()
            self.post_message(self.Pointed())

    @property
    def page(self) -> int:
        """Rows that are in sight."""
        return max(1, self.size.height - 1)

    # --- drawing ----------------------------------------------------------------------------------------

    def rows(self, width: int, height: int) -> Rows:
        """Headings, and the runs that are in sight."""
        looks = Looks.of(self.app)
        if not self.lines:
            dim = Style.parse(looks.colour("dim"))
            return [[Segment(f" {line}"[:width], dim)] for line in ["", *self.empty][:height]]
        room = max(1, height - 1)
        place = self.place or 0
        self._top = max(0, min(self._top, place, len(self.lines) - room), place - room + 1)
        full = {
            heading: max(longest, len(heading) + (2 if heading == self.choice.column else 0))
            for heading, longest in zip(HEADINGS, self._longest, strict=True)
        }
        there = [one for one, longest in zip(COLUMNS, self._longest, strict=True) if one.stays(longest)]
        widths = fitted(there, full, width - 1 - MARK - SIGN)
        visible = self.lines[self._top : self._top + room]
        return [self._heading(widths, looks), *(self._line(line, widths, width, looks) for line in visible)]

    def _heading(self, widths: dict[str, int], looks: Looks) -> list[Segment]:
        """Headings, with an arrow at the one that the runs are sorted by."""
        line = [Segment(" " * (1 + MARK + SIGN))]
        column_at = 1 + MARK + SIGN
        self._starts = []
        for column in COLUMNS:
            if column.heading not in widths:
                continue
            text, style = column.heading, looks.colour("dim")
            if text == self.choice.column:
                text, style = f"{text} {'↓' if self.choice.falling else '↑'}", "bold"
            width = widths[column.heading]
            self._starts.append((column_at, column.heading))
            line.append(Segment(padded(text, width, column.right), Style.parse(style)))
            line.append(Segment(" " * GAP))
            column_at += width + GAP
        return line

    def _line(self, line: Line, widths: dict[str, int], width: int, looks: Looks) -> list[Segment]:
        """The row of a run or of a sweep, in other colours where it is pointed at."""
        if isinstance(line, Group):
            drawn = self._group(line, widths, width, looks)
        else:
            drawn = self._row(line, widths, looks)
        if line.path == self.choice.run:
            chosen = Style.parse(f"{looks.colour('selected')} reverse")
            used = sum(segment.cell_length for segment in drawn)
            drawn = [Segment(segment.text, chosen) for segment in drawn]
            drawn.append(Segment(" " * max(0, width - used), chosen))
        return drawn

    def _group(self, group: Group, widths: dict[str, int], width: int, looks: Looks) -> list[Segment]:
        """A sweep: its sign and state, then its name and how many of its runs stand how."""
        state = group.summary.state
        sign, colour = looks.sign(state)
        style = Style.parse(colour)
        marked = sum(run.path in self.marks for run in group.shown)
        line = [
            Segment(" "),
            Segment(("*" if marked else "").ljust(MARK)),
            Segment(sign.ljust(SIGN), style),
            Segment(padded(state, widths["state"]) + " " * GAP, style),
            Segment("▾ " if self.is_open(group) else "▸ ", Style.parse(looks.colour("dim"))),
        ]
        room = width - sum(segment.cell_length for segment in line)
        if room < 2:
            return line
        bad = any(group.counts[state] for state in BROKEN)
        name = cut(group.sweep.name, max(LEAST_NAME, room - cell_len(group.words) - GAP))
        line.append(Segment(name, Style(bold=True)))
        for text, style in (
            (group.words, Style.parse(looks.colour("bad")) if bad else Style.null()),
            (when(group.sweep.created), Style.parse(looks.colour("dim"))),
        ):
            room = width - sum(segment.cell_length for segment in line) - GAP
            if room > LEAST_NAME:
                line.append(Segment(" " * GAP + cut(text, room), style))
        return line

    def _row(self, run: RunSummary, widths: dict[str, int], looks: Looks) -> list[Segment]:
        mark = Segment("  ")
        if run.path in self.marks:
            colour = PALETTES[looks.palette][f"series-{self.marks.colour(run.path)}"]
            mark = Segment(
                self.marks.marker(run.path, ascii=looks.glyphs.ascii).ljust(MARK), Style.parse(colour)
            )
        sign, colour = looks.sign(run.state)
        line = [Segment(" "), mark, Segment(sign.ljust(SIGN), Style.parse(colour))]
        texts = self._cells[run.path][1]
        for text, column in zip(texts, COLUMNS, strict=True):
            if column.heading in widths:
                if column.heading == "name" and text.startswith(INDENT):
                    text = cut_inside(text, widths["name"])
                style = Style.parse(colour) if column.heading == "state" else Style.null()
                line.append(Segment(padded(text, widths[column.heading], column.right), style))
                line.append(Segment(" " * GAP))
        return line

    # --- the mouse --------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Point at a run, choose the one that is pointed at, or sort by a heading."""
        if not self.lines:
            return
        if event.y == 0:
            before = [heading for start, heading in self._starts if start <= event.x]
            if before:
                self.sort_by(before[-1])
            return
        row = self._top + event.y - 1
        if row >= len(self.lines):
            return
        again = self.lines[row].path == self.choice.run
        self.choice.run = self.lines[row].path
        self.redraw()
        self.post_message(self.Chosen() if again and event.chain > 1 else self.Pointed())

    def sort_by(self, heading: str) -> None:
        """Sort by a column; by the one that it is already, the other way round."""
        if self.choice.column == heading:
            self.choice.falling = not self.choice.falling
        else:
            self.choice.column = heading
            self.choice.falling = heading in ("epoch", *NAMES.values(), "started", "took", "left")
        self.sort()
        self.post_message(self.Sorted())

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three runs further."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three runs back."""
        event.stop()
        self.move(-3)
