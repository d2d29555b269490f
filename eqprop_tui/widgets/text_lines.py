"""Lines of text in a widget: the head of a screen, its keys, the rows of a pane."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.text import Text
from textual.widgets import Static

from eqprop_tui.keys import TABLE, Key
from eqprop_tui.widgets.picture import PictureView, Rows, segments_of

GAP = 3  # cells between two keys


class TextLines(PictureView):
    """Lines of rich text; what has no room is cut."""

    def __init__(
        self, lines: Sequence[Text | str] = (), *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.lines = list(lines)

    def show(self, *lines: Text | str) -> None:
        """Show other lines."""
        self.lines = list(lines)
        self.redraw()

    def rows(self, width: int, height: int) -> Rows:
        """A row a line."""
        return [segments_of(line, width) for line in self.lines[:height]]


class Head(TextLines):
    """The first line of a screen: what it is on the left, where on the right."""

    DEFAULT_CSS = "Head { height: 1; dock: top; }"

    def __init__(self, left: str | Text = "", right: str | Text = "") -> None:
        super().__init__(id="head")
        self.left, self.right = left, right

    def say(self, left: str | Text, right: str | Text = "") -> None:
        """Say something else."""
        self.left, self.right = left, right
        self.redraw()

    def rows(self, width: int, height: int) -> Rows:
        """One row, a cell free at either end; the left side gives way."""
        return [[Segment(" "), *beside(self.left, self.right, width - 2), Segment(" ")]]


class KeyBar(Static):
    """The keys of a screen on one line, those that matter most where not all have room; help on the right."""

    DEFAULT_CSS = "KeyBar { height: 1; dock: bottom; color: $text-muted; }"

    def __init__(self, place: str) -> None:
        super().__init__(id="keys")
        self.place = place
        self._line = Text()

    def on_resize(self) -> None:
        """Another width has room for other keys."""
        self.show()

    def show(self) -> None:
        """Show the keys that can be used now; a line that is as it was is not sent again."""
        screen = self.screen
        usable = [key for key in TABLE[self.place] if screen.check_action(_name(key), ()) is True]
        line = key_line(usable, self.size.width, getattr(screen, "key_labels", {}))
        if line != self._line:
            self._line = line
            self.update(line)


def _name(key: Key) -> str:
    return key.action.split("(")[0]


def key_line(usable: Sequence[Key], width: int, labels: dict[str, str]) -> Text:
    """Keys with their words, or those of `labels` by action; those that hold everywhere last."""
    always = [key for key in TABLE["everywhere"] if key.footer is not None]
    always.sort(key=lambda key: -(key.footer or 0))
    ending = Text("   ").join(_worded(key, {}) for key in always)
    room = width - ending.cell_len - 2
    chosen: list[Key] = []
    for key in sorted((key for key in usable if key.footer is not None), key=lambda key: key.footer or 0):
        needed = cell_len(_worded(key, labels).plain) + GAP
        if needed <= room:
            chosen.append(key)
            room -= needed
    line = Text(" " * GAP).join(_worded(key, labels) for key in usable if key in chosen)
    line = Text(" ") + line
    line.append(" " * max(1, width - line.cell_len - ending.cell_len - 1))
    line.append_text(ending)
    line.no_wrap = True
    return line


def _worded(key: Key, labels: dict[str, str]) -> Text:
    place = key.action.split("(")[0]
    text = Text()
    text.append(key.written, "bold")
    text.append(" " + labels.get(place, key.label))
    text.apply_meta({"@click": f"screen.{key.action}" if key.action not in _APP else f"app.{key.action}"})
    return text


_APP = {key.action for key in TABLE["everywhere"]}


def beside(left: str | Text, right: str | Text, width: int) -> list[Segment]:
    """One text at either end of a line of `width` cells; the left one is cut where both have no room."""
    tail = segments_of(right, width)
    taken = sum(segment.cell_length for segment in tail)
    head = segments_of(left, max(0, width - taken - (1 if taken else 0)))
    used = sum(segment.cell_length for segment in head)
    return [*head, Segment(" " * max(0, width - used - taken)), *tail]
