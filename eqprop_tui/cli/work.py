"""train, evaluate, gducheck and reference: flags made into a plan, and the plan carried out."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from eqprop_core import catalogue
from eqprop_core.config import RunConfig, settings_of
from eqprop_core.events import RunFinished
from eqprop_core.names import same
from eqprop_core.preset_files import settings_of_run
from eqprop_core.presets import Preset
from eqprop_core.private import use_own_folders
from eqprop_core.problems import ConfigError, Problem, flag, printable
from eqprop_core.reference_line import understood
from eqprop_core.runs.finishing import call
from eqprop_core.runs.folder import BEGUN_WITH, DATA, LIKE, RunError, RunFolder
from eqprop_core.runs.labels import labels_of
from eqprop_core.runs.launcher import Start, as_before, find_places, launch
from eqprop_core.runs.listing import called, find_run, list_runs, summarize
from eqprop_core.runs.log import size_of_events
from eqprop_core.runs.names import EVENTS
from eqprop_core.runs.processes import process_to_signal
from eqprop_core.runs.roots import forget_root
from eqprop_core.runs.scores import scores_of_finished
from eqprop_core.runs.settings import Plan, Todo, changed_settings, known_settings, make_plan
from eqprop_core.runs.starting import check_sizes, start_new
from eqprop_core.runs.words import NOT_SAVED, in_words
from eqprop_core.shell import command
from eqprop_core.worker.signals import Wishes, heard
from eqprop_tui.cli import data as data_sets
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import ReferenceCommand, with_flags
from eqprop_tui.cli.follow import Outcome, follow
from eqprop_tui.cli.presets import pick_preset
from eqprop_tui.cli.watch import leave, tell_launch, watch
from eqprop_tui.words import NEURONS, OF_NEURONS, gdu_settings, pace

PresetName = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="start from a preset; flags win over it")
]
PROCESS = "Process"
Processes = Annotated[
    int | None,
    typer.Option(
        "--nproc",
        metavar="N",
        help="train on N processes of this machine's CPU together; --mbs is the batch of all",
        rich_help_panel=PROCESS,
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="0,1",
        help="train on several GPUs together, a process each; --mbs is the batch of all",
        rich_help_panel=PROCESS,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]


def _plan(
    todo: Todo,
    preset: str | None,
    flags: dict[str, Any],
    from_run: str | None = None,
    like: str | None = None,
) -> Plan:
    chosen: Preset | None = pick_preset(preset) if preset else None
    settings = None
    labels: dict[str, Any] = {}
    for name, wanted in (("like", like), ("from_run", from_run)):
        if wanted is None:
            continue
        given = {
            "preset": preset,
            "load_path": flags.get("load_path"),
            "from_run": name == "like" and from_run,
        }
        if other := next((other for other, value in given.items() if value), None):
            raise ConfigError([Problem(name, wanted, f"cannot go with {flag(other)}")])
        run = find_run(wanted)
        settings = settings_of_run(run, keep_seed=name == "like")
        if name == "like":
            labels = {LIKE: str(run.path), BEGUN_WITH: run.begun_with(), DATA: run.meta().get(DATA)}
    plan = make_plan(todo, flags, chosen, ("eqprop", *sys.argv[1:]), like=settings)
    return replace(plan, labels={**plan.labels, **labels})


def _with_presets(error: ConfigError) -> ConfigError:
    """The same, and of learning rates that were not given, that presets have them."""
    hint = "; a preset brings them: --preset NAME, of eqprop presets list"
    return ConfigError(
        [
            replace(problem, message=problem.message + hint)
            if problem.setting == "lrs" and problem.value is None
            else problem
            for problem in error.problems
        ]
    )


def _tell_namesake(name: str) -> None:
    """Say where a run has the name of a new one, so that neither will be found by it."""
    ids = [run.id or str(run.path) for run in list_runs() if same(run.name or "") == same(name)]
    if ids:
        report.say(
            f"warning: --name {name}: {ids[0]} has this name, too; name the two by their ids or folders"
        )


@with_flags(settings_of("train"))
def train(
    flags: dict[str, Any],
    preset: PresetName = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from-run",
            metavar="RUN",
            help="a new run with a run's settings, all but its name, device and seed; flags win over them",
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="RUN",
            help="a new run with a run's settings and seed that computes as it did, also what --fast chose",
        ),
    ] = None,
    as_json: AsJson = False,
    detach: Annotated[
        bool,
        typer.Option(
            "--detach", help="print the run's folder and return; do not watch", rich_help_panel=PROCESS
        ),
    ] = False,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground",
            help="train in this process, as EQPROP_FOREGROUND=1 does: for debuggers, containers, schedulers",
            rich_help_panel=PROCESS,
        ),
    ] = False,
    now: Annotated[
        bool,
        typer.Option("--now", help="do not wait for other runs on the same device", rich_help_panel=PROCESS),
    ] = False,
    nproc: Processes = None,
    devices: Devices = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="a tag for the run; may be repeated", rich_help_panel=PROCESS),
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", help="a note on the run", rich_help_panel=PROCESS)
    ] = None,
    on_finish: Annotated[
        str | None,
        typer.Option(
            "--on-finish",
            metavar="COMMAND",
            help="shell command for the end of this process; EQPROP_RUN, EQPROP_STATE, EQPROP_BEST tell how",
            rich_help_panel=PROCESS,
        ),
    ] = None,
) -> None:
    """Train a network in a process of its own that outlives this terminal, and watch it."""
    try:
        plan = _plan("train", preset, flags, from_run, like)
    except ConfigError as error:
        raise (error if preset or from_run or like else _with_presets(error)) from None
    if plan.stored is None and plan.config.name is not None:
        _tell_namesake(plan.config.name)
    check_sizes(plan.config)
    plan = replace(plan, labels={**plan.labels, **labels_of(tag, note)})
    here = foreground or plan.config.save is False
    if detach and here:
        raise ConfigError([Problem("detach", None, "cannot go with --foreground or --no-save")])
    here = here or bool(os.environ.get("EQPROP_FOREGROUND") and not detach)
    wanted = Start(now=now, on_finish=on_finish, nproc=nproc, devices=devices, apart=not here)
    if plan.stored is not None:
        if "device" in flags and nproc is None and devices is None:
            wanted = replace(wanted, nproc=1)  # whatever devices it was started on before
        wanted = as_before(plan.stored, wanted)
    find_places(plan.config, wanted)
    alone = wanted.devices is None and (wanted.nproc or 1) == 1
    if plan.config.dry_run or (here and alone):
        carry_out(plan, keep=plan.config.save is not False, as_json=as_json, on_finish=on_finish)
        return
    if detach:  # what is not watched cannot say so
        for said in report.cautions_of(plan.config, _last(plan)):
            report.say(f"warning: {said}")
    kept = plan.config.save is not False
    with nullcontext() if kept else temporary_results() as temporary:
        if temporary:
            plan = replace(plan, config=plan.config.changed(results=temporary))
        run, outcome = start(plan, wanted, watched=not detach)
    if outcome is not None:
        outcome.path = run.path if kept else None
        show("train", outcome, as_json=as_json)
        fail_if_unsaved(outcome)
    elif as_json:
        report.put_json({"todo": "train", "folder": str(run.path)})
    else:
        report.put_path(run.path)


@with_flags(settings_of("evaluate"))
def evaluate(flags: dict[str, Any], preset: PresetName = None, as_json: AsJson = False) -> None:
    """Evaluate a trained network (--load-path) on training and test images."""
    carry_out(_plan("evaluate", preset, flags), as_json=as_json)


@with_flags(settings_of("gducheck"))
def gducheck(flags: dict[str, Any], preset: PresetName = None, as_json: AsJson = False) -> None:
    """Hold EP against BPTT step by step, on a new network or on a trained one (--load-path)."""
    carry_out(_plan("gducheck", preset, flags), as_json=as_json)


@with_flags(RunConfig.model_fields, command_class=ReferenceCommand)
def reference(flags: dict[str, Any], as_json: AsJson = False) -> None:
    """Take a command line of the reference, word for word; --todo decides what is done."""
    todo = flags.get("todo", "train")
    if todo not in ("train", "evaluate", "gducheck"):
        raise ConfigError([Problem("todo", todo, "is not one of train, evaluate, gducheck")])
    if todo == "gducheck":
        flags.pop("mbs", None)  # the reference takes 20 images of a batch, however large it is
    load_path = flags.get("load_path")
    flags, notes = understood(flags, known_settings(load_path) if load_path else None)
    for note in notes:
        report.say(note)
    plan = _plan(todo, None, flags)
    carry_out(plan, keep=bool(plan.config.save), as_json=as_json)


@contextmanager
def temporary_results() -> Iterator[str]:
    """A results folder for a run that is not kept."""
    with tempfile.TemporaryDirectory(prefix="eqprop-") as folder:
        try:
            yield folder
        finally:
            with suppress(OSError):
                forget_root(Path(folder))


def start(plan: Plan, wanted: Start, *, watched: bool) -> tuple[RunFolder, Outcome | None]:
    """Start a training in a process that outlives this terminal, and watch it if wished.

    Raises `ConfigError`, `RunError` or `DataError` for what is found before the process is started.
    """
    config = plan.config
    old = 0  # bytes of events of before
    fetch_if_absent(config)
    if plan.stored is not None:
        run = plan.stored
        if run.is_complete() and plan.more_epochs is None:
            raise RunError(f"{run.path}: is complete; --epochs N trains N more")
        changes = changed_settings(run.settings_now() or {}, config)
        if name := changes.pop("name", None):
            run.relabel(name=name[1])
        wanted = replace(
            wanted, more_epochs=plan.more_epochs, changes={name: new for name, (_, new) in changes.items()}
        )
        old = size_of_events(run.path / EVENTS)
        launched = launch(run, config, wanted)
    else:
        try:
            run, launched = start_new(plan, wanted)
        except KeyboardInterrupt:
            report.say("interrupted before the run began")
            raise typer.Exit(128 + signal.SIGINT) from None
    try:
        tell_launch(launched)
        if not watched:
            return run, None
        report.say(f"{run.path}")
        with nullcontext() if wanted.apart else standing_for(run):
            return run, watch(run, old=old, stands_for_it=not wanted.apart)
    except KeyboardInterrupt:  # before there was anything to ask about
        leave(run)
        raise typer.Exit(128 + signal.SIGINT) from None


@contextmanager
def standing_for(run: RunFolder) -> Iterator[None]:
    """Hand USR2 and a hang-up on to the process that owns the run, as this one stands for it."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        if (process := process_to_signal(run.path, run.read_state())) is not None:
            process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    numbers = [n for n in (signal.SIGUSR2, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, hand_on) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fetch_if_absent(config: RunConfig) -> None:
    """Fetch the data set if it is not here, while there is somebody to see it.

    Raises `DataError` where it cannot be fetched, `ConfigError` where it has fewer images than asked for.
    """
    if catalogue.status(config.task, config.data_root).state in ("absent", "damaged"):
        data_sets.fetch_now(config.task, config.data_root)
        check_sizes(config)


def carry_out(
    plan: Plan, *, keep: bool = True, as_json: bool = False, on_finish: str | None = None
) -> Outcome | None:
    """Do what a plan says in this process, show progress, print the result.

    `keep=False` trains in a temporary folder.
    """
    if plan.config.dry_run:
        if plan.config.todo != "train":  # whose device has been looked for
            find_places(plan.config, Start())
        if as_json:
            report.put_json(
                report.dry_run_document(plan.config, more_epochs=plan.more_epochs, last=_last(plan))
            )
        else:
            report.dry_run(plan.config, more_epochs=plan.more_epochs, last=_last(plan))
        return None
    use_own_folders()
    wishes = Wishes()
    with nullcontext() if keep else temporary_results() as temporary:
        with heard(wishes) if plan.config.todo == "train" else nullcontext():
            from eqprop_core.worker import process  # torch: only once there is something to do

            work = process.begin(plan, root=Path(temporary) if temporary else None, wishes=wishes)
            hint = ""
            if plan.config.todo == "train" and keep and work.path is not None:
                hint = f"; go on with: {command('train', '--load-path', called(RunFolder(work.path)))}"
            try:
                outcome = follow(work.records, epochs=plan.config.epochs)
            except KeyboardInterrupt:
                if hint and work.path is not None and not RunFolder(work.path).has_checkpoint():
                    hint = hint.replace("go on with", "before its first checkpoint; begin again")[1:]
                report.say(f"stopped at once{hint}")
                raise typer.Exit(128 + (wishes.stop or signal.SIGINT)) from None
            finally:
                if on_finish and work.path is not None:
                    call(on_finish, work.path)
        if wishes.stop is not None and outcome.finished is None:
            report.say(f"stopped{hint}")
            fail_if_unsaved(outcome)
            raise typer.Exit(128 + wishes.stop)
        outcome.path = work.path if keep else None
        show(plan.config.todo, outcome, as_json=as_json)
        fail_if_unsaved(outcome)
        return outcome


def _last(plan: Plan) -> int | None:
    """The last epoch of a run that is to go on for some more, None for another one."""
    if plan.stored is None or plan.more_epochs is None:
        return None
    return summarize(plan.stored.path).epoch + plan.more_epochs


def unsaved(outcome: Outcome) -> bool:
    """Whether weights that a training came to, or events, were not written, as was said while it ended."""
    return any(said.startswith(NOT_SAVED) for said in outcome.warnings)


def fail_if_unsaved(outcome: Outcome) -> None:
    """Exit with 1 where weights that a training came to, or events, were not written."""
    if unsaved(outcome):
        raise typer.Exit(1)


def show(todo: str, outcome: Outcome, *, as_json: bool) -> None:
    """Print what the work came to."""
    if as_json:
        report.put_json(as_document(todo, outcome))
        return
    out = report.console()
    if outcome.started is not None and outcome.started.weights:
        out.print(f"weights {outcome.started.weights}", soft_wrap=True)
    if outcome.gdu is not None and todo == "gducheck":
        out.print(report.gdu_table(outcome.gdu.rows))
        if any(row.name.startswith(NEURONS) for row in outcome.gdu.rows):
            out.print(f"{OF_NEURONS}.", style="dim", highlight=False, soft_wrap=True)
        out.print(gdu_settings(outcome.gdu), soft_wrap=True)
        for said in filter(None, (outcome.gdu.verdict, outcome.gdu.chosen)):
            out.print(f"{said[:1].upper()}{said[1:]}.", soft_wrap=True)
    ended = outcome.finished if todo == "train" else None
    if ended is not None and (said := scores_of_finished(ended).in_words()):
        out.print(f"{said}, {_times(ended)}")
    for part in outcome.evaluated:
        out.print(in_words(part))
    if outcome.path is not None and outcome.path.exists():
        saved = "the rest is saved" if unsaved(outcome) else "saved"
        out.print(f"{saved} in {printable(str(outcome.path))}", soft_wrap=True)


def _times(finished: RunFinished) -> str:
    trained = "" if finished.trained is None else f"trained {pace(finished.trained)}, "
    return f"{trained}took {pace(finished.seconds)}"


def as_document(todo: str, outcome: Outcome) -> dict[str, Any]:
    """What the work came to as plain values."""
    document: dict[str, Any] = {
        "todo": todo,
        "folder": str(outcome.path) if outcome.path else None,
        "warnings": outcome.warnings,
    }
    if todo == "train" and outcome.finished is not None:
        document["best_accuracy"] = outcome.finished.best_accuracy
        document["last_accuracy"] = outcome.finished.last_accuracy
        document["seconds"] = document["took"] = outcome.finished.seconds
        document["trained"] = outcome.finished.trained
        document |= asdict(scores_of_finished(outcome.finished))
        document["epochs"] = [event.model_dump() for event in outcome.epochs]
    if todo == "evaluate":
        document["parts"] = {
            event.part: {"accuracy": event.accuracy, "loss": event.loss, "images": event.images}
            for event in outcome.evaluated
        }
    if todo == "gducheck" and outcome.gdu is not None:
        document["beta"] = outcome.gdu.beta
        document["images"] = outcome.gdu.images
        document["verdict"] = outcome.gdu.verdict
        document["chosen"] = outcome.gdu.chosen or None
        document["rows"] = [row.model_dump() for row in outcome.gdu.rows]
    return document
