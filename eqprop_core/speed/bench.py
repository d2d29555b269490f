"""How long a training takes here, piece by piece, against autograd of Φ and against its products alone."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.randomness import generator
from eqprop_core.estimate import Measured, epoch_seconds
from eqprop_core.learning.algorithms import ALGORITHMS, Algorithm, TrainingBatch
from eqprop_core.learning.equilibrium import gradients_of, relax
from eqprop_core.learning.optimizer import apply_gradients, build_optimizer
from eqprop_core.memory import evaluation_images
from eqprop_core.networks.connections import Connection, Conv
from eqprop_core.networks.network import Network
from eqprop_core.networks.products import Product, full_products
from eqprop_core.speed.accelerations import Acceleration, candidates, measure
from eqprop_core.speed.baseline import AutogradNetwork, train_ep_by_autograd
from eqprop_core.speed.choosing import fastest_precision
from eqprop_core.speed.timing import Timing, alternated, timing_of

STEPS = 5  # in a row, to time one


@dataclass(frozen=True)
class Report:
    """Seconds of the pieces of a training batch and of all of it, and what follows from them.

    `products` are the convolutions and matrix products of a batch alone, which no way to compute it can do
    without; `roof` is their share of it (None but for EP). `baseline` is the batch with autograd of Φ at
    every time step (None where there is none), `ratio` how many times as long that takes. `accelerations`
    has the exact way first. `memory` is the most that was in use, in bytes. `epoch` and `run` are estimates
    in seconds, made of what was `measured`.
    """

    images: int
    pieces: dict[str, Timing]
    batch: Timing
    products: Timing | None
    roof: float | None
    baseline: Timing | None
    ratio: float | None
    accelerations: list[Acceleration]
    memory: int
    measured: Measured
    epoch: float
    run: float


def bench(
    net: Network,
    config: RunConfig,
    x: Tensor,
    y: Tensor,
    *,
    train_images: int,
    evaluated_images: int,
    repeat: int = 5,
    baseline: bool = True,
    accelerate: bool = True,
) -> Report:
    """Measure a training on the batch x [batch, ...], y [batch], each piece `repeat` times, alternating.

    The weights are left as they were. `baseline` and `accelerate` add what takes longest: autograd of Φ, for
    symmetric networks trained by EP without dropout alone, and the accelerations.
    """
    device = x.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    works, counts = _pieces(net, config, x, y)
    pieces = {
        name: timing_of([s / counts[name] for s in seconds])
        for name, seconds in alternated(works, device, repeat).items()
    }
    training = {"batch": training_step(net, config, x, y)}
    if baseline and config.alg == "EP" and not net.vector_field and not config.dropouts:
        training["baseline"] = training_step(_by_autograd(net), config, x, y, algorithm=train_ep_by_autograd)
    if config.alg == "EP":
        training["products"] = _products(net, config, x)
    found = alternated(training, device, repeat)
    net.load_state_dict(weights)
    batch = timing_of(found["batch"])
    alone = timing_of(found["products"]) if "products" in found else None
    slow = timing_of(found["baseline"]) if "baseline" in found else None
    tried: list[Acceleration] = []
    if accelerate and config.alg != "CEP":
        precision = fastest_precision(net, len(x), device)
        ways = list(candidates(net.numerics, config, precision))
        tried = measure(net, config, x, y, ways, repeat=repeat)
    measured = Measured(batch.median, pieces["evaluation of an image"].median)
    epoch = epoch_seconds(measured, ceil(train_images / config.mbs), evaluated_images)
    return Report(
        images=len(x),
        pieces=pieces,
        batch=batch,
        products=alone,
        roof=alone.median / batch.median if alone is not None else None,
        baseline=slow,
        ratio=slow.median / batch.median if slow is not None else None,
        accelerations=tried,
        memory=_peak(device),
        measured=measured,
        epoch=epoch,
        run=epoch * config.epochs,
    )


def _pieces(
    net: Network, config: RunConfig, x: Tensor, y: Tensor
) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """What a batch is made of, and how often each work does it."""
    optimizer = optimizer_of(net, config)
    phases = relax(net, x, y, steps=(STEPS, STEPS), beta=config.betas[1], estimator="one-sided")
    gradients = gradients_of(net, x, y, phases)
    present = net.present(x)
    images = min(len(x), evaluation_images(net.config.connections(), on_cpu=x.device.type == "cpu"))

    def settle(steps: int, beta: float) -> Callable[[], object]:
        return lambda: net.settle(x, phases.free, steps=steps, beta=beta, y=y, present=present)

    works: dict[str, Callable[[], object]] = {
        "free time step": settle(STEPS, 0.0),
        "nudged time step": settle(STEPS, config.betas[1]),
        "gradient": lambda: gradients_of(net, x, y, phases),
        "optimizer step": lambda: apply_gradients(net, optimizer, gradients),
        "evaluation of an image": lambda: net.settle(x[:images], net.initial_state(images), steps=config.T1),
    }
    counts = dict.fromkeys(works, 1)
    counts["free time step"] = counts["nudged time step"] = STEPS
    counts["evaluation of an image"] = images
    return works, counts


def optimizer_of(net: Network, config: RunConfig) -> torch.optim.Optimizer:
    """The optimizer of a run, with small learning rates where it has none."""
    rates = config.lrs or (0.01,) * len(net.synapses)
    return build_optimizer(net, optim=config.optim, lrs=rates, wds=config.wds, mmt=config.mmt)


def training_step(
    net: Network,
    config: RunConfig,
    x: Tensor,
    y: Tensor,
    *,
    algorithm: Algorithm | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> Callable[[], None]:
    """What trains on the batch by the configuration's algorithm, unless another is given; weights change."""
    assert config.seed is not None
    seed = config.seed
    train = algorithm or ALGORITHMS[config.alg]
    steps = optimizer or optimizer_of(net, config)

    def work() -> None:
        train(
            TrainingBatch(
                net=net,
                optimizer=steps,
                x=x,
                y=y,
                config=config,
                masks=net.draw_masks(len(x), generator(seed, "dropout", 0, 0)),
                generator=generator(seed, "sign", 0, 0),
                on_free=lambda _: None,
                watch=None,
            )
        )

    return work


def _by_autograd(net: Network) -> AutogradNetwork:
    """A network with the same weights that differentiates Φ."""
    weight = next(net.parameters())
    slow = AutogradNetwork(net.config).to(weight.device, weight.dtype)
    slow.load_state_dict(net.state_dict())
    return slow


def _products(net: Network, config: RunConfig, x: Tensor) -> Callable[[], None]:
    """The convolutions and matrix products of a training batch, and nothing else."""
    weight = next(net.parameters())

    def random(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(len(x), *shape, device=weight.device, dtype=weight.dtype)

    works: list[tuple[Connection, Tensor, Tensor, Product, Product]] = []
    for connection in net.connections:
        shape = connection.shape
        pre, spread = random(shape.pre), random(shape.convolved or shape.post)
        if isinstance(connection, Conv):
            pre, spread = (v.contiguous(memory_format=connection.layout) for v in (pre, spread))
        works.append((connection, pre, spread, *full_products(connection)))
    sides = 2 if config.chosen_estimator in ("symmetric", "paired") else 1
    steps = config.T1 + sides * config.T2

    @torch.no_grad()
    def work() -> None:
        first, pre, spread, drive, _ = works[0]
        drive(pre)
        for _ in range(steps):
            for _, pre, spread, forward, backward in works[1:]:
                forward(pre)
                backward(spread)
        first.outer_weight(works[0][1], works[0][2])
        for connection, pre, spread, _, _ in works[1:]:
            for _ in range(2):  # the difference of either factor
                connection.outer_weight(pre, spread)

    return work


def _peak(device: torch.device) -> int:
    """Most bytes in use so far: on a GPU those of torch, otherwise those of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
