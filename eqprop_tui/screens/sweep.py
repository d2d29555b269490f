"""The table of a sweep: what its cells came to, live, and the way to their runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.message import Message

from eqprop_core.problems import printable, shown
from eqprop_core.runs.listing import is_run
from eqprop_core.shell import quoted
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.table import OF, Measure, Outcome, measure_of, table_of
from eqprop_core.sweeps.writing import FORMS, save_table
from eqprop_tui import sweep_words
from eqprop_tui.keys import bindings
from eqprop_tui.marks import Marks
from eqprop_tui.screens import run_actions
from eqprop_tui.screens.base import BaseScreen
from eqprop_tui.screens.dialogs import Ask
from eqprop_tui.watching.tabler import Outcomes, Tabler
from eqprop_tui.widgets.sweep_table import SweepTable
from eqprop_tui.widgets.text_lines import TextLines


class SweepScreen(BaseScreen):
    """Cells × mean ± standard deviation over seeds of the sweep in a folder."""

    PLACE = "sweep"
    BINDINGS = bindings("sweep")
    AUTO_FOCUS = "SweepTable"

    class Read(Message):
        """What is known of the runs now."""

        def __init__(self, known: Outcomes) -> None:
            super().__init__()
            self.known = known

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.known: Outcomes | None = None
        self.tabler = Tabler(path, lambda known: self.post_message(self.Read(known)))
        self.measure: Measure | None = None  # until it is known what kind of sweep it is

    def body(self) -> ComposeResult:
        """What the figures are, the table, and what is to be known of the cell that is pointed at."""
        yield TextLines(id="sweep-said")
        yield SweepTable(self.eqprop.marks, id="sweep-table")
        yield TextLines(id="sweep-notes")

    def on_mount(self) -> None:
        """Begin to read."""
        self.head.say(Text("sweep", "bold"), "reading …")
        self.tabler.start()

    def on_unmount(self) -> None:
        """Nobody reads on."""
        self.tabler.stop()

    def on_screen_suspend(self) -> None:
        """Nothing is read while another screen is shown."""
        self.tabler.hold()

    def on_screen_resume(self) -> None:
        """Much may have changed meanwhile."""
        if self.is_made:
            self.tabler.look()

    @property
    def table(self) -> SweepTable:
        """The table."""
        return self.query_one(SweepTable)

    @on(Read)
    def _read(self, event: Read) -> None:
        self.known = event.known
        self._show()

    def _show(self) -> None:
        """Draw what is known, by the measure that is chosen."""
        known = self.known
        if known is None:
            return
        sweep = known.sweep
        if sweep is None:
            self.head.say(Text("sweep", "bold"), Text(known.wrong or "cannot be read"))
            self.table.empty = ""
            self.table.redraw()
            return

        if self.measure is None:  # seen for the first time
            self.measure = measure_of(sweep)
            self.table.by_figure = sweep.search is not None

        def read(_: SweepFolder, job: Job) -> Outcome:
            return known.by_path.get(job.path, Outcome(job.seed, job.path))

        found = table_of(sweep, self.measure, read)
        self.head.say(
            Text.assemble(("sweep", "bold"), "   ", printable(sweep.name)), sweep_words.standing(found)
        )
        self.query_one("#sweep-said", TextLines).show(
            Text(f" {found.said}", "dim"), Text(" mean ± standard deviation over seeds (n − 1)", "dim")
        )
        self.table.show(found)

    @on(SweepTable.Pointed)
    def _pointed(self) -> None:
        """Say what is to be known of the cell."""
        table, row, run = self.table.table, self.table.row, self.table.run
        lines = []
        if table is not None and row is not None:
            if row.mean is not None and not row.whole:
                lines.append(f"{sweep_words.MARK} mean of the finished seeds only: {sweep_words.seeds(row)}")
            if row.published is not None:
                lines.append(f"published: {row.published:g}, {row.cell.source or 'source not given'}")
            told = [run] if run is not None else row.outcomes
            lines += [f"seed {one.seed}: {one.message}" for one in told if one.message]
            if settings := row.cell.settings:
                lines.append("  ".join(f"{name} {shown(value)}" for name, value in settings.items()))
        notes = self.query_one("#sweep-notes", TextLines)
        most = 6 if self.has_class("-tall") else 2
        notes.styles.height = max(1, min(len(lines), most))
        notes.show(*(Text(f" {line}", "dim") for line in lines[:most]))
        self.show_keys()

    # --- pointing and choosing ------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave out what needs a run where there is none."""
        if not self.is_made:
            return True
        if action == "compare":
            return bool(self._there())
        return self.table.row is not None or action in ("back", "copy_path")

    @property
    def key_labels(self) -> dict[str, str]:
        """Enter opens a cell, and watches a run; what is shown is an error, or an accuracy."""
        labels = {"error": "error" if self.measure is not None and not self.measure.error else "accuracy"}
        if self.is_made and self.table.row is not None and self.table.run is None:
            labels["choose"] = "fold" if self.table.row.number in self.table.opened else "its runs"
        return labels

    def _there(self) -> list[Path]:
        """The folders of the run that is pointed at, or of the cell's runs, as far as there are any."""
        row, run = self.table.row, self.table.run
        if row is None:
            return []
        return [one.path for one in ([run] if run is not None else row.outcomes) if is_run(one.path)]

    def action_move(self, by: int) -> None:
        """Point at another row."""
        self.table.move(by)

    def action_page(self, way: int) -> None:
        """A page on or back."""
        self.table.move(way * self.table.page)

    def action_end(self, way: int) -> None:
        """The last row, or the first."""
        self.table.move(way * len(self.table.places))

    def action_unfold(self, way: int) -> None:
        """Show the runs of the cell under it, or do not."""
        self.table.open(wide=way > 0)

    @on(SweepTable.Chosen)
    def action_choose(self) -> None:
        """Watch the run; of a cell, show its runs or hide them."""
        run, row = self.table.run, self.table.row
        if run is not None:
            if is_run(run.path):
                self.eqprop.open_run(run.path)
            else:
                self.eqprop.tell(f"seed {run.seed} has not begun", severity="information")
        elif row is not None:
            self.table.open(wide=row.number not in self.table.opened)

    def action_mark(self) -> None:
        """Mark the run, or all runs of the cell, or take their marks away, and go to the next row."""
        marks, paths = self.eqprop.marks, self._there()
        change = marks.discard if all(path in marks for path in paths) else marks.add
        for path in paths:
            change(path)
        self.table.move(1)

    def action_compare(self) -> None:
        """The curves and the settings of the marked runs, or of those of the cell."""
        from eqprop_tui.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen(self.eqprop.marks or Marks(self._there())))

    def action_measure(self) -> None:
        """The test figure of the last epoch, of the best one, the training figure, the validation figure."""
        if self.measure is not None:
            self.measure = replace(self.measure, of=OF[(OF.index(self.measure.of) + 1) % len(OF)])
            self._show()

    def action_error(self) -> None:
        """Accuracy in place of error, or the other way round."""
        if self.measure is not None:
            self.measure = replace(self.measure, error=not self.measure.error)
            self._show()

    def action_sort(self) -> None:
        """The best first, or the order of the plan."""
        self.table.by_figure = not self.table.by_figure
        self.table.again()

    def action_export(self) -> None:
        """Ask for a file, and write the table into it."""
        table = self.table.table
        if table is None:
            return
        if self.table.by_figure:
            table = replace(table, rows=tuple(table.best_first()))
        shown = table

        def write(file: Path) -> str:
            save_table(file.expanduser(), shown)
            return f"{len(shown.rows)} cells in {file}"

        def answered(file: str | None) -> None:
            if file is not None:
                self.eqprop.do(lambda: write(Path(file)))

        hint = "a .csv, .tex (LaTeX with booktabs) or .json file"
        self.app.push_screen(
            Ask(f"write the table of {table.name} to", f"{table.name}.csv", hint=hint, judge=judge), answered
        )

    def action_copy_path(self) -> None:
        """Copy the path of the sweep's folder, or of the run that is pointed at."""
        path = self.table.run.path if self.table.run is not None else self.path
        self.eqprop.copy(quoted(str(path)))


def judge(text: str) -> str | None:
    """What is wrong with the name of a file for a table."""
    if Path(text.strip()).suffix not in FORMS:
        return f"must end in {', '.join(FORMS)}"
    return run_actions.judge_file(text)
