"""Rich's console, which notes for signals whether a live picture hides the cursor."""

from __future__ import annotations

from rich.console import Console

from eqprop_tui import signals


class Screen(Console):
    """A console on standard output or error."""

    def show_cursor(self, show: bool = True) -> bool:
        """Show or hide the cursor, where this is a terminal."""
        if not show and self.is_terminal:
            signals.cursor_hidden_on = self.file.fileno()
        done = super().show_cursor(show)
        if show:
            signals.cursor_hidden_on = None
        return done
