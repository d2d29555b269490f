"""Settings of a run that is to be started: a form by sections, judged as one types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Input, Static
from textual.worker import Worker

from eqprop_core import preset_files
from eqprop_core.config import SECTIONS
from eqprop_core.devices import Device, Occupant, list_devices, occupants
from eqprop_core.memory import room_for
from eqprop_core.presets import Preset
from eqprop_core.problems import ConfigError, printable
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.launcher import Start
from eqprop_core.runs.logout import user
from eqprop_tui.cli import report
from eqprop_tui.describing import add_facts, dry_run_text, layer_lines
from eqprop_tui.forms import FIELDS, Form, as_text, explained, settings_of
from eqprop_tui.keys import bindings
from eqprop_tui.library import USABLE, data_in_words, data_state, memory_in_words
from eqprop_tui.screens.dialogs import Answer, Ask, Choose, Read
from eqprop_tui.screens.library import name_problem
from eqprop_tui.screens.measuring import Measuring
from eqprop_tui.widgets.choice import Choice, DeviceChoice
from eqprop_tui.widgets.field import Field
from eqprop_tui.widgets.sections import Sections
from eqprop_tui.words import cut

LOOK_AGAIN = 3.0  # seconds between two looks at the devices, while they are shown
DIALOG_WIDTH = 66
COMMAND_LINES = 4  # that are shown of the command line; ctrl+y copies all of it


class ConfigureScreen(Measuring):
    """A form over `settings`, which came from `origin`; `preset` is the one that a run is to be known by."""

    PLACE = "configure"
    BINDINGS = bindings(PLACE)

    def __init__(self, settings: Mapping[str, Any], origin: str, preset: Preset | None = None) -> None:
        super().__init__()
        self.origin = origin
        self.form = Form(settings, preset)
        self.section = 0
        self.devices: Sequence[Device] | None = None
        self.starting: Worker[Any] | None = None

    def body(self) -> ComposeResult:
        """Sections, the fields of one of them, and what they come to."""
        yield Sections(id="sections")
        with Container(id="form"):
            with VerticalScroll(id="fields", can_focus=False):
                for section in SECTIONS:
                    yield Vertical(id=f"section-{section}", classes="section")
            with VerticalScroll(id="comes-to", can_focus=False):
                yield Static(id="layers")
        yield Static(id="explains")
        yield Static(id="command")

    async def on_mount(self) -> None:
        """The network is what most is changed in."""
        await self.go_to_section(SECTIONS.index("network"))
        self.look_around()
        self.set_interval(LOOK_AGAIN, self._look_again)

    # --- showing --------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Show what is wrong, what was changed, and what the settings come to."""
        form = self.form
        self.end_measurement_of_others()
        hidden, changed = form.hidden, form.changed
        for field in self.query(Field):
            name = field.setting
            problem = form.problems.get(name)
            completed = as_text(name, getattr(form.config, name, None))
            field.display = name not in hidden
            field.show(problem.message if problem else None, changed=name in changed, completed=completed)
        count = len(changed)
        right = f"{count} change{'s' * (count != 1)}  ctrl+u undo" if count else "no changes"
        self.head.say(Text.assemble("configure   from ", (printable(self.origin), "bold")), right)
        self._show_sections()
        self._show_result()
        self._explain()
        self.show_keys()

    def _show_sections(self) -> None:
        wrong = [sum(name in self.form.problems for name in settings_of(section)) for section in SECTIONS]
        self.query_one(Sections).tell(self.section, wrong)

    @on(Sections.Chosen)
    async def _pointed_at(self, event: Sections.Chosen) -> None:
        await self.go_to_section(event.place)

    def _show_result(self) -> None:
        form, looks = self.form, self.eqprop.looks
        dim, bad = looks.colour("dim"), looks.colour("bad")
        config = form.config or form.last_valid
        layers = self.query_one("#layers", Static)
        text = Text()
        if config is None:
            text.append("the layers are shown once the settings fit together", dim)
        else:
            short = self.has_class("-short")
            state = data_state(config)
            place = room_for(config, self.devices or ())
            width = layers.content_size.width or 40
            facts = [
                ("data", data_in_words(config, state), "" if state in USABLE else bad),
                ("memory", memory_in_words(config, place), bad if place.fits is False else ""),
            ]
            if takes := self.time_line(config, short=short):
                facts.append(("time", takes, ""))
            if not short:
                facts.append(("does", report.plan_in_words(config), ""))
            facts += [("note", said, looks.colour("waiting")) for said in report.cautions_of(config)]
            add_facts(text, facts, width, dim, names=8)
            text.append("" if short else "\n")
            for line in layer_lines(config, width):
                text.append_text(line).append("\n")
            if form.config is None:
                text.stylize(dim)
        layers.update(text)
        if form.problems:
            first = next(iter(form.problems.values()))
            said = Text(f"✗ {first}", bad)
        else:
            width = max(1, self.app.size.width - 2)
            words = wrap(f"$ {printable(form.command())}", width, break_on_hyphens=False)
            if len(words) > COMMAND_LINES:
                words[COMMAND_LINES - 1 :] = [cut(" ".join(words[COMMAND_LINES - 1 :]), width)]
            said = Text("\n".join(words))
        self.query_one("#command", Static).update(said)

    def theme_changed(self) -> None:
        """The marks of fields have colours of their own."""
        if self.is_made:
            self.judge()

    def on_resize(self) -> None:
        """Another width breaks lines elsewhere."""
        super().on_resize()
        if self.is_made:
            self.call_after_refresh(self._show_result)

    # --- devices --------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Find out which devices there are, and how busy."""
        self.run_worker(self._look, thread=True, exclusive=True, group="devices")

    def _look_again(self) -> None:
        if SECTIONS[self.section] == "run" and self.is_current:
            self.look_around()

    def _look(self) -> None:
        devices, own = list_devices(), user()
        others: dict[str, Sequence[Occupant]] = {
            device.key: [other for other in occupants(device.uuid) if other.owner != own]
            for device in devices
            if device.uuid
        }
        self.app.call_from_thread(self._with_devices, devices, others)

    def _with_devices(self, devices: Sequence[Device], others: dict[str, Sequence[Occupant]]) -> None:
        if self.is_made:
            self.devices = devices
            for choice in self.query(DeviceChoice):
                choice.know(devices, others)
            self._show_result()
            self.show_keys()

    # --- typing ---------------------------------------------------------------------------------------

    @property
    def field(self) -> Field | None:
        """The field that is typed in."""
        focused = self.focused
        found = [node for node in focused.ancestors if isinstance(node, Field)] if focused else []
        return found[0] if found else None

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._take(event.input, event.value)

    @on(Choice.Changed)
    def _chosen(self, event: Choice.Changed) -> None:
        self._take(event.choice, event.value)

    def _take(self, control: Input | Choice, text: str) -> None:
        field = next(node for node in control.ancestors if isinstance(node, Field))
        if self.form.typed[field.setting] != text:
            self.form.type(field.setting, text)
            self.judge()

    @on(Input.Submitted)
    async def _entered(self) -> None:
        await self.action_field(1)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """What is explained, and what can be undone, depends on the field."""
        self._explain()
        self.show_keys()

    def _explain(self) -> None:
        if (field := self.field) is not None:
            name = field.setting
            words = explained(name, self.form.typed[name])
            dim = self.eqprop.looks.colour("dim")
            was = (
                f"  (was {printable(self.form.start[name]) or 'not given'})"
                if name in self.form.changed
                else ""
            )
            said = Text.assemble((name.replace("_", "-") + "  ", "bold"), (words + was, dim))
            self.query_one("#explains", Static).update(said)

    async def action_field(self, by: int) -> None:
        """The next setting, or the one before; past the last one the next section begins."""
        hidden = self.form.hidden
        names = [name for name in FIELDS if name not in hidden]
        here = self.field.setting if self.field is not None else ""
        at = names.index(here) + by if here in names else 0
        await self.show_setting(names[at % len(names)])

    async def show_setting(self, name: str) -> None:
        """Put the cursor into the field of a setting."""
        section = next(at for at, section in enumerate(SECTIONS) if name in settings_of(section))
        if section != self.section:
            await self.go_to_section(section, name)
        else:
            self._point_at(self.query_one(f"#field-{name}", Field))

    async def go_to_section(self, place: int, name: str | None = None) -> None:
        """Show a section, with the cursor in the field of this setting, or else in the first one.

        Its fields are made when it is shown for the first time: all at once they would take a second.
        """
        self.section = place % len(SECTIONS)
        shown = SECTIONS[self.section]
        inside = self.query_one(f"#section-{shown}")
        if not inside.children:
            await inside.mount_all(Field(name, self.form.typed[name]) for name in settings_of(shown))
        for section in SECTIONS:
            self.query_one(f"#section-{section}").display = section == shown
        self.judge()
        fields = [field for field in inside.query(Field) if field.display]
        chosen = [field for field in fields if field.setting == name] or fields
        if chosen:  # none where the screen is left already
            self._point_at(chosen[0])
        if shown == "run":
            self.look_around()

    def _point_at(self, field: Field) -> None:
        if field.made:  # its section may have been gone to by another key, and still be made
            self.set_focus(field.control)

    async def action_next_section(self) -> None:
        """The section after this one."""
        await self.go_to_section(self.section + 1)

    async def action_previous_section(self) -> None:
        """The section before."""
        await self.go_to_section(self.section - 1)

    def action_undo(self) -> None:
        """Give the setting back what it was."""
        if (field := self.field) is not None:
            field.put(self.form.undo(field.setting))
            self.judge()

    # --- starting -------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What can be done with what is typed."""
        if action in ("start", "detach", "now") and self.starting is not None:
            return not self.starting.is_running
        if action == "time":
            return self.is_made and self.can_measure
        if action == "undo":
            return self.is_made and self.field is not None and self.field.setting in self.form.changed
        return True

    async def go_to_problem(self) -> bool:
        """Say what is wrong first, with the cursor there; whether something is."""
        if not self.form.problems:
            return False
        first = next(iter(self.form.problems.values()))
        self.eqprop.tell(str(first))
        if first.setting in FIELDS and first.setting not in self.form.hidden:
            await self.show_setting(first.setting)
        return True

    async def _start(self, wanted: Start, *, watch: bool) -> None:
        if await self.go_to_problem():
            return
        try:
            plan = self.form.plan()
        except (ConfigError, RunError) as error:
            self.eqprop.tell(error)
            return
        self.starting = self.eqprop.start(plan, wanted, watch=watch) or self.starting

    async def action_start(self) -> None:
        """Start and watch; it waits for its device."""
        await self._start(Start(), watch=True)

    async def action_detach(self) -> None:
        """Start, and stay here."""
        await self._start(Start(), watch=False)

    async def action_now(self) -> None:
        """Start without waiting for other runs."""
        await self._start(Start(now=True), watch=True)

    # --- the rest -------------------------------------------------------------------------------------

    async def action_save(self) -> None:
        """Save the settings as a preset of one's own."""
        if await self.go_to_problem():
            return

        def named(name: str | None) -> None:
            if not name:
                return
            changes = self.form.given(self.form.changed)
            made = preset_files.made_from(self.origin, changes, ())
            text = preset_files.preset_text(self.form.stated(), description=made)
            try:
                preset = preset_files.write_preset(preset_files.free_place(name, here=False), text)
            except (ConfigError, RunError) as error:
                self.eqprop.tell(error)
                return
            self.eqprop.tell(f"saved {preset.path}", severity="information")
            self.eqprop.chosen_preset = self.origin = preset.name
            self.form.preset = preset
            self.form.begin({**preset.config, **self.form.given(("results",))})
            self.judge()

        hint = f"kept in {preset_files.own_folder(here=False)}"
        self.app.push_screen(Ask("save as a preset called", hint=hint, judge=name_problem), named)

    async def action_dry_run(self) -> None:
        """What `--dry-run` shows."""
        if not await self.go_to_problem():
            assert self.form.config is not None
            self.app.push_screen(Read("dry run", dry_run_text(self.form.config, DIALOG_WIDTH)))

    async def action_copy_command(self) -> None:
        """The equivalent command line to the clipboard."""
        if not await self.go_to_problem():
            self.eqprop.copy(self.form.command())

    def action_back(self) -> None:
        """Back; asks where something was changed."""
        if not self.form.changed:
            self.app.pop_screen()
            return

        def answered(answer: str | None) -> None:
            if answer == "leave":
                self.app.pop_screen()

        answers = [Answer("s", "stay", "stay here"), Answer("l", "leave", "leave; what was changed is lost")]
        self.app.push_screen(Choose("The settings were changed.", answers), answered)
