"""What is seen of a network while it is trained: activity, settling, angles and GDU checks, as events.

Everything is reduced to a few numbers here, so that writing it down costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from eqprop_core.config import RunConfig
from eqprop_core.events import Activity, Angles, Gdu, GduCurve, GduRow, LayerActivity, Settling
from eqprop_core.learning.equilibrium import settles_contrast
from eqprop_core.learning.gdu import GduResult
from eqprop_core.learning.verdict import too_small, verdict
from eqprop_core.networks.network import Masks, Network, State, Watch
from eqprop_core.networks.relaxation import contrast_changes, largest_changes

BINS = 40
STUCK = 1e-3  # share of the range within which a neuron counts as stuck at a bound
CURVES = 5
IMAGES_TO_JUDGE = 8  # of a batch: with fewer, neurons may well agree by chance


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


class Observed:
    """What is seen of a network during one batch: its free state, and what each time step changes.

    Tensors stay on the device until they are asked for.
    """

    def __init__(self, net: Network) -> None:
        self.net = net
        self._free: State = []
        self._masks: Masks | None = None
        self._changes: dict[str, list[Tensor]] = {}
        self._images: dict[str, list[int]] = {}  # that took part in each time step
        self._last: dict[str, Tensor] = {}  # how far each image is from having settled

    def watch(self, phase: str) -> Watch:
        """What watches the steps of a phase."""
        measure = contrast_changes if settles_contrast(phase) else largest_changes
        found, images = self._changes.setdefault(phase, []), self._images.setdefault(phase, [])

        def watched(_: int, before: State, after: State) -> None:
            images.append(len(after[0]))
            found.append(changes(before, after, images[0]))
            if self.net.numerics.tol is not None:
                self._last[phase] = measure(before, after)

        return watched

    def free(self, s: State, masks: Masks | None) -> None:
        """Keep the free state."""
        self._free, self._masks = s, masks

    def activity(self, *, epoch: int, batch: int) -> Activity:
        """Histograms of the free state; neurons that dropout left out are not part of the picture."""
        seen = self._free if self._masks is None else kept(self._free, self._masks)
        return activity(self.net, seen, epoch=epoch, batch=batch)

    def settling(self, *, epoch: int, batch: int) -> Settling:
        """The largest change at each time step of each phase, whichever layer it is in."""
        phases = {
            name: [finite(value) for value in torch.stack(steps)[:, 0].amax(1).tolist()]
            for name, steps in self._changes.items()
            if steps
        }
        tol = self.net.numerics.tol
        if tol is None:
            return Settling(epoch=epoch, batch=batch, phases=phases)
        return Settling(
            epoch=epoch,
            batch=batch,
            phases=phases,
            images=len(self._free[0]),
            tol=tol,
            mean_steps={name: sum(self._images[name]) / self._images[name][0] for name in phases},
            unsettled={name: int((self._last[name] >= tol).sum()) for name in phases},
        )

    def free_changes(self) -> list[list[float]]:
        """Root mean square change of each layer at each step of the free phase: [layers][steps].

        That of the median image, because single images may go on oscillating in networks that train well;
        nothing where there are too few images to tell.
        """
        if not self._free or len(self._free[0]) < IMAGES_TO_JUDGE:
            return []
        steps = [*self._changes.get("free", []), *self._changes.get("unrolled", [])]
        found: list[list[float]] = torch.stack(steps)[:, 1].T.tolist() if steps else []
        return found

    def resting(self) -> list[float | None]:
        """Share of each layer's neurons that every image of the batch leaves at one and the same bound.

        None for a linear layer, and where there are too few images to tell.
        """
        masks: Sequence[Tensor | None] = self._masks[1:] if self._masks else [None] * len(self._free)
        return [
            at_one_bound(layer, mask, bounds) if bounds and len(layer) >= IMAGES_TO_JUDGE else None
            for layer, mask, bounds in zip(self._free, masks, self.net.bounds, strict=True)
        ]


def at_one_bound(values: Tensor, mask: Tensor | None, bounds: tuple[float, float]) -> float:
    """Share (0 to 1) of neurons, values [batch, ...], that are at the same bound for all of the batch.

    Where `mask` is 0, a neuron has been dropped and is not looked at.
    """
    margin = STUCK * (bounds[1] - bounds[0])
    low, high = values <= bounds[0] + margin, values >= bounds[1] - margin
    if mask is not None:
        low, high = low | (mask == 0), high | (mask == 0)
    return float((low.all(0) | high.all(0)).float().mean())


def kept(s: State, masks: Masks) -> State:
    """The neurons that dropout left, layer by layer, flattened."""
    return [layer[mask != 0] for layer, mask in zip(s, masks[1:], strict=True)]


def changes(before: State, after: State, images: int) -> Tensor:
    """The largest |Δs| of each layer, and its median image's root mean square: [2, layers], on the device.

    Of a batch of `images`; those that have left it, as they had settled, change no more.
    """
    differences = [(new - old).detach().flatten(1) for old, new in zip(before, after, strict=True)]
    largest = [change.abs().max() for change in differences]
    left = images - len(after[0])
    typical = [functional.pad(change.square().mean(1), (left, 0)).median().sqrt() for change in differences]
    return torch.stack([torch.stack(largest), torch.stack(typical)])


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


def gdu_event(
    result: GduResult,
    net: Network,
    config: RunConfig,
    *,
    epoch: int,
    batch: int,
    images: int,
    chosen: str = "",
) -> Gdu:
    """The distances of every row, the curves of the elements that move most in each, and what it came to."""
    rows = [
        GduRow(
            name=name,
            rmse=finite(result.rmse[name]),
            sign_error=finite(result.sign_error[name]),
            cosine=finite(result.cosine[name]),
            norm_ratio=finite(result.norm_ratio[name]),
            readout=name in result.readout,
            size=finite(result.size[name]),
            too_small=too_small(result, name),
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
    said = verdict(result, vector_field=net.vector_field, same_update=config.same_update)
    return Gdu(
        epoch=epoch,
        batch=batch,
        beta=result.beta,
        images=images,
        rows=rows,
        curves=curves,
        verdict=said,
        chosen=chosen,
        steps=(config.T1, config.T2),
        symmetric=bool(result.ep_minus),
    )


def _curve(values: Tensor | None, element: int) -> list[float | None]:
    if values is None:
        return []
    return [finite(value) for value in values.flatten(1)[:, element].tolist()]
