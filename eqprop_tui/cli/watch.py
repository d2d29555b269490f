"""Watching a run that has a process of its own, from the terminal that started it or from any other."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType

import psutil
import typer

from eqprop_core.events import EpochFinished
from eqprop_core.files import open_to_read
from eqprop_core.marks import stopped
from eqprop_core.problems import shown
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.history import current_events
from eqprop_core.runs.launcher import Launched
from eqprop_core.runs.listing import ALIVE, RunSummary, called, summarize
from eqprop_core.runs.log import follow_events, size_of_events
from eqprop_core.runs.names import CONSOLE, EVENTS
from eqprop_core.runs.processes import process_of, process_to_signal, worker_of
from eqprop_core.runs.words import NOT_SAVED, SPOKEN
from eqprop_core.shell import command
from eqprop_tui.cli import report
from eqprop_tui.cli.follow import Outcome, follow
from eqprop_tui.signals import Ended

CHOICES_IN_LINE = "d leave it in line · s take it out of the line · k kill · Enter go on watching"
CHOICES = "d leave it running · s stop after this batch · k kill · Enter go on watching"
EPOCHS_SHOWN = 20  # of those that are over when somebody begins to watch
RECENT = 2**18  # bytes of events that are shown in full to somebody who begins to watch
LOGGED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")  # how a line of the console log begins


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
        names = ", ".join(map(_in_line, launched.ahead[:3]))
        report.say(f"waits for {launched.place.key} behind {runs} ({names}); --now would not wait")


def _in_line(run: Path) -> str:
    """What a run that comes before is called, and how to end one that no list shows."""
    folder = RunFolder(run)
    if run.exists():
        process = process_of(run, folder.read_state())
        return called(folder) + ("" if process is None else stopped(process))
    if (process := worker_of(run)) is None:
        return called(folder)
    return f"{run.name}, whose folder is gone: kill {process.pid} ends it"


def watch(folder: RunFolder, *, old: int = 0, attached: bool = False, stands_for_it: bool = False) -> Outcome:
    """Show a run's progress until it ends; the first `old` bytes of its events are not looked at.

    Ctrl-C asks what is wished; where nobody can be asked, and at every other signal, the run goes on without
    this process, unless this one `stands_for_it`: then it is stopped. Exits with 130 or 143 where the run was
    stopped or left, with 1 where it failed or its process has died. One who is `attached` to a run that
    others have started sees the last of what is old, and exits with 0 where others have stopped it.
    """
    folder.hold()  # it may be moved meanwhile
    outcome = Outcome()
    shown_from = _last_epochs(folder) if attached and sys.stderr.isatty() else 0
    asked: int | None = None
    killed = False
    standing = Standing(folder)
    while True:
        epochs = summarize(folder.path).epochs or 0
        again = attached or outcome.seq > 0  # what is old is told in short
        recent = size_of_events(folder.path / EVENTS) - RECENT if again else 0
        records = follow_events(
            folder.path / EVENTS,
            after=outcome.seq,
            begin=max(old, recent),
            before=SPOKEN if again else (),
            ended=standing.ended,
        )
        choice = ""
        try:
            with _terminated() if stands_for_it else nullcontext():  # also at the question
                try:
                    follow(records, epochs=epochs, into=outcome, standing=standing.now, shown_from=shown_from)
                    break
                except KeyboardInterrupt:
                    queued = summarize(folder.path).state == "queued"
                    choices = CHOICES_IN_LINE if queued else CHOICES
                    if asked is not None:
                        choice = "s"
                    elif sys.stdin.isatty():
                        choice = choose(choices, "dsk")
                    else:
                        choice = "s" if stands_for_it else "d"
        except Terminated as stopping:
            asked = stopping.number
            stop(folder)
        except Ended:
            if asked is None:
                leave(folder)
            raise
        if choice == "d":
            leave(folder)
            raise typer.Exit(130)
        if choice == "k":
            killed = kill(folder)
        if choice == "s":
            asked = signal.SIGINT
            stop(folder)
    if attached and asked is None and summarize(folder.path).state == "stopped":
        report.say(_go_on(folder, "stopped"))
        raise typer.Exit
    _tell_end(folder, outcome, asked, killed)
    return outcome


def _last_epochs(folder: RunFolder) -> int:
    """The number of the event from which on a run that is long under way is shown; says what is left out."""
    epochs = [record.seq for record in current_events(folder.path / EVENTS, (EpochFinished.kind,))]
    before = epochs[:-EPOCHS_SHOWN]
    if not before:
        return 0
    report.say(f"… {len(before)} epochs before; all of them: {command('runs', 'tail', called(folder))}")
    return before[-1] + 1


def stop(folder: RunFolder) -> None:
    """Ask the run to stop after its batch; by a signal where no request can be written, as on a full disk."""
    try:
        ask(folder.path, "stop")
    except OSError as error:
        process = process_to_signal(folder.path, folder.read_state())
        if process is None:
            report.say(f"it cannot be asked to stop: {error.strerror or error}")
            return
        with suppress(psutil.Error):
            process.terminate()
    queued = summarize(folder.path).state == "queued"
    report.say("leaving the line" if queued else "stopping after this batch; Ctrl-C again drops it")


def kill(folder: RunFolder) -> bool:
    """Kill the run's process; what is not in a checkpoint is lost. Whether there was one to kill."""
    process = process_to_signal(folder.path, folder.read_state())
    try:
        if process is not None:
            process.kill()
            return True
    except psutil.Error as error:
        report.say(str(error))
    report.say("there is no process to kill yet, or none that can be killed from here")
    return False


def leave(folder: RunFolder) -> None:
    """Say that the run goes on, and how to come back."""
    report.say(f"the run goes on; watch it again: {command('runs', 'attach', called(folder))}")


def choose(choices: str, letters: str) -> str:
    """What to do with what is being watched: one of `letters`, or empty for Enter.

    A second Ctrl-C leaves it running, which is d.
    """
    try:
        while True:
            report.say(choices)
            report.put("> ", end="", err=True, flush=True)
            # A Ctrl-C in the instant before a blocking read would wait for the next key; looking twice a
            # second hears it.
            while not select.select([sys.stdin], [], [], 0.5)[0]:
                pass
            answer = sys.stdin.readline()
            choice = answer.strip().lower()[:1]
            if not answer:  # the end of the input is nobody who watches
                break
            if choice in ("", *letters):
                return choice
            report.say(f"{answer.strip()}: is none of {', '.join(letters)} and Enter")
    except KeyboardInterrupt:
        pass
    report.put(err=True)  # behind the prompt
    return "d"


def _tell_end(folder: RunFolder, outcome: Outcome, asked: int | None, killed: bool) -> None:
    """Say how the run ended, unless it is complete; exits with its status."""
    summary = summarize(folder.path)
    if summary.state == "finished":
        return
    if summary.state == "stopped":
        report.say(_go_on(folder, "stopped"))
        raise typer.Exit(128 + (asked or signal.SIGTERM))
    if not folder.path.exists():
        raise RunError(told_of_gone(folder.path))
    if killed:
        tell_killed(folder)
        raise typer.Exit(128 + signal.SIGKILL)
    message = folder.read_state().get("message")
    if summary.state == "failed" or message:
        raise RunError(str(message or outcome.failure or "failed"))
    if summary.state == "unreachable":
        host = folder.read_state().get("host")
        there = f" on {shown(host)}" if isinstance(host, str) else ""
        raise RunError(
            f"{called(folder)}: nothing is heard of its process{there}; whether it goes on cannot be told "
            "from here"
        )
    died = ", ".join(filter(None, (f"{called(folder)}: its process has died", summary.reason)))
    said = _last_words(folder)
    raise RunError(_go_on(folder, f"{died}{': ' + said if said else ''}"))


def _go_on(folder: RunFolder, said: str) -> str:
    if not folder.has_checkpoint():
        return f"{said} before its first checkpoint; begin again: {command('runs', 'resume', called(folder))}"
    return f"{said}; go on with: {command('runs', 'resume', called(folder))}"


def tell_killed(folder: RunFolder) -> None:
    """Say what is lost of a run whose process was killed, and how to go on."""
    lost = "; what came after the last checkpoint is lost" if folder.has_checkpoint() else ""
    report.say(_go_on(folder, f"killed{lost}"))


def told_of_gone(run: Path) -> str:
    """What to say of a run whose folder is not there any more."""
    process = worker_of(run)
    if process is None:
        return f"{run}: its folder is gone, and no process of it is on this machine"
    return (
        f"{run}: its folder is gone; process {process.pid} still trains, and ends by itself after "
        f"about a minute; kill {process.pid} ends it now"
    )


def _last_words(folder: RunFolder) -> str:
    """The last line that the run's process printed and that is not about what it was doing."""
    try:
        with open_to_read(folder.path / CONSOLE) as file:
            start = file.seek(max(0, file.seek(0, os.SEEK_END) - 4000))
            lines = file.read(4000).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    if start:
        del lines[0]  # the end of a line
    lines = [line.strip() for line in lines if NOT_SAVED in line or not LOGGED.match(line)]
    return next((line for line in reversed(lines) if line), "")


class Standing:
    """How a run stands, looked at again each time that it is asked whether the run has ended."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.summary = summarize(folder.path)
        self._said: int | None = None

    def now(self) -> RunSummary:
        """How the run stood when it was last looked at."""
        return self.summary

    def ended(self) -> bool:
        """Whether the run has ended; says on the way how many runs it waits for."""
        self.summary = summarize(self.folder.path)
        if self.summary.state == "queued" and self.summary.ahead != self._said:
            self._said = self.summary.ahead
            said = f"queued: {self._said} ahead on {self.summary.device or 'its device'}"
            report.say(said)  # above what is drawn there
        return self.summary.state not in ALIVE


@contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM as `Terminated`."""

    def on_term(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    before = None
    with suppress(ValueError):  # not in the main thread
        before = signal.signal(signal.SIGTERM, on_term)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
