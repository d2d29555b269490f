"""The sections of the form on a line, with the number of things wrong in each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message

from eqprop_core.config import SECTIONS
from eqprop_tui.looks import Looks
from eqprop_tui.widgets.picture import PictureView, Rows, segments_of


class Sections(PictureView):
    """Shows which section is chosen, and tells which one is pointed at."""

    class Chosen(Message):
        """The section at `place` was clicked."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.chosen = 0
        self.wrong: Sequence[int] = [0] * len(SECTIONS)
        self._ends: list[int] = []  # columns where the names end

    def tell(self, chosen: int, wrong: Sequence[int]) -> None:
        """Show which one is chosen, and what is wrong in how many settings of each."""
        self.chosen, self.wrong = chosen, wrong
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Say which one is pointed at."""
        for place, end in enumerate(self._ends):
            if event.x < end:
                self.post_message(self.Chosen(place))
                return

    def rows(self, width: int, height: int) -> Rows:
        """One row; closer together where there is little room."""
        looks = Looks.of(self.app)
        gap = "  " if width >= 76 else ""
        line, self._ends = Text(" "), []
        for place, section in enumerate(SECTIONS):
            here = place == self.chosen
            line.append(
                f"[{section}]" if here else f" {section} ",
                f"bold {looks.colour('selected')}" if here else "",
            )
            line.append(f"✗{self.wrong[place]}" if self.wrong[place] else "", looks.colour("bad"))
            self._ends.append(cell_len(line.plain))
            line.append(gap)
        return [segments_of(line, width)]
