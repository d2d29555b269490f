"""The GDU check of a run: a table of parameters, and the curves of the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal

from eqprop_core.events import Gdu
from eqprop_tui.keys import bindings
from eqprop_tui.looks import Looks
from eqprop_tui.panes.base import Pane
from eqprop_tui.panes.curves import gdu_chart
from eqprop_tui.watching.view import RunView
from eqprop_tui.widgets.chart import ChartView
from eqprop_tui.widgets.picture import PictureView, Rows, segments_of, wrapped
from eqprop_tui.words import NEURONS, OF_NEURONS, gdu_cells, gdu_grade

HEADINGS = ("parameter", "RMSE", "sign err", "cosine", "|EP|/|BPTT|", "|BPTT|")
RIGHT = (7, 9, 8, 11, 8)
NARROWEST = 20
WIDE = 68  # from which on there is room for the last column
LEAST_ROWS = 4  # of the table, however much is said below it


class GduTable(PictureView, can_focus=True):
    """A row a parameter or layer of neurons, coloured by how near EP is to BPTT."""

    BINDINGS = bindings("gdu")

    def __init__(self, pane: GduPane) -> None:
        super().__init__(id="gdu-table")
        self.pane = pane
        self.top = 0

    def rows(self, width: int, height: int) -> Rows:
        """The heading, the rows that have room, and what the check was."""
        gdu, looks = self.pane.gdu, Looks.of(self.app)
        if gdu is None:
            how = "g runs one of the present weights" if self.pane.can_check else "none was made"
            return wrapped(self.pane.going_on or f"no GDU check yet: {how}", width, height)
        if width < NARROWEST:  # the curves are in its place
            return []
        where = f"at epoch {gdu.epoch}, batch {gdu.batch}, " if gdu.epoch else self.pane.whose
        verdict = self.pane.going_on or gdu.verdict
        said = [*filter(None, (verdict, gdu.chosen)), f"β {gdu.beta:g}, {where}{gdu.images} images"]
        below = [f"  {line}" for text in said for line in wrap(text, max(10, width - 3))]
        below = below[: max(1, height - 1 - min(len(gdu.rows), LEAST_ROWS))]
        if any(row.name.startswith(NEURONS) for row in gdu.rows):
            below += _that_fit(f"  {OF_NEURONS}", width, height - 1 - len(gdu.rows) - len(below))
        room = max(1, height - 1 - len(below))
        self.top = min(max(self.top, self.pane.row - room + 1), self.pane.row)
        right = RIGHT if width >= WIDE else RIGHT[:-1]
        name = max(10, width - sum(right) - 2 * len(right) - 2)
        lines = [Text(_in_columns(HEADINGS, name, right), "bold")]
        for place in range(self.top, min(len(gdu.rows), self.top + room)):
            row, chosen = gdu.rows[place], place == self.pane.row
            mark = "▸ " if chosen else "  "
            line = Text(_in_columns(gdu_cells(row), name, right))
            line.stylize(looks.colour(gdu_grade(row)), 2 + name)
            if chosen:
                line = Text(mark) + line[2:]
                line.stylize("bold", 0, 2 + name)
            lines.append(line)
        if room < len(gdu.rows):
            below[-1] += f"   ↑↓ {self.top + 1} to {self.top + room} of {len(gdu.rows)} rows"
        lines += [Text("")] * max(0, height - len(lines) - len(below))
        lines += [
            Text(line, "" if verdict and not place else looks.colour("dim"))
            for place, line in enumerate(below)
        ]
        return [segments_of(line, width) for line in lines[:height]]

    def action_row(self, by: int) -> None:
        """Another parameter."""
        self.pane.choose(self.pane.row + by)

    def action_element(self, by: int) -> None:
        """Another element of the parameter."""
        self.pane.choose(self.pane.row, self.pane.element + by)

    def action_curves(self) -> None:
        """The curves in place of the table, or the table again."""
        self.pane.toggle_class("-curves")
        self.pane.choose(self.pane.row, self.pane.element)

    def on_click(self, event: events.Click) -> None:
        """The parameter that is pointed at."""
        if event.y >= 1:
            self.pane.choose(self.top + event.y - 1)


def _in_columns(cells: Sequence[str], name: int, right: Sequence[int]) -> str:
    """The cells in columns, as many as there are widths for after the name's."""
    first = cells[0] if len(cells[0]) <= name else cells[0][: name - 1] + "…"
    return (
        "  "
        + first.ljust(name)
        + "".join("  " + text.rjust(width) for text, width in zip(cells[1:], right, strict=False))
    )


def _that_fit(line: str, width: int, room: int) -> list[str]:
    """The line, where there is room for it and an empty one."""
    return [line] if len(line) < width and room > 1 else []


class GduPane(Horizontal, Pane):
    """Table and curves; the table alone where there is no room for both."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.gdu: Gdu | None = None
        self.can_check = True  # whether the run could be asked for one
        self.whose = ""  # weights it is of, where that is not an epoch's
        self.going_on = ""  # of a check, in words
        self.row = 0
        self.element = 0

    def compose(self) -> ComposeResult:
        """The table, and the curves."""
        yield GduTable(self)
        yield ChartView(id="gdu-curves")

    def take(self, view: RunView) -> None:
        """Show the newest check; the chosen parameter stays chosen."""
        if view.check is not self.gdu:
            self.gdu = view.check
            self.whose = "of the saved weights, " if self.gdu is view.saved_check.last else ""
            self.choose(self.row, self.element)
        else:
            self.query_one(GduTable).redraw()

    def choose(self, row: int, element: int = 0) -> None:
        """Choose a row of the table and one of its elements, or the nearest there is."""
        if self.gdu is None or not self.gdu.rows:
            return
        self.row = min(max(row, 0), len(self.gdu.rows) - 1)
        curves = [curve for curve in self.gdu.curves if curve.name == self.gdu.rows[self.row].name]
        self.element = min(max(element, 0), max(0, len(curves) - 1))
        self.query_one(GduTable).redraw()
        self.query_one(ChartView).show(gdu_chart(curves[self.element] if curves else None))

    def focus_target(self) -> GduTable:
        """The table."""
        return self.query_one(GduTable)
