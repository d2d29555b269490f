"""A setting of the form: its name, where it is typed or chosen, what is wrong with it."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from eqprop_tui.forms import choices
from eqprop_tui.looks import Looks
from eqprop_tui.widgets.choice import Choice, DeviceChoice
from eqprop_tui.widgets.line import Line


class Field(Vertical):
    """The setting `name`, with the text that is typed for it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(id=f"field-{name}", classes="field")
        self.setting, self.text = name, text
        self._shown: object = None

    def compose(self) -> ComposeResult:
        """Name and control on a line, and what is wrong below."""
        with Horizontal():
            yield Static(id="mark")
            if self.setting == "device":
                yield DeviceChoice(self.text, id="control")
            elif options := choices(self.setting):
                yield Choice(options, self.text, id="control")
            else:
                yield Line(self.text, id="control", select_on_focus=False)
        yield Static(id="wrong")

    def on_mount(self) -> None:
        """Nothing is wrong at first, nothing is changed."""
        self.show(None, changed=False)

    @property
    def control(self) -> Widget:
        """Where it is typed or chosen."""
        return self.query_one("#control")

    @property
    def made(self) -> bool:
        """Whether all of it is there: not while it is made, or closed."""
        return len(self.query("#mark, #wrong, #control")) == 3

    def put(self, text: str) -> None:
        """Show another text in it."""
        control = self.control
        if isinstance(control, Choice):
            control.choose(text)
        elif isinstance(control, Input):
            control.value = text

    def show(self, wrong: str | None, *, changed: bool, completed: str = "") -> None:
        """What is wrong, whether it was changed, and the value that it takes when nothing is given."""
        looks = Looks.of(self.app)
        state = (wrong, changed, completed, looks)
        if state == self._shown or not self.made:
            return
        self._shown = state
        name = self.setting.replace("_", "-")
        colour = looks.colour("selected")
        label = Text.assemble(
            (f"{'•' if changed else ' '} ", colour), (name, f"bold {colour}" if changed else "")
        )
        self.query_one("#mark", Static).update(label)
        below = self.query_one("#wrong", Static)
        below.display = wrong is not None
        below.update(Text(f"✗ {wrong}" if wrong else ""))
        control = self.control
        if isinstance(control, Input):
            control.placeholder = completed
            control.set_class(wrong is not None, "-wrong")
