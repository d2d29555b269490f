"""The algorithms by name: each trains a network on one batch. A new one is one function and one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.learning.bptt import bptt_phases
from eqprop_core.learning.continual import continual_ep
from eqprop_core.learning.equilibrium import WatchPhase, gradients_of, relax
from eqprop_core.learning.optimizer import apply_gradients
from eqprop_core.networks.network import Masks, Network, State


class Algorithm(Protocol):
    """Trains `net` on x [batch, ...], y [batch]; `on_free` gets the free state before weights change."""

    def __call__(
        self,
        net: Network,
        optimizer: torch.optim.Optimizer,
        x: Tensor,
        y: Tensor,
        config: RunConfig,
        *,
        masks: Masks | None,
        generator: torch.Generator,
        on_free: Callable[[State], None],
        watch: WatchPhase | None,
    ) -> None:
        """Train on one batch."""


def train_ep(
    net: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    config: RunConfig,
    *,
    masks: Masks | None,
    generator: torch.Generator,
    on_free: Callable[[State], None],
    watch: WatchPhase | None,
) -> None:
    """One optimizer step down the EP gradient; see `equilibrium`."""
    phases = relax(
        net,
        x,
        y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        estimator=config.estimator,
        masks=masks,
        generator=generator,
        watch=watch,
    )
    on_free(phases.free)
    gradients = gradients_of(net, x, y, phases, same_update=config.same_update, masks=masks)
    apply_gradients(net, optimizer, gradients)


def train_bptt(
    net: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    config: RunConfig,
    *,
    masks: Masks | None,
    generator: torch.Generator,
    on_free: Callable[[State], None],
    watch: WatchPhase | None,
) -> None:
    """One optimizer step down the BPTT gradient; see `bptt`."""
    free, gradients = bptt_phases(net, x, y, steps=(config.T1, config.T2), masks=masks, watch=watch)
    on_free(free)
    apply_gradients(net, optimizer, gradients)


def train_cep(
    net: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    config: RunConfig,
    *,
    masks: Masks | None,
    generator: torch.Generator,
    on_free: Callable[[State], None],
    watch: WatchPhase | None,
) -> None:
    """An optimizer step at every nudged time step; see `continual`."""
    continual_ep(
        net,
        optimizer,
        x,
        y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        estimator=config.estimator,
        same_update=config.same_update,
        masks=masks,
        generator=generator,
        on_free=on_free,
        watch=watch,
    )


ALGORITHMS: dict[str, Algorithm] = {"EP": train_ep, "BPTT": train_bptt, "CEP": train_cep}
