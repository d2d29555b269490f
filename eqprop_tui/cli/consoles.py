"""What commands print goes through here: no text from a file steers the terminal, or is read as markup.

Rich draws; what it is given may come from a folder of somebody else's, and is made printable at the end,
where no command can forget it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Task, TextColumn
from rich.segment import Segment
from rich.text import Text

from eqprop_core.problems import printable, printable_lines
from eqprop_tui import signals


class Screen(Console):
    """A console on standard output or error; words are words, and not Rich's markup.

    Notes for signals whether a live picture hides the cursor.
    """

    def __init__(self, **settings: Any) -> None:
        # `cuda:x:` is no picture
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Words as they will be shown, so that there is room for them."""
        return super().render_str(printable_lines(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is drawn, printable; Rich's own control sequences are not text."""
        for segment in super().render(renderable, options):
            text = segment.text
            yield segment if segment.control else Segment(printable_lines(text), *segment[1:])

    def show_cursor(self, show: bool = True) -> bool:
        """Show or hide the cursor, where this is a terminal."""
        if not show and self.is_terminal:
            with suppress(OSError):  # no file of a system
                signals.cursor_hidden_on = self.file.fileno()
        done = super().show_cursor(show)
        if show:
            signals.cursor_hidden_on = None
        return done


class Words(TextColumn):
    """Words beside a bar: a field of its task, as it is."""

    def __init__(self, field: str) -> None:
        super().__init__(f"{{task.{field}}}")

    def render(self, task: Task) -> Text:
        """The words as they are, on one line."""
        return Text(printable(self.text_format.format(task=task)))
