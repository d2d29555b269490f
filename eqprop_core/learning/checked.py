"""Which images a GDU check takes: the first, or the first that give a gradient where those give none.

A network that has learned its images answers some exactly, by neurons at a bound above all. On these alone
EP and BPTT are both zero, or what rounding leaves, and there is nothing to compare. A function of weights and
images alone, so that a run that is resumed takes the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.networks.network import Network

PULLS = 0.01  # of an image: how far a nudge moves the last layer, per unit of its strength
NUDGE = 0.01
SEARCHED_AT_ONCE = 256
MOST_IMAGES = 2_000  # that are looked at, or a batch more


@torch.no_grad()
def pulls(net: Network, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """How hard each image's error pulls at the last layer, of x [batch, ...] and y [batch]: [batch].

    |σ(drive + β·force) − σ(drive − β·force)| / 2β at the free state, β small: about |σ′·∂ℓ/∂s|, and zero of
    neurons at a bound.
    """
    free = net.settle(x, net.initial_state(len(x)), steps=steps)
    drive, target = net.input_drive(x), net.target(y)
    up, down = (net.step(free, drive, beta=beta, target=target)[-1] for beta in (NUDGE, -NUDGE))
    moved: Tensor = ((up - down) / (2 * NUDGE)).flatten(1).norm(dim=1)
    return moved


def images_to_check(
    net: Network, config: RunConfig, batches: Iterator[tuple[Tensor, Tensor]], wanted: int
) -> tuple[Tensor, Tensor, str]:
    """Up to `wanted` images and labels out of batches, and what to say of the choice, empty for the first.

    Batches are taken one by one, as many as are needed.
    """
    x, y = next(batches)
    first = x[:wanted], y[:wanted]
    with net.using(net.numerics.exactly()):
        if bool((pulls(net, *first, config.T1) > PULLS).any()):
            return (*first, "")
        images: list[Tensor] = []
        labels: list[Tensor] = []
        looked = 0
        while True:
            pulling = pulls(net, x, y, config.T1) > PULLS
            images.append(x[pulling])
            labels.append(y[pulling])
            looked += len(x)
            if sum(map(len, images)) >= wanted or looked >= MOST_IMAGES:
                break
            if (following := next(batches, None)) is None:
                break
            x, y = following
    found_x, found_y = torch.cat(images)[:wanted], torch.cat(labels)[:wanted]
    none = "give no gradient to speak of: they are answered as asked, or by neurons stuck at a bound"
    if not len(found_x):
        return (*first, f"all {looked:,} images that were looked at {none}")
    count = "the one that does" if len(found_x) == 1 else f"the first {len(found_x)} that do"
    said = f"the first {len(first[0])} images {none}; taken instead: {count}, of {looked:,}"
    return found_x, found_y, said
