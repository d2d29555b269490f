"""The cells of a sweep as rows: mean and spread over seeds, what is missing, and under a cell its runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message

from eqprop_core.sweeps.table import Outcome, Row, Table
from eqprop_tui import sweep_words
from eqprop_tui.columns import GAP, padded
from eqprop_tui.looks import Looks
from eqprop_tui.marks import Marks
from eqprop_tui.widgets.picture import PictureView, Rows
from eqprop_tui.widgets.sides import sample
from eqprop_tui.words import epochs, pace

MARK = 2  # cells before each row, for its mark
LEAST_NAME = 24  # cells of the names of cells, before other columns take room


@dataclass(frozen=True)
class Column:
    """A column of the table; those with the lowest `rank` are shown first where there is little room."""

    heading: str
    cell: Callable[[Row], str]
    rank: int


COLUMNS = (
    Column("mean", sweep_words.mean, 0),
    Column("seeds", sweep_words.seeds, 1),
    Column("published", lambda row: "–" if row.published is None else f"{row.published:g}", 2),
    Column("min–max", sweep_words.span, 4),
    Column("time a run", lambda row: "–" if row.seconds is None else pace(row.seconds), 3),
)


@dataclass(frozen=True)
class Place:
    """A row of the picture: a cell by its number, or with a seed one of its runs."""

    number: int
    seed: int | None = None


class SweepTable(PictureView, can_focus=True):
    """Rows of cells under headings; draws only what is in sight."""

    class Chosen(Message):
        """A row was clicked that was pointed at already."""

    class Pointed(Message):
        """Another row is pointed at."""

    def __init__(self, marks: Marks, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.marks = marks
        self.table: Table | None = None
        self.by_figure = False  # the best first, in place of the plan's order
        self.opened: set[int] = set()
        self.place = Place(1)
        self.places: list[Place] = []
        self.empty = "reading …"
        self._cells: dict[int, Row] = {}
        self._texts: dict[int, list[str]] = {}  # of the columns, by cell
        self._longest = [0] * len(COLUMNS)
        self._longest_name = 0
        self._top = 0

    # --- what is shown ----------------------------------------------------------------------------------

    def show(self, table: Table) -> None:
        """Show the table as it is now; the cursor stays with its cell or run."""
        self.table = table
        self._cells = {row.number: row for row in table.rows}
        self._texts = {row.number: [column.cell(row) for column in COLUMNS] for row in table.rows}
        self._longest = [max(map(cell_len, texts)) for texts in zip(*self._texts.values(), strict=True)]
        self._longest_name = max(len("▸ seed 9"), *(cell_len(row.cell.name) for row in table.rows))
        rows = table.best_first() if self.by_figure else table.rows
        before = self.at
        self.places = []
        for row in rows:
            self.places.append(Place(row.number))
            if row.number in self.opened:
                self.places += [Place(row.number, run.seed) for run in row.outcomes]
        if self.place not in self.places and self.places:
            cell = Place(self.place.number)
            self.place = cell if cell in self.places else self.places[min(before, len(self.places) - 1)]
        self.redraw()
        self.post_message(self.Pointed())

    def again(self) -> None:
        """Show what is known in another way."""
        if self.table is not None:
            self.show(self.table)

    @property
    def at(self) -> int:
        """The row that is pointed at."""
        return self.places.index(self.place) if self.place in self.places else 0

    @property
    def row(self) -> Row | None:
        """The cell that is pointed at, or whose run is."""
        return self._cells.get(self.place.number)

    @property
    def run(self) -> Outcome | None:
        """The run that is pointed at, None where it is a cell."""
        row = self.row
        if row is None or self.place.seed is None:
            return None
        return next((run for run in row.outcomes if run.seed == self.place.seed), None)

    def move(self, by: int) -> None:
        """Point `by` rows further down, as far as there are any."""
        if self.places:
            self.place = self.places[min(max(self.at + by, 0), len(self.places) - 1)]
            self.redraw()
            self.post_message(self.Pointed())

    def open(self, *, wide: bool) -> None:
        """Show the runs of the cell under it, or do not."""
        if (row := self.row) is not None:
            (self.opened.add if wide else self.opened.discard)(row.number)
            if not wide:
                self.place = Place(row.number)
            self.again()

    @property
    def page(self) -> int:
        """Rows that are in sight."""
        return max(1, self.size.height - 1)

    # --- drawing ----------------------------------------------------------------------------------------

    def rows(self, width: int, height: int) -> Rows:
        """Headings, and the cells and runs that are in sight."""
        looks = Looks.of(self.app)
        dim = Style.parse(looks.colour("dim"))
        table = self.table
        if table is None:
            return [[Segment(f" {self.empty}"[:width], dim)]]
        room, at = max(1, height - 1), self.at
        self._top = max(0, min(self._top, at, len(self.places) - room), at - room + 1)
        columns, widths, name = self._fitted(table, width)
        head = [
            Segment(" " * (1 + MARK) + padded("cell", name + 2), dim),
            *(
                Segment(" " * GAP + padded(self._heading(column), wide, column.heading != "seeds"), dim)
                for column, wide in zip(columns, widths, strict=True)
            ),
        ]
        drawn: Rows = [head]
        for place in self.places[self._top : self._top + room]:
            if place.seed is None:
                line = self._cell(self._cells[place.number], columns, widths, name, looks)
            else:
                line = self._run(
                    self._cells[place.number], place.seed, widths[0] if widths else 0, name, looks
                )
            if place == self.place:
                chosen = Style.parse(f"{looks.colour('selected')} reverse")
                text = "".join(segment.text for segment in line)
                line = [Segment(padded(text, width), chosen)]
            drawn.append(line)
        return drawn

    def _heading(self, column: Column) -> str:
        if column.heading != "mean" or self.table is None:
            return column.heading
        arrow = "↑" if self.table.measure.error else "↓"
        return f"{self.table.measure.heading} {arrow}" if self.by_figure else self.table.measure.heading

    def _fitted(self, table: Table, width: int) -> tuple[list[Column], list[int], int]:
        """The columns that there is room for, their widths, and that of the names of cells."""
        full = {
            column.heading: max(cell_len(self._heading(column)), wide)
            for column, wide in zip(COLUMNS, self._longest, strict=True)
        }
        longest = self._longest_name
        room = width - 1 - MARK - 2 - min(longest, LEAST_NAME)
        kept: list[Column] = []
        for column in sorted(COLUMNS, key=lambda column: column.rank):
            if column.heading == "published" and not table.sources:
                continue
            if full[column.heading] + GAP <= room:
                kept.append(column)
                room -= full[column.heading] + GAP
        shown = [column for column in COLUMNS if column in kept]
        name = min(longest, min(longest, LEAST_NAME) + room)
        return shown, [full[column.heading] for column in shown], name

    def _cell(
        self, row: Row, columns: Sequence[Column], widths: Sequence[int], name: int, looks: Looks
    ) -> list[Segment]:
        dim = Style.parse(looks.colour("dim"))
        style = Style.null()
        if sweep_words.troubled(row):
            style = Style.parse(looks.colour("bad"))
        elif not row.finished:
            style = dim
        marked = any(run.path in self.marks for run in row.outcomes)
        line = [
            Segment(" " + ("*" if marked else "").ljust(MARK)),
            Segment("▾ " if row.number in self.opened else "▸ ", dim),
            Segment(padded(row.cell.name, name), style),
        ]
        for column, wide in zip(columns, widths, strict=True):
            text = padded(self._texts[row.number][COLUMNS.index(column)], wide, column.heading != "seeds")
            line.append(Segment(" " * GAP + text, style if column.heading == "seeds" else Style.null()))
        return line

    def _run(self, row: Row, seed: int, wide: int, name: int, looks: Looks) -> list[Segment]:
        run = next(run for run in row.outcomes if run.seed == seed)
        accuracy = run.scores.get(row.measure.of)
        figure = sweep_words.figure(None if accuracy is None else row.measure.value(accuracy))
        dim = Style.parse(looks.colour("dim"))
        sign, colour = looks.sign(run.state)
        mark = sample(self.marks, run.path, looks) if run.path in self.marks else Segment(" ")
        said = run.state
        if run.summary is not None and run.state != "finished":
            said += f" {epochs(run.summary)}"
            if run.summary.last is not None:
                so_far = row.measure.value(run.summary.last)
                said += f", test {'error' if row.measure.error else 'accuracy'} so far {so_far:.2f} %"
        elif run.seconds is not None:
            said += f", {pace(run.seconds)}"
        return [
            Segment(" "),
            mark,
            Segment(" " * (MARK - 1 + 2)),
            Segment(f"{sign} ", Style.parse(colour)),
            Segment(padded(f"seed {seed}", max(1, name - 2)), dim if accuracy is None else Style.null()),
            Segment(" " * GAP + padded(figure, wide, True)),
            Segment(" " * GAP + said, Style.parse(colour)),
        ]

    # --- the mouse --------------------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Point at a row; choose the one that is pointed at."""
        row = self._top + event.y - 1
        if event.y < 1 or row >= len(self.places):
            return
        again = self.places[row] == self.place
        self.place = self.places[row]
        self.redraw()
        self.post_message(self.Chosen() if again and event.chain > 1 else self.Pointed())

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Three rows further."""
        event.stop()
        self.move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Three rows back."""
        event.stop()
        self.move(-3)
