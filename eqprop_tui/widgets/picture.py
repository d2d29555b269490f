"""A widget that shows rows of segments and sends only those rows that have changed to the terminal."""

from __future__ import annotations

from textwrap import wrap

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from eqprop_tui.faults import CANNOT_BE_DRAWN, LOG

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
        before = self._rows
        try:
            self._rows = self.rows(width, height)
        except Exception:  # what else there is on the screen can still be drawn
            LOG.exception("drawing %s", type(self).__name__)
            self._rows = wrapped(CANNOT_BE_DRAWN, width, height)
        changed = [
            Region(span[0], row, span[1] - span[0], 1)
            for row in range(max(len(before), len(self._rows)))
            if (span := _changed(_at(before, row), _at(self._rows, row), width)) is not None
        ]
        if changed:
            self.refresh(*changed)

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


def wrapped(text: str, width: int, height: int) -> Rows:
    """A sentence on as many rows as it takes; where there are fewer, the last one ends in …."""
    lines = wrap(text, max(1, width - 2)) or [""]
    if len(lines) > height:
        lines = [*lines[: max(0, height - 1)], " ".join(lines[height - 1 :])]
    return [segments_of(f" {line}", width) for line in lines]


def _at(rows: Rows, row: int) -> list[Segment]:
    return rows[row] if row < len(rows) else []


def _changed(before: list[Segment], after: list[Segment], width: int) -> tuple[int, int] | None:
    """First and last cell (exclusive) that a row must be drawn again between; None where it is as it was."""
    if before == after:
        return None
    old, new = _cells(before), _cells(after)
    if len(old) != len(new):
        return 0, width
    differing = [place for place, pair in enumerate(zip(old, new, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return None
    narrow = len("".join(segment.text for segment in after)) == sum(item.cell_length for item in after)
    return (differing[0], differing[-1] + 1) if narrow else (0, width)


def _cells(row: list[Segment]) -> list[tuple[str, Style | None]]:
    return [(character, segment.style) for segment in row for character in segment.text]


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
