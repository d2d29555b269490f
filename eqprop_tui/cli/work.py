"""train, evaluate, gducheck and reference: flags made into a plan, and the plan carried out."""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from eqprop_core import catalogue
from eqprop_core.presets import Preset, load_preset
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs.folder import RunError, RunFolder, results_root
from eqprop_core.runs.launcher import launch
from eqprop_core.runs.settings import Plan, Todo, changed_settings, in_flags, make_plan
from eqprop_core.runs.words import NOT_SAVED, in_words
from eqprop_tui.cli import report
from eqprop_tui.cli.flags import with_flags
from eqprop_tui.cli.follow import Outcome, follow

PresetName = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="start from a preset; flags win over it")
]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]


def _plan(todo: Todo, preset: str | None, flags: dict[str, Any]) -> Plan:
    chosen: Preset | None = load_preset(preset) if preset else None
    return make_plan(todo, flags, chosen, ("eqprop", *sys.argv[1:]))


@with_flags(leave_out=("todo", "all_elements"))
def train(
    flags: dict[str, Any],
    preset: PresetName = None,
    as_json: AsJson = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="train in a process of its own; prints the run's folder")
    ] = False,
) -> None:
    """Train a network, and keep the run in a folder."""
    plan = _plan("train", preset, flags)
    if detach and not plan.config.dry_run:
        print(start_detached(plan).path)
        return
    carry_out(plan, keep=plan.config.save is not False, as_json=as_json)


@with_flags(leave_out=("todo", "all_elements"))
def evaluate(flags: dict[str, Any], preset: PresetName = None, as_json: AsJson = False) -> None:
    """Evaluate a trained network (--load-path) on training and test images."""
    carry_out(_plan("evaluate", preset, flags), as_json=as_json)


@with_flags(leave_out=("todo",))
def gducheck(flags: dict[str, Any], preset: PresetName = None, as_json: AsJson = False) -> None:
    """Hold EP against BPTT step by step, on a new network or on a trained one (--load-path)."""
    carry_out(_plan("gducheck", preset, flags), as_json=as_json)


@with_flags()
def reference(flags: dict[str, Any], as_json: AsJson = False) -> None:
    """Take a command line of the reference, word for word; --todo decides what is done."""
    todo = flags.get("todo", "train")
    if todo not in ("train", "evaluate", "gducheck"):
        raise ConfigError([Problem("todo", todo, "is not one of train, evaluate, gducheck")])
    plan = _plan(todo, None, flags)
    carry_out(plan, keep=bool(plan.config.save), as_json=as_json)


def start_detached(plan: Plan) -> RunFolder:
    """Start a training in a process that outlives this terminal; returns the folder of its run."""
    if plan.config.save is False:
        raise ConfigError([Problem("save", False, "a detached run is kept; leave --no-save out")])
    if plan.stored is not None:
        if changes := changed_settings(plan.stored, plan.config):
            raise RunError(
                f"{plan.stored.path}: goes on detached with its own settings only, not {in_flags(changes)}"
            )
        launch(plan.stored, more_epochs=plan.more_epochs)
        return plan.stored
    config = plan.config
    data = catalogue.status(config.task, catalogue.data_root(_path(config.data_dir)))
    if data.state in ("absent", "damaged"):
        raise RunError(f"{config.task} is not here; fetch it first: eqprop data get {config.task}")
    for name, size in (("train_samples", data.train_size), ("test_samples", data.test_size)):
        wanted = getattr(config, name)
        if wanted is not None and size is not None and wanted > size:
            raise ConfigError([Problem(name, wanted, f"there are {size:,} images")])
    if config.seed is None:
        config = config.changed(seed=secrets.randbelow(2**31))
    preset = plan.preset.name if plan.preset else None
    run = RunFolder.create(results_root(config), config, command=plan.command, preset=preset)
    launch(run)
    return run


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def carry_out(plan: Plan, *, keep: bool = True, as_json: bool = False) -> Outcome | None:
    """Do what a plan says in this process, show progress, print the result.

    `keep=False` trains in a temporary folder.
    """
    if plan.config.dry_run:
        report.dry_run(plan.config, more_epochs=plan.more_epochs)
        return None
    from eqprop_core.worker import process  # torch: only once there is something to do
    from eqprop_core.worker.signals import StopWish, stop_wishes

    wish = StopWish()
    with tempfile.TemporaryDirectory(prefix="eqprop-") as temporary:
        work = process.begin(plan, root=None if keep else Path(temporary), stop=wish)
        resumable = plan.config.todo == "train" and keep and work.path is not None
        hint = f"; go on with: eqprop train --load-path {work.path}" if resumable else ""
        try:
            with stop_wishes(wish) if plan.config.todo == "train" else nullcontext():
                outcome = follow(work.records, epochs=plan.config.epochs)
        except KeyboardInterrupt:
            report.say(f"stopped at once{hint}")
            raise typer.Exit(128 + (wish.signal or signal.SIGINT)) from None
        unsaved = [said for said in outcome.warnings if said.startswith(NOT_SAVED)]
        if wish.signal is not None and outcome.finished is None:
            report.say(f"stopped{hint}")
            if not unsaved:
                raise typer.Exit(128 + wish.signal)
        else:
            outcome.path = work.path if keep else None
            show(plan.config.todo, outcome, as_json=as_json)
        if unsaved:
            report.say(f"error: {unsaved[-1]}")
            raise typer.Exit(1)
        return outcome


def show(todo: str, outcome: Outcome, *, as_json: bool) -> None:
    """Print what the work came to."""
    if as_json:
        report.put_json(as_document(todo, outcome))
        return
    out = report.console()
    if outcome.gdu is not None and todo == "gducheck":
        out.print(report.gdu_table(outcome.gdu.rows))
    if todo == "train" and outcome.finished is not None:
        best, last = outcome.finished.best_accuracy, outcome.finished.last_accuracy
        if best is not None and last is not None:
            held_out = outcome.epochs and outcome.epochs[-1].validation_accuracy is not None
            judged = "best on validation" if held_out else "best"
            out.print(f"test {last:.2f} %, {judged} {best:.2f} %, in {outcome.finished.seconds:.1f} s")
    for part in outcome.evaluated:
        out.print(in_words(part))
    if outcome.path is not None:
        out.print(f"saved in {outcome.path}", markup=False, soft_wrap=True)


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
        document["seconds"] = outcome.finished.seconds
        document["epochs"] = [event.model_dump() for event in outcome.epochs]
    if todo == "evaluate":
        document["parts"] = {
            event.part: {"accuracy": event.accuracy, "loss": event.loss, "images": event.images}
            for event in outcome.evaluated
        }
    if todo == "gducheck" and outcome.gdu is not None:
        document["beta"] = outcome.gdu.beta
        document["images"] = outcome.gdu.images
        document["rows"] = [row.model_dump() for row in outcome.gdu.rows]
    return document
