"""Choosing one of a few values: all of them on a line where there is room, else the present one."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message

from eqprop_core.devices import Device, Occupant
from eqprop_core.problems import printable
from eqprop_tui.columns import padded
from eqprop_tui.keys import bindings
from eqprop_tui.looks import Looks
from eqprop_tui.widgets.picture import PictureView, Rows, segments_of
from eqprop_tui.words import memory, share

GAP = 2
UNSAID = "–"  # where a setting may also be left to others


class Choice(PictureView, can_focus=True):
    """One of `options`; left, right and space go through them."""

    DEFAULT_CSS = "Choice { height: 1; width: 1fr; }"
    BINDINGS = bindings("choice")

    class Changed(Message):
        """Another value was chosen."""

        def __init__(self, choice: Choice, value: str) -> None:
            super().__init__()
            self.choice, self.value = choice, value

        @property
        def control(self) -> Choice:
            """The widget."""
            return self.choice

    def __init__(self, options: Sequence[str], value: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.options, self.value = list(options), value
        self._ends: list[int] = []  # columns where options end, on one line

    def choose(self, value: str) -> None:
        """Show another value, without a message."""
        self.value = value
        self.redraw()

    def action_choose(self, by: int) -> None:
        """The next value, or the one before; after the last comes the first."""
        at = self.options.index(self.value) if self.value in self.options else -1
        self._take((at + by) % len(self.options))

    def _take(self, place: int) -> None:
        self.value = self.options[place]
        self.redraw()
        self.post_message(self.Changed(self, self.value))

    def on_focus(self) -> None:
        """It looks different."""
        self.redraw()

    def on_blur(self) -> None:
        """It looks different."""
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """Choose what is pointed at."""
        place = next((place for place, end in enumerate(self._ends) if event.x < end), None)
        if place is not None:
            self._take(place)
        elif not self._ends:
            self.action_choose(1)

    def rows(self, width: int, height: int) -> Rows:
        """One row."""
        looks = Looks.of(self.app)
        chosen = f"bold {looks.colour('selected')}" if self.has_focus else "bold"
        line = Text()
        self._ends = []
        for option in self.options:
            here = option == self.value
            colour = chosen if here else looks.colour("dim")
            line.append(f"({'•' if here else ' '}) {option or UNSAID}", colour)
            line.append(" " * GAP)
            self._ends.append(cell_len(line.plain))
        if line.cell_len - GAP > width:
            self._ends = []
            at = self.options.index(self.value) + 1 if self.value in self.options else 0
            line = Text.assemble(
                ("< ", looks.colour("dim")),
                (self.value or UNSAID, chosen),
                (" >", looks.colour("dim")),
                (f"  {at} of {len(self.options)}", looks.colour("dim")),
            )
        return [segments_of(line, width)]


class DeviceChoice(Choice):
    """A device: auto, or one of those there are, a line each with name, memory and load."""

    DEFAULT_CSS = "DeviceChoice { height: auto; }"

    def __init__(self, value: str, *, id: str | None = None) -> None:
        super().__init__(["auto", *([value] if value != "auto" else [])], value, id=id)
        self.devices: dict[str, Device] = {}
        self.others: dict[str, Sequence[Occupant]] = {}
        self._lines: list[tuple[str, bool]] = []  # options, and below some who else is there

    def know(self, devices: Sequence[Device], others: dict[str, Sequence[Occupant]]) -> None:
        """Show these devices, and the processes of other users on them, by device."""
        self.devices = {device.key: device for device in devices}
        self.others = others
        self._with_value()

    def choose(self, value: str) -> None:
        """Show another value, which need not be one of the devices."""
        self.value = value
        self._with_value()

    def _with_value(self) -> None:
        keys = ["auto", *self.devices]
        self.options = [*keys, *([self.value] if self.value not in keys else [])]
        self._lines = [(option, False) for option in self.options]
        for option in [option for option in self.options if self.others.get(option)]:
            self._lines.insert(self._lines.index((option, False)) + 1, (option, True))
        self.styles.height = len(self._lines)
        self.redraw()

    def on_mount(self) -> None:
        """As many rows as there are devices."""
        self._with_value()

    def on_click(self, event: events.Click) -> None:
        """Choose the row."""
        if event.y < len(self._lines):
            self._take(self.options.index(self._lines[event.y][0]))

    def rows(self, width: int, height: int) -> Rows:
        """A row a device, and one more where others compute on it."""
        looks = Looks.of(self.app)
        widest = max(map(cell_len, self.options))
        found = []
        for option, below in self._lines[:height]:
            if below:
                line = Text(" " * (widest + 6) + self._occupied(option), looks.colour("waiting"))
                found.append(segments_of(line, width))
                continue
            here = option == self.value
            style = "" if not here else f"bold {looks.colour('selected')}" if self.has_focus else "bold"
            line = Text.assemble((f"({'•' if here else ' '}) {option:<{widest}}", style))
            line.append("  " + self._facts(option, width - widest - 6), "" if here else looks.colour("dim"))
            found.append(segments_of(line, width))
        return found

    def _facts(self, option: str, room: int) -> str:
        """Name, memory and load of a device in `room` cells, in columns; the name is cut, then cores go."""
        device = self.devices.get(option)
        if option == "auto":
            return "GPU free soonest, or CPU"
        if device is None:
            return "as given" if not self.devices else "not one of those here by this name"
        sizes = [cell_len(_memory_of(other)) for other in self.devices.values()]
        names = max(cell_len(printable(other.name)) for other in self.devices.values())
        facts = f"  {_memory_of(device):>{max(sizes)}}  {share(device.load):>5}"
        cores = f"  {device.cores} cores" if device.cores is not None else ""
        cores = cores if names + cell_len(facts + cores) <= room else ""
        return padded(printable(device.name), max(1, min(names, room - cell_len(facts)))) + facts + cores

    def _occupied(self, option: str) -> str:
        taken = [other.memory for other in self.others[option]]
        size = "" if None in taken else f", {sum(value or 0 for value in taken) / 2**30:.0f} GB"
        names = {printable(other.owner) if other.owner else "another user" for other in self.others[option]}
        return f"in use by {', '.join(sorted(names))}{size}"


def _memory_of(device: Device) -> str:
    return memory(device.memory_used, device.memory_total)
