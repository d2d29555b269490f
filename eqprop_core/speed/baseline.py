"""The same training with autograd of Φ at every step: slow, and right by definition.

Neurons follow σ(∂Φ/∂s) and parameters the derivative of the contrast of Φ, both by `torch.autograd.grad`;
nothing of the explicit step or of the explicit contrast is used. For symmetric networks. What is measured is
measured against this.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eqprop_core.learning.algorithms import TrainingBatch, ep_phases
from eqprop_core.learning.equilibrium import Gradients
from eqprop_core.learning.gdu import GduResult, distances
from eqprop_core.learning.optimizer import apply_gradients
from eqprop_core.networks.network import Masks, Network, State, Watch
from eqprop_core.networks.relaxation import Present


class AutogradNetwork(Network):
    """A network whose time step differentiates Φ."""

    def differentiated(
        self, x: Tensor, s: State, beta: float, y: Tensor | None, masks: Masks | None, *, graph: bool = False
    ) -> State:
        """σ(∂Φ/∂s) at s, whose tensors need gradients; with a `graph` it can be differentiated in turn."""
        with torch.enable_grad():
            phi = self.phi(x, s, beta=beta, y=y, masks=masks).sum()
            drives = torch.autograd.grad(phi, s, create_graph=graph)
            return [self.activation(drive) for drive in drives[:-1]] + [self.output_activation(drives[-1])]

    def settle(
        self,
        x: Tensor,
        s: State,
        *,
        steps: int,
        beta: float = 0.0,
        y: Tensor | None = None,
        masks: Masks | None = None,
        present: Present | None = None,
        closely: float = 1.0,
        watch: Watch | None = None,
    ) -> State:
        """Relax by differentiating Φ at every step, all of them."""
        for step in range(1, steps + 1):
            before = s
            leaves = [layer.detach().requires_grad_() for layer in before]
            s = [layer.detach() for layer in self.differentiated(x, leaves, beta, y, masks)]
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


def bptt_by_autograd(net: AutogradNetwork, x: Tensor, y: Tensor, *, steps: tuple[int, int]) -> Gradients:
    """BPTT gradients of the mean loss through T2 steps that each differentiate Φ; steps = (T1, T2)."""
    s = net.settle(x, net.initial_state(len(x)), steps=steps[0] - steps[1])
    with torch.enable_grad():
        s = [layer.requires_grad_() for layer in s]
        for _ in range(steps[1]):
            s = net.differentiated(x, s, 0.0, None, None, graph=True)
        loss = net.loss(s, y).mean()
        parameters = dict(net.named_parameters())
        found = torch.autograd.grad(
            loss, list(parameters.values()), allow_unused=True, materialize_grads=True
        )
    return dict(zip(parameters, found, strict=True))


def gdu_by_autograd(
    net: AutogradNetwork, x: Tensor, y: Tensor, *, steps: tuple[int, int], beta: float
) -> GduResult:
    """The GDU check of the parameters, by autograd of Φ and a backward pass for each of the T2 steps.

    As is usual where gradients are found by differentiating a loss: EP's update at a step is the gradient of
    the difference of Φ between two states, and BPTT's at a step the difference of the gradients through t and
    through t−1 steps, each from a free phase of its own.
    """
    ep, total, bptt = [], [], []
    parameters = dict(net.named_parameters())
    s = net.settle(x, net.initial_state(len(x)), steps=steps[0])
    for _ in range(steps[1]):
        before, s = s, net.settle(x, s, steps=1, beta=beta, y=y)
        with torch.enable_grad():
            contrast = net.phi(x, before, beta=beta, y=y).mean() - net.phi(x, s, beta=beta, y=y).mean()
            found = torch.autograd.grad(contrast / beta, list(parameters.values()))
        ep.append(dict(zip(parameters, found, strict=True)))
    for count in range(1, steps[1] + 1):
        total.append(bptt_by_autograd(net, x, y, steps=(steps[0], count)))
        previous = total[-2] if count > 1 else {}
        bptt.append({name: g - previous[name] if previous else g for name, g in total[-1].items()})
    rows = [{name: torch.stack([step[name] for step in side]) for name in parameters} for side in (ep, bptt)]
    result = GduResult(ep=rows[0], bptt=rows[1], ep_plus=rows[0], ep_minus={}, beta=beta)
    for name in parameters:
        distances(result, name, rows[0][name], rows[1][name])
    return result
