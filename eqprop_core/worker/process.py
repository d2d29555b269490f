"""Does what a plan says, joining learning and runs: train, evaluate, gducheck.

`begin` prepares everything, so that what cannot run fails before anything is written; the records of the
`Work` that it returns do the work as they are iterated, having written each event (and checkpoints, models,
figures) into the folder where there is one. Errors that a person can do something about are `RunError`s.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from eqprop_core import catalogue
from eqprop_core.config import RunConfig
from eqprop_core.data.batches import batches
from eqprop_core.data.datasets import Dataset, load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.devices import choose_device
from eqprop_core.events import (
    Amended,
    Evaluated,
    Event,
    Record,
    RunFinished,
    RunResumed,
    RunStarted,
    Warned,
)
from eqprop_core.learning import observations
from eqprop_core.learning.gdu import GduResult, gdu_check
from eqprop_core.learning.trainer import Running, Trainer, TrainingError, evaluation
from eqprop_core.networks.network import Network, build_network
from eqprop_core.problems import shown
from eqprop_core.runs import folder as names
from eqprop_core.runs.folder import RunError, RunFolder, results_root
from eqprop_core.runs.settings import Plan, changed_settings, in_flags
from eqprop_core.worker import checkpoint
from eqprop_core.worker.requests import Requests
from eqprop_core.worker.session import Session

GDU_IMAGES = 20  # of a batch, from the command line
PRODUCTS_WORTH_SHARING = 2e7  # multiplications in a time step


@dataclass(frozen=True)
class Prepared:
    """Everything that is needed before anything is written: a plan that got this far can run."""

    plan: Plan
    config: RunConfig
    device: torch.device
    dataset: Dataset
    net: Network
    weights: str
    warnings: tuple[str, ...]


def prepare(plan: Plan, *, weights: tuple[str, ...] = (), progress: bool = True) -> Prepared:
    """Choose the device, load the data and build the network, with stored weights where there are some.

    `weights` are the files of the stored run to look for, best first. Raises `ConfigError`, `RunError` or
    `DataError`.
    """
    config = plan.config
    if config.seed is None:
        config = config.changed(seed=secrets.randbelow(2**31))
    assert config.seed is not None
    warnings: list[str] = []
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order that `eqprop devices` shows
    chosen, warning = choose_device(
        config.device, torch.cuda.device_count(), torch.backends.mps.is_available()
    )
    if warning:
        warnings.append(warning)
    device = torch.device(chosen)
    dataset = load_dataset(
        config.task,
        root=catalogue.data_root(Path(config.data_dir) if config.data_dir else None),
        train_samples=config.train_samples,
        test_samples=config.test_samples,
        val_split=config.val_split,
        seed=config.seed,
        image_size=config.image_size,
        device=device,
        progress=progress,
    )
    data = catalogue.status(
        config.task, catalogue.data_root(Path(config.data_dir) if config.data_dir else None)
    )
    if data.state == "subset":
        warnings.append(f"{config.task} is a subset: {data.note}")
    net = build_network(config.model_part(), generator=generator(config.seed, "weights"))
    if net.classes != len(dataset.info.classes):
        raise RunError(
            f"the network tells {net.classes} classes apart, {config.task} has {len(dataset.info.classes)}"
        )
    if device.type == "cpu":
        choose_threads(net, config.mbs)
    torch.backends.cudnn.allow_tf32 = False  # an EP gradient is a small difference: 10 bits are too few
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # a resumed run repeats what an uninterrupted one does
    loaded = ""
    if plan.stored is not None and weights:
        path = next((plan.stored.path / name for name in weights if (plan.stored.path / name).exists()), None)
        if path is None:
            raise RunError(f"--load-path {plan.stored.path}: holds none of {', '.join(weights)}")
        checkpoint.load_weights(net, checkpoint.load(path), path)
        loaded = path.name
    return Prepared(plan, config, device, dataset, net.to(device), loaded, tuple(warnings))


def choose_threads(net: Network, batch: int) -> None:
    """Compute with one thread where a time step is too small to share.

    Two threads are then no faster, and many times slower as soon as something else runs on their cores.
    OMP_NUM_THREADS, where set, is left alone.
    """
    inner = net.config.connections()[1:]
    products = sum(2 * batch * prod(shape.weight) * prod((shape.convolved or (1,))[1:]) for shape in inner)
    if products < PRODUCTS_WORTH_SHARING and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@dataclass(frozen=True)
class Work:
    """Something about to be done: where it writes (None: nowhere), and the records that do it."""

    path: Path | None
    records: Iterator[Record]


def begin(
    plan: Plan,
    *,
    root: Path | None = None,
    run: RunFolder | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Work:
    """Prepare what a plan says. New runs go into `run` if given, below `root` if given, or --results.

    A training asks `stop` after each batch, and ends with a checkpoint once it is True.
    Raises `ConfigError`, `RunError` or `DataError`.
    """
    if plan.config.todo == "train":
        return _begin_training(plan, root, run, stop)
    ready = prepare(plan, weights=(names.BEST_MODEL, names.CHECKPOINT))
    path: Path | None = None
    folder = ready.plan.stored if ready.config.save else None
    if folder is not None:
        path = folder.new_check()
    elif ready.config.save:
        folder = new_folder(ready, root)
        path = folder.path
    session = Session(path, folder=folder, config=ready.config)
    records = _evaluate(ready, session) if ready.config.todo == "evaluate" else _gducheck(ready, session)
    return Work(path, records)


def started(ready: Prepared, *, epochs: int = 0, batches: int = 0) -> RunStarted:
    """The event that opens a run."""
    return RunStarted(
        todo=ready.config.todo,
        epochs=epochs,
        batches=batches,
        train_images=len(ready.dataset.train),
        test_images=len(ready.dataset.test),
        parameters=sum(p.numel() for p in ready.net.parameters()),
        device=str(ready.device),
    )


def facts_of(device: torch.device) -> dict[str, str | int]:
    """What `meta.json` and checkpoints record of the machine: what the last bits of a result depend on."""
    return {
        "torch": str(torch.__version__),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def new_folder(ready: Prepared, root: Path | None = None) -> RunFolder:
    """Make the folder of a new run."""
    plan = ready.plan
    return RunFolder.create(
        root or results_root(ready.config),
        ready.config,
        command=plan.command,
        preset=plan.preset.name if plan.preset else None,
        extra=facts_of(ready.device),
    )


def _begin_training(plan: Plan, root: Path | None, made: RunFolder | None, stop: Callable[[], bool]) -> Work:
    ready = prepare(plan)
    trainer = Trainer(ready.config, ready.net, ready.dataset)
    opening: list[Event] = []
    run = made or plan.stored
    begun = run is not None and any(
        (run.path / name).exists() for name in (names.CHECKPOINT, names.CHECKPOINT_BEFORE)
    )
    if plan.stored is None or not begun:
        if plan.stored is not None and not (plan.stored.path / names.CONFIG).exists():
            raise RunError(f"{plan.stored.path}: has no {names.CHECKPOINT} to go on from")
        run = run or new_folder(ready, root)
        opening.append(started(ready, epochs=trainer.epochs, batches=trainer.batches_per_epoch))
    else:
        assert run is not None
        opening += _resume(trainer, plan, run)
        if changes := changed_settings(run, ready.config):
            opening.append(
                Amended(settings={name: new for name, (_, new) in changes.items() if new is not None})
            )
            opening.append(Warned(message=f"resumed with other settings: {in_flags(changes)}"))
    opening += [Warned(message=warning) for warning in ready.warnings]
    published = plan.preset.expected if plan.preset else None
    session = Session(
        run.path,
        folder=run,
        config=ready.config,
        epochs=trainer.epochs,
        numerics=facts_of(ready.device),
        expected_accuracy=100 - published.test_error if published else None,
    )
    requests = Requests(run, session, trainer, stop)
    trainer.boundary = requests.boundary
    return Work(run.path, _train(ready, trainer, session, requests, opening))


def _train(
    ready: Prepared, trainer: Trainer, session: Session, requests: Requests, opening: list[Event]
) -> Iterator[Record]:
    with session, requests:
        for event in opening:
            yield session.emit(event)
        try:
            for event in trainer.run():
                yield session.emit(event)
                yield from session.after(event, trainer)
                yield from session.untold()
                if session.checkpoint_due():
                    yield from session.save_checkpoint(trainer)
        except torch.OutOfMemoryError as error:
            raise RunError(
                f"out of memory on {ready.device}: {str(error).splitlines()[0]} "
                f"Try a smaller --mbs than {ready.config.mbs}"
            ) from None
        except TrainingError as error:
            raise RunError(str(error)) from None
        yield from session.stop(trainer) if trainer.stopped else session.finish(trainer)


def _resume(trainer: Trainer, plan: Plan, run: RunFolder) -> list[Event]:
    """Put a trainer where the run's latest checkpoint is; returns what there is to say of it."""
    said: list[Event] = []
    path = run.path / names.CHECKPOINT
    try:
        content = checkpoint.load(path)
    except checkpoint.OtherFormatError:
        raise
    except RunError as error:
        path = run.path / names.CHECKPOINT_BEFORE
        if not path.exists():
            raise
        said.append(Warned(message=f"{error}; going on from the one before, {path.name}"))
        content = checkpoint.load(path)
    checkpoint.load_weights(trainer.net, content, path)
    if "position" not in content:
        raise RunError(
            f"{path}: holds weights but no training state; it can be evaluated and checked, not resumed"
        )
    stored = content.get("config", {})
    same_optimizer = not isinstance(stored, dict) or stored.get("optim") == plan.config.optim
    if not same_optimizer:
        said.append(
            Warned(message=f"--optim {plan.config.optim} starts afresh: the run had another optimizer")
        )
    said += _repeat_choices(content.get("numerics", {}), trainer.device)
    state = checkpoint.training_state(content, trainer, path, with_optimizer=same_optimizer)
    try:
        trainer.restore(state, with_optimizer=same_optimizer)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise RunError(f"{path}: its training state is not valid ({error})") from None
    if plan.more_epochs is not None:
        trainer.epochs = trainer.epoch + plan.more_epochs
    if trainer.epoch >= trainer.epochs:
        raise RunError(f"{run.path}: is complete after {trainer.epoch} epochs; --epochs N trains N more")
    seq = content.get("seq", 0)
    return [RunResumed(from_seq=seq, epoch=trainer.epoch + 1, batch=trainer.batch), *said]


def _repeat_choices(recorded: object, device: torch.device) -> list[Event]:
    """Compute as the checkpoint's process did; says where that cannot be, so that last bits may differ."""
    if not isinstance(recorded, dict):
        return []
    threads = recorded.get("threads")
    if type(threads) is int and 1 <= threads <= 1024:
        torch.set_num_threads(threads)
    now = facts_of(device)
    return [
        Warned(
            message=f"the run had {name} {shown(recorded[name])}, here it is {now[name]}: "
            "last bits may differ"
        )
        for name in ("torch", "device_name", "threads")
        if name in recorded and shown(recorded[name]) != shown(now[name])
    ]


def _evaluate(ready: Prepared, session: Session) -> Iterator[Record]:
    """Evaluate on training, validation and test images, none augmented."""
    with session:
        yield session.emit(started(ready))
        for warning in ready.warnings:
            yield session.emit(Warned(message=warning))
        if not ready.weights:
            yield session.emit(Warned(message="no --load-path: this network has not been trained"))
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


def _gducheck(ready: Prepared, session: Session) -> Iterator[Record]:
    """Run the GDU check on the first images of a batch."""
    config, net = ready.config, ready.net
    assert config.seed is not None
    with session:
        yield session.emit(started(ready))
        for warning in ready.warnings:
            yield session.emit(Warned(message=warning))
        batch = next(
            batches(
                ready.dataset.train,
                ready.dataset.info,
                batch_size=config.mbs,
                seed=config.seed,
                epoch=0,
                shuffle=True,
                augment=config.data_aug,
                dtype=next(net.parameters()).dtype,
            )
        )
        x, y = batch.x[:GDU_IMAGES], batch.y[:GDU_IMAGES]
        result = check(net, config, x, y)
        yield session.emit(observations.gdu_event(result, epoch=0, batch=0, images=len(x)))
        yield from session.save_gdu(result)
        yield session.emit(RunFinished(best_accuracy=None, last_accuracy=None, seconds=session.seconds))


def check(net: Network, config: RunConfig, x: torch.Tensor, y: torch.Tensor) -> GduResult:
    """The GDU check that a configuration asks for, on x [batch, ...], y [batch]."""
    assert config.seed is not None
    return gdu_check(
        net,
        x,
        y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        symmetric=config.thirdphase,
        same_update=config.same_update,
        masks=net.draw_masks(len(x), generator(config.seed, "dropout", 0, 0)),
    )
