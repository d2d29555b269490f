"""The GDU check: EP updates held against BPTT gradients, time step by time step.

After the free phase, at nudged step t: EP's parameter update (1/β)·mean[∂_θΦ(s_t; β) − ∂_θΦ(s_{t+1}; β)] and
neuron update (s_{t+1} − s_t)/β; against them, going backwards from the loss, BPTT's elementary parameter
gradients and −batch·∂loss/∂s (Ernoult et al. 2019, arXiv 1905.13633). Rows are parameters and layers of
neurons (`neurons_0`, …, zero-based).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import functional_call

from eqprop_core.learning.bptt import check_steps
from eqprop_core.learning.equilibrium import Gradients, check_betas, contrast
from eqprop_core.networks.network import Masks, Network, State

SMALLER = 0.25  # of β: what EP's update is compared with to see how much of it a finite β makes


@dataclass(frozen=True)
class GduResult:
    """EP and BPTT updates [T2, ...] by row, and how far apart they are.

    `ep_plus` and `ep_minus` are the one-sided updates at ±β and `ep` their mean where the check was
    symmetric; otherwise `ep_minus` is empty and `ep` is `ep_plus`. `rmse` is the relative RMSE, `sign_error`
    the share of (t, element) with EP·BPTT < 0, `cosine` that between all of EP and all of BPTT (NaN where one
    of them is zero), `norm_ratio` |EP|/|BPTT|, `size` |BPTT|. `readout` names the rows of a softmax readout,
    which learns by the ordinary gradient: the theorem claims nothing of them. Of parameters alone there are
    `rounding`, the norm that EP would have if states differed by one rounding, `drift`, by the next free time
    step, and `bias`, the share of EP's update that goes with a smaller β.
    """

    ep: Gradients
    bptt: Gradients
    ep_plus: Gradients
    ep_minus: Gradients
    beta: float
    readout: tuple[str, ...] = ()
    rmse: dict[str, float] = field(default_factory=dict)
    sign_error: dict[str, float] = field(default_factory=dict)
    cosine: dict[str, float] = field(default_factory=dict)
    norm_ratio: dict[str, float] = field(default_factory=dict)
    size: dict[str, float] = field(default_factory=dict)
    rounding: dict[str, float] = field(default_factory=dict)
    drift: dict[str, float] = field(default_factory=dict)
    bias: dict[str, float] = field(default_factory=dict)


def gdu_check(
    net: Network,
    x: Tensor,
    y: Tensor,
    *,
    steps: tuple[int, int],
    beta: float,
    symmetric: bool = False,
    beta_free: float = 0.0,
    same_update: bool = False,
    masks: Masks | None = None,
) -> GduResult:
    """Compare EP with BPTT step by step on a batch x [batch, ...], y [batch]; `steps` = (T1, T2).

    Both follow the dynamics exactly, whatever accelerates the training. With `symmetric` the nudged phase is
    run at +β and −β and EP is the mean of the two. Raises `ValueError`
    unless 1 ≤ T2 ≤ T1 and the betas differ. Keeps 2·T2 (symmetric: 4·T2) values for each parameter.
    """
    check_steps(steps)
    check_betas(beta, beta_free, "symmetric" if symmetric else "one-sided")
    with net.using(net.numerics.exactly()):
        return _check(net, x, y, steps, beta, symmetric, beta_free, same_update, masks)


def _check(
    net: Network,
    x: Tensor,
    y: Tensor,
    steps: tuple[int, int],
    beta: float,
    symmetric: bool,
    beta_free: float,
    same_update: bool,
    masks: Masks | None,
) -> GduResult:
    with torch.no_grad():
        start = net.settle(x, net.initial_state(len(x)), steps=steps[0] - steps[1], y=y, masks=masks)
    free, bptt = _bptt_updates(net, x, y, start, steps[1], masks)
    if beta_free != 0:
        free = net.settle(x, net.initial_state(len(x)), steps=steps[0], beta=beta_free, y=y, masks=masks)

    def updates(strength: float) -> Gradients:
        return _ep_updates(net, x, y, free, steps[1], strength, beta_free, same_update, masks)

    plus = updates(beta)
    minus = updates(-beta) if symmetric else {}
    ep = {name: (plus[name] + minus[name]) / 2 for name in plus} if symmetric else plus
    last = f"synapses.{len(net.synapses) - 1}."
    result = GduResult(
        ep=ep,
        bptt={name: bptt[name] for name in ep},
        ep_plus=plus,
        ep_minus=minus,
        beta=beta,
        readout=tuple(name for name in ep if net.config.softmax and name.startswith(last)),
    )
    for name, row in ep.items():
        distances(result, name, row, bptt[name])
    _disturbances(result, net, x, y, free, steps[1], beta, beta_free, same_update, masks)
    return result


@torch.no_grad()
def _disturbances(
    result: GduResult,
    net: Network,
    x: Tensor,
    y: Tensor,
    free: State,
    count: int,
    beta: float,
    beta_free: float,
    same_update: bool,
    masks: Masks | None,
) -> None:
    """Enter what EP's updates over `count` steps would be if rounding alone, or settling, moved states."""
    draws = torch.Generator().manual_seed(0)
    eps = torch.finfo(free[0].dtype).eps

    def rounded(layer: Tensor) -> Tensor:
        signs = 2 * torch.randint(2, layer.shape, generator=draws).to(layer.device, layer.dtype) - 1
        return layer * (1 + eps * signs)

    moved = {
        "rounding": [rounded(layer) for layer in free],
        "drift": net.settle(x, free, steps=1, beta=beta_free, y=y, masks=masks),
    }
    for kind, state in moved.items():
        update = contrast(
            net,
            x,
            free,
            state,
            beta_a=beta_free,
            beta_b=beta_free,
            over=beta - beta_free,
            reference=free,
            y=y,
            same_update=same_update,
            masks=masks,
        )
        norms = {name: math.sqrt(count) * float(value.norm()) for name, value in update.items()}
        getattr(result, kind).update(norms)

    def whole(part: float) -> Gradients:
        """EP's update from the last states at a part of β, of both sides or against the free phase run on."""
        high, low = beta_free + part * (beta - beta_free), -part * beta if result.ep_minus else beta_free
        nudged, other = (net.settle(x, free, steps=count, beta=at, y=y, masks=masks) for at in (high, low))
        return contrast(
            net,
            x,
            other,
            nudged,
            beta_a=low,
            beta_b=high,
            over=high - low,
            reference=free,
            y=y,
            same_update=same_update,
            masks=masks,
        )

    large, small = whole(1.0), whole(SMALLER)
    for name, value in small.items():
        norm = float(value.norm())
        result.bias[name] = float((large[name] - value).norm()) / norm if norm > 0 else 0.0


@torch.no_grad()
def distances(result: GduResult, name: str, ep: Tensor, bptt: Tensor) -> None:
    """Enter how far apart EP and BPTT are in one row, both [T2, ...].

    Relative RMSE: mean over elements of sqrt(Σ_t(EP−BPTT)²/T2) / (1e−10 + max of the same of EP and of BPTT).
    """
    ep, bptt = ep.flatten(1), bptt.flatten(1)
    of_ep, of_bptt, of_difference = (torch.zeros_like(ep[0]) for _ in range(3))  # Σ_t of squares, by element
    opposite = torch.zeros((), dtype=torch.int64, device=ep.device)
    for a, b in zip(ep, bptt, strict=True):  # step by step: what is read again is in the cache
        of_ep.addcmul_(a, a)
        of_bptt.addcmul_(b, b)
        of_difference.add_((a - b).square_())
        opposite += (a.sign().mul_(b) < 0).sum()
    relative = (of_difference / len(ep)).sqrt_()
    relative /= (torch.maximum(of_ep, of_bptt) / len(ep)).sqrt_() + 1e-10
    # Not every device has float64. 2⟨EP, BPTT⟩ = |EP|² + |BPTT|² − |EP − BPTT|².
    of_all = [float(squares.cpu().double().sum()) for squares in (of_ep, of_bptt, of_difference)]
    sizes = math.sqrt(of_all[0]) * math.sqrt(of_all[1])
    result.rmse[name] = float(relative.mean())
    result.sign_error[name] = int(opposite) / ep.numel()
    result.cosine[name] = (of_all[0] + of_all[1] - of_all[2]) / (2 * sizes) if sizes > 0 else float("nan")
    result.size[name] = math.sqrt(of_all[1])
    result.norm_ratio[name] = math.sqrt(of_all[0] / of_all[1]) if of_all[1] > 0 else float("nan")


@torch.no_grad()
def _ep_updates(
    net: Network,
    x: Tensor,
    y: Tensor,
    free: State,
    count: int,
    beta: float,
    beta_free: float,
    same_update: bool,
    masks: Masks | None,
) -> Gradients:
    """Elementary EP updates of parameters and neurons at strength β: each [T2, ...]."""
    rows = {name: parameter.new_empty(count, *parameter.shape) for name, parameter in net.named_parameters()}
    rows |= {f"neurons_{n}": layer.new_empty(count, *layer.shape) for n, layer in enumerate(free)}

    def note(step: int, before: State, after: State) -> None:
        update = contrast(
            net,
            x,
            before,
            after,
            beta_a=beta,
            beta_b=beta,
            over=beta - beta_free,
            reference=before,
            y=y,
            same_update=same_update,
            masks=masks,
        )
        for name, value in update.items():
            rows[name][step - 1] = value
        for n, (old, new) in enumerate(zip(before, after, strict=True)):
            rows[f"neurons_{n}"][step - 1] = (new - old) / (beta - beta_free)

    net.settle(x, free, steps=count, beta=beta, y=y, masks=masks, watch=note)
    return rows


def _bptt_updates(
    net: Network, x: Tensor, y: Tensor, s: State, count: int, masks: Masks | None
) -> tuple[State, Gradients]:
    """The free state after `count` steps from s, and BPTT's elementary gradients going backwards from there.

    Every step has leaves of its own that share the memory of the parameters, so that one backward pass tells
    the steps apart; their gradients are added to zeros where they are wanted, which saves copying them. A
    softmax readout acts once, at the end: its gradient stands at t = 0.
    """
    parameters = dict(net.named_parameters())
    readout = [
        p for p in parameters if net.config.softmax and p.startswith(f"synapses.{len(net.synapses) - 1}.")
    ]
    rows = {name: value.new_zeros(count, *value.shape) for name, value in parameters.items()}
    leaves: list[Tensor] = []
    states: list[State] = []
    with torch.enable_grad():
        for t in reversed(range(count)):
            leaf = {
                name: parameters[name].detach().requires_grad_() for name in parameters if name not in readout
            }
            for name, value in leaf.items():
                value.grad = rows[name][t]
            s = functional_call(net, leaf, (x, s, masks))
            for layer in s:
                layer.retain_grad()
            leaves += leaf.values()
            states.insert(0, s)
        loss = net.loss(s, y, masks).mean()
        if readout:
            of_readout = torch.autograd.grad(loss, [parameters[name] for name in readout], retain_graph=True)
            for name, gradient in zip(readout, of_readout, strict=True):
                rows[name][0] = gradient
        torch.autograd.backward(loss, inputs=[*leaves, *(layer for state in states for layer in state)])
    for n in range(len(s)):
        # Dropout multiplies the drive of a layer by p, and with it EP's neuron updates.
        scale = len(x) * (net.keep[n + 1] if masks is not None else 1.0)
        gradients = [state[n].grad for state in states]
        found = [torch.zeros_like(s[n]) if gradient is None else gradient for gradient in gradients]
        rows[f"neurons_{n}"] = torch.stack(found).mul_(-scale)
    return [layer.detach() for layer in s], rows
