"""The same training with autograd of Φ at every step: slow, and right by definition.

Neurons follow σ(∂Φ/∂s) and parameters the derivative of the contrast of Φ, both by `torch.autograd.grad`;
nothing of the explicit step or of the explicit contrast is used. For symmetric networks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eqprop_core.learning.algorithms import TrainingBatch, ep_phases
from eqprop_core.learning.optimizer import apply_gradients
from eqprop_core.networks.network import Masks, Network, State, Watch


class AutogradNetwork(Network):
    """A network whose time step differentiates Φ."""

    def settle(
        self,
        x: Tensor,
        s: State,
        *,
        steps: int,
        beta: float = 0.0,
        y: Tensor | None = None,
        masks: Masks | None = None,
        input_drive: Tensor | None = None,
        watch: Watch | None = None,
    ) -> State:
        """Relax by differentiating Φ at every step."""
        for step in range(1, steps + 1):
            before = s
            leaves = [layer.detach().requires_grad_() for layer in before]
            with torch.enable_grad():
                phi = self.phi(x, leaves, beta=beta, y=y, masks=masks).sum()
            drives = torch.autograd.grad(phi, leaves)
            s = [self.activation(drive) for drive in drives[:-1]] + [self.output_activation(drives[-1])]
            if watch is not None:
                watch(step, before, s)
        return list(s)


def train_ep_by_autograd(batch: TrainingBatch) -> None:
    """One optimizer step down the derivative of the contrast of Φ."""
    net, x, y, masks = batch.net, batch.x, batch.y, batch.masks
    phases = ep_phases(batch)
    batch.on_free(phases.free)
    with torch.enable_grad():
        first = net.phi(x, phases.first, beta=phases.beta_first, y=y, masks=masks).mean()
        second = net.phi(x, phases.second, beta=phases.beta_second, y=y, masks=masks).mean()
        contrast = (first - second) / (phases.beta_second - phases.beta_first)
        parameters = dict(net.named_parameters())
        gradients = torch.autograd.grad(contrast, list(parameters.values()))
    apply_gradients(net, batch.optimizer, dict(zip(parameters, gradients, strict=True)))
