"""Accuracy and loss of a network on a part of the data: free phases without dropout or augmentation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from eqprop_core.data.batches import normalize
from eqprop_core.data.datasets import Dataset, Images
from eqprop_core.events import PhaseProgress
from eqprop_core.learning.running import Running
from eqprop_core.networks.network import Network

SECONDS_BETWEEN_PROGRESS = 0.5
EVALUATION_VALUES = 2**25  # values of the largest layer in one batch of an evaluation, about 128 MiB


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
) -> Iterator[PhaseProgress]:
    """Evaluate by free phases of `steps` steps, adding to `into`; yields progress in images now and then."""
    size = evaluation_batch(net)
    dtype = next(net.parameters()).dtype
    said = clock()
    for start in range(0, len(images), size):
        with torch.no_grad():
            x = normalize(images.images[start : start + size], dataset.info, dtype)
            y = images.labels[start : start + size]
            s = net.settle(x, net.initial_state(len(x)), steps=steps)
            into.add(net.logits(s), net.loss(s, y), y)
        if clock() - said >= SECONDS_BETWEEN_PROGRESS:
            said = clock()
            done = start + len(x)
            yield PhaseProgress(epoch=epoch, batch=0, phase=f"evaluate {part}", step=done, steps=len(images))


def evaluation_batch(net: Network) -> int:
    """Images settled at once: as many as keep the largest layer within about 128 MiB, 1000 at most."""
    largest = max(torch.Size(shape.convolved or shape.post).numel() for shape in net.config.connections())
    return max(1, min(1000, EVALUATION_VALUES // largest))
