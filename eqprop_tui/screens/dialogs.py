"""Small dialogs over a screen: choose one of some things, type a line, read a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from eqprop_tui.keys import bindings
from eqprop_tui.widgets.answers import Answers
from eqprop_tui.widgets.line import Line


@dataclass(frozen=True)
class Answer:
    """One thing to choose: the key that chooses it at once, the value that is given back, its words."""

    key: str
    value: str
    words: str


class Dialog(ModalScreen[str | None]):
    """A question in a box; escape gives None."""

    BINDINGS = bindings("dialog")

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title_text = title

    def compose(self) -> ComposeResult:
        """The title over what subclasses give."""
        with Vertical(id="dialog"):
            yield Static(Text(self.title_text), id="dialog-title")
            yield from self.body()

    def body(self) -> ComposeResult:
        """What is under the title."""
        raise NotImplementedError

    def dismiss(self, result: str | None = None) -> AwaitComplete:
        """Close it with an answer; of two that come together the first one counts."""
        return super().dismiss(result) if self.is_active else AwaitComplete()

    def action_cancel(self) -> None:
        """Close it without an answer."""
        self.dismiss(None)


class Choose(Dialog):
    """Choose by a letter, or by the arrows and enter; the first answer is the default."""

    def __init__(self, title: str, answers: Sequence[Answer]) -> None:
        super().__init__(title)
        self.answers = list(answers)
        if len({answer.key for answer in self.answers}) < len(self.answers):
            raise ValueError(f"{title}: two answers have the same key")

    def body(self) -> ComposeResult:
        """The answers."""
        lines = [
            Option(Text.assemble((f"{answer.key} ", "bold"), answer.words), id=str(place))
            for place, answer in enumerate(self.answers)
        ]
        yield Answers(*lines, id="answers")

    def on_mount(self) -> None:
        """The first answer is the default."""
        self.query_one(OptionList).highlighted = 0

    def on_key(self, event: events.Key) -> None:
        """A letter chooses at once."""
        for answer in self.answers:
            if event.character == answer.key:
                event.stop()
                self.dismiss(answer.value)
                return

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self.answers[event.option_index].value)


class Ask(Dialog):
    """Type a line; `judge` gives what is wrong with it, or None, and is asked at every key."""

    def __init__(
        self,
        title: str,
        value: str = "",
        *,
        hint: str = "",
        judge: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        super().__init__(title)
        self.value, self.hint, self.judge = value, hint, judge

    def body(self) -> ComposeResult:
        """The line, and under it what is wrong with it."""
        yield Line(self.value, id="line")
        yield Static(Text(self.hint), id="dialog-hint")

    @on(Input.Changed)
    def _judge(self, event: Input.Changed) -> None:
        wrong = self.judge(event.value)
        hint = self.query_one("#dialog-hint", Static)
        hint.update(Text(f"✗ {wrong}" if wrong else self.hint))
        hint.set_class(bool(wrong), "wrong")

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        if self.judge(event.value) is None:
            self.dismiss(event.value)


class Read(Dialog):
    """A text to read, which scrolls and can be selected by the terminal or the mouse."""

    def __init__(self, title: str, text: Text | str) -> None:
        super().__init__(title)
        self.text = Text(text) if isinstance(text, str) else text

    def body(self) -> ComposeResult:
        """The text."""
        with VerticalScroll(id="reading"):
            yield Static(self.text)

    def on_mount(self) -> None:
        """The keys scroll."""
        self.query_one("#reading").focus()
