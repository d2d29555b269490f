"""`eqprop sweep`: many runs as one. The first word is a command, or else names what is to be started."""

from __future__ import annotations

from typing import Any, ClassVar

import typer

from eqprop_tui.cli.late import LateGroup, Later

START = "start"


class Sweeps(LateGroup):
    """The commands of `eqprop sweep`; without one of them, it is `start`."""

    commands_later: ClassVar[Later] = {
        START: (
            "sweep_start:start",
            "Start a run of each cell and seed: of presets, of a sweep by its name, and of a grid over them.",
        ),
        "status": ("sweep_look:status", "Show how the runs of a sweep stand."),
        "stop": ("sweep_look:stop", "Stop a sweep: its runs after their batch, with a checkpoint."),
        "resume": (
            "sweep_start:resume",
            "Go on with a sweep: what was not begun, stopped or lost; with --retry-failed what failed, too.",
        ),
        "table": (
            "sweep_table:table",
            "Show what a sweep came to: mean and standard deviation over seeds, and what is missing.",
        ),
        "list": ("sweep_look:list_all", "List sweeps, the newest first, and those that can be started."),
    }

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `start` before words that begin with no command."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [START, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=Sweeps, no_args_is_help=True, add_completion=False)


@app.callback()
def sweep() -> None:
    """Train many runs: presets, a grid and seeds, here or on a Slurm cluster.

    `eqprop sweep NAME… --seeds 0-4 --grid alg=EP,BPTT` begins one.

    NAME is a preset, several, or a sweep; eqprop sweep start --help shows the rest.

    SWEEP is the folder of one that was started, its name, or last.
    """
