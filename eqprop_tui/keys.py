"""The table of keys: every key of the application, its action, and its words in the footer and the help.

Nothing else binds a key. Bindings, the line of keys at the bottom, `?` and the command palette are made from
this table; an action is the method `action_<name>` of the screen (or of the application, for those that hold
everywhere). Knows no widget.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType

WRITTEN = {
    "question_mark": "?",
    "slash": "/",
    "space": "space",
    "escape": "esc",
    "delete": "del",
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}


@dataclass(frozen=True)
class Key:
    """A key of a screen: Textual's names for it, its action, its word in the footer, a sentence for the help.

    `footer` is its place there, lower ones being shown first where there is little room; None: help only.
    `widget` marks what the widget that is pointed at does by itself, and is told in the help only.
    """

    keys: str
    action: str
    label: str
    help: str
    footer: int | None = None
    priority: bool = False
    widget: bool = False

    @property
    def written(self) -> str:
        """The first of its keys, as a person writes it."""
        first = self.keys.split(",")[0]
        return WRITTEN.get(first, first)


TABLE: dict[str, tuple[Key, ...]] = {
    "everywhere": (
        Key("question_mark,f1", "help", "help", "all keys of this screen", 100),
        Key("ctrl+p", "command_palette", "palette", "every command by its name", 101, priority=True),
        Key("ctrl+q,ctrl+c", "leave", "quit", "leave the application; runs go on", priority=True),
        Key("ctrl+z", "suspend_process", "suspend", "put the application aside; fg brings it back"),
        Key("ctrl+t", "next_theme", "theme", "dark, light or the terminal's 16 colours"),
        Key("f5", "redraw", "redraw", "draw everything again"),
    ),
    "library": (
        Key("enter", "configure", "configure", "change settings before starting", 1, widget=True),
        Key("r", "run", "run", "start the preset as it is and watch it", 2),
        Key("c", "copy", "copy", "copy the preset to one of your own", 3),
        Key("e", "edit", "edit", "edit one of your own in $EDITOR", 5),
        Key("d,delete", "delete", "delete", "delete one of your own", 6),
        Key("y", "copy_command", "copy command", "copy the equivalent command line to the clipboard", 8),
        Key("slash", "filter", "filter", "show only presets that mention some words", 7, priority=True),
        Key("escape", "clear", "all presets", "no filter any more", 10),
        Key("J,ctrl+down", "scroll(1)", "scroll down", "read on about the chosen preset"),
        Key("K,ctrl+up", "scroll(-1)", "scroll up", "read back"),
        Key("u", "unusable", "unusable files", "files of your own that cannot be used, and why", 11),
        Key("tab", "runs", "runs", "go to the table of runs", 4, priority=True),
        Key("q", "leave", "quit", "leave the application; runs go on", 9),
    ),
    "configure": (
        Key("ctrl+r", "start", "start", "start and watch", 1, priority=True),
        Key("ctrl+l", "detach", "start detached", "start, and stay here", 6, priority=True),
        Key(
            "ctrl+n",
            "now",
            "start now",
            "start without waiting for other runs",
            8,
            priority=True,
        ),
        Key("ctrl+s", "save", "save", "save as a preset of your own", 2, priority=True),
        Key("ctrl+d", "dry_run", "dry run", "layers, plan and all settings", 5, priority=True),
        Key("f4", "time", "time", "measure how long the run would take; again: stop", 3, priority=True),
        Key("ctrl+u", "undo", "undo", "give the present setting its value in the preset", 7, priority=True),
        Key("ctrl+y", "copy_command", "copy command", "copy the equivalent command line", 9, priority=True),
        Key("f2,pagedown", "next_section", "section", "network, dynamics, gradient …", 4, priority=True),
        Key("f3,pageup", "previous_section", "section before", "the section before", priority=True),
        Key("down,tab", "field(1)", "next field", "the field below; then the next section", priority=True),
        Key("up,shift+tab", "field(-1)", "field before", "the field above", priority=True),
        Key("escape", "back", "back", "back without starting", 10),
    ),
    "monitor": (
        Key("p", "pause", "pause", "hold the run after its batch, or let it go on", 1),
        Key("s", "stop", "stop", "stop after the batch or at once, terminate, kill", 2),
        Key("c", "checkpoint", "checkpoint", "save a checkpoint after the batch", 3),
        Key("g", "check", "check now", "GDU check of the present weights", 4),
        Key("x", "set", "set…", "learning-rate factor, last epoch, checkpoints, event rate", 5),
        Key("n", "new", "new from this", "configure a new run with these settings", 7),
        Key("N", "name", "name, note", "name the run, or write a note", None),
        Key("R", "resume", "resume", "go on with a run that has ended", 6),
        Key("l", "curve", "loss", "accuracy or loss in the upper chart", 9),
        Key("f", "enlarge", "enlarge", "chart and pane, the chart alone, the pane alone", 10),
        Key("1", "pane('activity')", "activity", "neural activity by layer"),
        Key("2", "pane('settling')", "settling", "largest change of the state by time step"),
        Key("3", "pane('gdu')", "gdu check", "EP against BPTT by parameter"),
        Key("4", "pane('angles')", "angles", "forward and backward weights of a vector field"),
        Key("5", "pane('rates')", "rates", "learning rates by epoch"),
        Key("6", "pane('device')", "device", "memory and load of the device"),
        Key("7", "pane('events')", "events", "what happened, in words"),
        Key("8", "pane('log')", "log", "what the process printed"),
        Key("left_square_bracket", "previous_run", "previous run", "the watched run before this one"),
        Key("right_square_bracket", "next_run", "next run", "the next one of the watched runs"),
        Key("b", "bell", "bell", "ring when this run ends, or not"),
        Key("y", "copy_path", "copy path", "copy the run's folder to the clipboard"),
        Key("d,escape", "detach", "detach", "back; the run goes on", 8),
        Key("q", "quit_run", "quit", "quit; asks whether the run goes on", 11),
    ),
    "runs": (
        Key("enter", "watch", "watch", "watch the run; of a sweep, look at its table", 1),
        Key("right", "unfold(1)", "unfold", "show the runs of the sweep under it", 2),
        Key("left", "unfold(-1)", "fold", "show the sweep as one line"),
        Key("t", "table", "table", "the table of the sweep: mean and spread over seeds, cell by cell", 12),
        Key("up,k", "move(-1)", "up", "the run above"),
        Key("down,j", "move(1)", "down", "the run below"),
        Key("pageup", "page(-1)", "page up", "a page back"),
        Key("pagedown", "page(1)", "page down", "a page on"),
        Key("home", "end(-1)", "first", "the first run"),
        Key("end", "end(1)", "last", "the last run"),
        Key("space", "mark", "mark", "mark it for comparing, stopping, deleting", 2),
        Key("v", "compare", "compare", "curves and settings of the marked runs", 3),
        Key("R", "resume", "resume", "go on with a run that has ended or is paused", 5),
        Key("s", "stop", "stop", "stop the run, or all that are marked", 6),
        Key("n", "new", "new from this", "configure a new run with its settings", 7),
        Key("e", "export", "export", "write the curves to a CSV file", 9),
        Key("delete,D", "delete", "delete", "delete the run, or all that are marked", 8),
        Key("o", "sort", "sort", "sort by the next column"),
        Key("O", "reverse", "reverse", "turn the order round"),
        Key("slash", "filter", "filter", "words, or alg=EP test_last>95", 4),
        Key("escape", "unfilter", "all runs", "leave the filter and show all runs"),
        Key("u", "unmark", "unmark", "take all marks away"),
        Key("y", "copy_path", "copy path", "copy the run's folder to the clipboard"),
        Key("tab", "library", "presets", "go to the library of presets", 10, priority=True),
        Key("q", "leave", "quit", "leave the application; runs go on", 11),
    ),
    "compare": (
        Key("x", "axis", "x axis", "epochs, batches or time", 1),
        Key("m", "measure", "measure", "test, train or validation accuracy, or loss", 2),
        Key("w", "smooth", "smooth", "none, some, much", 3),
        Key("L", "log", "log", "logarithmic or linear y axis", 4),
        Key("a", "add", "add", "add a run to the chart", 5),
        Key("delete,D", "remove", "remove", "take the chosen run out of the chart", 6),
        Key("up,k", "choose(-1)", "choose", "the run above"),
        Key("down,j", "choose(1)", "choose", "the run below"),
        Key("pageup", "scroll(-1)", "settings up", "the settings above"),
        Key("pagedown", "scroll(1)", "settings down", "the settings below"),
        Key("enter", "watch", "watch", "watch the chosen run", 8),
        Key("escape", "back", "back", "back to the runs", 7),
    ),
    "sweep": (
        Key("enter", "choose", "watch", "watch the run; of a cell, show its runs or hide them", 1),
        Key("up,k", "move(-1)", "up", "the row above"),
        Key("down,j", "move(1)", "down", "the row below"),
        Key("pageup", "page(-1)", "page up", "a page back"),
        Key("pagedown", "page(1)", "page down", "a page on"),
        Key("home", "end(-1)", "first", "the first row"),
        Key("end", "end(1)", "last", "the last row"),
        Key("right", "unfold(1)", "unfold", "show the runs of the cell under it"),
        Key("left", "unfold(-1)", "fold", "show the cell as one row"),
        Key("m", "measure", "measure", "test figure of the last or best epoch, training, validation", 3),
        Key("a", "error", "accuracy", "error or accuracy, in per cent", 4),
        Key("o", "sort", "sort", "the best cell first, or the order of the plan", 5),
        Key("space", "mark", "mark", "mark the run, or all runs of the cell, for comparing", 6),
        Key("v", "compare", "compare", "curves and settings of the marked runs, or of those of the cell", 2),
        Key("e", "export", "export", "write the table to a file: .csv, .tex or .json", 8),
        Key("y", "copy_path", "copy path", "copy the folder of the sweep, or of the run, to the clipboard"),
        Key("escape", "back", "back", "back to the runs", 7),
    ),
    "gdu": (
        Key("up", "row(-1)", "parameter", "the parameter above"),
        Key("down", "row(1)", "parameter", "the parameter below"),
        Key("left", "element(-1)", "element", "the element before"),
        Key("right", "element(1)", "element", "the next element of the parameter"),
        Key("enter", "curves", "curves", "the curves in place of the table, where both have no room"),
    ),
    "choice": (
        Key("right,space", "choose(1)", "next", "the next of the values"),
        Key("left", "choose(-1)", "previous", "the value before"),
    ),
    "broken": (
        Key("escape,enter", "back", "back", "back to the screen before"),
        Key("q", "leave", "quit", "leave the application; runs go on"),
    ),
    "dialog": (Key("escape", "cancel", "cancel", "close the dialog without an answer"),),
    "chart": (
        Key("left", "cursor(-1)", "cursor", "read out the points to the left"),
        Key("right", "cursor(1)", "cursor", "read out the points to the right"),
        Key("plus,equals_sign", "zoom(1)", "zoom in", "around the cursor"),
        Key("minus", "zoom(-1)", "zoom out", "around the cursor"),
        Key("comma", "pan(-1)", "pan left", "towards smaller x"),
        Key("full_stop", "pan(1)", "pan right", "towards larger x"),
        Key("shift+up", "pan_y(1)", "pan up", "towards larger y"),
        Key("shift+down", "pan_y(-1)", "pan down", "towards smaller y"),
        Key("0", "whole", "whole", "all there is, without a cursor"),
        Key("L", "log", "log", "logarithmic or linear y axis"),
        Key("w", "smooth", "smooth", "none, some, much"),
    ),
}


def bindings(place: str) -> list[BindingType]:
    """The bindings of a screen, or of the widget or application of that name in the table."""
    return [
        Binding(key.keys, key.action, key.label, key_display=key.written, priority=key.priority)
        for key in TABLE[place]
        if not key.widget
    ]
