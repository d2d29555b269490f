"""Backpropagation through time: the loss after T1 free steps, differentiated through the last T2 of them."""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from eqprop_core.learning.equilibrium import Gradients, WatchPhase
from eqprop_core.networks.network import Masks, Network, State


def check_steps(steps: tuple[int, int]) -> None:
    """Raise `ValueError` unless 1 ≤ T2 ≤ T1."""
    if not 1 <= steps[1] <= steps[0]:
        raise ValueError(f"BPTT unrolls the last T2 of T1 steps: 1 ≤ T2 ≤ T1 is needed, got {steps}")


def bptt_phases(
    net: Network,
    x: Tensor,
    y: Tensor,
    *,
    steps: tuple[int, int],
    masks: Masks | None = None,
    watch: WatchPhase | None = None,
) -> tuple[State, Gradients]:
    """The free state and the BPTT gradient of the mean loss; see `bptt_gradients`."""
    check_steps(steps)
    s = net.settle(
        x,
        net.initial_state(len(x)),
        steps=steps[0] - steps[1],
        y=y,
        masks=masks,
        watch=watch("free", steps[0] - steps[1]) if watch is not None else None,
    )
    watch_step = watch("unrolled", steps[1]) if watch is not None else None

    def unroll(numbers: range, drive: Tensor, *state: Tensor) -> State:
        s = list(state)
        for step in numbers:
            before, s = s, net.step(s, drive, masks=masks)
            if watch_step is not None:
                watch_step(step, before, s)
        return s

    with torch.enable_grad():
        drive = net.input_drive(x, masks)
        count = isqrt(steps[1]) if net.numerics.checkpointed else steps[1]
        for first in range(1, steps[1] + 1, count):
            numbers = range(first, min(first + count, steps[1] + 1))
            if net.numerics.checkpointed:
                s = checkpoint(unroll, numbers, drive, *s, use_reentrant=False, preserve_rng_state=False)
            else:
                s = unroll(numbers, drive, *s)
        watch_step = None  # what is computed again on the way back has been seen
        loss = net.loss(s, y, masks).mean()
        parameters = dict(net.named_parameters())
        gradients = torch.autograd.grad(
            loss, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
    free = [layer.detach() for layer in s]
    return free, dict(zip(parameters, gradients, strict=True))


def bptt_gradients(
    net: Network, x: Tensor, y: Tensor, *, steps: tuple[int, int], masks: Masks | None = None
) -> Gradients:
    """BPTT gradient of the mean loss, {parameter name: tensor of its shape}.

    x [batch, ...], y [batch]; `steps` = (T1, T2): T1−T2 steps outside the graph, T2 inside, all at β = 0.
    Backward weights of vector fields have gradients of their own. Raises `ValueError` unless 1 ≤ T2 ≤ T1.
    """
    return bptt_phases(net, x, y, steps=steps, masks=masks)[1]
