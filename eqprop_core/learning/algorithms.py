"""The algorithms by name: each trains a network on one batch. A new one is one function and one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.learning.bptt import bptt_phases
from eqprop_core.learning.continual import continual_ep
from eqprop_core.learning.equilibrium import Gradients, Phases, WatchPhase, gradients_of, relax
from eqprop_core.learning.optimizer import apply_gradients
from eqprop_core.learning.sharing import Share, alone
from eqprop_core.networks.network import Masks, Network, State


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingBatch:
    """What training on one batch needs: x [batch, ...], y [batch] class indices.

    `generator` draws the sign of β. `on_free` gets the free state before any weight changes. `watch` watches
    the time steps; what it raises ends the batch with weights and optimizer as they were before it. `share`
    makes gradients of these images those of all images that are trained on together; see `sharing`.
    """

    net: Network
    optimizer: torch.optim.Optimizer
    x: Tensor
    y: Tensor
    config: RunConfig
    masks: Masks | None
    generator: torch.Generator
    on_free: Callable[[State], None]
    watch: WatchPhase | None
    share: Share = alone


Algorithm = Callable[[TrainingBatch], None]


def ep_phases(batch: TrainingBatch) -> Phases:
    """The settled states that the estimator of the batch's configuration contrasts."""
    config = batch.config
    return relax(
        batch.net,
        batch.x,
        batch.y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        estimator=config.chosen_estimator,
        masks=batch.masks,
        generator=batch.generator,
        watch=batch.watch,
    )


def train_ep(batch: TrainingBatch) -> None:
    """One optimizer step down the EP gradient; see `equilibrium`."""

    def compute() -> Gradients:
        phases = ep_phases(batch)
        batch.on_free(phases.free)
        return gradients_of(
            batch.net, batch.x, batch.y, phases, same_update=batch.config.same_update, masks=batch.masks
        )

    apply_gradients(batch.net, batch.optimizer, batch.share(compute))


def train_bptt(batch: TrainingBatch) -> None:
    """One optimizer step down the BPTT gradient; see `bptt`."""

    def compute() -> Gradients:
        steps = (batch.config.T1, batch.config.T2)
        free, gradients = bptt_phases(
            batch.net, batch.x, batch.y, steps=steps, masks=batch.masks, watch=batch.watch
        )
        batch.on_free(free)
        return gradients

    apply_gradients(batch.net, batch.optimizer, batch.share(compute))


def train_cep(batch: TrainingBatch) -> None:
    """An optimizer step at every nudged time step; see `continual`."""
    config = batch.config
    continual_ep(
        batch.net,
        batch.optimizer,
        batch.x,
        batch.y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        estimator=config.chosen_estimator,
        same_update=config.same_update,
        masks=batch.masks,
        generator=batch.generator,
        on_free=batch.on_free,
        watch=batch.watch,
        share=batch.share,
    )


ALGORITHMS: dict[str, Algorithm] = {"EP": train_ep, "BPTT": train_bptt, "CEP": train_cep}
