"""The terminal application: its screens, the runs that are watched, what is remembered.

Reads run folders and writes requests, as the commands do; trains nothing itself and never imports torch.
Whatever happens to it, runs go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import events
from textual.actions import ActionParseResult
from textual.app import SystemCommand
from textual.dom import DOMNode
from textual.filter import LineFilter
from textual.notifications import SeverityLevel
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input
from textual.worker import Worker

from eqprop_core.catalogue import DataError
from eqprop_core.presets import Preset, all_presets
from eqprop_core.problems import ConfigError, printable, printable_lines
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Start
from eqprop_core.runs.listing import ALIVE, RunSummary, called, summarize
from eqprop_core.runs.settings import Plan, make_plan
from eqprop_core.runs.starting import start_new
from eqprop_core.shell import command, joined
from eqprop_tui import clipboard
from eqprop_tui.characters import Characters
from eqprop_tui.ending import Ending
from eqprop_tui.keys import TABLE, bindings
from eqprop_tui.library import data_state
from eqprop_tui.looks import TEXTUAL_NAMES, THEMES, Looks, glyphs_for
from eqprop_tui.marks import Marks
from eqprop_tui.once import Once
from eqprop_tui.preferences import load_preferences, save_preferences
from eqprop_tui.screens import run_actions
from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.screens.dialogs import Ask, Read
from eqprop_tui.screens.library import LibraryScreen
from eqprop_tui.screens.steering import Steering
from eqprop_tui.widgets.palette import Palette
from eqprop_tui.widgets.runs_table import Choice

FRAME = 0.25  # seconds between two pictures of what is live
SLOW_FRAME = 1.0  # with a low bandwidth
MANY_WAITING = 100  # keys, from where on repetitions are left out
MOST_TOLD = 5  # notifications at once


@dataclass(frozen=True)
class Options:
    """How the application was asked to begin: a run to open, folders of runs, how to draw.

    `check_at_end` are flags of a GDU check of that run, made once it is complete.
    """

    run: Path | None = None
    results: Path | None = None
    low_bandwidth: bool = False
    glyphs: str | None = None
    check_at_end: tuple[str, ...] | None = None


class EqpropApp(Ending, inherit_bindings=False):
    """The application; `options` are those of the command line."""

    CSS_PATH = "app.tcss"
    TITLE = "eqprop"
    BINDINGS = bindings("everywhere")

    def __init__(self, options: Options = Options()) -> None:
        super().__init__()
        self.options = options
        self.preferences = load_preferences()
        self.first_start = not self.preferences.seen
        self.chosen_preset: str | None = None  # where the cursor of the library is
        self.watched: list[Path] = []  # runs that were opened, in that order
        self.once = Once()
        self._key_before: str | None = None
        self.checking: dict[Path, float] = {}  # runs whose weights are checked here, and since when
        self.check_at_end = options.check_at_end
        self.stopping: set[Path] = set()  # of them, those that were asked to stop on leaving
        self.marks = Marks()  # of runs in the table, for comparing
        self.runs_choice = Choice()
        for theme in THEMES.values():
            self.register_theme(theme)
        self.glyphs = glyphs_for(options.glyphs or self.preferences.glyphs)
        self.characters = Characters(self.glyphs)
        self.theme = TEXTUAL_NAMES[self.preferences.theme]
        self.frame = SLOW_FRAME if options.low_bandwidth else FRAME
        if options.low_bandwidth:
            self.animation_level = "none"

    @property
    def looks(self) -> Looks:
        """The palette and the glyphs of now."""
        return Looks(self.preferences.theme, self.glyphs)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What lines go through before they are sent: Textual's own, and what this terminal cannot show."""
        return [*super().get_line_filters(), self.characters]

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A blinking cursor would be sent twice a second."""
        if self.options.low_bandwidth and isinstance(event.widget, Input):
            event.widget.cursor_blink = False

    def on_mount(self) -> None:
        """Open the library, and the run that was asked for over it."""
        self.push_screen(LibraryScreen())
        if self.options.run is not None:
            self.open_run(self.options.run)
        self.remember(seen=True)

    @property
    def waiting(self) -> int:
        """How many messages wait to be worked off where keys go, as any thread may ask."""
        with suppress(Exception):  # a screen comes or goes
            pumps = [pump for pump in (self, self.screen, self.focused) if pump is not None]
            return max(pump.message_queue_size for pump in pumps)
        return 0

    async def on_event(self, event: events.Event) -> None:
        """Take no more keys once it ends, and of one that is held down no more than can be worked off.

        But all letters of a text: a terminal may paste it as keys.
        """
        if isinstance(event, events.InputEvent) and not event.is_forwarded:
            if self._exit:
                return
            key = event.key if isinstance(event, events.Key) else None
            held, self._key_before = key is not None and key == self._key_before, key
            is_text = isinstance(event, events.Key) and event.is_printable and isinstance(self.focused, Input)
            if held and not is_text and self.waiting > MANY_WAITING:
                return
        await super().on_event(event)

    def remember(self, **choices: object) -> None:
        """Keep a choice for the next time; where it cannot be written, for this time."""
        self.preferences = self.preferences.model_copy(update=choices)
        save_preferences(**choices)

    # --- going places ---------------------------------------------------------------------------------

    def open_run(self, run: Path) -> None:
        """Watch a run."""
        from eqprop_tui.screens.configure import ConfigureScreen
        from eqprop_tui.screens.monitor import MonitorScreen

        if run not in self.watched:
            self.watched.append(run)
        if isinstance(self.screen, MonitorScreen | ConfigureScreen):
            self.switch_screen(MonitorScreen(run))
        else:
            self.push_screen(MonitorScreen(run))

    def open_configure(self, settings: Mapping[str, Any], origin: str, preset: Preset | None = None) -> None:
        """Change settings before starting.

        `settings` are those to begin with, by name as a preset or `config.toml` has them; `origin` says where
        they came from (the name of a preset, of a run); `preset` is the one that a run is to be known by.
        """
        from eqprop_tui.screens.configure import ConfigureScreen

        self.push_screen(ConfigureScreen(settings, origin, preset))

    def open_configure_like(self, run: RunSummary) -> None:
        """Change the settings of a run before starting another one, known by the same preset."""

        if not self.once.begin(opening := ("configure", run.path)):
            return

        def read() -> None:
            self.once.end(opening)
            try:
                settings = run_actions.settings_of(run.path)
                preset = all_presets().presets.get(run.preset or "")
            except (ConfigError, RunError, OSError) as error:
                self.call_from_thread(self.tell, error)
            else:
                self.call_from_thread(self.open_configure, settings, run.name, preset)

        self.run_worker(read, thread=True)

    def begin_anew(self) -> None:
        """The library, in place of a screen that failed."""
        self.open_library()

    def open_runs(self) -> None:
        """The table of runs, in place of the library."""
        from eqprop_tui.screens.runs import RunsScreen

        self.switch_screen(RunsScreen())

    def open_library(self) -> None:
        """The library, in place of the table of runs."""
        self.switch_screen(LibraryScreen())

    def start(self, plan: Plan, wanted: Start | None = None, *, watch: bool = True) -> Worker[None] | None:
        """Start a run in a process of its own, and watch it if wished; says what is wrong where it cannot be.

        Starting takes a moment (it looks at the devices), and does not hold up the keys. What is being
        started is not started again.
        """
        if not self.once.begin(plan.command):
            return None

        def work() -> None:
            try:
                if plan.config.todo == "train":
                    self._start(plan, wanted, watch)
                else:
                    self._carry_out(plan)
            finally:
                self.once.end(plan.command)

        return self.run_worker(work, thread=True)

    def start_preset(self, preset: Preset, *, watch: bool = True) -> None:
        """Start a preset as it is: a run of its own, or a check or an evaluation whose result is shown."""
        todo = preset.run_config().todo
        flags = {"results": str(self.options.results)} if self.options.results is not None else {}
        try:
            plan = make_plan(todo, flags, preset, ("eqprop", todo, "--preset", preset.name))
        except (ConfigError, RunError) as error:
            self.tell(error)
        else:
            self.start(plan, watch=watch)

    def resume(self, run: Path, more_epochs: int | None = None) -> None:
        """Let a paused run go on, or start one that has ended; asks for epochs to add to a complete one."""
        summary = summarize(run)
        if summary.state != "finished" or more_epochs is not None:
            self.do(lambda: run_actions.resume(run, more_epochs), once=("resume", run))
            return

        def answered(epochs: str | None) -> None:
            if epochs is not None:
                self.resume(run, int(epochs))

        title = f"{summary.name} is complete; how many epochs more?"
        self.push_screen(Ask(title, str(summary.epochs or 1), judge=run_actions.judge_epochs), answered)

    def check_weights(self, run: Path, flags: Sequence[str] = ()) -> None:
        """GDU check of the weights of a run that has ended; the monitor finds it where it is saved."""
        if not self.once.begin(("check", run)):
            return
        self.checking[run] = time.time()

        def work() -> None:
            try:
                words = ["gducheck", "--load-path", str(run), "--save", *flags]
                status, _, diagnostics = self.commands.carry_out(words)
            except OSError as error:
                status, diagnostics = 1, str(error)
            finally:
                del self.checking[run]
                self.once.end(("check", run))
            if self.is_running and status > 0:
                self.call_from_thread(self.push_screen, Read("no GDU check", printable_lines(diagnostics)))

        self.run_worker(work, thread=True)

    def do(
        self,
        work: Callable[[], str],
        after: Callable[[], object] = lambda: None,
        *,
        once: Hashable = None,
    ) -> None:
        """Work in a thread, and say what it did or what went wrong; `after` is called there at its end.

        What is named `once` is not begun again while it is under way.
        """
        if once is not None and not self.once.begin(once):
            return

        def run() -> None:
            try:
                said = work()
            except (ConfigError, RunError, DataError, OSError) as error:
                self.call_from_thread(self.tell, error)
            else:
                self.call_from_thread(self.tell, said, severity="information")
            finally:
                self.once.end(once)
            after()

        self.run_worker(run, thread=True)

    def _carry_out(self, plan: Plan) -> None:
        """An evaluation or a check, as the command does it; what it prints comes up in a dialog."""
        what = joined(plan.command)
        self.call_from_thread(
            self.tell, f"{what}: what it prints comes up here; leaving ends it", severity="information"
        )
        try:
            status, out, diagnostics = self.commands.carry_out(plan.command[1:])
        except OSError as error:
            self.call_from_thread(self.tell, error)
            return
        if self.is_running and status >= 0:
            self.call_from_thread(
                self.push_screen, Read(plan.config.todo, out if status == 0 else diagnostics)
            )

    def _start(self, plan: Plan, wanted: Start | None, watch: bool) -> None:
        try:
            if plan.stored is not None:
                raise RunError(f"{plan.stored.path}: goes on by resuming it, in the table of runs")
            run, launched = start_new(plan, wanted)
        except (ConfigError, RunError) as error:
            self.call_from_thread(self.tell, error)
            return
        if data_state(plan.config) == "absent":
            said = f"{plan.config.task} is not here: the run fetches it first"
            self.call_from_thread(self.tell, said, severity="information")
        for warning in launched.warnings:
            self.call_from_thread(self.tell, warning, severity="warning")
        if launched.ahead:
            said = f"waits for {launched.place.key} behind {len(launched.ahead)}"
            self.call_from_thread(self.tell, said, severity="information")
        if watch:
            self.call_from_thread(self.open_run, run.path)
        else:
            self.watched.append(run.path)
            self.call_from_thread(self.tell, f"started {run.path}", severity="information")

    def notify(self, message: str, *, title: str = "", markup: bool = False, **more: Any) -> None:
        """Show a message for a while: words, not Textual's markup; none twice, and the last few only."""
        said, shown = printable_lines(message), list(self._notifications)
        if any(note.message == said for note in shown):
            return
        for note in shown[: 1 - MOST_TOLD]:
            self._unnotify(note, refresh=False)
        super().notify(said, title=title, markup=markup, **more)

    def tell(self, problem: Exception | str, *, severity: SeverityLevel = "error") -> None:
        """Say what went wrong, or what is worth knowing."""
        self.notify(str(problem), severity=severity, timeout=8)

    def copy(self, text: str) -> None:
        """Copy a text as far as the terminal allows, and show it with where it went."""

        def by_tmux() -> None:
            if clipboard.give_to_tmux(text):
                self.call_from_thread(said, True)
            else:
                self.call_from_thread(by_terminal)

        def by_terminal() -> None:
            self.copy_to_clipboard(text)
            said(False)

        def said(by_tmux: bool) -> None:
            where = clipboard.in_words(by_tmux=by_tmux)
            self.tell(f"{printable(text)}\n\n{where}", severity="information")

        if clipboard.inside_tmux():
            self.run_worker(by_tmux, thread=True)
        else:
            by_terminal()

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Do what a key asks of a screen once that is made; not of one that is left already."""
        screen = default_namespace.screen if isinstance(default_namespace, Widget) else None
        if self._exit or (screen is not None and not screen.is_active):
            return False
        if screen is not None and not screen.is_mounted:
            return screen.call_later(self.run_action, action, default_namespace, namespaces)
        return await super().run_action(action, default_namespace, namespaces)

    # --- actions that hold everywhere -----------------------------------------------------------------

    def action_help(self) -> None:
        """All keys of the screen; a dialog says its own."""
        if place := getattr(self.screen, "PLACE", ""):
            self.push_screen(Read(f"keys: {place}", help_text(place)))

    def action_leave(self) -> None:
        """Leave; runs go on. The monitor asks first, about a run that does."""
        if isinstance(self.screen, Steering):
            self.screen.action_quit_run()
        else:
            self.exit()

    def action_command_palette(self) -> None:
        """Every command by its name."""
        if not isinstance(self.screen, Palette):
            self.push_screen(Palette())

    def action_next_theme(self) -> None:
        """Dark, light, the terminal's 16 colours, and again."""
        order = list(TEXTUAL_NAMES)
        theme = order[(order.index(self.preferences.theme) + 1) % len(order)]
        self.remember(theme=theme)
        self.theme = TEXTUAL_NAMES[theme]
        for screen in self.screen_stack:
            if isinstance(screen, BaseScreen):
                self.call_after_refresh(screen.theme_changed)

    def action_redraw(self) -> None:
        """Send everything again, as after another program has written on the terminal."""
        self.refresh(layout=True)
        self.screen.refresh()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: what the keys of this screen do, then what holds everywhere."""
        place = getattr(screen, "PLACE", "")
        for name, target in ((place, screen), ("everywhere", self)):
            for key in TABLE.get(name, ()):
                if key.widget or key.action == "command_palette":
                    continue
                if target.check_action(key.action.split("(")[0], ()) is not True:
                    continue
                yield SystemCommand(
                    key.label, f"{key.help} ({key.written})", lambda k=key, t=target: t.run_action(k.action)
                )


def help_text(place: str) -> Text:
    """Every key that can be used on a screen, with a sentence each."""
    text = Text()
    for name in (place, "chart", "everywhere"):
        if name == "chart" and place not in ("monitor", "compare"):
            continue
        if text:
            text.append("\n")
        text.append({"chart": "in a chart", "everywhere": "everywhere"}.get(name, place) + "\n", "bold")
        for key in TABLE[name]:
            text.append(f"  {key.written:<8}", "bold")
            text.append(f" {key.help}\n")
    return text


def farewell(app: EqpropApp) -> list[str]:
    """A line for each watched run that goes on after the application has been left."""
    lines = []
    for path in app.watched:
        summary = summarize(path)
        if summary.state in ALIVE:
            name = called(RunFolder(path))
            if path in app.stopping:
                lines.append(
                    f"{summary.name} stops after its batch; go on: {command('runs', 'resume', name)}"
                )
            else:
                lines.append(f"{summary.name} goes on ({summary.state}); come back: {command('--run', name)}")
    return lines
