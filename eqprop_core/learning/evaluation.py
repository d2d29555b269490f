"""Accuracy and loss of a network on a part of the data: free phases without dropout or augmentation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from eqprop_core.data.batches import normalize
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.events import PhaseProgress
from eqprop_core.learning.running import Running
from eqprop_core.learning.sharing import Group
from eqprop_core.learning.steps import SECONDS_BETWEEN_PROGRESS, BatchDropped, Drop, Progress, Steps
from eqprop_core.memory import evaluation_images
from eqprop_core.networks.network import Network


def evaluation(
    net: Network,
    images: Images,
    dataset: Dataset,
    *,
    part: str,
    steps: int,
    into: Running,
    epoch: int = 0,
    clock: Callable[[], float] = time.monotonic,
    progress: Progress = lambda _: None,
    drop: Drop = lambda: False,
    ended: Callable[[], bool] = lambda: False,
) -> Iterator[PhaseProgress]:
    """Evaluate by free phases of `steps` steps, adding to `into`; yields progress in images now and then.

    `progress` is told of batches that take long, each time step counting for its share of the batch's images.
    A batch is dropped if `drop` says so between two time steps. `ended` is asked after each progress and each
    dropped batch: the evaluation ends there if it says True, otherwise the dropped batch begins again.
    """
    size = evaluation_images(net.config.connections(), on_cpu=images.images.device.type == "cpu")
    dtype = next(net.parameters()).dtype
    said = clock()

    def place(done: int) -> PhaseProgress:
        return PhaseProgress(epoch=epoch, batch=0, phase=f"evaluate {part}", step=done, steps=len(images))

    while (start := into.images) < len(images):
        y = images.labels[start : start + size]

        def within(step: int, start: int = start, count: int = len(y)) -> PhaseProgress:
            return place(start + count * step // steps)

        try:
            with torch.no_grad():
                x = normalize(images.images[start : start + size], dataset.info, dtype)
                watch = Steps(clock, progress, drop).watch(within)
                s = net.settle(x, net.initial_state(len(x)), steps=steps, watch=watch)
                into.add(net.logits(s), net.loss(s, y), y)
        except BatchDropped:
            if ended():
                return
            continue
        if clock() - said >= SECONDS_BETWEEN_PROGRESS:
            said = clock()
            yield place(start + len(y))
            if ended():
                return


def shared_evaluation(
    group: Group,
    net: Network,
    images: Images,
    dataset: Dataset,
    *,
    part: str,
    steps: int,
    into: Running,
    epoch: int = 0,
    clock: Callable[[], float] = time.monotonic,
    progress: Progress = lambda _: None,
    drop: Drop = lambda: False,
    ended: Callable[[], bool] = lambda: False,
) -> Iterator[PhaseProgress]:
    """`evaluation` by all processes of a group, each image by one of them; all add the same to `into`.

    Each round has a batch of every process, after which they agree; where one of them drops it, all do.
    """
    on_cpu = images.images.device.type == "cpu"
    size = group.size * evaluation_images(net.config.connections(), on_cpu=on_cpu)
    while (start := into.images) < len(images):
        together = slice(start, min(start + size, len(images)))
        rows = group.rows(together.stop - start)
        own = slice(start + rows.start, start + rows.stop)
        found = Running(next(net.parameters()).device)
        told: list[PhaseProgress] = []

        def place(event: PhaseProgress, start: int = start) -> PhaseProgress:
            done = start + min(event.step * group.size, len(images) - start)
            return event.model_copy(update={"step": done, "steps": len(images)})

        def tell(event: PhaseProgress, place: Callable[[PhaseProgress], PhaseProgress] = place) -> None:
            progress(place(event))

        told += evaluation(
            net,
            Images(images.images[own], images.labels[own]),
            dataset,
            part=part,
            steps=steps,
            into=found,
            epoch=epoch,
            clock=clock,
            progress=tell,
            drop=drop,
            ended=lambda: True,
        )
        whole = found.images == rows.stop - rows.start
        counts = group.total(found.counts() if whole else None, together.stop - start, found.counts().loss)
        if counts is not None:
            into.take(counts)
        yield from map(place, told)
        if (counts is None or told or group.attention) and ended():
            return
