"""`eqprop runs`: look at runs, steer them and tend them, from any terminal."""

from __future__ import annotations

from typing import ClassVar

import typer

from eqprop_tui.cli.late import LateGroup, Later


class Runs(LateGroup):
    """The commands of `eqprop runs`."""

    commands_later: ClassVar[Later] = {
        "list": ("listing:list_all", "List runs, the newest first."),
        "show": (
            "showing:show",
            "Show all about a run: how it stands, its settings, its files, what can be done with it.",
        ),
        "attach": (
            "steer:attach",
            "Watch a run until it ends; Ctrl-C asks whether to leave it running, stop it or kill it.",
        ),
        "tail": ("steer:tail", "Print what happened in a run, a line for each event."),
        "stop": ("steer:stop", "Stop a run after its batch, with a checkpoint; `resume` goes on."),
        "pause": ("steer:pause", "Hold a run after its batch; its process and its memory stay."),
        "resume": ("steer:resume", "Go on with a run: one that is paused, stopped, failed or lost."),
        "checkpoint": ("steer:checkpoint", "Save a checkpoint after the batch."),
        "check": (
            "steer:check",
            "Run the GDU check on the present weights: after the batch, or here once the run has ended.",
        ),
        "set": (
            "steer:change",
            "Change what is safe to change while a run trains; it is written down, and holds on resuming.",
        ),
        "note": (
            "records:note",
            "Change the name, the tags or the note of a run; without options, show them.",
        ),
        "compare": (
            "comparing:compare",
            "Compare runs: the settings in which they differ, what they came to; --figure draws.",
        ),
        "export": (
            "records:export",
            "Write what a run measured as CSV: a row an epoch, or with --batches a row a batch.",
        ),
        "prune": (
            "pruning:prune_runs",
            "Show what runs take on disk; remove the kinds of files that are named, after asking.",
        ),
        "delete": (
            "records:delete",
            "Delete the folders of runs, after asking; if one of them is running, none is deleted.",
        ),
        "folders": (
            "folders:folders",
            "Show the results folders whose runs are listed; --forget takes some off, and deletes nothing.",
        ),
    }


app = typer.Typer(cls=Runs, no_args_is_help=True, add_completion=False)


@app.callback()
def runs() -> None:
    """List, watch, steer and tend runs."""
