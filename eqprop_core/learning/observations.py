"""What is seen of a network while it is trained: activity, settling, angles and GDU checks, as events.

Everything is reduced to a few numbers here, so that writing it down costs next to nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eqprop_core.events import Activity, Angles, Gdu, GduCurve, GduRow, LayerActivity
from eqprop_core.learning.gdu import GduResult
from eqprop_core.networks.network import Network, State

BINS = 40
STUCK = 1e-3  # share of the range within which a neuron counts as stuck at a bound
CURVES = 5


def finite(value: float) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if math.isfinite(value) else None


def layer_names(net: Network) -> list[str]:
    """Names of s[1..L] with their shapes: `layer 1  32×12×12`."""
    return [f"layer {n + 1}  {'×'.join(map(str, shape))}" for n, shape in enumerate(net.layer_shapes)]


def activity(net: Network, s: State, *, epoch: int, batch: int) -> Activity:
    """Histogram of each layer of a state over the range of its activation."""
    layers = []
    for name, layer, bounds in zip(layer_names(net), s, net.bounds, strict=True):
        values = layer.detach().float().flatten().cpu()
        values = values[torch.isfinite(values)]
        low, high = bounds or _range(values)
        counts = torch.histc(values, BINS, low, high).long().tolist()
        margin = STUCK * (high - low)
        share = 1 / max(1, values.numel())
        layers.append(
            LayerActivity(
                name=name,
                edges=[low + (high - low) * k / BINS for k in range(BINS + 1)],
                counts=counts,
                at_low=float((values <= low + margin).sum() * share) if bounds else None,
                at_high=float((values >= high - margin).sum() * share) if bounds else None,
            )
        )
    return Activity(epoch=epoch, batch=batch, layers=layers)


def _range(values: Tensor) -> tuple[float, float]:
    """Lowest and highest value, apart from each other."""
    if not values.numel():
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def largest_change(before: State, after: State) -> Tensor:
    """Largest |Δs| over all layers, samples and neurons: a tensor without dimensions, still on the device."""
    changes = [(new - old).abs().max() for old, new in zip(before, after, strict=True)]
    return torch.stack(changes).max()


def angles(net: Network, *, epoch: int) -> Angles:
    """Angle in degrees between the forward and the backward weights of each pair of a vector field."""
    found: dict[str, float | None] = {}
    for n, backward in enumerate(net.backward_connections):
        forward = net.connections[n + 1]
        a = forward.weight.detach().cpu().double().flatten()
        b = backward.turned(backward.weight.detach()).cpu().double().flatten()
        norms = float(a.norm() * b.norm())
        cosine = max(-1.0, min(1.0, float(a @ b) / norms)) if norms > 0 else float("nan")
        found[net.name_of(forward)] = finite(math.degrees(math.acos(cosine))) if norms > 0 else None
    return Angles(epoch=epoch, angles=found)


def gdu_event(result: GduResult, *, epoch: int, batch: int, images: int) -> Gdu:
    """The distances of every row, and the curves of the elements that move most in each."""
    rows = [
        GduRow(
            name=name,
            rmse=finite(result.rmse[name]),
            sign_error=finite(result.sign_error[name]),
            cosine=finite(result.cosine[name]),
            norm_ratio=finite(result.norm_ratio[name]),
            readout=name in result.readout,
        )
        for name in result.ep
    ]
    curves = []
    for name, bptt in result.bptt.items():
        size = bptt.flatten(1).square().sum(0)
        for element in size.topk(min(CURVES, size.numel())).indices.tolist():
            curves.append(
                GduCurve(
                    name=name,
                    element=element,
                    ep=_curve(result.ep.get(name), element),
                    bptt=_curve(bptt, element),
                    plus=_curve(result.ep_plus.get(name) if result.ep_minus else None, element),
                    minus=_curve(result.ep_minus.get(name), element),
                )
            )
    return Gdu(epoch=epoch, batch=batch, beta=result.beta, images=images, rows=rows, curves=curves)


def _curve(values: Tensor | None, element: int) -> list[float | None]:
    if values is None:
        return []
    return [finite(value) for value in values.flatten(1)[:, element].tolist()]
