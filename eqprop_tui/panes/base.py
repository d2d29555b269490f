"""What all panes share."""

from __future__ import annotations

from typing import Any

from eqprop_tui.watching.view import RunView


class Pane:
    """Shows something of a run; `take` is called with the run's view whenever there is something new."""

    def take(self, view: RunView) -> None:
        """Show what is new; called for the pane that is displayed alone."""
        raise NotImplementedError

    def focus_target(self) -> Any:
        """The widget that the keys go to when the pane is chosen."""
        return self
