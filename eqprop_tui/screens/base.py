"""What all screens share: a head, a body, the keys, and a message where the terminal is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import Static

from eqprop_tui.widgets.text_lines import Head, KeyBar

if TYPE_CHECKING:
    from eqprop_tui.app import EqpropApp

SMALLEST = (60, 16)  # columns and rows


class BaseScreen(Screen[None]):
    """A screen whose keys are those of `PLACE` in the table; subclasses give `body`.

    Its classes say how much room there is: `-narrow` below 100 columns, `-short` below 30 rows.
    """

    PLACE: ClassVar[str] = ""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012

    def compose(self) -> ComposeResult:
        """Head, body, keys, and the message that takes their place."""
        yield Head()
        with Vertical(id="body"):
            yield from self.body()
        yield KeyBar(self.PLACE)
        yield Static(id="too-small")

    def body(self) -> ComposeResult:
        """What is between the head and the keys."""
        raise NotImplementedError

    @property
    def eqprop(self) -> EqpropApp:
        """The application."""
        return cast("EqpropApp", self.app)

    @property
    def is_made(self) -> bool:
        """Whether what it shows is there: not before it is made, and not while it is closed."""
        return self.is_mounted and self.is_attached and not self._pruning

    @property
    def head(self) -> Head:
        """The first line."""
        return self.query_one(Head)

    @property
    def key_labels(self) -> dict[str, str]:
        """Words for keys in place of the table's, by action, as the state of things wants them."""
        return {}

    def show_keys(self) -> None:
        """Draw the line of keys again, where what can be done has changed."""
        if self.is_made:
            self.query_one(KeyBar).show()

    def on_resize(self) -> None:
        """Say so where the terminal is too small."""
        width, height = self.app.size
        small = width < SMALLEST[0] or height < SMALLEST[1]
        self.set_class(small, "-too-small")
        if small:
            needed = f"{SMALLEST[0]} × {SMALLEST[1]}"
            self.query_one("#too-small", Static).update(
                f"This terminal has {width} × {height} cells; {needed} are needed. Runs go on."
            )

    def theme_changed(self) -> None:
        """Draw again what has colours of its own."""

    def action_back(self) -> None:
        """To the screen before."""
        self.app.pop_screen()

    def action_leave(self) -> None:
        """Leave; runs go on."""
        self.eqprop.action_leave()
