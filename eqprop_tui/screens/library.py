"""The library: presets in a tree by group, and beside it all about the chosen one."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult, SuspendNotSupported
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input, Static, Tree

from eqprop_core import preset_files
from eqprop_core.devices import Device, list_devices
from eqprop_core.memory import room_for
from eqprop_core.presets import Preset, PresetLibrary, all_presets
from eqprop_core.problems import ConfigError, printable
from eqprop_core.runs.folder import RunError
from eqprop_core.shell import command, joined
from eqprop_tui.describing import preset_text, words_of
from eqprop_tui.keys import bindings
from eqprop_tui.library import DEMO, data_state, mentions
from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.screens.dialogs import Answer, Ask, Choose, Read
from eqprop_tui.widgets.line import Line
from eqprop_tui.widgets.shelf import Shelf
from eqprop_tui.words import cut, memory_size

WELCOME = "First time? r trains digits by EP, in seconds; enter changes settings first."


class Filter(Line):
    """The line above the tree; enter leads into the tree."""

    async def action_submit(self) -> None:
        """Into the tree; a second enter that came with the first is meant for the preset there."""
        library = self.screen
        assert isinstance(library, LibraryScreen)
        library.apply_filter()  # what was typed may be ahead of what is shown
        if library.focused is self:  # `has_focus` learns of it later
            library.set_focus(library.shelf)
        else:
            library.action_configure()


class LibraryScreen(BaseScreen):
    """All presets."""

    PLACE = "library"
    BINDINGS = bindings(PLACE)

    def __init__(self) -> None:
        super().__init__()
        self.library = PresetLibrary({}, ())
        self.devices: Sequence[Device] | None = None  # None until they are known

    def body(self) -> ComposeResult:
        """The tree under its filter, and the chosen preset."""
        yield Static(Text(WELCOME), id="welcome")
        with Horizontal():
            with Vertical(id="shelf"):
                yield Filter(placeholder="/ filter", id="filter", select_on_focus=False)
                yield Shelf(id="presets")
                yield Static(id="unusable", classes="wrong")
            with VerticalScroll(id="about", can_focus=False):
                yield Static(id="about-text")

    def on_mount(self) -> None:
        """The keys go to the presets."""
        self.head.say("eqprop")
        self.set_focus(self.shelf)

    def on_screen_resume(self) -> None:
        """Read the presets, also again, as they may have come or gone while another screen was in front.

        What they need is found out while they are already on the screen. Where a run is to be opened at once,
        nothing is read yet.
        """
        if not self.is_active:
            return
        self.reload(self.eqprop.chosen_preset or DEMO)
        self.run_worker(self._look_around, thread=True, exclusive=True, group="devices")

    @property
    def shelf(self) -> Shelf:
        """The tree."""
        return self.query_one(Shelf)

    @property
    def chosen(self) -> Preset | None:
        """The preset under the cursor; `None` on a group."""
        return self.shelf.chosen if self.is_made else None

    # --- showing --------------------------------------------------------------------------------------

    def reload(self, at: str | None = None) -> None:
        """Read the presets again, with the cursor on one of this name."""
        library = all_presets()
        if library == self.library and at == self.eqprop.chosen_preset:
            return
        self.library = library
        count = len(self.library.problems)
        unusable = self.query_one("#unusable", Static)
        unusable.update(f"✗ {count} file{'s' * (count > 1)} cannot be used (u)")
        unusable.display = bool(count)
        self._fill(at)

    def _fill(self, at: str | None) -> None:
        words = self.query_one("#filter", Input).value.split()
        shown = [preset for preset in self.library.presets.values() if mentions(preset, words)]
        names = [preset.name for preset in shown]
        if words and words[0] in names:
            at = words[0]
        elif at not in names:  # a name says more than a description does
            at = next((name for name in names if all(word in name for word in words)), None)
        self.shelf.fill(shown, at)
        self._moved()
        if not shown:
            self._say(Text("no preset mentions all of these words", "italic"))

    def _look_around(self) -> None:
        devices = list_devices()
        self.app.call_from_thread(self._with_devices, devices)

    def _with_devices(self, devices: Sequence[Device]) -> None:
        if not self.is_made:
            return
        self.devices = devices
        first = next((device for device in devices if device.key != "cpu"), devices[0])
        where = f"{first.key} " + (f"{first.cores} cores" if first.key == "cpu" else first.name)
        total = first.memory_total
        self.head.say("eqprop", f"{where}   {memory_size(total) if total is not None else 'n/a'}")
        marks = {}
        for preset in self.library.presets.values():
            config = preset.run_config()
            if data_state(config) in ("absent", "damaged"):
                marks[preset.name] = "✗ data"
            elif room_for(config, devices).fits is False:
                marks[preset.name] = "✗ memory"
        self.shelf.mark(marks)
        self._describe()

    def _describe(self) -> None:
        preset = self.chosen
        if preset is not None:
            width = self.query_one("#about-text").content_size.width or 40
            self._say(preset_text(preset, width, self.eqprop.looks, self.devices))

    def _say(self, text: Text) -> None:
        self.query_one("#about-text", Static).update(text)

    def on_resize(self) -> None:
        """Another width breaks lines elsewhere."""
        super().on_resize()
        self.call_after_refresh(self._describe)

    def theme_changed(self) -> None:
        """What is said of a preset has colours of its own."""
        self._describe()

    @on(Tree.NodeHighlighted)
    def _moved(self) -> None:
        if self.chosen is not None:
            self.eqprop.chosen_preset = self.chosen.name
            demo = self.eqprop.first_start and self.chosen.name == DEMO
            self.query_one("#welcome").display = demo
            self.query_one("#about").scroll_home(animate=False)
            self._describe()
        self.show_keys()

    # --- filter ---------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type words to look for."""
        self.set_focus(self.query_one("#filter"))

    def action_clear(self) -> None:
        """All presets again."""
        self.query_one("#filter", Input).value = ""
        self.set_focus(self.shelf)
        self.show_keys()

    @on(Input.Changed, "#filter")
    def apply_filter(self) -> None:
        """Show the presets that mention what is typed."""
        self._fill(self.eqprop.chosen_preset)
        self.show_keys()

    def on_key(self, event: events.Key) -> None:
        """From the filter down into the tree."""
        if event.key == "down" and self.query_one("#filter").has_focus:
            event.stop()
            self.set_focus(self.shelf)

    # --- actions --------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What can be done with the chosen preset."""
        if not self.is_made:
            return True
        if action in ("run", "configure", "copy", "copy_command", "scroll"):
            return self.chosen is not None
        if action in ("edit", "delete"):
            return self.chosen is not None and not self.chosen.shipped
        if action == "clear":
            line = self.query_one("#filter", Input)
            return bool(line.value) or line.has_focus
        if action == "filter":  # which takes the key before a line does
            return not self.query_one("#filter").has_focus
        if action == "unusable":
            return bool(self.library.problems)
        return True

    @on(Tree.NodeSelected)
    def _selected(self, event: Tree.NodeSelected[object]) -> None:
        if self.chosen is not None:
            self.action_configure()

    def action_configure(self) -> None:
        """Change settings before starting."""
        if self.chosen is not None:
            self.eqprop.open_configure(self.chosen.config, self.chosen.name, self.chosen)

    def action_run(self) -> None:
        """Start the chosen preset."""
        if self.chosen is not None:
            self.eqprop.first_start = False
            self._moved()
            self.eqprop.start_preset(self.chosen)

    def action_copy_command(self) -> None:
        """The equivalent command line to the clipboard."""
        if self.chosen is not None:
            self.eqprop.copy(joined(words_of(self.chosen.run_config())))

    def action_copy(self) -> None:
        """Copy the chosen preset to one of one's own."""
        if (preset := self.chosen) is None:
            return

        def made(name: str | None) -> None:
            if name:
                try:
                    copy = preset_files.copy_preset(preset, name)
                except (ConfigError, RunError) as error:
                    self.eqprop.tell(error)
                else:
                    self.action_clear()
                    self.reload(copy.name)

        hint = f"kept in {preset_files.own_folder(here=False)}"
        self.app.push_screen(
            Ask(f"copy {preset.name} to", f"my-{preset.name}", hint=hint, judge=name_problem), made
        )

    def action_edit(self) -> None:
        """Edit one's own preset in $EDITOR, on the terminal."""
        from eqprop_tui.cli import own_presets, report

        if (preset := self.chosen) is None:
            return
        said: list[str] = []

        def say(words: str) -> None:
            said.append(words)
            report.say(words)

        try:
            with self.app.suspend():
                own_presets.edit_on_terminal(preset.path.stem, say)
        except SuspendNotSupported:
            self.eqprop.tell(
                f"no editor can be opened here; {command('presets', 'edit', preset.name)} does it"
            )
        except (ConfigError, RunError, OSError) as error:
            self.eqprop.tell("\n".join([str(error), *said]))
        except (typer.Abort, KeyboardInterrupt):
            self.eqprop.tell("\n".join(said) or "not edited", severity="warning")
        else:
            self.eqprop.tell("\n".join(said), severity="information")
        self.reload(preset.name)
        self._describe()

    def action_delete(self) -> None:
        """Delete one's own preset, after asking."""
        if (preset := self.chosen) is None:
            return

        def answered(answer: str | None) -> None:
            if answer == "delete":
                try:
                    preset_files.delete_file(preset.path)
                except RunError as error:
                    self.eqprop.tell(error)
                self.reload(None)

        answers = [Answer("n", "keep", "no, keep it"), Answer("d", "delete", f"delete {preset.path}")]
        self.app.push_screen(Choose(f"delete {cut(preset.name, 50)}?", answers), answered)

    def action_unusable(self) -> None:
        """Say what is wrong with files that cannot be used."""
        lines = "\n\n".join(
            printable(line) for problem in self.library.problems for line in str(problem).splitlines()
        )
        self.app.push_screen(Read("files that cannot be used", lines))

    def action_scroll(self, way: int) -> None:
        """Read on, or back, by half of what is seen."""
        about = self.query_one("#about")
        about.scroll_relative(y=way * max(1, about.size.height // 2), animate=False)

    def action_runs(self) -> None:
        """To the table of runs."""
        self.eqprop.open_runs()


def name_problem(name: str) -> str | None:
    """What keeps a new preset from having this name, or None."""
    try:
        preset_files.free_place(name, here=False)
    except ConfigError as error:
        return error.problems[0].message
    return None
