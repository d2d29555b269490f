"""Optimizers with a learning rate and a weight decay of its own for each connection, and their schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import nn

from eqprop_core.learning.equilibrium import Gradients
from eqprop_core.networks.network import Network
from eqprop_core.rules import DECAY_FLOOR


def connection_index(name: str) -> int:
    """Number of the connection that a parameter belongs to: `B_syn.N` mirrors `synapses.N+1`."""
    group, index = name.split(".")[:2]
    return int(index) + (group == "B_syn")


def build_optimizer(
    net: Network,
    *,
    optim: Literal["sgd", "adam"],
    lrs: Sequence[float],
    wds: Sequence[float] | None = None,
    mmt: float = 0.0,
) -> torch.optim.Optimizer:
    """SGD or Adam with one parameter group a connection; `lrs` and `wds` have one value each.

    Backward weights are in the group of the forward weight that they mirror. Raises `ValueError` if the
    number of values is not that of the connections.
    """
    count = len(net.synapses)
    decays = list(wds) if wds is not None else [0.0] * count
    if len(lrs) != count or len(decays) != count:
        raise ValueError(
            f"{count} learning rates and weight decays are needed, got {len(lrs)} and {len(decays)}"
        )
    groups: list[dict[str, Any]] = [
        {"params": [], "lr": rate, "weight_decay": decay} for rate, decay in zip(lrs, decays, strict=True)
    ]
    for name, parameter in net.named_parameters():
        groups[connection_index(name)]["params"].append(parameter)
    # One pass over all parameters, where the device has it; `None` lets torch choose.
    fused = True if next(net.parameters()).device.type in ("cpu", "cuda") else None
    if optim == "adam":
        return torch.optim.Adam(groups, fused=fused)
    return torch.optim.SGD(groups, lr=lrs[0], momentum=mmt, fused=fused)


def apply_gradients(net: nn.Module, optimizer: torch.optim.Optimizer, gradients: Gradients) -> None:
    """Take one optimizer step down these gradients; parameters without one stay as they are."""
    for name, parameter in net.named_parameters():
        gradient = gradients.get(name)
        # Fused optimizers read it in the order of the parameter's values, whatever its strides.
        parameter.grad = None if gradient is None else gradient.contiguous()
    optimizer.step()
    for parameter in net.parameters():
        parameter.grad = None


def undoing(net: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Keep a copy of the weights and the optimizer's moments; what is returned puts them back, once."""
    weights = [parameter.detach().clone() for parameter in net.parameters()]
    moments = {
        parameter: {name: v.clone() if isinstance(v, torch.Tensor) else v for name, v in values.items()}
        for parameter, values in optimizer.state.items()
    }

    @torch.no_grad()
    def undo() -> None:
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(weight)
        optimizer.state.clear()
        optimizer.state.update(moments)

    return undo


def decayed(rate: float, epoch: int, length: int) -> float:
    """Learning rate in an epoch (from 0) of a cosine decay over `length` epochs down to 1e−5, constant then.

    A rate that is below 1e−5 already stays as it is.
    """
    floor = min(DECAY_FLOOR, rate)
    return floor + (rate - floor) * (1 + math.cos(math.pi * min(epoch, length) / length)) / 2


def set_rates(optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> None:
    """Give each connection's group its learning rate."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def rates_of(optimizer: torch.optim.Optimizer) -> Iterator[float]:
    """The learning rate of each connection."""
    return (float(group["lr"]) for group in optimizer.param_groups)
