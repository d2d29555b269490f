"""One batch of an epoch: which ones are looked at more closely, training on one and checking one.

Which batches those are does not depend on the clock, so that a run that is resumed looks at the same ones.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.batches import Batch
from eqprop_core.data.randomness import generator
from eqprop_core.events import PhaseProgress
from eqprop_core.learning.algorithms import Algorithm, TrainingBatch
from eqprop_core.learning.finite import check_loss
from eqprop_core.learning.gdu import GduResult, gdu_check
from eqprop_core.learning.observations import Observed
from eqprop_core.learning.running import Counts, counted
from eqprop_core.learning.sharing import Group, alone
from eqprop_core.learning.steps import Steps
from eqprop_core.networks.network import Network, State, Watch

OBSERVED_BATCHES = 4  # of each epoch: activity and settling
CHECKED_BATCHES = 10  # of each epoch, with --check-thm
JUDGED_BATCHES = 100  # of each epoch where looking at a loss means waiting for a GPU; all of them on a CPU


@dataclass(frozen=True)
class Looks:
    """Batches, from 0, that are `observed`, held against BPTT, and whose losses are `judged` to be finite.

    What --fast uses is reviewed before those that are observed, in a run's first epoch before more of them
    (`at_first`), since weights change fastest at the beginning.
    """

    observed: Container[int]
    at_first: Container[int]
    checked: Container[int]
    judged: Container[int]


def looks(count: int, config: RunConfig, device: torch.device) -> Looks:
    """What is looked at in an epoch of `count` batches."""
    observed = spaced(count, OBSERVED_BATCHES)
    return Looks(
        observed=observed,
        at_first=(observed | {2**k for k in range(count.bit_length())}) - {0},
        checked=spaced(count, CHECKED_BATCHES) if config.check_thm else (),
        judged=range(count) if device.type == "cpu" else spaced(count, JUDGED_BATCHES) | observed,
    )


def spaced(count: int, wanted: int) -> set[int]:
    """Up to `wanted` batch numbers from 0, evenly spaced over `count`, the first among them."""
    return {count * k // wanted for k in range(wanted)} if count else set()


def check_batch(
    net: Network, config: RunConfig, x: Tensor, y: Tensor, *, epoch: int = 0, index: int = 0
) -> GduResult:
    """The GDU check that a configuration asks for, on x [batch, ...], y [batch].

    Dropout masks are those of batch `index` of `epoch`, both from 0.
    """
    assert config.seed is not None
    return gdu_check(
        net,
        x,
        y,
        steps=(config.T1, config.T2),
        beta=config.betas[1],
        beta_free=config.betas[0],
        symmetric=config.chosen_estimator == "symmetric",
        same_update=config.same_update,
        masks=net.draw_masks(len(x), generator(config.seed, "dropout", epoch, index)),
    )


def train_batch(
    algorithm: Algorithm,
    net: Network,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    item: Batch,
    *,
    epoch: int,
    steps: Steps,
    picture: Observed | None,
    judged: bool,
    group: Group | None = None,
) -> Counts:
    """Train on a batch of an epoch (from 0); returns what was counted on it before the weights changed.

    That is of the free state. `steps` and `picture` watch; what `steps` raises leaves network and optimizer
    as they were. Raises `TrainingError` if `judged` and a loss is not finite. In a `group` the item has this
    process's rows, and what is counted and raised is of all processes.
    """
    assert config.seed is not None
    whole = item.whole or len(item.x)
    masks = net.draw_masks(whole, generator(config.seed, "dropout", epoch, item.index), item.rows)
    shared = group.batch(net, len(item.x), whole) if group is not None else None
    found: list[Counts] = []

    @torch.no_grad()
    def on_free(s: State) -> None:
        losses = net.loss(s, item.y, masks)
        found.append(counted(net.logits(s, masks), losses, item.y))
        if shared is not None:
            shared.counts = found[0]
        if judged:  # before the weights change: those that are not finite by now are the cause
            where = f"epoch {epoch + 1}, batch {item.index + 1}"
            check_loss(losses, s, net, config, where=where)
        if picture is not None:
            picture.free(s, masks)

    def watch(phase: str, count: int) -> Watch:
        def place(step: int) -> PhaseProgress:
            return PhaseProgress(epoch=epoch + 1, batch=item.index + 1, phase=phase, step=step, steps=count)

        return steps.watch(place, picture.watch(phase) if picture is not None else None)

    algorithm(
        TrainingBatch(
            net=net,
            optimizer=optimizer,
            x=item.x,
            y=item.y,
            config=config,
            masks=masks,
            generator=generator(config.seed, "sign", epoch, item.index),
            on_free=on_free,
            watch=watch,
            share=shared or alone,
        )
    )
    if shared is None:
        return found[0]
    assert shared.counts is not None
    return shared.counts
