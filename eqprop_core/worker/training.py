"""Trains as a plan says, from the start or from where a run's latest checkpoint is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue, TypeAdapter, ValidationError

from eqprop_core.data.fetching import SECONDS_BETWEEN_LINES, Told, in_words, now_and_then, printed
from eqprop_core.events import Activity, Amended, EpochFinished, Event, Record, RunResumed, Warned
from eqprop_core.learning.finite import TrainingError
from eqprop_core.learning.sharing import Group
from eqprop_core.learning.trainer import Trainer
from eqprop_core.locks import Lock
from eqprop_core.problems import shown
from eqprop_core.rules import cautions
from eqprop_core.runs import names
from eqprop_core.runs.control import take
from eqprop_core.runs.folder import BEGUN_WITH, DATA, LIKE, RunError, RunFolder
from eqprop_core.runs.history import current_events
from eqprop_core.runs.listing import number
from eqprop_core.runs.log import last_seq, read_events
from eqprop_core.runs.places import Place
from eqprop_core.runs.settings import Plan, changed_settings, in_flags
from eqprop_core.worker import checkpoint
from eqprop_core.worker.beginning import begin_with
from eqprop_core.worker.choices import choose, recorded_choices, review, tell_of_compiler
from eqprop_core.worker.out_of_memory import memory_told
from eqprop_core.worker.patience import ProcessLostError
from eqprop_core.worker.preparing import Prepared, Work, facts_of, new_folder, prepare, started
from eqprop_core.worker.recorded_data import told_to_begin_again, told_to_go_on
from eqprop_core.worker.requests import Requests
from eqprop_core.worker.session import Session, best_and_last
from eqprop_core.worker.signals import Wishes
from eqprop_core.worker.together import Together
from eqprop_core.worker.untold import epochs_untold


def begin_training(
    plan: Plan,
    root: Path | None,
    made: RunFolder | None,
    wishes: Wishes,
    place: Place | None,
    lock: Lock | None,
    group: Group | None = None,
) -> Work:
    """Prepare a training and put it where the run's latest checkpoint is, if it has one.

    It goes into `made`, or else the stored run of the plan, or else a new folder below `root` or --results.
    `lock` is the run's where this process holds it already; otherwise it is taken. Raises `ConfigError`,
    `RunError` or `DataError`; the lock is then given back. In a `group`, of which this process is rank 0, the
    others are told where the training stands.
    """
    run = made or plan.stored
    if run is not None and lock is None:
        lock = run.lock()  # nobody else writes from here on
        take(run.path)  # asked of a process that is gone: nobody waits for it any more
    try:
        if run is not None:
            run.identify()
        return _prepared(plan, root, run, wishes, place, lock, group)
    except BaseException:
        if lock is not None:
            lock.close()
        raise


def _prepared(
    plan: Plan,
    root: Path | None,
    run: RunFolder | None,
    wishes: Wishes,
    place: Place | None,
    lock: Lock | None,
    group: Group | None,
) -> Work:
    ready = prepare(plan, place=place, told=None if run is None else shown_in_state(run, wishes))
    together = Together.of(ready, group)
    ready = replace(ready, label=together.label)
    trainer = Trainer(ready.config, ready.net, ready.dataset, group=group)
    opening: list[Event] = []
    again: list[Amended] = []
    seen = 0  # number of the last event that a checkpoint knows of
    begun = run is not None and any((run.path / name).exists() for name in _checkpoints(run))
    if run is None or not begun:
        known = plan.labels if run is None else run.meta()
        notes = _begin_choices(ready, known.get(BEGUN_WITH), together.processes, told=LIKE in known)
        notes += told_to_begin_again(known.get(DATA), ready.data)
        source = known.get("started_from")
        if run is not None and last_seq(run.path / names.EVENTS):  # killed before its first checkpoint
            opening.append(RunResumed(from_seq=0, epoch=1, batch=0))
            again = changes_after(run, 0)
            planned = int((run.config() or {}).get("epochs", trainer.epochs))  # as when it began
            trainer.epochs = planned
            if plan.more_epochs is not None:
                trainer.epochs = plan.more_epochs
            opening += _amended(trainer, plan, run, run.settings_now() or {}, planned)
        before = begin_with(trainer, Path(str(source)), ready.data) if source else []
        run = run or new_folder(ready, root)  # once all that does not fit has been said
        if trainer.best_accuracy is not None:
            with suppress(OSError):  # what cannot be written there is told with the first checkpoint
                checkpoint.write(run.path / names.BEST_MODEL, checkpoint.packed_model(trainer.net))
        opening.append(started(ready, epochs=trainer.epochs, batches=trainer.batches_per_epoch))
        opening += before
    else:
        opening += resume(trainer, plan, run, ready, together.processes)
        assert isinstance(opening[0], RunResumed)
        seen = opening[0].from_seq
        again = changes_after(run, seen, (trainer.epoch + 1, trainer.batch))
        notes = []
    opening += [Warned(message=warning) for warning in (*ready.warnings, *notes)]
    if trainer.epoch < trainer.epochs:
        told = cautions(ready.config, trainer.epochs, advise=not begun)
        opening += [Warned(message=said) for said in told]
    numerics = {**facts_of(ready.device), "processes": together.processes, **recorded_choices(ready)}
    run.describe({**numerics, **facts_of(ready.device, ready.label), DATA: ready.data.summary()})
    if not begun:
        run.describe({BEGUN_WITH: numerics})
        _note_fast(ready, run, 0, 0)
    together.tell(ready, trainer)
    trained, activity = _seen_until(run, seen)
    session = Session(
        run.path,
        folder=run,
        config=ready.config,
        epochs=trainer.epochs,
        numerics=numerics,
        data=ready.data.document(),
        expected_accuracy=run.expected_accuracy(),
        lock=lock,
        summary={
            "epoch": trainer.epoch,
            **best_and_last(trainer),
            "seconds_an_epoch": number(run.read_state().get("seconds_an_epoch")),
            "trained": trained if isinstance(opening[0], RunResumed) else None,
            "took": number(run.read_state().get("took")),
        },
        activity=activity,
    )
    requests = Requests(run, session, trainer, wishes, again, group)
    if group is not None:
        group.wish = requests.wish
        group.leaving = requests.ending
    trainer.boundary = requests.boundary
    session.gives_up = requests.given_up
    if ready.config.fast:
        trainer.review = lambda: _reviewed(ready, trainer, run, session, group)
    trainer.drop = requests.impatient
    trainer.progress = session.progress
    tell_of_compiler(ready.net, lambda event: session.later([session.emit(event)]))
    return Work(run.path, _train(ready, trainer, session, requests, opening, group))


def shown_in_state(run: RunFolder, wishes: Wishes) -> Told:
    """Say in a run's `state.json` and on standard error how far a download is, and end it when asked to stop.

    Ends it by `KeyboardInterrupt`.
    """
    print_it = now_and_then(printed, SECONDS_BETWEEN_LINES)

    def write(what: str, done: int, of: int | None) -> None:
        with suppress(OSError):
            run.write_state(
                {**run.read_state(), "fetching": in_words(what, done, of), "heartbeat": time.time()}
            )

    write_it = now_and_then(write, 1.0)

    def told(what: str, done: int, of: int | None) -> None:
        if wishes.stop is not None or any(asked.request == "stop" for asked in take(run.path)):
            raise KeyboardInterrupt
        write_it(what, done, of)
        print_it(what, done, of)

    return told


def _begin_choices(ready: Prepared, recorded: object, processes: int, *, told: bool) -> list[str]:
    """Choose how a run computes, or do as is `recorded` of its own beginning or another's; what to say.

    That it does so is `told` where it was asked for, and not where a run begins again after a kill.
    """
    if not isinstance(recorded, dict):
        return choose(ready, processes=processes)
    said = _repeat_choices(recorded, ready.device, processes) + choose(ready, recorded, processes)
    return [*said, *([f"computes as was recorded: {ready.net.numerics.words()}"] if told else [])]


def _reviewed(
    ready: Prepared, trainer: Trainer, run: RunFolder, session: Session, group: Group | None
) -> Iterator[Event]:
    """Review what --fast uses, and record what comes of it; with the next checkpoint it is kept."""
    before, place = ready.net.numerics, (trainer.epoch, trainer.batch)
    yield from review(ready, *place)
    if ready.net.numerics != before:
        session.numerics.update(recorded_choices(ready))
        run.describe(recorded_choices(ready))
        _note_fast(ready, run, *place)
    if group is not None:
        group.tell(ready.net.numerics.document())


def _seen_until(run: RunFolder, seq: int) -> tuple[float, Activity | None]:
    """Seconds that the epochs took which a checkpoint of event `seq` knows of, and the last activity."""
    trained, activity = 0.0, None
    if seq:
        for record in current_events(run.path / names.EVENTS, (EpochFinished.kind, Activity.kind)):
            match record.event:
                case EpochFinished(seconds=seconds) if record.seq <= seq:
                    trained += seconds
                case Activity() as found if record.seq <= seq:
                    activity = found
    return trained, activity


def _note_fast(ready: Prepared, run: RunFolder, epoch: int, batch: int) -> None:
    """Write into `meta.json` what --fast uses from a batch on, both from 0."""
    if ready.config.fast:
        noted = run.meta().get("fast")
        now = {f"epoch {epoch + 1}, batch {batch + 1}": ready.net.numerics.words()}
        run.describe({"fast": {**(noted if isinstance(noted, dict) else {}), **now}})


def changes_after(run: RunFolder, seq: int, place: tuple[int, int] = (1, 0)) -> list[Amended]:
    """Changes made in flight that a checkpoint does not have, one for each place, in the order of places.

    The checkpoint is that of event `seq` at `place` = (epoch from 1, batch). It may have been saved after a
    change was made and lost, and before the run came to that place again.
    """
    changes: dict[tuple[int, int], dict[str, JsonValue]] = {}
    for record in read_events(run.path / names.EVENTS, (Amended.kind,)):
        event = record.event
        if isinstance(event, Amended) and event.epoch is not None:
            made = (event.epoch, event.batch or 0)
            if record.seq > seq or made > place:
                changes.setdefault(made, {}).update(event.settings)
    return [
        Amended(settings=settings, epoch=epoch, batch=batch)
        for (epoch, batch), settings in sorted(changes.items())
    ]


def _train(
    ready: Prepared,
    trainer: Trainer,
    session: Session,
    requests: Requests,
    opening: list[Event],
    group: Group | None,
) -> Iterator[Record]:
    with session, requests:
        for event in opening:
            yield session.emit(event)
        requests.change_again()
        if group is not None:
            group.tell(requests.verdict())
        try:
            for event in memory_told(ready, trainer.run()):
                yield session.emit(event)
                yield from session.after(event, trainer)
                if isinstance(event, EpochFinished):
                    requests.change_again()  # what belongs before the first batch of the next
                    if group is not None:
                        group.tell(requests.verdict())
                yield from session.untold()
            yield from session.untold()
            yield from session.stop(trainer) if trainer.stopped else session.finish(trainer)
        except TrainingError as error:
            raise RunError(str(error)) from None
        except ProcessLostError as error:
            if not requests.ending():
                raise
            requests.part()  # weights change after a sum alone: what was there before it is whole
            yield session.emit(Warned(message=str(error)))
            yield from session.stop(trainer)


def resume(
    trainer: Trainer, plan: Plan, run: RunFolder, ready: Prepared | None = None, processes: int = 1
) -> list[Event]:
    """Put a trainer where the run's latest checkpoint is; returns what there is to say, `RunResumed` first.

    The network of `ready`, if given, computes as the checkpoint recorded; `processes` is how many train
    together. Raises `RunError` where there is no checkpoint that it can go on from.
    """
    path, content, notes = checkpoint.load_first(trainer.net, run.path, _checkpoints(run))
    said: list[Event] = [Warned(message=note) for note in notes]
    if "position" not in content:
        raise RunError(
            f"{path}: holds weights but no training state; it can be evaluated and checked, not resumed"
        )
    stored = _settings_in(content.get("config"))
    same_optimizer = stored.get("optim", plan.config.optim) == plan.config.optim
    if not same_optimizer:
        said.append(
            Warned(message=f"--optim {plan.config.optim} starts afresh: the run had another optimizer")
        )
    repeated = _repeat_choices(content.get("numerics", {}), trainer.device, processes)
    said += [Warned(message=note) for note in repeated]
    if ready is not None:
        said += [Warned(message=note) for note in choose(ready, content.get("numerics", {}), processes)]
    state = checkpoint.training_state(content, trainer, path, with_optimizer=same_optimizer)
    if ready is not None:
        batch, batches = state["position"]["batch"], trainer.batches_per_epoch
        other = told_to_go_on(content, ready.data, path, batch=batch, batches=batches)
        said += [Warned(message=words) for words in other]
    try:
        trainer.restore(state, with_optimizer=same_optimizer)
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise RunError(f"{path}: its training state is not valid ({error})") from None
    seq = int(content.get("seq", 0))
    planned = trainer.epochs
    if plan.more_epochs is not None:
        trainer.epochs = trainer.epoch + plan.more_epochs
    epoch, batch = trainer.epoch + 1, trainer.batch
    if trainer.epoch >= trainer.epochs:
        if run.is_complete():
            raise RunError(f"{run.path}: is complete after {trainer.epoch} epochs; --epochs N trains N more")
        epoch, batch = trainer.epoch, trainer.batches_per_epoch  # its end is repeated
    said += _amended(trainer, plan, run, stored, planned)
    resumed = RunResumed(from_seq=seq, epoch=epoch, batch=batch)
    return [resumed, *epochs_untold(trainer.histories, run, seq), *said]


def _checkpoints(run: RunFolder) -> list[str]:
    """Names of files that a run can go on from: the latest, and of the others the one saved last first."""
    others = [run.path / name for name in (names.CHECKPOINT_BEFORE, names.FINAL_CHECKPOINT)]
    there = [path for path in others if path.exists()]
    latest = sorted(there, key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return [names.CHECKPOINT, *(path.name for path in latest)]


def _amended(
    trainer: Trainer, plan: Plan, run: RunFolder, had: Mapping[str, Any], planned: int
) -> list[Event]:
    """What there is to write down of settings, and of epochs, that are not those that the run had."""
    said: list[Event] = []
    if changes := changed_settings(had, trainer.config):
        # What config.toml does not say already, since it was a flag, is written down to hold from here on.
        flags = changed_settings(run.settings_now() or {}, trainer.config)
        if settings := {name: new for name, (_, new) in flags.items() if new is not None}:
            said.append(Amended(settings=settings))
        said.append(Warned(message=f"resumed with other settings: {in_flags(changes)}"))
    if plan.more_epochs is not None:
        said.append(
            Amended(settings={"epochs": trainer.epochs}, epoch=trainer.epoch + 1, batch=trainer.batch)
        )
        if trainer.epochs < planned:
            said.append(
                Warned(
                    message=f"ends after {trainer.epochs} epochs, rather than the {planned} of before: "
                    f"--epochs {plan.more_epochs} counts from where the run stands"
                )
            )
    return said


def _settings_in(config: object) -> dict[str, JsonValue]:
    """The settings that a checkpoint holds; none where they are not what one holds."""
    try:
        return TypeAdapter(dict[str, JsonValue]).validate_python(config)
    except ValidationError:
        return {}


def _repeat_choices(recorded: object, device: torch.device, processes: int) -> list[str]:
    """Compute as the checkpoint's process did; says where that cannot be, so that last bits may differ."""
    if not isinstance(recorded, dict):
        return []
    recorded = {"processes": 1, **recorded}
    threads = recorded.get("threads")
    alike = type(recorded["processes"]) is int and recorded["processes"] == processes
    if type(threads) is int and 1 <= threads <= 1024 and alike:
        torch.set_num_threads(threads)
    now = {**facts_of(device), "processes": processes}
    return [
        f"the run had {name} {shown(recorded[name])}, here it is {now[name]}: last bits may differ"
        for name in ("torch", "device_name", "processes", "threads")
        if name in recorded and shown(recorded[name]) != shown(now[name])
    ]
