"""Watching a sweep until all of its runs are at rest, and how it ended."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress

from eqprop_core.problems import printable
from eqprop_core.runs.folder import RunError
from eqprop_core.shell import command
from eqprop_core.sweeps import slurm, stopping
from eqprop_core.sweeps.folder import Job, SweepFolder
from eqprop_core.sweeps.process import error_of_launcher, is_launched
from eqprop_core.sweeps.standing import PRUNED, Standing, counted, named, stands
from eqprop_tui.cli import report
from eqprop_tui.cli.consoles import Words
from eqprop_tui.cli.watch import choose
from eqprop_tui.signals import Ended
from eqprop_tui.words import accuracy, duration

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_QUESTIONS = 30.0  # to Slurm
CHOICES = "d leave it running · s stop all runs after their batch · Enter go on watching"
TOLD = ("running", "finished", PRUNED, "stopped", "failed", "lost", "unreachable")

ROOM = 64 * 2**10  # bytes that a run cannot begin without


class Look:
    """How the runs of a sweep stand, looked at again and again; finished ones stay so."""

    def __init__(self, sweep: SweepFolder) -> None:
        self.sweep = sweep
        self.on_slurm = sweep.launcher.get("launcher") == "slurm" and sweep.search is None
        self._jobs: list[Job] = sweep.jobs()
        self._done: dict[int, Standing] = {}
        self._queue: tuple[float, bool] = (-SECONDS_BETWEEN_QUESTIONS, True)

    @property
    def planned(self) -> int:
        """How many runs there are to be."""
        return self.sweep.planned

    def now(self) -> list[Standing]:
        """All runs, in order; those of a search come one by one."""
        if self.sweep.search is not None:
            with suppress(RunError):
                self.sweep = SweepFolder.open(self.sweep.path)
                self._jobs = self.sweep.jobs()
        found = []
        for number, job in enumerate(self._jobs):
            standing = self._done.get(number) or stands(self.sweep, job)
            if standing.state == "finished":
                self._done[number] = standing
            found.append(standing)
        return found

    def over(self, standings: list[Standing]) -> bool:
        """Whether nothing more will happen by itself."""
        if any(standing.alive for standing in standings):
            return False
        if self.sweep.search is not None:
            return not is_launched(self.sweep)
        if all(standing.state == "finished" for standing in standings):
            return True
        return not (self._queued() if self.on_slurm else is_launched(self.sweep))

    def _queued(self) -> bool:
        asked, answer = self._queue
        if time.monotonic() - asked >= SECONDS_BETWEEN_QUESTIONS:
            with suppress(RunError):  # it did not answer: what it said last may still be so
                answer = bool(slurm.queued(self.sweep))
            self._queue = (time.monotonic(), answer)
        return answer


def watch(sweep: SweepFolder) -> list[Standing]:
    """Show how a sweep goes on until it is over; returns how its runs stand then.

    Ctrl-C asks what is wished; the runs go on where nobody can be asked, and at every other signal.
    """
    look = Look(sweep)
    seen: dict[int, str] = {}
    while True:
        try:
            return _follow(look, seen)
        except KeyboardInterrupt:
            choice = choose(CHOICES, "ds") if sys.stdin.isatty() else "d"
        except Ended:
            leave(sweep)
            raise
        if choice == "d":
            leave(sweep)
            raise typer.Exit(128 + signal.SIGINT)
        if choice == "s":
            report.say("stopping")
            stopping.stop(sweep, say=report.say)
            report.put(in_words(look.now()))
            report.say(f"go on with: {command('sweep', 'resume', sweep.called)}")
            raise typer.Exit(128 + signal.SIGINT)


def _follow(look: Look, seen: dict[int, str]) -> list[Standing]:
    screen = report.console(stderr=True)
    with _bar(look.planned) as progress:
        while True:
            standings = look.now()
            for number, standing in enumerate(standings):
                if seen.get(number) != standing.state:
                    seen[number] = standing.state
                    if standing.state in TOLD:
                        target = progress.console if progress is not None else screen
                        target.print(line_of(standing), soft_wrap=True)
            if progress is not None:
                done = sum(standing.state == "finished" for standing in standings)
                progress.update(progress.task_ids[0], completed=done, said=in_words(standings))
            if look.over(standings):
                return look.now()
            time.sleep(SECONDS_BETWEEN_LOOKS)


@contextmanager
def _bar(runs: int) -> Iterator[Progress | None]:
    """A bar of all runs, where there is a terminal to draw on."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (Words("description"), BarColumn(), MofNCompleteColumn(), Words("fields[said]"))
    with Progress(*columns, console=report.console(stderr=True), transient=True) as progress:
        progress.add_task("runs", total=runs, said="")
        yield progress


def line_of(standing: Standing) -> str:
    """A run in a line: how it stands, which it is, and what it came to."""
    words = [f"{standing.state:<9}", named(standing.job)]
    if standing.summary is not None and standing.state == "finished":
        trained = duration(standing.summary.trained)
        words.append(f"test last {accuracy(standing.summary.last)} %, trained {trained}")
    if standing.reason:
        words.append(standing.reason)
    return printable("  ".join(words))


def in_words(standings: list[Standing]) -> str:
    """How many runs stand how: `3 finished, 1 running, 8 waiting`."""
    return ", ".join(f"{count} {state}" for state, count in counted(standings).items())


def leave(sweep: SweepFolder) -> None:
    """Say that the runs go on, and how to come back."""
    status, stop = (command("sweep", word, sweep.called) for word in ("status", "stop"))
    report.say(f"its runs go on; {status} shows them, {stop} stops them")


def end(sweep: SweepFolder, standings: list[Standing], *, as_json: bool) -> None:
    """Print how a sweep ended; exits with 1 unless all of its runs are finished."""
    if as_json:
        report.put_json({"folder": str(sweep.path), "name": sweep.name, "runs": counted(standings)})
    else:
        report.put(in_words(standings))
        report.put(f"saved in {sweep.path}")
    left = counted(standings)
    if set(left) == {"finished"}:
        return
    more = " (--retry-failed for those that failed)" if "failed" in left else ""
    if said := error_of_launcher(sweep):
        report.say(f"its launcher ended with an error: {said}")
    elif shutil.disk_usage(sweep.path).free < ROOM:  # and its launcher could not write that down
        report.say(f"the disk of {sweep.path} is full")
    raise RunError(f"not all runs are finished; go on with: {command('sweep', 'resume', sweep.called)}{more}")
