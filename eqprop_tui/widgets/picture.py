"""A widget that shows rows of segments and sends only those rows that have changed to the terminal."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

Rows = list[list[Segment]]


class PictureView(Widget):
    """Shows what `rows` gives for its size; `redraw` says that this may have changed.

    A widget that is not displayed draws nothing, and draws when it is displayed again.
    """

    DEFAULT_CSS = "PictureView { height: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: Rows = []

    def rows(self, width: int, height: int) -> Rows:
        """At most `height` rows of at most `width` cells."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again; rows that are as they were are left alone."""
        width, height = self.size
        if width < 1 or height < 1 or not self.is_mounted or not self.is_attached:
            return
        before, self._rows = self._rows, self.rows(width, height)
        changed = [
            row
            for row in range(max(len(before), len(self._rows)))
            if before[row : row + 1] != self._rows[row : row + 1]
        ]
        if changed:
            self.refresh(*(Region(0, row, width, 1) for row in changed))

    def on_resize(self) -> None:
        """Another size is another picture."""
        self._rows = []
        self.redraw()
        self.refresh()

    def on_show(self) -> None:
        """It may have been asked to redraw while it was hidden."""
        self.redraw()

    def notify_style_update(self) -> None:
        """Another theme has other colours."""
        super().notify_style_update()
        self._rows = []
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """A row as it was last drawn."""
        width, style = self.size.width, self.rich_style
        if y >= len(self._rows):
            return Strip.blank(width, style)
        line = [Segment(text, style + (own or Style.null())) for text, own, _ in self._rows[y]]
        return Strip(line).adjust_cell_length(width, style)

    def plain(self) -> str:
        """The rows without styles, for tests and for copying."""
        return "\n".join("".join(segment.text for segment in row).rstrip() for row in self._rows)


def segments_of(text: object, width: int) -> list[Segment]:
    """A rich text on one line as segments, cut with … where it is too long."""
    from rich.text import Text

    line = text.copy() if isinstance(text, Text) else Text(str(text))
    line.truncate(width, overflow="ellipsis")
    place, found = 0, []
    styles = [Style.null()] * len(line.plain)
    base = Style.parse(line.style) if isinstance(line.style, str) else line.style
    for span in line.spans:
        style = Style.parse(span.style) if isinstance(span.style, str) else span.style
        for at in range(max(0, span.start), min(len(styles), span.end)):
            styles[at] = styles[at] + style
    while place < len(styles):
        end = place
        while end < len(styles) and styles[end] == styles[place]:
            end += 1
        found.append(Segment(line.plain[place:end], base + styles[place]))
        place = end
    return found
