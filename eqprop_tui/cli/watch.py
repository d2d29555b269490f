"""Watching a run that has a process of its own, from the terminal that started it or from any other."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psutil
import typer

from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import CONSOLE, EVENTS, RunError, RunFolder
from eqprop_core.runs.launcher import Launched
from eqprop_core.runs.listing import ALIVE, summarize
from eqprop_core.runs.log import follow_events
from eqprop_tui.cli import report
from eqprop_tui.cli.follow import Outcome, follow

CHOICES = "d leave it running · s stop after this batch · k kill · Enter go on watching"


class Terminated(Exception):  # noqa: N818  a wish, not an error
    """This process was asked to end by a signal, and so is the run."""

    def __init__(self, number: int) -> None:
        self.number = number


def alive(folder: RunFolder) -> bool:
    """Whether a process owns the run."""
    return summarize(folder.path).state in ALIVE


def tell_launch(launched: Launched) -> None:
    """Say what a person should know of a run that was started."""
    for warning in launched.warnings:
        report.say(f"warning: {warning}")
    if launched.ahead:
        runs = "a run" if len(launched.ahead) == 1 else f"{len(launched.ahead)} runs"
        names = ", ".join(path.name for path in launched.ahead[:3])
        report.say(f"waits for {launched.place.key} behind {runs} ({names}); --now would not wait")


def watch(folder: RunFolder, *, after: int = 0) -> Outcome:
    """Show a run's progress until it ends; events up to number `after` are old.

    Ctrl-C asks what is wished. Exits with 130 or 143 where the run was stopped or left, with 1 where it
    failed or its process has died.
    """
    outcome = Outcome()
    asked: int | None = None
    while True:
        epochs = summarize(folder.path).epochs or 0
        records = follow_events(folder.path / EVENTS, after=outcome.seq or after, ended=_ended(folder))
        choice = ""
        try:
            with _terminated():  # also at the question
                try:
                    follow(records, epochs=epochs, into=outcome)
                    break
                except KeyboardInterrupt:
                    choice = _ask() if sys.stdin.isatty() and asked is None else "s"
        except Terminated as stopping:
            asked = stopping.number
            stop(folder)
        if choice == "d":
            leave(folder)
            raise typer.Exit(130)
        if choice == "k":
            kill(folder)
        if choice == "s":
            asked = signal.SIGINT
            stop(folder)
    _tell_end(folder, outcome, asked)
    return outcome


def stop(folder: RunFolder) -> None:
    """Ask the run to stop after its batch."""
    with suppress(OSError):
        ask(folder.path, "stop")
    report.say("stopping after this batch; Ctrl-C again drops it")


def kill(folder: RunFolder) -> None:
    """Kill the run's process; what is not in a checkpoint is lost."""
    try:
        psutil.Process(int(folder.read_state()["pid"])).kill()
    except (psutil.Error, KeyError, TypeError, ValueError):
        report.say("there is no process to kill yet, or none that can be killed from here")


def leave(folder: RunFolder) -> None:
    """Say that the run goes on, and how to come back."""
    report.say(f"the run goes on; watch it again: eqprop runs attach {folder.path}")


def _ask() -> str:
    """What to do with a run that is being watched; a second Ctrl-C leaves it running."""
    try:
        report.say(CHOICES)
        answer: str = typer.prompt("", default="", show_default=False, prompt_suffix="> ", err=True)
    except (KeyboardInterrupt, EOFError, typer.Abort):
        return "d"
    return answer.strip().lower()[:1]


def _tell_end(folder: RunFolder, outcome: Outcome, asked: int | None) -> None:
    """Say how the run ended, unless it is complete; exits with its status."""
    summary = summarize(folder.path)
    if outcome.finished is not None and summary.state == "finished":
        return
    if summary.state == "stopped":
        report.say(f"stopped; go on with: eqprop runs resume {folder.path}")
        raise typer.Exit(128 + (asked or signal.SIGTERM))
    message = folder.read_state().get("message")
    if summary.state == "failed" or message:
        raise RunError(str(message or outcome.failure or "failed"))
    said = _last_words(folder)
    raise RunError(
        f"{folder.path}: its process has died{': ' + said if said else ''}; "
        f"go on with: eqprop runs resume {folder.path}"
    )


def _last_words(folder: RunFolder) -> str:
    """The last line that the run's process printed."""
    try:
        lines = (folder.path / CONSOLE).read_text(encoding="utf-8", errors="replace")[-2000:].splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _ended(folder: RunFolder) -> Callable[[], bool]:
    """A question whether the run has ended, which says on the way how many runs it waits for."""
    said: int | None = None

    def ended() -> bool:
        nonlocal said
        summary = summarize(folder.path)
        if summary.state == "queued" and summary.ahead != said:
            said = summary.ahead
            report.say(f"queued: {said} ahead on {summary.device or 'its device'}")
        return summary.state not in ALIVE

    return ended


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM as `Terminated`, SIGHUP as the wish to leave: the terminal is gone, the run goes on."""

    def on_term(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    def on_hang_up(number: int, frame: FrameType | None) -> None:
        os._exit(128 + number)  # nothing of this process matters any more, and there is nowhere to print

    before = {}
    with suppress(ValueError):  # not in the main thread
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, on_term)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, on_hang_up)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
