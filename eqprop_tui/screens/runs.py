"""The table of runs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import DataTable

from eqprop_tui.keys import bindings
from eqprop_tui.screens.base import BaseScreen


class RunsScreen(BaseScreen):
    """All runs under the results folders."""

    PLACE = "runs"
    BINDINGS = bindings("runs")

    def body(self) -> ComposeResult:
        """The table."""
        yield DataTable[str](cursor_type="row")

    def action_library(self) -> None:
        """To the library."""
        self.eqprop.open_library()
