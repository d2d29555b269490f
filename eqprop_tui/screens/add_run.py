"""A dialog that asks for one of all runs."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.message import Message
from textual.widgets import Input, Static

from eqprop_core.runs.filtering import ACCEPTED, parse
from eqprop_tui.marks import Marks
from eqprop_tui.screens.dialogs import Dialog
from eqprop_tui.watching.lister import Found, Lister
from eqprop_tui.widgets.runs_table import Choice, RunsTable


class AddRun(Dialog):
    """Type what to look for, point by the arrows, enter chooses: gives the run's folder."""

    class Listed(Message):
        """The runs that match."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    def __init__(self, results: Path | None, marks: Marks) -> None:
        super().__init__("add a run")
        self.marks = marks
        self.lister = Lister(
            None if results is None else [results], lambda found: self.post_message(self.Listed(found))
        )

    def body(self) -> ComposeResult:
        """The filter over the runs."""
        yield Input(id="line", placeholder="words, or alg=EP test_last>95")
        yield RunsTable(Choice(), self.marks, id="add-runs")
        yield Static(Text(ACCEPTED), id="dialog-hint")

    @property
    def table(self) -> RunsTable:
        """The runs to choose from."""
        return self.query_one(RunsTable)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(Input).focus()
        self.table.empty = ("looking for runs …",)
        self.lister.start()

    def on_unmount(self) -> None:
        """Nobody looks on."""
        self.lister.stop()

    @on(Listed)
    def _listed(self, event: Listed) -> None:
        self.table.empty = ("no run matches",)
        self.table.show(event.found.runs)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        wanted, wrong = parse(event.value)
        hint = self.query_one("#dialog-hint", Static)
        hint.update(Text(f"✗ {wrong}" if wrong else ACCEPTED))
        hint.set_class(wrong is not None, "wrong")
        self.lister.choose(wanted)

    def on_key(self, event: events.Key) -> None:
        """The arrows point, wherever the cursor is."""
        ways = {"up": -1, "down": 1, "pageup": -self.table.page, "pagedown": self.table.page}
        if event.key in ways:
            event.stop()
            self.table.move(ways[event.key])

    @on(Input.Submitted)
    @on(RunsTable.Chosen)
    def _done(self) -> None:
        if self.table.run is not None:
            self.dismiss(str(self.table.run.path))
