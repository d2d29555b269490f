"""Continual EP: weights change at every nudged time step (Ernoult et al. 2020, arXiv 2005.04168).

At each step the optimizer takes the elementary update (1/β)·mean[∂_θΦ(s_t) − ∂_θΦ(s_{t+1})]. At a vanishing
learning rate their sum is the one-sided EP gradient in symmetric networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from eqprop_core.config import Estimator
from eqprop_core.learning.equilibrium import Gradients, WatchPhase, check_betas, closeness, contrast
from eqprop_core.learning.optimizer import apply_gradients, connection_index, undoing
from eqprop_core.learning.sharing import Share, alone
from eqprop_core.networks.network import Masks, Network, State, last_seen


@torch.no_grad()
def continual_ep(
    net: Network,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    *,
    steps: tuple[int, int],
    beta: float,
    estimator: Estimator = "one-sided",
    beta_free: float = 0.0,
    same_update: bool = False,
    masks: Masks | None = None,
    generator: torch.Generator | None = None,
    on_free: Callable[[State], None] | None = None,
    watch: WatchPhase | None = None,
    share: Share = alone,
) -> State:
    """Train on one batch x [batch, ...], y [batch]; returns the free state, changes the weights of `net`.

    `symmetric` nudges by +β, goes T2 free steps back, and nudges by −β, each counting half. A softmax readout
    takes its gradient once, at the end of each nudged phase. `on_free` is called before any weight changes.
    What is raised while they change, by `watch` above all, leaves weights and optimizer as they were before.
    With several processes, the gradients of each update go through `share`: one sum a nudged time step.
    """
    check_betas(beta, beta_free, estimator)

    def watched(name: str, start: State, count: int) -> State:
        watcher = watch(name, count) if watch is not None else None
        return net.settle(
            x,
            start,
            steps=count,
            beta=beta_free,
            y=y,
            masks=masks,
            closely=closeness(beta - beta_free),
            watch=watcher,
        )

    if estimator == "random-sign" and torch.randint(2, (1,), generator=generator).item():
        beta = -beta
    sides = [beta, -beta] if estimator == "symmetric" else [beta]
    free: State = []

    def updates() -> Iterator[Gradients]:
        """The gradients of each update, computed with the weights that the one before left."""
        free[:] = watched("free", net.initial_state(len(x)), steps[0])
        if on_free is not None:
            on_free(free)
        target = net.target(y)
        s = free
        for side, strength in enumerate(sides):
            if side:
                s = watched("back", s, steps[1])
            name = "nudged +β" if strength > 0 else "nudged −β"
            watcher = watch(name, steps[1]) if watch is not None else None
            for t in range(steps[1]):
                before = s
                drive = net.input_drive(x, masks)  # the weights have changed since the last step
                s = net.step(before, drive, beta=strength, target=target, masks=masks)
                gradients = contrast(
                    net,
                    x,
                    before,
                    s,
                    beta_a=strength,
                    beta_b=strength,
                    over=(strength - beta_free) * len(sides),
                    reference=before,
                    y=y,
                    same_update=same_update,
                    masks=masks,
                )
                for name in list(gradients):
                    if decay.is_readout(name):
                        del gradients[name]
                if t == steps[1] - 1 and net.config.softmax:
                    parts = net.readout.parameter_gradient(last_seen(s, masks), target)
                    for part, value in parts.items():
                        gradients[f"synapses.{decay.readout}.{part}"] = value / (len(x) * len(sides))
                for name in gradients:
                    gradients[name] /= decay.divisor(name, side * steps[1] + t, side)
                yield gradients
                if watcher is not None:
                    watcher(t + 1, before, s)

    undo = undoing(net, optimizer)
    decay = SpreadDecay(net, optimizer, steps[1], len(sides))
    found = updates()
    try:
        for _ in range(steps[1] * len(sides)):
            apply_gradients(net, optimizer, share(lambda: next(found)))
        share(lambda: next(found, {}))  # what watches may end the batch after its last step, too
    except BaseException:
        undo()
        raise
    finally:
        decay.restore()
    return free


class SpreadDecay:
    """Weight decays spread over the updates of a batch: by plain SGD they shrink weights by 1 − 0.1·wd.

    Each of a connection's N updates uses (1 − (1 − 0.1·wd)^{1/N})/lr, and the gradient of update k is divided
    by (1 − lr·that)^{N−1−k}, because the later updates shrink it. N is the number of nudged time steps, and
    of nudged phases for a softmax readout.
    """

    def __init__(self, net: Network, optimizer: torch.optim.Optimizer, steps: int, sides: int) -> None:
        self.readout = len(net.synapses) - 1 if net.config.softmax else -1
        self.optimizer = optimizer
        self.before = [group["weight_decay"] for group in optimizer.param_groups]
        self.counts = [
            sides if index == self.readout else steps * sides for index in range(len(net.synapses))
        ]
        for group, decay, count in zip(optimizer.param_groups, self.before, self.counts, strict=True):
            if decay:
                group["weight_decay"] = (1 - (1 - 0.1 * decay) ** (1 / count)) / group["lr"]

    def is_readout(self, name: str) -> bool:
        """Whether a parameter belongs to a softmax readout."""
        return connection_index(name) == self.readout

    def divisor(self, name: str, update: int, side: int) -> float:
        """What the gradient of an update (from 0) is divided by."""
        index = connection_index(name)
        group = self.optimizer.param_groups[index]
        done = side if index == self.readout else update
        return float((1 - group["lr"] * group["weight_decay"]) ** (self.counts[index] - 1 - done))

    def restore(self) -> None:
        """Give the optimizer its own weight decays back."""
        for group, decay in zip(self.optimizer.param_groups, self.before, strict=True):
            group["weight_decay"] = decay
