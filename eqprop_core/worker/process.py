"""Does what a plan says, joining learning and runs: train, evaluate, gducheck.

`begin` prepares everything, so that what cannot run fails before anything is written; the records of the
`Work` that it returns do the work as they are iterated, having written each event (and checkpoints, models,
figures) into the folder where there is one. Errors that a person can do something about are `RunError`s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from eqprop_core.events import Evaluated, Record, RunFinished, Warned
from eqprop_core.learning import observations
from eqprop_core.learning.batch import check_batch
from eqprop_core.learning.checked import SEARCHED_AT_ONCE, images_to_check
from eqprop_core.learning.evaluation import evaluation
from eqprop_core.learning.running import Running
from eqprop_core.learning.sharing import Group
from eqprop_core.locks import Lock
from eqprop_core.runs import names
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.places import Place
from eqprop_core.runs.settings import Plan
from eqprop_core.worker.choices import choose, tell_of_compiler
from eqprop_core.worker.out_of_memory import memory_told
from eqprop_core.worker.preparing import Prepared, Work, first_epoch, new_folder, prepare, started
from eqprop_core.worker.session import Session
from eqprop_core.worker.signals import Wishes
from eqprop_core.worker.training import begin_training


def begin(
    plan: Plan,
    *,
    root: Path | None = None,
    run: RunFolder | None = None,
    wishes: Wishes | None = None,
    place: Place | None = None,
    lock: Lock | None = None,
    group: Group | None = None,
) -> Work:
    """Prepare what a plan says. New runs go into `run` if given, below `root` if given, or --results.

    A training grants the `wishes` of signals after each batch. `place` is the device and `lock` the lock of
    the run, where this process has been given them; in a `group` that trains together it is rank 0. Raises
    `ConfigError`, `RunError` or `DataError`.
    """
    if plan.config.todo == "train":
        return begin_training(plan, root, run, wishes or Wishes(), place, lock, group)
    ready = prepare(plan, weights=names.BEST_FIRST)
    notes = choose(ready)
    ready = replace(ready, warnings=(*ready.warnings, *notes))
    path: Path | None = None
    folder = ready.plan.stored if ready.config.save else None
    if folder is not None:
        path = folder.new_check()
    elif ready.config.save:
        folder = new_folder(ready, root)
        path = folder.path
    session = Session(path, folder=folder, config=ready.config)
    records = _evaluate(ready, session) if ready.config.todo == "evaluate" else _gducheck(ready, session)
    return Work(path, memory_told(ready, records))


def _evaluate(ready: Prepared, session: Session) -> Iterator[Record]:
    """Evaluate on training, validation and test images, none augmented."""
    with session:
        tell_of_compiler(ready.net, lambda event: session.later([session.emit(event)]))
        yield session.emit(started(ready))
        for warning in ready.warnings:
            yield session.emit(Warned(message=warning))
        lines = []
        for part in ("train", "validation", "test"):
            images = getattr(ready.dataset, part)
            if images is None:
                continue
            result = Running(ready.device)
            for progress in evaluation(
                ready.net, images, ready.dataset, part=part, steps=ready.config.T1, into=result
            ):
                yield session.emit(progress)
            event = Evaluated(
                part=part,
                images=len(images),
                accuracy=result.accuracy(),
                loss=observations.finite(result.loss()),
            )
            yield from session.untold()
            lines.append(f"  {part} accuracy {event.accuracy:.2f} % of {event.images} images")
            yield session.emit(event)
        if session.folder is not None:
            used = f" of {ready.weights}" if ready.weights else ""
            title = f"evaluation{used}, T1 {ready.config.T1}, {session.path.name if session.path else ''}"
            try:
                session.folder.append_hyperparameters("\n".join(["", title, *lines]))
            except OSError as error:
                yield from session.unwritten(names.HYPERPARAMETERS, error)
        yield session.emit(RunFinished(best_accuracy=None, last_accuracy=None, seconds=session.seconds))


def _in_order(ready: Prepared) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels in the order of the first epoch."""
    yield from ((batch.x, batch.y) for batch in first_epoch(ready, max(ready.config.mbs, SEARCHED_AT_ONCE)))


def _gducheck(ready: Prepared, session: Session) -> Iterator[Record]:
    """Run the GDU check on the first --mbs images, or on the first that give a gradient."""
    config, net = ready.config, ready.net
    with session:
        yield session.emit(started(ready))
        for warning in ready.warnings:
            yield session.emit(Warned(message=warning))
        x, y, chosen = images_to_check(net, config, _in_order(ready), config.mbs)
        result = check_batch(net, config, x, y)
        yield session.emit(
            observations.gdu_event(result, net, config, epoch=0, batch=0, images=len(x), chosen=chosen)
        )
        yield from session.save_gdu(result)
        yield session.emit(RunFinished(best_accuracy=None, last_accuracy=None, seconds=session.seconds))
