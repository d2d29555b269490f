"""Every command by its name: Textual's palette, also for keys that come before it is ready."""

from __future__ import annotations

from contextlib import suppress

from textual import events, work
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.command import CommandInput, CommandPalette, SearchIcon
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.errors import NoWidget
from textual.widgets import LoadingIndicator

from eqprop_tui.widgets.answers import CommandAnswers


class Palette(CommandPalette):
    """The palette. Textual's closes twice at two presses of enter, and fills its list when it is closed."""

    def compose(self) -> ComposeResult:
        """The line to type in, over the commands."""
        with Vertical(id="--container"):
            with Horizontal(id="--input"):
                yield SearchIcon()
                yield CommandInput(placeholder=self._placeholder, select_on_focus=False)
            with Vertical(id="--results"):
                yield CommandAnswers()
                yield LoadingIndicator()

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close it, once."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]  # as Textual's
        try:
            self.get_widget_at(event.screen_x, event.screen_y)
        except NoWidget:  # the terminal has become smaller
            event.prevent_default()

    @work(exclusive=True, group=CommandPalette._GATHER_COMMANDS_GROUP)
    async def _gather_commands(self, search_value: str) -> None:
        with suppress(NoMatches):
            await CommandPalette._gather_commands.__wrapped__(self, search_value)  # type: ignore[attr-defined]

    def _action_command_list(self, action: str) -> None:
        with suppress(NoMatches):
            super()._action_command_list(action)

    def _watch__list_visible(self) -> None:
        with suppress(NoMatches):
            super()._watch__list_visible()

    async def _watch__show_busy(self) -> None:
        with suppress(NoMatches):
            await super()._watch__show_busy()
