"""How long a training batch takes here, found out in seconds rather than exactly to the last digit."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.estimate import Measured
from eqprop_core.memory import evaluation_images
from eqprop_core.networks.network import Network
from eqprop_core.speed.bench import training_step
from eqprop_core.speed.timing import seconds_of

SHORT = (4, 2)  # time steps of the free and of the nudged phase, for a first look
LONG = 20.0  # seconds
PATIENCE = 2.0  # seconds that are spent on what is measured again and again
MOST = 100  # repetitions

Steps = tuple[int, int]


def measure_quickly(net: Network, config: RunConfig, x: Tensor, y: Tensor) -> Measured:
    """Measure the training batch x [batch, ...], y [batch], and an evaluation. Weights are left as they were.

    What takes longer than LONG is measured with fewer time steps, all of which take as long: that is some per
    cent too much, for what is done once a batch.
    """
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    images = min(len(x), evaluation_images(net.config.connections(), on_cpu=x.device.type == "cpu"))

    def training(T1: int, T2: int) -> Callable[[], object]:
        return training_step(net, config.changed(T1=T1, T2=T2), x, y)

    def evaluation(T1: int, _: int) -> Callable[[], object]:
        return lambda: net.settle(x[:images], net.initial_state(images), steps=T1)

    batch = _seconds(training, (config.T1, config.T2), x.device)
    image = _seconds(evaluation, (config.T1, 0), x.device) / images
    net.load_state_dict(weights)
    return Measured(batch, image)


def _seconds(work: Callable[[int, int], Callable[[], object]], steps: Steps, device: torch.device) -> float:
    """Seconds of work that takes time for each time step of either phase."""

    def once(T1: int, T2: int) -> float:
        return seconds_of(work(T1, T2), device)

    T1, T2 = steps
    short, brief = min(T1, SHORT[0]), min(T2, SHORT[1])
    once(short, brief)  # the first time takes longer
    share = LONG / (once(short, brief) * max(T1 / short, T2 / max(1, brief)))
    if share < 1:
        fewer = max(short, round(share * T1)), max(brief, round(share * T2))
        return once(*fewer) * sum(steps) / sum(fewer)
    whole = work(T1, T2)
    found: list[float] = []
    begun = time.perf_counter()
    while not found or (time.perf_counter() - begun < PATIENCE and len(found) < MOST):
        found.append(seconds_of(whole, device))
    return statistics.median(found)
