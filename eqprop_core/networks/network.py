"""A network: layers of neurons joined by connections, its Φ, one time step, and settling.

MLP, VFMLP, CNN and VFCNN are this one class; they differ in the connections and in whether backward weights
are shared. A *state* is the list s[1..L] of tensors [batch, ...]; the input x = s[0] stays apart. The network
does not know how it is trained.

Parameter names are the reference's: `synapses.N.weight`, `synapses.N.bias`, and in a vector field
`B_syn.N.weight`, which mirrors `synapses.N+1`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import torch
from torch import Tensor, nn

from eqprop_core.config import ModelConfig
from eqprop_core.geometry import Shape
from eqprop_core.networks.activations import ACTIVATIONS, BOUNDS, Activation, linear
from eqprop_core.networks.connections import (
    Connection,
    Conv,
    Dense,
    backward_connection,
    forward_connection,
)
from eqprop_core.networks.numerics import MEMORY_FORMATS, Layout, Numerics
from eqprop_core.networks.readout import CrossEntropy, Readout, SoftmaxReadout, SquaredError, onehot
from eqprop_core.networks.relaxation import Dynamics, Present, Relaxation

State = list[Tensor]
Watch = Callable[[int, State, State], None]


class Masks(list[Tensor]):
    """Dropout masks of s[0..L], [batch, ...] each: 0 where a neuron is dropped, else 1/p.

    `kept` has 1 for the neurons of s[1..L] that are left, 0 for the others: of the masks' type, since a
    product of float32 and bool takes several times as long.
    """

    def __init__(self, masks: Iterable[Tensor], kept: Iterable[Tensor]) -> None:
        super().__init__(masks)
        self.kept = list(kept)

    def each(self, change: Callable[[Tensor], Tensor]) -> Masks:
        """The same with every mask changed."""
        return Masks(map(change, self), map(change, self.kept))


class Network(nn.Module):
    """Connections `synapses` (and `B_syn`), an activation σ and a readout, made as `config` says."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        shapes = config.connections()
        self.synapses = nn.ModuleList(forward_connection(shape) for shape in shapes)
        self.B_syn = nn.ModuleList(
            backward_connection(shape, stored_by_lower=config.model == "VFMLP")
            for shape in shapes
            if shape.has_backward
        )
        connections: list[Connection] = list(self.synapses)  # type: ignore[arg-type]
        self.readout: Readout
        if config.softmax:
            dense = connections.pop()
            assert isinstance(dense, Dense)
            self.readout = SoftmaxReadout(dense)
        else:
            self.readout = SquaredError() if config.loss == "mse" else CrossEntropy()
        self._forward = connections
        self.vector_field: bool = config.is_vector_field  # backward weights are parameters of their own
        self._backward: list[Connection] = list(self.B_syn) if self.vector_field else connections[1:]  # type: ignore[arg-type]
        self.activation: Activation = ACTIVATIONS[config.act]
        self.output_activation: Activation = linear if self.readout.linear_output else self.activation
        self.keep: tuple[float, ...] = config.dropouts or ()
        self.compiled_step: Callable[..., State] | None = None
        self.use(Numerics())

    # --- what it is made of ---------------------------------------------------------------------------

    @property
    def connections(self) -> list[Connection]:
        """The connections inside Φ, the one that leaves the input first (a softmax readout is not one)."""
        return self._forward

    @property
    def backward_connections(self) -> list[Connection]:
        """What drives each layer but the last from above: item n joins s[n+1] and s[n+2].

        The forward connections themselves, or in a vector field those with the backward weights.
        """
        return self._backward

    @property
    def layer_shapes(self) -> list[Shape]:
        """Shapes of s[1..L] without the batch dimension."""
        return [connection.shape.post for connection in self._forward]

    @property
    def bounds(self) -> list[tuple[float, float] | None]:
        """Range of the neurons of each layer; `None` for a linear last layer."""
        bounds: list[tuple[float, float] | None] = [BOUNDS[self.config.act]] * len(self._forward)
        if self.readout.linear_output:
            bounds[-1] = None
        return bounds

    @property
    def classes(self) -> int:
        """Number of classes that the readout tells apart."""
        return self.config.connections()[-1].post[0]

    def name_of(self, connection: Connection) -> str:
        """`synapses.N` or `B_syn.N`."""
        for group in ("synapses", "B_syn"):
            for index, candidate in enumerate(getattr(self, group)):
                if candidate is connection:
                    return f"{group}.{index}"
        raise ValueError("this connection is not one of the network's")

    def initial_state(self, batch: int) -> State:
        """The zero state for a batch of that size: a list of [batch, ...] tensors."""
        weight = self._forward[0].weight
        return [weight.new_zeros(batch, *shape) for shape in self.layer_shapes]

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw new start values, times `scale` where the configuration has one."""
        for group in (self.synapses, self.B_syn):
            for connection in group:
                assert isinstance(connection, Connection)
                connection.redraw(self.config.scale or 1.0, generator)

    def use(self, numerics: Numerics) -> None:
        """Compute in this way from now on."""
        self.numerics = numerics
        layouts: Sequence[Layout] = numerics.layouts or ["contiguous"] * len(self.synapses)
        formats = list(zip(layouts, numerics.poolings or layouts, strict=True))
        # B_syn.N mirrors synapses.N+1
        for group, mirrored in ((self.synapses, formats), (self.B_syn, formats[1:])):
            for connection, (layout, pooling) in zip(group, mirrored, strict=False):
                assert isinstance(connection, (Conv, Dense))
                connection.layout = MEMORY_FORMATS[layout]
                if isinstance(connection, Conv):
                    connection.pooling = MEMORY_FORMATS[pooling]
                    connection.unpooling = numerics.unpooling

    @contextmanager
    def using(self, numerics: Numerics) -> Iterator[None]:
        """Compute in another way for a while."""
        before = self.numerics
        self.use(numerics)
        try:
            yield
        finally:
            self.use(before)

    # --- dropout --------------------------------------------------------------------------------------

    def draw_masks(
        self, batch: int, generator: torch.Generator | None = None, rows: slice = slice(None)
    ) -> Masks | None:
        """Dropout masks Bernoulli(p)/p for s[0..L]; `None` where all neurons are kept.

        Drawn for a whole batch; those of `rows` are returned. They are drawn by `generator`, a fresh one on
        the CPU, or where the numerics say so on the device, by one with the same seed.
        """
        if all(p == 1 for p in self.keep):
            return None
        weight = self._forward[0].weight
        device = weight.device if self.numerics.masks == "device" else torch.device("cpu")
        if generator is not None and device.type != "cpu":
            generator = torch.Generator(device).manual_seed(generator.initial_seed())
        shapes = [self._forward[0].shape.pre, *self.layer_shapes]
        drawn = (torch.rand(batch, *shape, generator=generator, device=device)[rows] for shape in shapes)
        kept = [
            values.lt_(p).to(weight.device, weight.dtype) for p, values in zip(self.keep, drawn, strict=True)
        ]
        return Masks((ones / p for p, ones in zip(self.keep, kept, strict=True)), kept[1:])

    # --- Φ, the definition ----------------------------------------------------------------------------

    def phi(
        self, x: Tensor, s: State, *, beta: float = 0.0, y: Tensor | None = None, masks: Masks | None = None
    ) -> Tensor:
        """Φ = Σ φ_n(s[n−1], s[n]) − β·ℓ(s, y) of each sample, with the forward weights: [batch]."""
        layers = masked([x, *s], masks)
        total = sum(connection.phi(layers[n], layers[n + 1]) for n, connection in enumerate(self._forward))
        assert isinstance(total, Tensor)
        if beta != 0:
            total = total - beta * self.readout.loss(layers[-1], _required(y))
        return total

    # --- the dynamics, explicitly ---------------------------------------------------------------------

    def input_drive(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        """F(x) of the first connection, constant while x and the parameters are: [batch, *s[1]]."""
        return self._forward[0].forward_drive(x if masks is None else x * masks[0])

    def present(self, x: Tensor, masks: Masks | None = None) -> Present:
        """The network with its present weights, driven by x: what phases on one batch have in common."""
        return Present(self, x, masks)

    def step(
        self,
        s: State,
        input_drive: Tensor,
        *,
        beta: float | Tensor = 0.0,
        target: Tensor | None = None,
        masks: Masks | None = None,
    ) -> State:
        """One time step s ← σ(∂Φ/∂s), every right-hand side at the old state; differentiable.

        `target` is onehot(y), [batch, classes], and needed where β ≠ 0; β is a number or [batch]. With
        dropout masks the drives are those of s∘m, and reach the kept neurons only.
        """
        dynamics = self.dynamics
        seen = s if masks is None else masked(s, masks[1:])
        drives = dynamics.drives(seen, input_drive)
        drives[-1] = self.nudged(drives[-1], seen[-1], beta, target)
        return [dynamics.activate(drive, n, masks) for n, drive in enumerate(drives)]

    def nudged(self, drive: Tensor, last: Tensor, beta: float | Tensor, target: Tensor | None) -> Tensor:
        """The last layer's drive with −β·∂ℓ/∂s_L at `last` = s_L."""
        if isinstance(beta, Tensor):
            each = beta.view(-1, *[1] * (drive.dim() - 1))
            return drive.addcmul(self.readout.force(last, _required(target)), each)
        if beta == 0:
            return drive
        return torch.add(drive, self.readout.force(last, _required(target)), alpha=beta)

    @property
    def dynamics(self) -> Dynamics:
        """What a time step is made of: the connections and activations themselves."""
        return Dynamics(
            self._forward, self._backward, self.activation, self.output_activation, self.vector_field
        )

    def forward(self, x: Tensor, s: State, masks: Masks | None = None) -> State:
        """One free time step from x itself; what `torch.func.functional_call` reaches."""
        return self.step(s, self.input_drive(x, masks), masks=masks)

    @torch.no_grad()
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
        """Relax from the state s for a number of time steps; returns the new state and leaves s as it was.

        x is [batch, ...], y [batch] class indices (needed where β ≠ 0). `present` is that of x and `masks`,
        where it has been made. `watch(step, before, after)` is called after each step, counted from 1; where
        the numerics have a tolerance (which is taken times `closely`) `steps` is an upper bound, and settled
        samples are no longer watched. Raises `ValueError` if shapes do not fit.
        """
        self._check(x, s, y)
        target = None if beta == 0 else self.target(_required(y))
        present = present or self.present(x, masks)
        return Relaxation(present, betas=(beta,), target=target).settle(s, steps, watch, closely)

    def target(self, y: Tensor) -> Tensor:
        """onehot(y): [batch, classes] in the dtype of the parameters."""
        return onehot(y, self.classes, self._forward[0].weight.dtype)

    def logits(self, s: State, masks: Masks | None = None) -> Tensor:
        """Scores of the classes at a state: [batch, classes]; the prediction is their argmax."""
        return self.readout.logits(last_seen(s, masks))

    def loss(self, s: State, y: Tensor, masks: Masks | None = None) -> Tensor:
        """ℓ(s, y) of each sample: [batch]."""
        return self.readout.loss(last_seen(s, masks), y)

    def _check(self, x: Tensor, s: State, y: Tensor | None) -> None:
        batch, expected = len(x), self.config.input_shape
        flat = not self.config.is_convolutional and x.shape[1:] == (prod(expected),)
        if batch == 0 or not (x.shape[1:] == expected or flat):
            raise ValueError(
                f"x has shape {list(x.shape)}; [batch, {', '.join(map(str, expected))}] is needed"
            )
        if y is not None and y.shape != (batch,):
            raise ValueError(f"y has shape {list(y.shape)}; [{batch}] class indices are needed")
        needed = [[batch, *shape] for shape in self.layer_shapes]
        if [list(layer.shape) for layer in s] != needed:
            found = [list(layer.shape) for layer in s]
            raise ValueError(f"the state has shapes {found}; {needed} are needed")


def masked(layers: Sequence[Tensor], masks: Sequence[Tensor] | None) -> list[Tensor]:
    """s∘m, layer by layer."""
    if masks is None:
        return list(layers)
    return [layer * mask for layer, mask in zip(layers, masks, strict=True)]


def last_seen(s: State, masks: Masks | None) -> Tensor:
    """The last layer as the readout sees it: s_L∘m_L."""
    return s[-1] if masks is None else s[-1] * masks[-1]


def _required(y: Tensor | None) -> Tensor:
    if y is None:
        raise ValueError("nudging (beta ≠ 0) needs the targets y")
    return y


def build_network(
    config: ModelConfig,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Network:
    """A network with start values drawn from `generator` (torch's global one if `None`).

    Values are drawn on the CPU in float32, so that they do not depend on the device.
    """
    network = Network(config)
    network.redraw(generator)
    return network.to(device=device, dtype=dtype)
