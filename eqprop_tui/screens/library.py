"""The library of presets: which there are, and what the chosen one does."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from eqprop_core.presets import all_presets
from eqprop_tui.keys import bindings
from eqprop_tui.screens.base import BaseScreen


class LibraryScreen(BaseScreen):
    """All presets."""

    PLACE = "library"
    BINDINGS = bindings("library")

    def body(self) -> ComposeResult:
        """The list."""
        yield OptionList(*(Option(name, id=name) for name in all_presets().presets))

    def on_mount(self) -> None:
        """The head."""
        self.head.say("eqprop")

    def action_runs(self) -> None:
        """To the table of runs."""
        self.eqprop.open_runs()

    def action_run(self) -> None:
        """Start the chosen preset."""
        chosen = self.query_one(OptionList).highlighted_option
        if chosen is not None and chosen.id is not None:
            self.eqprop.start_preset(all_presets().presets[chosen.id])
