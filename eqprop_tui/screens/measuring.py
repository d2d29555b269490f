"""Measuring how long a run would take here: `eqprop bench` as a process that ends with the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eqprop_core.command_line import command_words
from eqprop_core.config import RunConfig
from eqprop_core.devices import Device
from eqprop_core.estimate import Measured, as_measured, exactly, measured_as, recall
from eqprop_core.files import bounded_json
from eqprop_core.problems import printable
from eqprop_tui.commands import Commands
from eqprop_tui.forms import Form
from eqprop_tui.library import USABLE, data_in_words, data_state, time_in_words
from eqprop_tui.screens.base import BaseScreen


@dataclass
class Measurement:
    """One that is going on: what it will be remembered by, and its process."""

    name: str
    commands: Commands = field(default_factory=Commands)


class Measuring(BaseScreen):
    """A screen with a form, whose run it can measure."""

    form: Form
    devices: Sequence[Device] | None
    measurement: Measurement | None = None
    latest: tuple[str, Measured] | None = None  # also where it cannot be remembered

    def judge(self) -> None:
        """Show what the settings come to."""
        raise NotImplementedError

    async def go_to_problem(self) -> bool:
        """Say what is wrong first; whether something is."""
        raise NotImplementedError

    @property
    def can_measure(self) -> bool:
        """Whether there is a training to measure, on a device that is known."""
        return self.devices is not None and self.form.typed["todo"] == "train"

    def time_line(self, config: RunConfig, *, short: bool) -> str | None:
        """How long the run takes, or how far that is known; `None` where there is nothing to say of it."""
        if not self.can_measure:
            return None
        name = measured_as(config, self.devices or ())
        if self.measurement is not None and self.measurement.name == name:
            return "is being measured …"
        measured = self.latest[1] if self.latest and self.latest[0] == name else recall(name)
        return time_in_words(config, measured, short=short) or "not measured"

    async def action_time(self) -> None:
        """Measure how long the run would take, or stop measuring."""
        if self.measurement is not None:
            self.end_measurement()
            self.judge()
            return
        if await self.go_to_problem():
            return
        config = self.form.config
        assert config is not None
        if (state := data_state(config)) not in USABLE:
            self.eqprop.tell(f"measuring takes the data: {data_in_words(config, state)}")
        elif name := measured_as(config, self.devices or ()):
            measurement = self.measurement = Measurement(name)
            words = [
                "bench",
                *command_words(exactly(config), command="bench"),
                "--quick",
                "--json",
            ]
            self.run_worker(lambda: self._carry_out(measurement, words), thread=True, group="timing")
            self.judge()

    def _carry_out(self, measurement: Measurement, words: list[str]) -> None:
        try:
            status, out, diagnostics = measurement.commands.carry_out(words)
        except OSError as error:
            status, out, diagnostics = 1, "", str(error)
        if not measurement.commands.ended:
            self.app.call_from_thread(self._with_measured, measurement, status, out, diagnostics)

    def _with_measured(self, measurement: Measurement, status: int, out: str, diagnostics: str) -> None:
        if self.measurement is not measurement:
            return
        self.measurement = None
        measured = measured_in(out) if status == 0 else None
        if measured is not None:
            self.latest = measurement.name, measured
        else:
            *_, last = ["eqprop bench", *diagnostics.strip().splitlines()]
            said = last if status > 0 else f"eqprop bench ended with status {status}"
            self.eqprop.tell(f"not measured: {printable(said)}")
        self.judge()

    def end_measurement(self) -> None:
        """End the process, if there is one."""
        if self.measurement is not None:
            self.measurement.commands.end()
            self.measurement = None

    def end_measurement_of_others(self) -> None:
        """End the process if the settings are no longer those that it measures."""
        config = self.form.config
        if self.measurement is None or config is None:
            return
        if not self.can_measure or measured_as(config, self.devices or ()) != self.measurement.name:
            self.end_measurement()

    def on_unmount(self) -> None:
        """The process belongs to the screen."""
        self.end_measurement()


def measured_in(out: str) -> Measured | None:
    """What `eqprop bench --json` has measured, by its output; `None` where that says nothing of it."""
    try:
        document = bounded_json(out)
    except (ValueError, RecursionError):
        return None
    return as_measured(document.get("measured")) if isinstance(document, dict) else None
