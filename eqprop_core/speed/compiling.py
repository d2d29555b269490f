"""The time step through torch.compile: never needed, and left out where it cannot be had.

A compiler makes another graph for the free phase, for each nudge, for both nudges in one batch, and for other
numbers of images. All that a run needs are tried before it begins, by doing a few time steps of what it does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch

from eqprop_core.config import RunConfig
from eqprop_core.learning.equilibrium import relax
from eqprop_core.networks.network import Network, State
from eqprop_core.speed.timing import seconds_of

STEPS = 2  # of each phase, to try it: what comes from a time step may lie in memory in another way


class CompiledStep:
    """The compiled time step of a network, which goes on as it is once a compiler has failed.

    `tell` is then called with the reason, once; `error` keeps it. On a GPU the step becomes a CUDA graph with
    memory of its own for each number of images.
    """

    def __init__(self, net: Network, device: torch.device) -> None:
        self._plain = net.step
        self._compiled = torch.compile(net.step, mode="reduce-overhead" if device.type == "cuda" else None)
        self.error: str | None = None
        self.tell: Callable[[str], object] = lambda _: None

    def __call__(self, *values: Any, **named: Any) -> State:
        """`Network.step`."""
        if self.error is not None:
            return self._plain(*values, **named)
        try:
            return self._compiled(*values, **named)
        except Exception as error:  # a compiler may fail in any way
            found = self._plain(*values, **named)  # what is no fault of the compiler's is raised here
            self.error = _in_a_line(error)
            self.tell(self.error)
            return found


def _in_a_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__


def compile_step(
    net: Network, config: RunConfig, device: torch.device, *, trained: Iterable[int], evaluated: Iterable[int]
) -> tuple[float, str | None]:
    """Compile the time step of a network for a run; seconds, and why it failed if it did.

    It is tried on `trained` batches of so many images each, and on `evaluated` ones.
    """
    weight = next(net.parameters())

    def images(count: int) -> torch.Tensor:
        return weight.new_zeros(count, *net.config.input_shape)

    def try_all() -> None:
        for count in trained:
            _try(net, config, images(count))
        for count in evaluated:
            net.settle(images(count), net.initial_state(count), steps=STEPS)

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            net.compiled_step = step = CompiledStep(net, device)
            with net.using(replace(net.numerics, compiled=True)):
                seconds = seconds_of(try_all, device)
        error = step.error
    except Exception as problem:
        error = _in_a_line(problem)
    if error is None:
        return seconds, None
    net.compiled_step = None
    return 0.0, error


def _try(net: Network, config: RunConfig, x: torch.Tensor) -> None:
    """Do some steps of each phase of a training batch that goes through the compiled step."""
    masks = net.draw_masks(len(x), torch.Generator())
    y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    free, nudged = config.betas
    if config.alg != "EP":  # whose other phases change weights, or are differentiated
        beta = free if config.alg == "CEP" else 0.0
        net.settle(x, net.initial_state(len(x)), steps=STEPS, beta=beta, y=y, masks=masks)
        return
    estimator = config.chosen_estimator
    for sign in (1, -1) if estimator == "random-sign" else (1,):
        relax(
            net,
            x,
            y,
            steps=(STEPS, STEPS),
            beta=sign * nudged,
            beta_free=free,
            estimator="one-sided" if estimator == "random-sign" else estimator,
            masks=masks,
        )


def parts(images: int, batch: int, processes: int = 1) -> list[int]:
    """How many images a process has at once, of so many in batches that so many processes share."""
    whole, last = divmod(images, batch)
    sizes = {batch} if whole else set()
    shares = {(size + more) // processes for size in sizes | {last} for more in (0, processes - 1)}
    return sorted(shares - {0}, reverse=True)
