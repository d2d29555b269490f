"""The time step through torch.compile: never needed, and left out where it cannot be had."""

from __future__ import annotations

import warnings

import torch

from eqprop_core.networks.network import Network
from eqprop_core.speed.timing import seconds_of


def compile_step(net: Network, batch: int, device: torch.device) -> tuple[float, str | None]:
    """Compile the time step of a network and try it on a batch; seconds, and why it failed if it did.

    On a GPU the step becomes a CUDA graph with memory of its own; a batch of another size is compiled once
    more.
    """
    mode = "reduce-overhead" if device.type == "cuda" else None
    weight = next(net.parameters())
    s = net.initial_state(batch)
    target = weight.new_zeros(batch, net.classes)
    drive = weight.new_zeros(batch, *net.layer_shapes[0])
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            compiled = torch.compile(net.step, mode=mode)

            def try_it() -> None:
                for beta in (0.0, 0.5):
                    compiled(s, drive, beta=beta, target=target if beta else None)

            seconds = seconds_of(try_it, device)
    except Exception as error:  # a compiler may fail in any way
        net.compiled_step = None
        return 0.0, str(error).strip().split("\n")[0][:200] or type(error).__name__
    net.compiled_step = compiled
    return seconds, None
