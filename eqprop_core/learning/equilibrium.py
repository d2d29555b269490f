"""Equilibrium propagation: gradient estimators from contrasts of settled states.

Symmetric networks (Scellier & Bengio 2017; Laborieux et al. 2021, doi 10.3389/fnins.2021.633674):
one-sided g = (1/β)·mean[∂_θΦ(s*; 0) − ∂_θΦ(s^β; β)], symmetric
g = (1/2β)·mean[∂_θΦ(s^{−β}; −β) − ∂_θΦ(s^{+β}; +β)], where Φ holds −β·ℓ.
Vector fields have the different-update and the same-update rule of the latter paper.

Gradients are those of the mean loss, dictionaries from parameter names to tensors; subtract them to descend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from eqprop_core.config import Estimator
from eqprop_core.networks.network import Masks, Network, State, Watch, last_seen, masked
from eqprop_core.networks.relaxation import Relaxation

Gradients = dict[str, Tensor]
WatchPhase = Callable[[str, int], Watch]  # from a phase and its number of steps to what watches them
BOTH_SIGNS = "nudged ±β"  # the names of phases that settle both sides of a contrast in one batch: this one,
BESIDE_FREE = " beside free"  # and those that end so


@dataclass(frozen=True)
class Phases:
    """The states that an estimator contrasts: `first` at `beta_first`, `second` at `beta_second`.

    `free` is the state after the free phase. `reference` is the one between the two that vector fields take
    their presynaptic side from: that state, or where it was run on beside the nudged phase, what it came to.
    """

    free: State
    reference: State
    first: State
    beta_first: float
    second: State
    beta_second: float


@torch.no_grad()
def contrast(
    net: Network,
    x: Tensor,
    a: State,
    b: State,
    *,
    beta_a: float,
    beta_b: float,
    over: float,
    reference: State,
    y: Tensor,
    same_update: bool = False,
    masks: Masks | None = None,
) -> Gradients:
    """mean over the batch of ∂_θΦ(a; β_a) − ∂_θΦ(b; β_b), divided by `over`, for every parameter.

    In a vector field with different updates the forward weights see the lower layer at `reference`, the
    backward weights the upper one; with `same_update` both take the mean of the two products at a and b.
    A softmax readout gets β_b·∂ℓ(b) − β_a·∂ℓ(a).
    """
    factor = 1 / (len(x) * over)
    seen = x if masks is None else x * masks[0]  # one object, so that contrasts know it is the same
    at_a, at_b, at_reference = (
        [seen, *masked(state, masks[1:] if masks is not None else None)] for state in (a, b, reference)
    )
    gradients: Gradients = {}

    def put(name: str, gradient: dict[str, Tensor]) -> None:
        for part, value in gradient.items():
            gradients[f"{name}.{part}"] = value

    for n, connection in enumerate(net.connections):
        name = net.name_of(connection)
        if not net.vector_field:
            put(name, connection.contrast(at_a[n], at_a[n + 1], at_b[n], at_b[n + 1], factor))
            continue
        backward = net.backward_connections[n - 1] if n > 0 else None
        if same_update:
            forward_part = connection.contrast(at_a[n], at_a[n + 1], at_b[n], at_b[n + 1], factor)
            if backward is not None:
                backward_part = backward.contrast(at_a[n], at_a[n + 1], at_b[n], at_b[n + 1], factor)
                mean = (forward_part["weight"] + backward.turned(backward_part["weight"])) / 2
                forward_part["weight"] = mean
                put(net.name_of(backward), {"weight": backward.turned(mean).clone()})
        else:
            lower = at_reference[n]
            upper_change = (at_a[n + 1] - at_b[n + 1]).mul_(factor)
            forward_part = connection.outer(lower, connection.spread(lower, upper_change))
            if backward is not None:
                upper = at_reference[n + 1]
                put(net.name_of(backward), backward.contrast(at_a[n], upper, at_b[n], upper, factor))
        put(name, forward_part)

    for state, beta, sign in ((a, beta_a, -1.0), (b, beta_b, 1.0)):
        if net.config.softmax:
            name = f"synapses.{len(net.synapses) - 1}"
            parts = net.readout.parameter_gradient(last_seen(state, masks), net.target(y))
            for part, value in parts.items():
                key = f"{name}.{part}"
                gradients[key] = gradients.get(key, torch.zeros_like(value)) + value * (sign * beta * factor)
    return gradients


@torch.no_grad()
def relax(
    net: Network,
    x: Tensor,
    y: Tensor,
    *,
    steps: tuple[int, int],
    beta: float,
    estimator: Estimator = "symmetric",
    beta_free: float = 0.0,
    masks: Masks | None = None,
    generator: torch.Generator | None = None,
    start: State | None = None,
    watch: WatchPhase | None = None,
) -> Phases:
    """Run the phases that an estimator needs: T1 free steps, then T2 nudged ones for each sign.

    The free phase goes on from the state `start`, otherwise from zero.

    `random-sign` draws the sign of β from `generator`; `paired` goes on at `beta_free` for T2 steps, too.
    Where the numerics have a tolerance the one-sided estimators are paired as well, since what the free phase
    leaves unsettled would be divided by β, and both states of a contrast are settled in one batch.
    `watch` names each phase as it starts: `free`, `nudged +β`, `nudged −β`, `free on`, or two in one batch.
    Raises `ValueError` for betas that the estimator cannot use.
    """
    check_betas(beta, beta_free, estimator)
    present = net.present(x, masks)

    def phase(name: str, start: State, count: int, strength: float, closely: float = 1.0) -> State:
        return net.settle(
            x,
            start,
            steps=count,
            beta=strength,
            y=y,
            masks=masks,
            present=present,
            closely=closely,
            watch=watch(name, count) if watch is not None else None,
        )

    start = start or net.initial_state(len(x))
    free = phase("free", start, steps[0], beta_free, closeness(beta - beta_free))
    if estimator == "random-sign" and torch.randint(2, (1,), generator=generator).item():
        beta = -beta
    sign = "+" if beta > 0 else "−"
    tolerant = net.numerics.tol is not None
    if estimator != "symmetric" and not tolerant and estimator != "paired":
        return Phases(free, free, free, beta_free, phase(f"nudged {sign}β", free, steps[1], beta), beta)
    symmetric = estimator == "symmetric"
    other = -beta if symmetric else beta_free
    if net.numerics.joined or tolerant:
        name = BOTH_SIGNS if symmetric else f"nudged {sign}β{BESIDE_FREE}"
        target = net.target(y)
        both = Relaxation(present.twice(), betas=(beta, other), target=torch.cat([target, target])).settle(
            [torch.cat([layer, layer]) for layer in free],
            steps[1],
            watch(name, steps[1]) if watch is not None else None,
        )
        nudged, first = ([layer[part] for layer in both] for part in (slice(len(x)), slice(len(x), None)))
        return Phases(free, free if symmetric else first, first, other, nudged, beta)
    nudged = phase(f"nudged {sign}β", free, steps[1], beta)
    opposite_sign = "−" if beta > 0 else "+"
    name = f"nudged {opposite_sign}β" if symmetric else "free on"
    first = phase(name, free, steps[1], other)
    return Phases(free, free if symmetric else first, first, other, nudged, beta)


def closeness(nudge: float) -> float:
    """How closely the free phase before a nudge is to settle, as a factor on a tolerance.

    Nudging moves the state by something like β. A free state that is off by as much lets max pooling choose
    otherwise; and continual EP takes what is left unsettled for the effect of nudging.
    """
    return min(1.0, abs(nudge))


def settles_contrast(phase: str) -> bool:
    """Whether the phase of this name settles both sides of a contrast, in one batch [2·images, ...]."""
    return phase == BOTH_SIGNS or phase.endswith(BESIDE_FREE)


def check_betas(beta: float, beta_free: float, estimator: Estimator) -> None:
    """Raise `ValueError` for nudging strengths that an estimator cannot use."""
    if beta == beta_free:
        raise ValueError(f"beta is {beta} in both phases; they must differ")
    if beta_free != 0 and estimator not in ("one-sided", "paired"):
        raise ValueError(f"the {estimator} estimator needs beta_free = 0, not {beta_free}")


def gradients_of(
    net: Network,
    x: Tensor,
    y: Tensor,
    phases: Phases,
    *,
    same_update: bool = False,
    masks: Masks | None = None,
) -> Gradients:
    """EP gradients of the mean loss from settled states: their contrast over β_second − β_first."""
    return contrast(
        net,
        x,
        phases.first,
        phases.second,
        beta_a=phases.beta_first,
        beta_b=phases.beta_second,
        over=phases.beta_second - phases.beta_first,
        reference=phases.reference,
        y=y,
        same_update=same_update,
        masks=masks,
    )


def ep_gradients(
    net: Network,
    x: Tensor,
    y: Tensor,
    *,
    steps: tuple[int, int],
    beta: float,
    estimator: Estimator = "symmetric",
    beta_free: float = 0.0,
    same_update: bool = False,
    masks: Masks | None = None,
    generator: torch.Generator | None = None,
) -> Gradients:
    """EP gradient of the mean loss, {parameter name: tensor of its shape}.

    x [batch, ...], y [batch] class indices, `steps` = (T1, T2). `estimator` is `one-sided`, `random-sign`
    (sign of β drawn from `generator`), `symmetric`, or `paired`: one-sided, against the free state after T2
    more steps. `beta_free` (β₁) may differ from 0 with `one-sided` and `paired` only. `same_update` chooses
    that rule in vector fields. Raises `ValueError` for unusable betas.
    """
    phases = relax(
        net,
        x,
        y,
        steps=steps,
        beta=beta,
        estimator=estimator,
        beta_free=beta_free,
        masks=masks,
        generator=generator,
    )
    return gradients_of(net, x, y, phases, same_update=same_update, masks=masks)
