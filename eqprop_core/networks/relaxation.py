"""Settling, without autograd: a network made ready for one batch, and the loop over its time steps.

By default every phase takes all its time steps, all layers at once, in the precision of the parameters. The
accelerations of `Numerics` change how an equilibrium is reached, and not which states are one. But a network
may have several, as with max pooling, and then they often end in another (docs/speed.md has shares):

- `tol`: samples that have settled leave the batch. In a free phase they have once their state changes by
  less in a time step. In a nudged phase what counts is what nudging does to the state, which is as small as β
  and smaller from layer to layer: both states of a contrast are settled side by side, and a sample has
  settled once their difference changes by less than `tol` of itself in a time step, in every layer.
- `updates="async"`: odd layers, then even layers, each drive computed once a sweep. Another dynamics with
  the same fixed points.
- `precision`: products in low precision, of the difference to a reference whose products are known in full.
  The fixed points are the same, the way there is off by little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from eqprop_core.networks.activations import Activation, Scaled, scaled
from eqprop_core.networks.connections import Connection, Conv, Drives, Places
from eqprop_core.networks.products import LowPrecision

if TYPE_CHECKING:
    from eqprop_core.networks.network import Masks, Network, State, Watch

STEPS_BETWEEN_CHECKS = 4  # whether samples have settled
SHARE_TO_LEAVE = 1 / 16  # of the batch: fewer settled samples stay, since moving the others costs more
STEPS_BETWEEN_REFERENCES = 8  # of products in low precision


class Dynamics(NamedTuple):
    """What drives the layers s[1..L], and their activations; see `Network.backward_connections`."""

    forward: Sequence[Drives]
    backward: Sequence[Drives]
    activation: Activation
    output_activation: Activation
    vector_field: bool

    def drives(self, seen: State, input_drive: Tensor) -> list[Tensor]:
        """∂Φ/∂s of each layer at β = 0, with s∘m in `seen`.

        The first one may be `input_drive` itself; the others are new tensors.
        """
        drives = [input_drive]
        if self.vector_field:
            for n, backward in enumerate(self.backward):
                drives[n] = drives[n] + backward.returned(seen[n + 1], backward.places(seen[n]))
                drives.append(self.forward[n + 1].drive(seen[n])[0])
        else:
            for n, connection in enumerate(self.backward):
                driven, drives[n] = connection.both_drives(seen[n], seen[n + 1], drives[n])
                drives.append(driven)
        return drives

    def activate(self, drive: Tensor, n: int, masks: Masks | None, *, over: bool = False) -> Tensor:
        """Layer n (from 0) at its drive; written over the drive where that may be."""
        if masks is not None:
            drive = drive * masks.kept[n]
        activation = self.activation if n + 1 < len(self.forward) else self.output_activation
        return activation(drive, out=drive) if over else activation(drive)


class Present:
    """A network with its present weights, driven by x [batch, ...]: what a batch's phases have in common.

    The weights are looked up, laid out and scaled once for all phases, when they are first asked for; see
    `Scaled`. `masks` are those of dropout.
    """

    def __init__(self, net: Network, x: Tensor, masks: Masks | None = None) -> None:
        self.net = net
        self._x = x
        self.masks = masks
        numerics = net.numerics
        self._low = numerics.precision != "fp32"
        self.compiled = numerics.compiled and numerics.updates == "sync" and not self._low
        if self._low or self.compiled or masks is not None:
            hidden, last = (Scaled(1.0, 0.0, a) for a in (net.activation, net.output_activation))
        else:
            hidden, last = scaled(net.activation), scaled(net.output_activation)
        self._scales = [*[hidden] * (len(net.connections) - 1), last]  # of each layer's drives

    @cached_property
    def input_drive(self) -> Tensor:
        """That of the first layer by x, scaled: [batch, *s[1]]."""
        with torch.no_grad():
            drive = self._scales[0].apart(self.net.input_drive(self._x, self.masks))
        backward = self.net.backward_connections
        if backward and isinstance(backward[0], Conv):
            # What comes back through the second connection is added to it at every time step.
            drive = drive.contiguous(memory_format=backward[0].layout)
        return drive

    @cached_property
    def _shared(self) -> dict[Connection, Drives] | None:
        return None if self._low else self._made()

    @property
    def output_gain(self) -> float:
        """What the last layer's drive has been scaled by."""
        return self._scales[-1].gain

    def twice(self) -> Present:
        """The same for the batch and the batch once more."""
        both = copy(self)
        both.input_drive = _twice(self.input_drive)
        both.masks = None if self.masks is None else self.masks.each(_twice)
        return both

    def dynamics(self) -> tuple[Dynamics, list[LowPrecision]]:
        """What a phase is made of, and those connections that keep references of their own in it."""
        made = self._shared or self._made()
        connections = self.net.connections
        *_, last = self._scales
        dynamics = Dynamics(
            # The first connection's drive is known already.
            [connections[0], *(made[connection] for connection in connections[1:])],
            [made[connection] for connection in self.net.backward_connections],
            self._scales[0].rest if len(self._scales) > 1 else last.rest,
            last.rest,
            self.net.vector_field,
        )
        return dynamics, [drives for drives in made.values() if isinstance(drives, LowPrecision)]

    def _made(self) -> dict[Connection, Drives]:
        """Each connection but the first; in a symmetric network the same ones drive forward and backward."""
        net, made = self.net, dict[Connection, Drives]()
        for group in (net.connections[1:], net.backward_connections):
            for connection, (below, above) in zip(group, pairwise(self._scales), strict=True):
                if connection not in made:
                    made[connection] = (
                        LowPrecision(connection, net.numerics.precision)
                        if self._low
                        else connection.at_present(above.gain, below.gain, above.shift)
                    )
        return made


def _twice(values: Tensor) -> Tensor:
    return torch.cat([values, values])


class Relaxation:
    """One phase: settles what is `present`, towards targets [batch, classes] where it is nudged.

    `betas` are the nudging strengths of as many equal parts of the batch, one after the other. With two, the
    same samples are in both parts, and under a tolerance the two states of a sample leave together.
    """

    def __init__(
        self, present: Present, *, betas: Sequence[float] = (0.0,), target: Tensor | None = None
    ) -> None:
        self.net = present.net
        self.numerics = present.net.numerics
        self.target = target
        self.masks = present.masks
        self.input_drive = present.input_drive
        self.beta: float | Tensor = present.output_gain * betas[0]
        self._contrast = len(betas) > 1
        if self._contrast:
            drive = self.input_drive
            each = present.output_gain * torch.tensor(betas, device=drive.device, dtype=drive.dtype)
            self.beta = each.repeat_interleave(len(drive) // len(betas))
        self._dynamics, self._low = present.dynamics()
        hidden, last = self._dynamics.activation, self._dynamics.output_activation
        self._activations = [*[hidden] * (len(self.net.connections) - 1), last]
        self._places: list[Places | None] = [None] * len(
            self.net.connections
        )  # at the present state, of async
        self._step: Callable[[State], State] = self._sweep if self.numerics.updates == "async" else self._sync
        if present.compiled:
            self._step = self._compiled

    # --- the loop ---------------------------------------------------------------------------------------

    def settle(self, s: State, steps: int, watch: Watch | None = None, closely: float = 1.0) -> State:
        """Relax from the state s for at most `steps` time steps; leaves s as it was.

        A tolerance is taken times `closely`.
        `watch(step, before, after)` is called after each step, with the samples that are still settling.
        """
        if self.numerics.tol is not None:
            return self._until_settled(s, steps, closely * self.numerics.tol, watch)
        for step in range(1, steps + 1):
            before = s
            s = self._advance(step, before)
            if watch is not None:
                watch(step, before, s)
        return list(s)

    def _until_settled(self, s: State, steps: int, tol: float, watch: Watch | None) -> State:
        batch = len(s[0])
        found: State | None = None
        samples: Tensor | None = None  # numbers of those that are left, once some have settled
        for step in range(1, steps + 1):
            before = s
            s = self._advance(step, before, last=step == steps)
            if watch is not None:
                watch(step, before, s)
            if step == steps or not self._judges(step):
                continue
            moving = self._changes(before, s) >= tol
            left = moving.nonzero()[:, 0]  # waits for the device
            if len(left) == 0:
                break
            if len(moving) - len(left) < SHARE_TO_LEAVE * batch:
                continue
            if samples is None:
                found = [layer.clone() for layer in s]
                samples = left
            else:
                assert found is not None
                _put(found, samples, s)
                samples = samples[left]
            s = self._keep(left, s)
        if found is None or samples is None:
            return list(s)
        _put(found, samples, s)
        return found

    def _judges(self, step: int) -> bool:
        """Whether it is looked at after this step which samples have settled.

        In low precision only a step that renews the references tells: between two that use the same ones the
        state may stand still although it is no fixed point. A nudge takes a step a layer to reach the first.
        """
        if self._contrast and step <= len(self.net.connections):
            return False
        return self._renews(step) if self._low else step % STEPS_BETWEEN_CHECKS == 0

    def _changes(self, before: State, after: State) -> Tensor:
        """How far each sample is from having settled, in the measure that the tolerance is of: [batch]."""
        if not self._contrast:
            return largest_changes(before, after)
        return contrast_changes(before, after).repeat(2)

    def _keep(self, rows: Tensor, s: State) -> State:
        """Go on with these rows of the present batch alone."""
        self.input_drive = self.input_drive[rows]
        if self.target is not None:
            self.target = self.target[rows]
        if isinstance(self.beta, Tensor):
            self.beta = self.beta[rows]
        if self.masks is not None:
            self.masks = self.masks.each(lambda mask: mask[rows])
        self._places = [places.of(rows) if places is not None else None for places in self._places]
        for product in self._low:
            product.keep(rows)
        return [layer[rows] for layer in s]

    # --- one time step ----------------------------------------------------------------------------------

    def _advance(self, step: int, s: State, *, last: bool = False) -> State:
        for product in self._low:
            product.renew = last or self._renews(step)
        return self._step(s)

    def _renews(self, step: int) -> bool:
        """Whether products in low precision take new references in this step, and are exact."""
        return (step - 1) % STEPS_BETWEEN_REFERENCES == 0

    def _sync(self, s: State) -> State:
        """All layers at once; as `Network.step`, written over the drives. Small networks feel each call."""
        seen = s if self.masks is None else [self._seen(layer, n) for n, layer in enumerate(s)]
        drives = self._dynamics.drives(seen, self.input_drive)
        drives[-1] = self.net.nudged(drives[-1], seen[-1], self.beta, self.target)
        if self.masks is None and drives[0] is not self.input_drive:
            return [
                activate(drive, out=drive) for activate, drive in zip(self._activations, drives, strict=True)
            ]
        return [
            self._dynamics.activate(drive, n, self.masks, over=drive is not self.input_drive)
            for n, drive in enumerate(drives)
        ]

    def _compiled(self, s: State) -> State:
        step = self.net.compiled_step
        assert step is not None
        s = step(s, self.input_drive, beta=self.beta, target=self.target, masks=self.masks)
        return [layer.clone() for layer in s] if s[0].is_cuda else s  # a CUDA graph writes there again

    def _sweep(self, s: State) -> State:
        """Odd layers at the old even ones, then even layers at the new odd ones."""
        s = list(s)
        for first in (0, 1):
            seen = [self._seen(layer, n) for n, layer in enumerate(s)]
            for n in range(first, len(s), 2):
                drive = self._drive_of(n, seen)
                s[n] = self._dynamics.activate(drive, n, self.masks, over=drive is not self.input_drive)
        return s

    def _seen(self, layer: Tensor, n: int) -> Tensor:
        return layer if self.masks is None else layer * self.masks[n + 1]

    def _drive_of(self, n: int, seen: State) -> Tensor:
        """∂Φ/∂s of one layer (from 0)."""
        if n == 0:
            drive = self.input_drive
        else:
            drive, places = self._dynamics.forward[n].drive(seen[n - 1])
            if not self.net.vector_field:
                self._places[n] = places
        if n + 1 < len(seen):
            backward = self._dynamics.backward[n]
            # Where pooling chose when the layer above was updated: this layer has not changed since.
            places = None if self.net.vector_field else self._places[n + 1]
            if places is None:
                places = backward.places(seen[n])
            return drive + backward.returned(seen[n + 1], places)
        return self.net.nudged(drive, seen[n], self.beta, self.target)


def largest_changes(before: State, after: State) -> Tensor:
    """The largest |Δs| of each sample: [batch]."""
    each = [(new - old).abs_().flatten(1).amax(1) for old, new in zip(before, after, strict=True)]
    return torch.stack(each).amax(0)


def contrast_changes(before: State, after: State) -> Tensor:
    """The change of each sample's contrast, relative to itself, in the layer where it is largest: [batch].

    The states hold both sides of the contrast, [2·batch, ...], one after the other. Norms are those of a
    layer; 0 where a contrast is and stays zero.
    """
    each = []
    for old, new in zip(before, after, strict=True):
        was, now = ((side[0] - side[1]).flatten(1) for side in (old.chunk(2), new.chunk(2)))
        change, size = (now - was).norm(dim=1), now.norm(dim=1)
        each.append(torch.where(change > 0, change / size, change))
    return torch.stack(each).amax(0)


def _put(into: State, rows: Tensor, s: State) -> None:
    for whole, part in zip(into, s, strict=True):
        whole[rows] = part
