"""A line to type in that takes keys in the order in which they come, also when many come at once."""

from __future__ import annotations

from textual import events
from textual.widgets import Input


class Line(Input):
    """An `Input` that works off its own keys at once.

    Textual inserts letters as they come, but sends backspace and the like round by the application first, so
    that of keys which come in one packet, as over a slow line, letters overtake them.
    """

    async def _on_key(self, event: events.Key) -> None:
        found = [] if event.is_printable else self._bindings.key_to_bindings.get(event.key, [])
        if not found:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        await self.run_action(found[0].action)
