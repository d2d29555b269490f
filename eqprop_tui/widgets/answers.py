"""Lists to choose from, also by keys and clicks that come before they are laid out, and without room.

Textual's looks for a page that is not there yet, for an option that has gone, and for words of no width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.command import CommandList
from textual.geometry import Size
from textual.widgets import OptionList

NARROWEST = 8  # cells in which options are broken into lines

if TYPE_CHECKING:
    Base = OptionList
else:
    Base = object  # it is mixed into widgets, whose styles are those of one base only


class Unready(Base):
    """What is pressed and clicked on a list of options that is not laid out, or no longer."""

    def _move_page(self, direction: int) -> None:
        if self.scrollable_content_region:
            super()._move_page(direction)  # type: ignore[arg-type]

    async def _on_click(self, event: events.Click) -> None:
        if (event.style.meta.get("option") or 0) >= self.option_count:
            event.prevent_default()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The lines of all options."""
        return super().get_content_height(container, viewport, max(width, NARROWEST))


class Answers(Unready, OptionList):
    """A list of answers."""


class CommandAnswers(Unready, CommandList, can_focus=False):
    """The commands of the palette."""
