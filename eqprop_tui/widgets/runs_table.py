"""The table of runs: as many columns as there is room for, a cursor that stays with its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message

from eqprop_core.runs.listing import RunSummary, summarize
from eqprop_tui.charts.text import PALETTES
from eqprop_tui.columns import GAP, Column, fitted, padded
from eqprop_tui.looks import Looks
from eqprop_tui.marks import Marks
from eqprop_tui.widgets.picture import PictureView, Rows
from eqprop_tui.words import accuracy, duration, epochs, stands, when

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
    Column("best", lambda run: accuracy(run.best), 2, right=True),
    Column("last", lambda run: accuracy(run.last), 5, right=True),
    Column("device", lambda run: run.device or "–", 7, narrow=6, wide=12),
    Column("started", lambda run: when(run.created), 6),
    Column("took", lambda run: duration(run.seconds), 10, right=True),
    Column("left", lambda run: duration(run.seconds_left), 3, right=True),
)
HEADINGS = tuple(column.heading for column in COLUMNS)
ORDER: dict[str, Callable[[RunSummary], str | float | None]] = {
    "state": lambda run: run.state,
    "name": lambda run: run.name.casefold(),
    "preset": lambda run: run.preset,
    "model": lambda run: run.model,
    "alg": lambda run: run.alg,
    "loss": lambda run: run.loss,
    "epoch": lambda run: run.epoch,
    "best": lambda run: run.best,
    "last": lambda run: run.last,
    "device": lambda run: run.device,
    "started": lambda run: run.created,
    "took": lambda run: run.seconds,
    "left": lambda run: run.seconds_left,
}


@dataclass
class Choice:
    """What a person has chosen to see: order, filter, and the run that is pointed at."""

    column: str = "started"
    falling: bool = True
    filter: str = ""
    run: Path | None = None


def in_order(runs: Sequence[RunSummary], column: str, *, falling: bool) -> list[RunSummary]:
    """Runs by a column; those without a value last, either way, and equal ones as they came."""
    key = ORDER[column]
    with_value = [run for run in runs if key(run) is not None]
    without = [run for run in runs if key(run) is None]
    return sorted(with_value, key=key, reverse=falling) + without  # type: ignore[arg-type]


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
        self.empty: Sequence[str] = ()  # what is said where there is no run
        self._cells: dict[Path, tuple[RunSummary, list[str], list[int]]] = {}
        self._top = 0
        self._starts: list[tuple[int, str]] = []  # where headings begin

    # --- what is shown ----------------------------------------------------------------------------------

    def show(self, runs: Sequence[RunSummary]) -> None:
        """Show other runs; the cursor stays with its run, or near where it was."""
        before = self.place
        self.runs = in_order(runs, self.choice.column, falling=self.choice.falling)
        known = self._cells
        self._cells = {}
        for run in self.runs:
            kept = known.get(run.path)
            if kept is None or (kept[0] is not run and kept[0] != run):
                texts = [column.cell(run) for column in COLUMNS]
                kept = (run, texts, [cell_len(text) for text in texts])
            self._cells[run.path] = kept
        if self.place is None and self.runs:
            self.choice.run = self.runs[min(before or 0, len(self.runs) - 1)].path
        self.redraw()
        self.post_message(self.Pointed())

    def sort(self) -> None:
        """Put the runs that are there in the order that is chosen now."""
        self.show(self.runs)

    @property
    def place(self) -> int | None:
        """The row of the run that is pointed at."""
        return next((row for row, run in enumerate(self.runs) if run.path == self.choice.run), None)

    @property
    def run(self) -> RunSummary | None:
        """The run that is pointed at."""
        return self.runs[place] if (place := self.place) is not None else None

    def summary(self, path: Path) -> RunSummary:
        """How a run stands; read from its folder where the table does not show it."""
        kept = self._cells.get(path)
        return kept[0] if kept is not None else summarize(path)

    def move(self, by: int) -> None:
        """Point `by` rows further down, as far as there are any."""
        if self.runs:
            place = min(max((self.place or 0) + by, 0), len(self.runs) - 1)
            self.choice.run = self.runs[place].path
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
        if not self.runs:
            dim = Style.parse(looks.colour("dim"))
            return [[Segment(f" {line}"[:width], dim)] for line in ["", *self.empty][:height]]
        room = max(1, height - 1)
        place = self.place or 0
        self._top = max(0, min(self._top, place, len(self.runs) - room), place - room + 1)
        full = {
            column.heading: max(
                len(column.heading) + (2 if column.heading == self.choice.column else 0),
                *(kept[2][at] for kept in self._cells.values()),
            )
            for at, column in enumerate(COLUMNS)
        }
        widths = fitted(COLUMNS, full, width - 1 - MARK - SIGN)
        visible = self.runs[self._top : self._top + room]
        return [self._heading(widths, looks), *(self._row(run, widths, width, looks) for run in visible)]

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

    def _row(self, run: RunSummary, widths: dict[str, int], width: int, looks: Looks) -> list[Segment]:
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
                style = Style.parse(colour) if column.heading == "state" else Style.null()
                line.append(Segment(padded(text, widths[column.heading], column.right), style))
                line.append(Segment(" " * GAP))
        if run.path == self.choice.run:
            chosen = Style.parse(f"{looks.colour('selected')} reverse")
            used = sum(segment.cell_length for segment in line)
            line = [Segment(segment.text, chosen) for segment in line]
            line.append(Segment(" " * max(0, width - used), chosen))
        return line

    # --- the mouse --------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Point at a run, choose the one that is pointed at, or sort by a heading."""
        if not self.runs:
            return
        if event.y == 0:
            before = [heading for start, heading in self._starts if start <= event.x]
            if before:
                self.sort_by(before[-1])
            return
        row = self._top + event.y - 1
        if row >= len(self.runs):
            return
        again = self.runs[row].path == self.choice.run
        self.choice.run = self.runs[row].path
        self.redraw()
        self.post_message(self.Chosen() if again and event.chain > 1 else self.Pointed())

    def sort_by(self, heading: str) -> None:
        """Sort by a column; by the one that it is already, the other way round."""
        if self.choice.column == heading:
            self.choice.falling = not self.choice.falling
        else:
            self.choice.column = heading
            self.choice.falling = heading in ("epoch", "best", "last", "started", "took", "left")
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
