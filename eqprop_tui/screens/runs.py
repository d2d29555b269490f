"""The table of runs: find them, choose some, watch, compare, steer and delete them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from eqprop_core.runs.filtering import ACCEPTED, parse
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.listing import ALIVE, RunSummary
from eqprop_core.shell import command, quoted
from eqprop_tui.groups import Group
from eqprop_tui.keys import bindings
from eqprop_tui.screens import run_actions
from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.screens.dialogs import Answer, Ask, Choose
from eqprop_tui.watching.lister import Found, Lister
from eqprop_tui.widgets.runs_table import HEADINGS, Choice, RunsTable

WAYS_TO_AGREE = (
    Answer("n", "leave", "no, leave it"),
    Answer("y", "go on", "yes, run what is above"),
)
MOST_LINES, LONGEST_LINE = 6, 300  # of what there is room for in a question, all of it
LOOKING = ("looking for runs …",)
NONE_YET = ("no runs yet", "", "tab goes to the presets: choose one, and r starts it")
NO_MATCH = ("no run matches", "", "esc shows all again; / changes what is looked for")


class RunsScreen(BaseScreen):
    """All runs under the results folders."""

    PLACE = "runs"
    BINDINGS = bindings("runs")
    AUTO_FOCUS = "RunsTable"

    class Listed(Message):
        """The runs as they were last found."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    def __init__(self) -> None:
        super().__init__()
        self.found: Found | None = None
        self.lister = Lister(None, lambda found: self.post_message(self.Listed(found)))

    def body(self) -> ComposeResult:
        """The filter and the table."""
        with Horizontal(id="filter-bar"):
            yield Static("/", id="filter-sign")
            yield Input(self.eqprop.runs_choice.filter, id="filter", select_on_focus=False)
            yield Static(id="filter-wrong")
        yield RunsTable(self.eqprop.runs_choice, self.eqprop.marks, id="runs")

    def on_mount(self) -> None:
        """Begin to look."""
        self.table.empty = LOOKING
        if self.eqprop.options.results is not None:
            self.lister.roots = [self.eqprop.options.results]
        self._filter(self.choice.filter)
        self.lister.start()
        self._say()

    def on_unmount(self) -> None:
        """Nobody looks on."""
        self.lister.stop()

    def on_screen_suspend(self) -> None:
        """Nothing is looked for while another screen is shown."""
        self.lister.hold()

    def on_screen_resume(self) -> None:
        """Much may have changed meanwhile."""
        if self.is_made:
            self.lister.look()

    @property
    def table(self) -> RunsTable:
        """The table."""
        return self.query_one(RunsTable)

    @property
    def choice(self) -> Choice:
        """What a person has chosen to see."""
        return self.eqprop.runs_choice

    @on(Listed)
    def _listed(self, event: Listed) -> None:
        self.found = event.found
        self.table.empty = NO_MATCH if event.found.of else NONE_YET
        self.table.show(event.found.alone, event.found.groups)
        self._say()

    @on(RunsTable.Pointed)
    @on(RunsTable.Sorted)
    def _say(self) -> None:
        """Say how many there are, and what can be done with the one that is pointed at."""
        found = self.found
        parts = ["looking …" if found is None else f"{len(self.table.runs):,} of {found.of:,}"]
        if self.eqprop.marks:
            parts.append(f"{len(self.eqprop.marks)} marked")
        parts.append(f"sort {self.choice.column} {'↓' if self.choice.falling else '↑'}")
        self.head.say(Text("runs", "bold"), "   ".join(parts))
        self.show_keys()

    @property
    def key_labels(self) -> dict[str, str]:
        """On the line of a sweep, its keys do what they do to all of its runs."""
        return {"watch": "its table"} if self.is_made and isinstance(self.table.line, Group) else {}

    # --- the filter -------------------------------------------------------------------------------------

    @property
    def filtering(self) -> bool:
        """Whether keys go to the filter."""
        return self.query_one("#filter", Input).has_focus

    def _filter(self, text: str) -> None:
        """Choose by what was typed, and say what is wrong with a part of it."""
        wanted, wrong = parse(text)
        said = self.query_one("#filter-wrong", Static)
        said.update(Text(f"✗ {wrong}" if wrong else "" if text else ACCEPTED))
        said.set_class(wrong is not None, "wrong")
        self.query_one("#filter-bar").display = bool(text) or self.filtering
        self.choice.filter = text
        self.lister.choose(wanted)

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        self._filter(event.value)

    @on(Input.Submitted, "#filter")
    def _entered(self) -> None:
        self.table.focus()
        self.call_after_refresh(self._filter, self.choice.filter)

    def action_filter(self) -> None:
        """Type what to look for."""
        self.query_one("#filter-bar").display = True
        self.query_one("#filter", Input).focus()
        self.show_keys()

    def action_unfilter(self) -> None:
        """Show all runs."""
        self.query_one("#filter", Input).value = ""
        self._entered()

    # --- pointing, marking, sorting -----------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Point at another run."""
        self.table.move(by)

    def action_page(self, way: int) -> None:
        """A page on or back."""
        self.table.move(way * self.table.page)

    def action_end(self, way: int) -> None:
        """The last run, or the first."""
        self.table.move(way * len(self.table.lines))

    def action_mark(self) -> None:
        """Mark the run or all runs of the sweep, or take their marks away, and go to the next line."""
        marks, line = self.eqprop.marks, self.table.line
        if line is None:
            return
        runs = line.shown if isinstance(line, Group) else (line,)
        change = marks.discard if all(run.path in marks for run in runs) else marks.add
        for run in runs:
            change(run.path)
        self.table.move(1)

    def action_unfold(self, way: int) -> None:
        """Show the runs of the sweep under it, or do not."""
        if (group := self.table.group) is not None:
            self.table.open(group, wide=way > 0)
            self._say()

    def action_table(self) -> None:
        """The table of the sweep: what its cells came to."""
        if (group := self.table.group) is not None:
            from eqprop_tui.screens.sweep import SweepScreen

            self.app.push_screen(SweepScreen(group.path))

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.eqprop.marks.clear()
        self.table.redraw()
        self._say()

    def action_sort(self) -> None:
        """Sort by the next column."""
        at = HEADINGS.index(self.choice.column)
        self.table.sort_by(HEADINGS[(at + 1) % len(HEADINGS)])

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.table.sort_by(self.choice.column)

    # --- what is done with runs ---------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what cannot be done with the run that is pointed at, or the marked ones."""
        if not self.is_made:
            return True
        run = self.table.run
        states = [chosen.state for chosen in self.targets()]
        possible = {
            "unfilter": self.filtering or bool(self.choice.filter),
            "unmark": bool(self.eqprop.marks),
            "stop": any(state in ALIVE for state in states) or self._pointed_sweep() is not None,
            "delete": bool(states) and not any(state in (*ALIVE, "unreachable") for state in states),
            "resume": self._pointed_sweep() is not None
            or (run is not None and (run.state == "paused" or run.state not in ALIVE)),
            "table": self.table.group is not None,
            "unfold": self.table.group is not None and not self.choice.filter,
            "compare": bool(states),
            **dict.fromkeys(("watch", "mark", "copy_path"), self.table.line is not None),
            **dict.fromkeys(("new", "export"), run is not None),
        }
        return possible.get(action, True)

    def targets(self) -> list[RunSummary]:
        """The marked runs, or else the one that is pointed at, or those of the sweep that is."""
        marked = [self.table.summary(path) for path in self.eqprop.marks]
        line = self.table.line
        pointed = list(line.shown) if isinstance(line, Group) else [line] if line is not None else []
        return marked or pointed

    def _do(self, work: Callable[[], str], *, once: Hashable = None) -> None:
        """Work in a thread; say what came of it, and look at the runs again."""
        self.eqprop.do(work, self.lister.look, once=once)

    @on(RunsTable.Chosen)
    def action_watch(self) -> None:
        """Watch the run; of a sweep, look at its table."""
        if (run := self.table.run) is not None:
            self.eqprop.open_run(run.path)
        else:
            self.action_table()

    def action_compare(self) -> None:
        """The curves and the settings of the marked runs, or of the one that is pointed at."""
        from eqprop_tui.marks import Marks
        from eqprop_tui.screens.compare import CompareScreen

        marks = self.eqprop.marks or Marks(run.path for run in self.targets())
        self.app.push_screen(CompareScreen(marks))

    def action_resume(self) -> None:
        """Go on with a run, asking for epochs where it is complete; or with a sweep."""
        if (group := self.table.group) is not None:
            self._resume_sweep(group)
        elif (run := self.table.run) is not None:
            self.eqprop.resume(run.path)

    def _resume_sweep(self, group: Group) -> None:
        """Go on with a sweep; what it would run that the person has not chosen for it is shown before."""
        try:
            agree, unknown = run_actions.agreement(group.path)
        except (RunError, OSError) as error:
            self.eqprop.tell(error)
            return

        def resume(answer: str | None) -> None:
            def work() -> str:
                if unknown:
                    agree()
                return run_actions.resume_sweep(self.eqprop.commands, group.path)

            if answer == "go on":
                self._do(work, once=("resume", group.path))

        if not unknown:
            resume("go on")
        elif len(unknown) > MOST_LINES or max(map(len, unknown)) > LONGEST_LINE:
            shows = command("sweep", "resume", group.path)
            self.eqprop.tell(
                f"not chosen by you, here, for this sweep; what it would run is shown by {shows}"
            )
        else:
            title = "\n".join(["go on? not chosen by you, here, for this sweep:", *unknown])
            self.app.push_screen(Choose(title, WAYS_TO_AGREE), resume)

    def action_stop(self) -> None:
        """Ask how to stop the run, or all that are marked; or the sweep, which then starts no more."""
        if (group := self._pointed_sweep()) is not None:
            self._stop_sweep(group)
            return
        runs = [run for run in self.targets() if run.state in ALIVE]

        def answered(how: str | None) -> None:
            if how is not None:
                self._do(lambda: run_actions.stop([run.path for run in runs], how))

        title = f"stop {run_actions.named(runs)}?"
        in_line = all(run.state == "queued" for run in runs)
        ways = run_actions.WAYS_TO_LEAVE_THE_LINE if in_line else run_actions.WAYS_TO_STOP
        self.app.push_screen(Choose(title, ways), answered)

    def _pointed_sweep(self) -> Group | None:
        """The sweep that is pointed at, where no runs are marked and its runs are not all over."""
        group = self.table.group
        if group is None or self.eqprop.marks or group.counts["finished"] >= group.sweep.planned:
            return None
        return group

    def _stop_sweep(self, group: Group) -> None:
        def answered(how: str | None) -> None:
            if how is not None:
                self._do(lambda: run_actions.stop_sweep(self.eqprop.commands, group.path, how))

        title = f"stop the sweep {group.sweep.name}?\n{group.words}"
        self.app.push_screen(Choose(title, run_actions.WAYS_TO_STOP_SWEEP), answered)

    def action_delete(self) -> None:
        """Delete the run, or all that are marked, after asking."""
        runs = self.targets()

        def answered(answer: str | None) -> None:
            if answer == "delete":
                paths = [run.path for run in runs]
                self._do(lambda: run_actions.delete_all(paths))
                for path in paths:
                    self.eqprop.marks.discard(path)

        answers = [
            Answer("c", "cancel", "cancel"),
            Answer("d", "delete", "delete for good, with checkpoints and weights"),
        ]
        title = "\n".join([f"delete {run_actions.named(runs)}?", *run_actions.listed(runs)])
        self.app.push_screen(Choose(title, answers), answered)

    def action_export(self) -> None:
        """Ask for a file, and write the epochs of the run into it."""
        run = self.table.run
        if run is None:
            return

        def answered(file: str | None) -> None:
            if file is not None:
                self._do(lambda: run_actions.export(run.path, Path(file)))

        self.app.push_screen(
            Ask(
                f"write the epochs of {run.name} to",
                run_actions.file_for(run),
                hint="a CSV file, a row an epoch",
                judge=run_actions.judge_file,
            ),
            answered,
        )

    def action_new(self) -> None:
        """Configure a new run with the settings of this one."""
        if (run := self.table.run) is not None:
            self.eqprop.open_configure_like(run)

    def action_copy_path(self) -> None:
        """Copy the path of the folder of the run or the sweep."""
        if (line := self.table.line) is not None:
            self.eqprop.copy(quoted(str(line.path)))

    def action_library(self) -> None:
        """To the library; from the filter to the table."""
        if self.filtering:
            self.table.focus()
        else:
            self.eqprop.open_library()

    def action_leave(self) -> None:
        """Leave the application; runs go on."""
        self.eqprop.action_leave()
