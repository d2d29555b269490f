"""Everything that is needed before anything is written: device, data, network, folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch

from eqprop_core.config import RunConfig
from eqprop_core.data.batches import Batch, batches
from eqprop_core.data.classes import left_out
from eqprop_core.data.datasets import Dataset, load_dataset
from eqprop_core.data.fetching import Told
from eqprop_core.data.fingerprint import Fingerprint, fingerprint
from eqprop_core.data.randomness import generator
from eqprop_core.devices import choose_here, cores_of_a_run, threads_wished
from eqprop_core.events import EpochFinished, Record, RunStarted
from eqprop_core.networks.network import Network, build_network
from eqprop_core.networks.products import set_tf32
from eqprop_core.problems import ConfigError, Problem
from eqprop_core.runs import names
from eqprop_core.runs.folder import RunError, RunFolder
from eqprop_core.runs.history import current_events
from eqprop_core.runs.places import Place
from eqprop_core.runs.roots import results_root
from eqprop_core.runs.settings import Plan
from eqprop_core.worker import checkpoint
from eqprop_core.worker.recorded_data import told_to_use

PRODUCTS_WORTH_SHARING = 2e7  # multiplications in a time step


@dataclass(frozen=True)
class Work:
    """Something about to be done: where it writes (None: nowhere), and the records that do it."""

    path: Path | None
    records: Iterator[Record]


@dataclass(frozen=True)
class Prepared:
    """Everything that is needed before anything is written: a plan that got this far can run.

    `label` is the device by the name that `eqprop devices` gives it; `data` is what is recorded of the data.
    """

    plan: Plan
    config: RunConfig
    device: torch.device
    label: str
    dataset: Dataset
    data: Fingerprint
    net: Network
    weights: str
    warnings: tuple[str, ...]


def prepare(
    plan: Plan, *, weights: tuple[str, ...] = (), place: Place | None = None, told: Told | None = None
) -> Prepared:
    """Choose the device, load the data and build the network, with stored weights where there are some.

    `place` is the device where it has been chosen already; `weights` are the files of the stored run to look
    for, in this order; one that was named is the only one. `told` is told how far a download is. Raises
    `ConfigError`, `RunError` or `DataError`.
    """
    config = plan.config
    if config.seed is None:
        config = config.changed(seed=secrets.randbelow(2**31))
    assert config.seed is not None
    warnings: list[str] = []
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # the order that `eqprop devices` shows
    chosen, warning = _chosen(config.device, place)
    label = place.key if place is not None and place.torch_name == chosen else chosen
    if warning:
        warnings.append(warning)
    device = torch.device(chosen)
    dataset = load_dataset(
        config.task,
        root=config.data_root,
        train_samples=config.train_samples,
        test_samples=config.test_samples,
        samples=config.samples,
        val_split=config.val_split,
        seed=config.seed,
        image_size=config.image_size,
        device=device,
        progress=told or True,
    )
    warnings += dataset.remarks
    warnings += left_out(dataset, config)
    found = fingerprint(dataset, config)
    net = build_network(config.model_part(), generator=generator(config.seed, "weights"))
    if net.classes != len(dataset.info.classes):
        raise RunError(
            f"the network tells {net.classes} classes apart, {config.task} has {len(dataset.info.classes)}"
        )
    if device.type == "cpu":
        choose_threads(net, config.mbs)
        if (wished := os.environ.get("OMP_NUM_THREADS")) and threads_wished() is None:
            warnings.append(f"OMP_NUM_THREADS={wished[:60]} is no number of threads, and is not heeded")
    set_tf32(False, False)  # an EP gradient is a small difference: 10 bits are too few
    torch.backends.cudnn.deterministic = True  # a resumed run repeats what an uninterrupted one does
    loaded = ""
    if plan.stored is not None and weights:
        named = plan.stored.file
        path, content, notes = checkpoint.load_first(net, plan.stored.path, (named,) if named else weights)
        loaded = path.name
        warnings += [*notes, *told_to_use(content, found, path, todo=config.todo)]
    return Prepared(plan, config, device, label, dataset, found, net.to(device), loaded, tuple(warnings))


def _chosen(wanted: str, place: Place | None) -> tuple[str, str | None]:
    """What torch computes on, and a warning or None; `place` was chosen for `wanted` before torch was there.

    Raises `ConfigError`.
    """
    gpus, mps = torch.cuda.device_count(), torch.backends.mps.is_available()
    told = place.torch_name if place is not None else wanted
    if place is None or place.uuid is None or gpus:
        return choose_here(told, gpus, mps)
    unusable = f"torch {torch.__version__} can use no GPU here"  # though the driver has this one
    if wanted.startswith("cuda"):
        raise ConfigError([Problem("device", wanted, f"{unusable}; there is cpu")])
    return "cpu", f"--device {wanted}: {unusable}, using the CPU"


def count_tiny_as_zero() -> None:
    """Take numbers below 1e-38 as zero from here on, in a process that is there to train.

    Where inputs are nearly always zero, as in the corners of MNIST, moments of an optimizer decay to such
    numbers, with which a CPU takes many times as long. Threads do as the one that begins them, so this comes
    before torch begins any; it is for the whole process, and other code may not expect it.
    """
    np.finfo(np.float32), np.finfo(np.float64)  # NumPy looks once how small numbers can be: before
    torch.set_flush_denormal(True)


def choose_threads(net: Network, batch: int) -> None:
    """Compute with one thread where a time step is too small to share, else with no more than a run's cores.

    More threads are no faster, and many times slower as soon as something else runs on their cores. torch
    counts the machine's, not those that a container grants or that other runs of a sweep compute on.
    OMP_NUM_THREADS, where set, is left alone.
    """
    if threads_wished() is not None:
        return
    inner = net.config.connections()[1:]
    products = sum(2 * batch * prod(shape.weight) * prod((shape.convolved or (1,))[1:]) for shape in inner)
    threads, cores = torch.get_num_threads(), cores_of_a_run()
    wanted = 1 if products < PRODUCTS_WORTH_SHARING else min(threads, cores or threads)
    if wanted != threads:
        torch.set_num_threads(wanted)


def first_epoch(ready: Prepared, size: int) -> Iterator[Batch]:
    """The training images in the order of the first epoch, in batches of that size."""
    config = ready.config
    assert config.seed is not None
    return batches(
        ready.dataset.train,
        ready.dataset.info,
        batch_size=size,
        seed=config.seed,
        epoch=0,
        shuffle=True,
        augment=config.data_aug,
        dtype=next(ready.net.parameters()).dtype,
    )


def started(ready: Prepared, *, epochs: int = 0, batches: int = 0) -> RunStarted:
    """The event that opens a run."""
    return RunStarted(
        todo=ready.config.todo,
        epochs=epochs,
        batches=batches,
        train_images=len(ready.dataset.train),
        test_images=len(ready.dataset.test),
        parameters=sum(p.numel() for p in ready.net.parameters()),
        device=ready.label,
        weights=_weights_in_words(ready),
    )


def _weights_in_words(ready: Prepared) -> str:
    """Which stored weights are taken: those of the best epoch with its number, or a file's."""
    if ready.plan.stored is None or not ready.weights:
        return ""
    if ready.weights == names.BEST_MODEL:
        epochs = current_events(ready.plan.stored.path / names.EVENTS, (EpochFinished.kind,))
        events = (record.event for record in epochs)
        best = [event.epoch for event in events if isinstance(event, EpochFinished) and event.best]
        if best:
            return f"of the best epoch, {max(best)}"
    return f"of {ready.weights}"


def facts_of(device: torch.device, label: str | None = None) -> dict[str, str | int]:
    """What `meta.json` and checkpoints record of the machine: what the last bits of a result depend on."""
    return {
        "torch": str(torch.__version__),
        "device": label or str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def new_folder(ready: Prepared, root: Path | None = None) -> RunFolder:
    """Make the folder of a new run below `root`, or --results. Raises `RunError`."""
    plan = ready.plan
    return RunFolder.create(
        root or results_root(ready.config.results),
        ready.config,
        command=plan.command,
        preset=plan.preset,
        labels=plan.labels,
    )
