"""The `eqprop` command: its subcommands, and errors as one clear message with an exit code.

0 done, 1 failed, 2 wrong usage or configuration, or something named that is not there, 130 interrupted. A
reader that has enough, as `| head`, ends a command quietly with 0.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import select
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer

from eqprop_core import __version__
from eqprop_core.files import has_working_folder
from eqprop_core.printing import end_printing, open_standard_streams, print_unhindered
from eqprop_core.problems import ConfigError, NotThereError, Problem, printable
from eqprop_core.spelling import spelled
from eqprop_tui.cli import report
from eqprop_tui.cli.application import open_application
from eqprop_tui.cli.late import LateGroup, Later
from eqprop_tui.signals import Ended, heard

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # of the click that this typer uses
GONE = "error: the working folder is not there any more; go to another one (cd), or make it again"
AS_IN_THE_NAME = "eqprop.as_in_the_name"
UNKNOWN = re.compile(r"No such (?:command|option):? '?(.*?)'?(?:\.|$)")
NO_NUMBERS = {"a valid integer": "is not a whole number", "a valid number": "is not a number"}


class Commands(LateGroup):
    """The commands; turns what a person did wrong into a message on standard error and an exit code."""

    commands_later: ClassVar[Later] = {
        "demo": (
            "demo:demo",
            "Train a network on handwritten digits with EP, then hold its gradients against BPTT.",
        ),
        "train": (
            "work:train",
            "Train a network in a process of its own that outlives this terminal, and watch it.",
        ),
        "evaluate": (
            "work:evaluate",
            "Evaluate a trained network (--load-path) on training and test images.",
        ),
        "gducheck": (
            "work:gducheck",
            "Hold EP against BPTT step by step, on a new network or on a trained one (--load-path).",
        ),
        "reference": (
            "work:reference",
            "Take a command line of the reference, word for word; --todo decides what is done.",
        ),
        "devices": ("devices:devices", "List CPUs and GPUs with their memory and load."),
        "bench": (
            "bench:bench",
            "Measure a training of a preset or of flags on this device; weights are those of --load-path, "
            "if given.",
        ),
        "presets": ("presets:app", "List, show and make presets."),
        "runs": ("runs:app", "List, watch, steer and tend runs."),
        "sweep": ("sweep:app", "Train many runs: presets, a grid and seeds, here or on a Slurm cluster."),
        "data": ("data:app", "Show, fetch and check data sets."),
    }

    def invoke(self, ctx: Any) -> Any:
        """Run the command; wrong configuration exits with 2, what cannot be done with 1."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for line in str(error).splitlines():
                report.say(f"error: {line}")
            raise typer.Exit(2) from None
        except typer.BadParameter as error:
            said = next((said for usual, said in NO_NUMBERS.items() if usual in error.message), None)
            if said is None or error.param is None:
                error.message = printable(error.message)
                raise
            report.say(f"error: {error.param.opts[0]}: {said}")
            raise typer.Exit(2) from None
        except UsageError as error:
            raise _unknown_flag(error) from None
        except _failures() as error:
            report.say(f"error: {error}")
            raise typer.Exit(2 if isinstance(error, NotThereError) else 1) from None

    def make_context(self, *words: Any, **extra: Any) -> Any:
        """Read the options of `eqprop` itself."""
        try:
            return super().make_context(*words, **extra)
        except UsageError as error:
            raise _unknown_flag(error) from None


def _unknown_flag(error: Any) -> Exception:
    """What to raise for wrong usage: of an unknown flag, what it is for or the nearest there is."""
    error.message = printable(error.message)
    typed, context = getattr(error, "option_name", None), error.ctx
    if (found := UNKNOWN.match(error.message)) and spelled(found[1]) != found[1]:
        end = "" if error.message.endswith(("?", ".")) else "."
        error.message += f"{end} What was given is {spelled(found[1])}"  # it may look like what there is
    if typed is None or context is None or not hasattr(error, "possibilities"):
        return error  # type: ignore[no-any-return]
    offered = [name for option in context.command.params for name in (*option.opts, *option.secondary_opts)]
    command = context.command_path.partition(" ")[2].removesuffix(" start")  # the one that `sweep` means
    if said := _not_for(typed, command, offered):
        report.say(f"error: {typed}: {said}")
        return typer.Exit(2)
    error.possibilities = get_close_matches(typed, [name for name in offered if name[:2] == "--"], n=1)
    return error  # type: ignore[no-any-return]


def _not_for(typed: str, command: str, offered: list[str]) -> str | None:
    """Why a command has no flag for a setting, None for what is none or would be spelled otherwise."""
    from eqprop_core.config import COMMANDS, RunConfig, settings_of

    setting = typed.removeprefix("--").removeprefix("no-").replace("-", "_")
    if setting not in RunConfig.model_fields:
        return None
    others = [name for name in COMMANDS if setting in settings_of(name)]
    hint = (
        f"; did you mean {near[0]}?" if (near := get_close_matches(typed, offered, n=1, cutoff=0.8)) else ""
    )
    return f"means nothing to {command}, but to {', '.join(others) or 'reference'}{hint}"


def _failures() -> tuple[type[Exception], ...]:
    """What cannot be done is raised as one of these; they are imported once something was raised."""
    from eqprop_core.catalogue import DataError
    from eqprop_core.runs.folder import RunError

    return RunError, DataError


app = typer.Typer(
    cls=Commands,
    help="Train, check and watch equilibrium propagation networks.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)


Glyphs = Literal["braille", "blocks", "ascii"]


def _version(wanted: bool) -> None:
    if wanted:
        report.put(f"eqprop {__version__}")
        raise typer.Exit


@app.callback()
def eqprop(
    context: typer.Context,
    run: Annotated[
        str | None, typer.Option("--run", help="open the application on this run: folder, id, name, last")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="show only runs below this folder in the application")
    ] = None,
    low_bandwidth: Annotated[
        bool, typer.Option("--low-bandwidth", help="one picture a second, no animation")
    ] = False,
    glyphs: Annotated[
        Glyphs | None, typer.Option("--glyphs", help="what charts are drawn with \\[what the terminal has]")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Train, check and watch equilibrium propagation networks. Without a command: the application."""
    if context.invoked_subcommand is not None:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if run is not None:
            raise ConfigError([Problem("run", run, "opens the application, which needs a terminal")])
        report.put(context.get_help())
        return
    folder = None
    if run is not None:
        from eqprop_core.runs.listing import find_run

        folder = find_run(run, [results] if results is not None else None).path
    open_application(folder, results=results, low_bandwidth=low_bandwidth, glyphs=glyphs)


def main() -> None:
    """Entry point of the console script."""
    _usable_output()
    if not has_working_folder() and not {"--help", "--version"} & set(sys.argv):
        report.say(GONE)
        sys.exit(1)
    try:
        _run()
    finally:
        end_printing()


def _run() -> None:
    """Run the command; exits by `SystemExit`."""
    try:
        try:
            with heard():
                app(prog_name="eqprop")
        except SystemExit as ended:
            if isinstance(ended.__context__, BrokenPipeError):  # typer and rich make a failure of it
                raise ended.__context__ from None
            if isinstance(ended, Ended) and not select.select([], [sys.stdout], [], 0)[1]:
                _close_output()  # nobody reads, and this was asked to end
            sys.stdout.flush()
            raise
    except BrokenPipeError:
        # The reader has gone (`| head`); that is no error, and flushing at exit must not make it one.
        _close_output()
        sys.exit(0)
    except OSError as error:
        _close_output()
        if not has_working_folder():
            report.say(GONE)
            sys.exit(1)
        report.say(f"error: {error.filename or 'the output'}: {error.strerror or error}")
        sys.exit(1)
    except Exception:  # a fault of the program's, whose message may be made of what a file holds
        import traceback

        report.put(traceback.format_exc(), end="", err=True)
        sys.exit(1)


def _usable_output() -> None:
    """Print to nowhere where a stream is closed, and something for letters that its encoding lacks.

    Standard error neither blocks nor fails, so that nothing waits for who should read of its progress.
    """
    codecs.register_error(AS_IN_THE_NAME, _as_in_the_name)
    open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=AS_IN_THE_NAME)
    print_unhindered("stderr")  # progress and diagnostics; whoever reads the results may take their time


def _as_in_the_name(error: UnicodeError) -> tuple[bytes, int]:
    """The bytes of a name of a file that are no letters, so that a path which is printed is that path."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return b"".join(os.fsencode(c) if "\udc80" <= c <= "\udcff" else b"?" for c in letters), error.end


def _close_output() -> None:
    """Let nothing be written at exit that could not be written before."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
