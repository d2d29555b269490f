"""The runs of a comparison and the settings in which they differ, as tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message

from eqprop_core.problems import printable
from eqprop_core.runs.comparing import names
from eqprop_tui.charts.text import PALETTES
from eqprop_tui.columns import GAP, padded
from eqprop_tui.comparison import differing
from eqprop_tui.looks import Looks
from eqprop_tui.marks import Marks
from eqprop_tui.watching.comparer import Side
from eqprop_tui.widgets.picture import PictureView, Rows
from eqprop_tui.words import accuracy, cut, epochs, pace, stands

WIDEST = 22  # cells of a value


def sample(marks: Marks, run: Path, looks: Looks) -> Segment:
    """The marker of a run in its colour."""
    colour = PALETTES[looks.palette][f"series-{marks.colour(run)}"]
    return Segment(marks.marker(run, ascii=looks.glyphs.ascii), Style.parse(colour))


class SidesTable(PictureView):
    """A row a run: marker, state, name and what it came to; one is chosen."""

    class Picked(Message):
        """Another run is chosen."""

    def __init__(self, marks: Marks, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.marks = marks
        self.sides: list[Side] = []
        self.chosen: Path | None = None
        self._top = 0

    def show(self, sides: Sequence[Side]) -> None:
        """Show other runs; one that is chosen stays so."""
        before = self.place
        self.sides = [side for side in sides if side.path in self.marks]
        if self.sides and self.chosen not in [side.path for side in self.sides]:
            self.chosen = self.sides[min(before, len(self.sides) - 1)].path
        self.redraw()

    @property
    def place(self) -> int:
        """The row of the chosen run."""
        return next((row for row, side in enumerate(self.sides) if side.path == self.chosen), 0)

    def move(self, by: int) -> None:
        """Choose the run `by` rows further down."""
        if self.sides:
            self.chosen = self.sides[min(max(self.place + by, 0), len(self.sides) - 1)].path
            self.redraw()
            self.post_message(self.Picked())

    def rows(self, width: int, height: int) -> Rows:
        """The runs that are in sight."""
        looks = Looks.of(self.app)
        if not self.sides:
            dim = Style.parse(looks.colour("dim"))
            said = " reading …" if self.marks else " no run is compared; a adds one"
            return [[Segment(said[:width], dim)]]
        place = self.place
        self._top = max(0, min(self._top, place, len(self.sides) - height), place - height + 1)
        called = names([side.compared for side in self.sides])
        cells = [self._cells(side) for side in self.sides]
        widths = [max(map(cell_len, column)) for column in zip_longest(*cells, fillvalue="")]
        room = max(12, width - 8 - sum(widths) - GAP * len(widths))
        longest = min(max(map(cell_len, called)), room)
        drawn: Rows = []
        for row in range(self._top, min(self._top + height, len(self.sides))):
            side = self.sides[row]
            sign, colour = looks.sign(side.compared.summary.state)
            chosen = Style.parse(f"{looks.colour('selected')} bold") if row == place else Style.null()
            texts = "".join(
                " " * GAP + padded(cell, widths[at], right=at > 0) for at, cell in enumerate(cells[row])
            )
            drawn.append(
                [
                    Segment("▸" if row == place else " ", chosen),
                    sample(self.marks, side.path, looks),
                    Segment(" "),
                    Segment(sign.ljust(2), Style.parse(colour)),
                    Segment(cut(padded(called[row], longest) + texts, max(1, width - 5)), chosen),
                ]
            )
        return drawn

    def _cells(self, side: Side) -> list[str]:
        summary, compared = side.compared.summary, side.compared
        read = bool(compared.epochs) and compared.epochs[-1].epoch >= summary.epoch  # not still on the way
        scores = compared.scores if read else summary.scores
        said = [f"{name} {accuracy(value)}" for name, value in scores.named().items()]
        best, *at_best, last = said if len(said) > 1 else ["–", "–"]
        time = pace(compared.seconds) if compared.seconds else "–"
        if not side.read:
            time = "reading …"
        return [stands(summary) if side.there else "gone", epochs(summary), best, last, time, *at_best]

    def on_click(self, event: events.Click) -> None:
        """Choose the run there."""
        if self._top + event.y < len(self.sides):
            self.move(self._top + event.y - self.place)


class Differences(PictureView):
    """A row a setting that is not the same in all runs, a column a run; as many as there is room for."""

    def __init__(self, marks: Marks, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.marks = marks
        self.sides: list[Side] = []
        self.settings: list[tuple[str, list[str]]] = []
        self.chosen = 0
        self._top = 0

    def show(self, sides: Sequence[Side], chosen: int) -> None:
        """Show the settings of other runs; the column of the chosen one is always in sight."""
        if [side.compared.settings for side in sides] != [side.compared.settings for side in self.sides]:
            self.settings = differing(sides)
        self.sides, self.chosen = list(sides), chosen
        self.redraw()

    def scroll(self, by: int) -> None:
        """Show settings further down."""
        self._top = self._top + by * max(1, self.size.height - 2)
        self.redraw()

    def rows(self, width: int, height: int) -> Rows:
        """Markers of the runs over their values."""
        looks = Looks.of(self.app)
        dim = Style.parse(looks.colour("dim"))
        if not self.settings:
            said = "all settings are the same" if len(self.sides) > 1 else ""
            return [[Segment(f" {said}"[:width], dim)]]
        room = height - 1
        self._top = max(0, min(self._top, len(self.settings) - room))
        visible = self.settings[self._top : self._top + room]
        first = max(cell_len("differ +99"), *(cell_len(name) for name, _ in self.settings)) + 1
        widths = [
            min(WIDEST, max(1, *(cell_len(values[place]) for _, values in self.settings)))
            for place in range(len(self.sides))
        ]
        columns = self._columns(widths, width - first)
        below = len(self.settings) - self._top - len(visible)
        said = f"differ +{below}" if below else "differ"
        heading = [Segment(f" {said}".ljust(first), dim)]
        for place in columns:
            marker = sample(self.marks, self.sides[place].path, looks)
            style = (marker.style or Style.null()) + Style(underline=place == self.chosen)
            heading += [
                Segment(" " * GAP),
                Segment(marker.text, style),
                Segment(" " * (widths[place] - 1)),
            ]
        rows = [heading]
        for name, values in visible:
            texts = [" " * GAP + padded(printable(cut(values[at], WIDEST)), widths[at]) for at in columns]
            rows.append([Segment(f" {name}".ljust(first), dim), Segment("".join(texts))])
        return rows

    def _columns(self, widths: Sequence[int], room: int) -> list[int]:
        """The runs whose columns have room, the chosen one among them."""
        for start in range(len(widths)):
            shown: list[int] = []
            left = room
            for place in range(start, len(widths)):
                if widths[place] + GAP > left:
                    break
                shown.append(place)
                left -= widths[place] + GAP
            if self.chosen in shown:
                return shown
        return [self.chosen] if widths else []

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Further down."""
        event.stop()
        self.scroll(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Further up."""
        event.stop()
        self.scroll(-1)
