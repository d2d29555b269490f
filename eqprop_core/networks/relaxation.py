"""Settling, without autograd: a network made ready for one batch, and the loop over its time steps.

By default every phase takes all its time steps, all layers at once, in the precision of the parameters. The
accelerations of `Numerics` change how the equilibrium is reached, not where it is:

- `tol`: samples whose state changed by less in a time step are settled and leave the batch.
- `updates="async"`: odd layers, then even layers, each drive computed once a sweep. Another dynamics with
  the same fixed points; a network with several may choose another one.
- `precision`: products in low precision, of the difference to a reference whose products are known in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    def activate(self, drive: Tensor, n: int, masks: Masks | None, *, over: bool = False) -> Tensor:
        """Layer n (from 0) at its drive; written over the drive where that may be."""
        if masks is not None:
            drive = drive * (masks[n + 1] != 0)
        activation = self.activation if n + 1 < len(self.forward) else self.output_activation
        return activation(drive, out=drive) if over else activation(drive)


class Relaxation:
    """A network with its present weights, ready to settle on x [batch, ...] with targets y [batch].

    `betas` are the nudging strengths of as many equal parts of the batch, one after the other.
    """

    def __init__(
        self,
        net: Network,
        input_drive: Tensor,
        *,
        betas: Sequence[float] = (0.0,),
        target: Tensor | None = None,
        masks: Masks | None = None,
    ) -> None:
        self.net = net
        self.numerics = net.numerics
        self.target = target
        self.masks = masks
        low = self.numerics.precision != "fp32"
        compiled = self.numerics.compiled and self.numerics.updates == "sync" and not low
        if low or compiled or masks is not None:
            hidden, last = (Scaled(1.0, 0.0, a) for a in (net.activation, net.output_activation))
        else:
            hidden, last = scaled(net.activation), scaled(net.output_activation)
        scales = [*[hidden] * (len(net.connections) - 1), last]  # of each layer's drives
        self.input_drive = scales[0].apart(input_drive)
        if isinstance(second := net.backward_connections[0] if net.backward_connections else None, Conv):
            # What comes back through the second connection is added to it at every time step.
            self.input_drive = self.input_drive.contiguous(memory_format=second.layout)
        self.beta: float | Tensor = last.gain * betas[0]
        if len(betas) > 1:
            each = last.gain * torch.tensor(betas, device=input_drive.device, dtype=input_drive.dtype)
            self.beta = each.repeat_interleave(len(input_drive) // len(betas))
        made: dict[Connection, Drives] = {}  # in a symmetric network the same ones drive forward and backward
        for group in (net.connections[1:], net.backward_connections):
            for connection, (below, above) in zip(group, pairwise(scales), strict=True):
                if connection not in made:
                    made[connection] = (
                        LowPrecision(connection, self.numerics.precision)
                        if low
                        else connection.at_present(above.gain, below.gain, above.shift)
                    )
        # The first connection's drive is known already.
        self._dynamics = Dynamics(
            [net.connections[0], *(made[connection] for connection in net.connections[1:])],
            [made[connection] for connection in net.backward_connections],
            hidden.rest,
            last.rest,
        )
        self._low = [drives for drives in made.values() if isinstance(drives, LowPrecision)]
        self._places: list[Places | None] = [None] * len(net.connections)  # at the present state, of async
        self._step: Callable[[State], State] = self._sweep if self.numerics.updates == "async" else self._sync
        if compiled:
            self._step = self._compiled

    # --- the loop ---------------------------------------------------------------------------------------

    def settle(self, s: State, steps: int, watch: Watch | None = None) -> State:
        """Relax from the state s for at most `steps` time steps; leaves s as it was.

        `watch(step, before, after)` is called after each step, with the samples that are still settling.
        """
        if self.numerics.tol is not None:
            return self._until_settled(s, steps, self.numerics.tol, watch)
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
            s = self._advance(step, before)
            if watch is not None:
                watch(step, before, s)
            if step % STEPS_BETWEEN_CHECKS and step < steps:
                continue
            moving = largest_changes(before, s) >= tol
            left = moving.nonzero()[:, 0]  # waits for the device
            if step == steps or len(left) == 0:
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

    def _keep(self, rows: Tensor, s: State) -> State:
        """Go on with these rows of the present batch alone."""
        self.input_drive = self.input_drive[rows]
        if self.target is not None:
            self.target = self.target[rows]
        if isinstance(self.beta, Tensor):
            self.beta = self.beta[rows]
        if self.masks is not None:
            self.masks = [mask[rows] for mask in self.masks]
        self._places = [places.of(rows) if places is not None else None for places in self._places]
        for product in self._low:
            product.keep(rows)
        return [layer[rows] for layer in s]

    # --- one time step ----------------------------------------------------------------------------------

    def _advance(self, step: int, s: State) -> State:
        for product in self._low:
            product.renew = (step - 1) % STEPS_BETWEEN_REFERENCES == 0
        return self._step(s)

    def _sync(self, s: State) -> State:
        return self.net.step(
            s,
            self.input_drive,
            beta=self.beta,
            target=self.target,
            masks=self.masks,
            dynamics=self._dynamics,
        )

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


def _put(into: State, rows: Tensor, s: State) -> None:
    for whole, part in zip(into, s, strict=True):
        whole[rows] = part
