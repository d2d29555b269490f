"""Numbers that are no longer finite end a training, in words that say where and what to try."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.learning.optimizer import connection_index
from eqprop_core.networks.network import Network, State

HUGE = 1e6  # weights beyond this are the cause, though they are finite yet


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to try."""


def infinite(tensors: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that hold anything but finite numbers; waits for the device once."""
    if not tensors:
        return []
    fine = torch.stack([torch.isfinite(value.detach()).all() for value in tensors.values()]).tolist()
    return [name for name, is_fine in zip(tensors, fine, strict=True) if not is_fine]


def check_training(
    net: Network, optimizer: torch.optim.Optimizer, config: RunConfig, *, loss: float, where: str
) -> None:
    """Raise `TrainingError` if a weight, one of the optimizer's moments or the loss is not finite.

    `where` is the place in the training, in words. Waits for the device.
    """
    tensors: dict[str, Tensor] = {}
    for name, weight in net.named_parameters():
        tensors[name] = weight
        for moment, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor) and value.dim():  # a number of steps has no dimensions
                tensors[f"{name} ({moment})"] = value
    if wrong := infinite(tensors):
        raise TrainingError(f"{where}: no longer finite: {', '.join(wrong)}. {rates_hint(wrong, config)}")
    if not math.isfinite(loss):
        raise TrainingError(
            f"{where}: the loss is {loss}, though the weights are finite. {beta_hint(net, config)}"
        )


def check_loss(losses: Tensor, s: State, net: Network, config: RunConfig, *, where: str) -> None:
    """Raise `TrainingError` if a loss, [batch], at the free state s is not finite, naming weights or layers.

    Waits for the device.
    """
    loss = float(losses.mean())
    if math.isfinite(loss):
        return
    if wrong := infinite(dict(net.named_parameters())):
        raise TrainingError(
            f"the loss is {loss} in {where}; no longer finite: {', '.join(wrong)}. "
            f"{rates_hint(wrong, config)}"
        )
    sizes = {name: float(weight.detach().abs().max()) for name, weight in net.named_parameters()}
    if large := [name for name, size in sizes.items() if size > HUGE]:
        weights = ", ".join(f"{name} (up to {sizes[name]:.2g})" for name in large)
        raise TrainingError(
            f"the loss is {loss} in {where}; no longer reasonable: {weights}. {rates_hint(large, config)}"
        )
    layers = infinite({f"layer {n + 1}": layer for n, layer in enumerate(s)})
    state = f"the state of {', '.join(layers)} is not finite" if layers else "the state is finite"
    raise TrainingError(
        f"the loss is {loss} in {where}; {state}, though the weights are. {beta_hint(net, config)}"
    )


def beta_hint(net: Network, config: RunConfig) -> str:
    """What to try where states are not finite although the weights are."""
    betas = " ".join(f"{beta:g}" for beta in config.betas)
    linear = ", or a bounded last layer (--loss mse)" if net.readout.linear_output else ""
    return f"A smaller beta (--betas, now {betas}){linear} usually helps"


def rates_hint(names: Sequence[str], config: RunConfig) -> str:
    """Which learning rates to lower, given names of parameters."""
    rates = config.lrs or ()
    places = sorted({connection_index(name) for name in names})
    hint = f"S{smaller_rates(places, config)[1:]}"
    if config.wds and any(rates[place] * config.wds[place] > 1 for place in places):
        hint += "; so do smaller weight decays (--wds): rate times decay must stay below 1"
    if config.alg == "CEP":
        sides = 2 if config.chosen_estimator == "symmetric" else 1
        hint += f"; continual EP takes {sides * config.T2} steps a batch and needs smaller rates than EP"
    return hint


def smaller_rates(places: Sequence[int], config: RunConfig) -> str:
    """A hint at the learning rates of some connections (from 0), to go on a sentence with."""
    rates = config.lrs or ()
    values = ", ".join(f"value {place + 1} (now {rates[place]:g})" for place in places)
    return f"smaller learning rates (--lrs) usually help: {values}"
