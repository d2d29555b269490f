"""`eqprop runs attach`, `stop`, `set` …: watch a run and ask it for something, from any terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from eqprop_core.config import combine
from eqprop_core.events import ControlReceived
from eqprop_core.files import expanded
from eqprop_core.marks import named
from eqprop_core.problems import ConfigError, Problem, printable
from eqprop_core.rules import cautions
from eqprop_core.runs.control import CHANGEABLE, Request, ask
from eqprop_core.runs.ending import end, end_process
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.launcher import Start
from eqprop_core.runs.listing import ALIVE, called, find_run, summarize
from eqprop_core.runs.log import follow_events, read_events, size_of_events
from eqprop_core.runs.names import EVENTS
from eqprop_core.runs.processes import process_of, process_to_signal, worker_of
from eqprop_core.runs.settings import make_plan
from eqprop_core.runs.starting import go_on
from eqprop_core.runs.words import SPOKEN, in_words
from eqprop_core.shell import command
from eqprop_tui.cli import report
from eqprop_tui.cli.listing import Wanted
from eqprop_tui.cli.watch import alive, tell_killed, tell_launch, watch
from eqprop_tui.cli.work import carry_out, show

AtOnce = Annotated[bool, typer.Option("--now", help="between two time steps, dropping the batch")]

SECONDS_FOR_AN_ANSWER = 10.0
SECONDS_BETWEEN_LOOKS = 0.1


def tail(
    run: Wanted, follow_on: Annotated[bool, typer.Option("--follow", "-f", help="wait for more")] = False
) -> None:
    """Print what happened in a run, a line for each event."""
    folder = find_run(run)
    folder.hold()
    path = folder.path / EVENTS
    records = read_events(path, SPOKEN)
    if follow_on:
        until_now = size_of_events(path)
        records = follow_events(path, begin=until_now, before=SPOKEN, ended=lambda: not alive(folder))
    words = partial(report.put_words, report.console())
    put = words if sys.stdout.isatty() else partial(report.put, flush=True)  # which is quick
    for record in records:
        if line := in_words(record.event):
            put(f"{datetime.fromtimestamp(record.time):%H:%M:%S} {line}")


def attach(run: Wanted) -> None:
    """Watch a run until it ends; Ctrl-C asks whether to leave it running, stop it or kill it."""
    folder = find_run(run)
    outcome = watch(folder, attached=True)
    outcome.path = folder.path
    show("train", outcome, as_json=False)


def stop(
    run: Wanted,
    at_once: AtOnce = False,
    terminate: Annotated[
        bool, typer.Option("--terminate", help="by a signal, which a process without ears hears too")
    ] = False,
    kill: Annotated[bool, typer.Option("--kill", help="what is not in a checkpoint is lost")] = False,
) -> None:
    """Stop a run after its batch, with a checkpoint; `resume` goes on."""
    path = expanded(Path(run))
    if not path.exists() and (process := worker_of(path)) is not None:
        report.say(f"{run}: its folder is gone; what it has learnt since cannot be saved")
        end_process(process, kill=kill, named=run)
        report.say("killed" if kill else "terminated")
        return
    folder = find_run(run)
    if terminate or kill:
        state = end(folder, kill=kill, named=run)
        if kill and state == "lost":
            tell_killed(folder)
        else:
            report.say(f"{'killed' if kill else 'terminated'}; {state}")
        return
    tell(run, "stop", times=1 + at_once)


def pause(run: Wanted, at_once: AtOnce = False) -> None:
    """Hold a run after its batch; its process and its memory stay."""
    folder = find_run(run)
    if summarize(folder.path).state == "paused":
        raise RunError(f"{run}: is paused already; go on with: {command('runs', 'resume', called(folder))}")
    tell(run, "pause", times=1 + at_once)


def checkpoint(run: Wanted) -> None:
    """Save a checkpoint after the batch."""
    tell(run, "checkpoint")


def check(run: Wanted) -> None:
    """Run the GDU check on the present weights: after the batch, or here once the run has ended."""
    folder = find_run(run)
    if summarize(folder.path).state in ALIVE:
        tell(run, "check")
        return
    path = str(folder.path)
    words = ("eqprop", "gducheck", "--load-path", path, "--save")
    carry_out(make_plan("gducheck", {"load_path": path, "save": True}, None, words))


def change(
    run: Wanted,
    lr_factor: Annotated[
        float | None, typer.Option(help="factor on all learning rates, after their decay")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="number of the last epoch")] = None,
    checkpoint_every: Annotated[float | None, typer.Option(help="minutes between checkpoints")] = None,
    event_rate: Annotated[float | None, typer.Option(help="batch events a second, 10 at most")] = None,
) -> None:
    """Change what is safe to change while a run trains; it is written down, and holds on resuming."""
    values = {
        "lr_factor": lr_factor,
        "epochs": epochs,
        "checkpoint_every": checkpoint_every,
        "event_rate": event_rate,
    }
    settings = {name: value for name, value in values.items() if value is not None}
    if not settings:
        names = ", ".join("--" + name.replace("_", "-") for name in CHANGEABLE)
        raise ConfigError([Problem("config", "runs set", f"say what to change: {names}")])
    problems = [
        Problem(name, value, f"must be more than 0 and at most {CHANGEABLE[name].high:g}")
        for name, value in settings.items()
        if not CHANGEABLE[name].accept(value)
    ]
    done = summarize(find_run(run).path).epoch
    if epochs is not None and 0 < epochs <= done:
        message = f"epoch {epochs} is over already; {done + 1} or more, or stop the run"
        problems.append(Problem("epochs", epochs, message))
    if problems:
        raise ConfigError(problems)
    tell(run, "set", settings)
    if epochs is not None:
        _caution(find_run(run), epochs)


def resume(
    run: Wanted,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="epochs to train from where it stands")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="do not wait for other runs on its device")] = False,
    on_finish: Annotated[
        str | None,
        typer.Option("--on-finish", metavar="COMMAND", help="shell command for its end"),
    ] = None,
    nproc: Annotated[
        int | None,
        typer.Option(
            "--nproc", metavar="N", help="on N processes of the CPU together; by default as it was started"
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="0,1", help="on several GPUs together, a process each"),
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="where its data are now")
    ] = None,
) -> None:
    """Go on with a run: one that is paused, stopped, failed or lost."""
    folder = find_run(run)
    standing = summarize(folder.path)
    state, done = standing.state, standing.epoch
    if data_dir is not None and state in ALIVE:
        raise RunError(f"{run}: is {state}; stop it, to go on with its data elsewhere")
    if state == "paused":
        tell(run, "resume")
        return
    if state == "queued":
        if not now:
            raise RunError(f"{run}: is queued already; --now begins at once")
        begin_at_once(folder, run)
        return
    changes = {} if data_dir is None else {"data_dir": str(expanded(Path(data_dir)).absolute())}
    wanted = Start(
        more_epochs=epochs, changes=changes, now=now, on_finish=on_finish, nproc=nproc, devices=devices
    )
    launched = go_on(folder, wanted, named=run)
    tell_launch(launched)
    if epochs is not None:
        _caution(folder, done + epochs)
    report.say(f"watch it: {command('runs', 'attach', called(folder))}")
    report.put_path(folder.path)


def _caution(folder: RunFolder, epochs: int) -> None:
    """Say what to know of a run that is to end after that many epochs."""
    with suppress(ConfigError):  # settings that cannot be read are told by what needs them
        for said in cautions(combine(folder.settings_now() or {}), epochs, advise=False):
            report.say(f"warning: {said}")


def begin_at_once(folder: RunFolder, wanted: str) -> None:
    """Ask a run not to wait for its device any longer. Raises `RunError` if it does not hear."""
    _ask(folder, wanted, "resume")
    deadline = time.monotonic() + SECONDS_FOR_AN_ANSWER
    while summarize(folder.path).state == "queued":
        if time.monotonic() > deadline:
            raise RunError(f"{wanted}: did not answer within {SECONDS_FOR_AN_ANSWER:.0f} s")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    report.say(f"begins; watch it: {command('runs', 'attach', called(folder))}")


def tell(wanted: str, request: Request, settings: dict[str, Any] | None = None, *, times: int = 1) -> None:
    """Ask a run for something and wait until it says that it has heard. Raises `RunError` if it does not.

    Asked two `times`, it stops or pauses between two time steps.
    """
    folder = find_run(wanted)
    state = summarize(folder.path).state
    if state not in ALIVE:
        raise RunError(f"{wanted}: is {state}; there is no process to ask")
    if state == "queued" and request != "stop":
        raise RunError(
            f"{wanted}: is waiting for its device; it can be stopped, or begin at once with: "
            f"{command('runs', 'resume', called(folder), '--now')}"
        )
    before = size_of_events(folder.path / EVENTS)
    for _ in range(times):
        _ask(folder, wanted, request, settings)
    deadline = time.monotonic() + SECONDS_FOR_AN_ANSWER
    answers = follow_events(
        folder.path / EVENTS, begin=before, ended=lambda: time.monotonic() > deadline or not alive(folder)
    )
    for record in answers:
        if isinstance(record.event, ControlReceived) and record.event.request == request:
            when = "after the batch"
            if times > 1:
                when = "at once, dropping the batch"
            elif state == "paused":
                when = "at once"
            report.say(f"{request}: received, takes effect {when}")
            return
    if request == "stop" and not alive(folder):
        report.say("stopped" if folder.has_checkpoint() else "stopped before its first checkpoint")
        return
    if summarize(folder.path).state == "starting":
        report.say(f"{request}: asked, takes effect as soon as the run has loaded")
        return
    process = process_of(folder.path, folder.read_state())
    raise RunError(
        f"{wanted}: did not answer within {SECONDS_FOR_AN_ANSWER:.0f} s"
        f"{f' ({printable(named(process))})' if process is not None else ''}; "
        f"{command('runs', 'stop', called(folder), '--kill')} ends its process"
    )


def _ask(folder: RunFolder, wanted: str, request: Request, settings: dict[str, Any] | None = None) -> None:
    """Ask a run for something. Raises `RunError` where that cannot be written down, as on a full disk."""
    try:
        ask(folder.path, request, settings)
    except OSError as error:
        said = f"{wanted}: cannot be asked: {error.strerror or error}"
        if process_to_signal(folder.path, folder.read_state()) is not None:
            said += f"; {command('runs', 'stop', called(folder), '--terminate')} stops it by a signal"
        raise RunError(said) from None
