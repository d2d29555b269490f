"""What joins two layers: dense maps, and convolutions followed by pooling.

A connection knows its forward drive F(pre), its φ(pre, post) = ⟨F(pre), post⟩, the backward drive
∂φ/∂pre, and the gradient of φ in its parameters. That gradient is split in two: `spread` carries the upper
layer's state to the places from which pooling took its values, `outer` contracts the result with the lower
layer's state over batch and places. Both are linear in the state that they are given, so that states can be
subtracted before products are taken.

A connection does not know whether it drives forward, backward (in a vector field) or both. Every tensor's
first dimension is the batch. All functions are differentiable, so that BPTT can unroll them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from eqprop_core.geometry import ConnectionShape
from eqprop_core.networks.present import PresentConv, PresentDense

Gradient = dict[str, Tensor]  # "weight" and, where there is one, "bias"
Unpooling = Literal["scatter", "gradient"]


class Places(NamedTuple):
    """From where max pooling took its values: flat `indices` [batch, maps, height/2, width/2] into an image.

    `pooled_from` has the shape [batch, maps, height, width] and the memory format of what was pooled.
    """

    indices: Tensor
    pooled_from: Tensor

    def of(self, samples: Tensor) -> Places:
        """Those of some samples of the batch, given their numbers."""
        return Places(self.indices[samples], self.pooled_from[: len(samples)])


class Drives(Protocol):
    """What a time step needs of a connection; see `Connection`."""

    def drive(self, pre: Tensor) -> tuple[Tensor, Places | None]:
        """F(pre), and the places of the maxima."""

    def places(self, pre: Tensor) -> Places | None:
        """The places of the maxima alone."""

    def returned(self, post: Tensor, places: Places | None) -> Tensor:
        """∂φ/∂pre."""

    def both_drives(self, pre: Tensor, post: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
        """F(pre), and `onto` with ∂φ/∂pre."""


class Connection(nn.Module, ABC):
    """Parameters `weight` and `bias` (`None` for backward weights) between layers of fixed shapes."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, shape: ConnectionShape, weight_shape: tuple[int, ...], *, bias: bool) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.empty(weight_shape))
        if bias:
            self.bias = nn.Parameter(torch.empty(shape.weight[0]))
        else:
            self.register_parameter("bias", None)
        self.redraw(1.0)

    def redraw(self, scale: float, generator: torch.Generator | None = None) -> None:
        """Draw start values: uniform within ±scale/sqrt(fan-in), torch's default of `Linear` and `Conv2d`."""
        bound = scale / math.sqrt(math.prod(self.weight.shape[1:]))
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound, generator=generator)

    @abstractmethod
    def drive(self, pre: Tensor) -> tuple[Tensor, Places | None]:
        """F(pre), [batch, *post], and from where pooling took its values if it is by maximum."""

    @abstractmethod
    def returned(self, post: Tensor, places: Places | None) -> Tensor:
        """∂φ/∂pre, [batch, *pre], at `post` and at the pre whose places these are; linear in `post`."""

    def forward_drive(self, pre: Tensor) -> Tensor:
        """F(pre): [batch, *pre] -> [batch, *post]."""
        return self.drive(pre)[0]

    def places(self, pre: Tensor) -> Places | None:
        """From where F(pre) takes its values, where that depends on `pre`."""
        return self.drive(pre)[1]

    def backward_drive(self, pre: Tensor, post: Tensor) -> Tensor:
        """∂φ/∂pre at (pre, post): [batch, *pre]. `pre` matters only where max pooling chooses."""
        return self.returned(post, self.places(pre))

    def both_drives(self, pre: Tensor, post: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
        """F(pre), and `onto` [batch, *pre] with ∂φ/∂pre added, sharing the work that they have in common."""
        forward, places = self.drive(pre)
        return forward, onto + self.returned(post, places)

    @abstractmethod
    def at_present(self, up: float = 1.0, down: float = 1.0, shift: float = 0.0) -> Drives:
        """What drives as this connection does while its weights are what they are, without gradients.

        Forward it drives by `up` times F(pre), plus `shift` where F has a bias; backward by `down` times
        ∂φ/∂pre.
        """

    def phi(self, pre: Tensor, post: Tensor) -> Tensor:
        """φ = ⟨F(pre), post⟩ of each sample: [batch]."""
        return (self.forward_drive(pre) * post).flatten(1).sum(1)

    @abstractmethod
    def spread(self, pre: Tensor, post: Tensor) -> Tensor:
        """`post` at the places from which F(pre) took its values; linear in `post`."""

    @abstractmethod
    def outer(self, pre: Tensor, spread: Tensor) -> Gradient:
        """Gradient of φ in the parameters, summed over the batch; linear in each argument."""

    def contrast(
        self, pre_a: Tensor, post_a: Tensor, pre_b: Tensor, post_b: Tensor, factor: float = 1.0
    ) -> Gradient:
        """`factor` times ∂φ/∂θ at (pre_a, post_a) minus that at (pre_b, post_b), summed over the batch.

        With a = pre, b = spread: a⊗b − c⊗d = (a − c)⊗b + c⊗(b − d), which keeps in float32 the digits that
        a difference of products would lose. States are scaled, since weights are usually larger.
        """
        spread_a, spread_b = self.spread(pre_a, post_a), self.spread(pre_b, post_b)
        gradient = self.outer(pre_b, (spread_a - spread_b).mul_(factor))
        if pre_a is not pre_b:
            gradient["weight"] += self.outer_weight((pre_a - pre_b).mul_(factor), spread_a)
        return gradient

    @abstractmethod
    def outer_weight(self, pre: Tensor, spread: Tensor) -> Tensor:
        """The weight's part of `outer`."""

    def turned(self, weight: Tensor) -> Tensor:
        """A weight between this connection's layout and that of the forward weight (its own inverse)."""
        return weight


class Dense(Connection):
    """F(s) = W·s + b on the flattened s.

    `stored_by_lower` keeps the weight as [lower, upper] instead of [upper, lower], as the backward weights of
    the reference's VFMLP are. `layout` is the memory format in which time steps find a lower layer of maps.
    """

    layout: torch.memory_format = torch.contiguous_format

    def __init__(self, shape: ConnectionShape, *, bias: bool = True, stored_by_lower: bool = False) -> None:
        self.stored_by_lower = stored_by_lower
        size = (shape.weight[1], shape.weight[0]) if stored_by_lower else shape.weight
        super().__init__(shape, size, bias=bias)

    @property
    def matrix(self) -> Tensor:
        """The weight as [upper, lower]."""
        return self.turned(self.weight)

    def turned(self, weight: Tensor) -> Tensor:
        """[lower, upper] from [upper, lower] and back where the weight is stored by its lower layer."""
        return weight.t() if self.stored_by_lower else weight

    def drive(self, pre: Tensor) -> tuple[Tensor, None]:
        """F(pre): [batch, upper]."""
        return functional.linear(pre.flatten(1), self.matrix, self.bias), None

    def places(self, pre: Tensor) -> None:
        """None: nothing is pooled."""
        return

    def returned(self, post: Tensor, places: Places | None = None) -> Tensor:
        """Wᵀ·post: [batch, *pre]."""
        return (post @ self.matrix).view(-1, *self.shape.pre)

    def both_drives(self, pre: Tensor, post: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
        """W·pre + b, and `onto` with Wᵀ·post added: [batch, *pre]."""
        matrix = self.matrix
        forward = functional.linear(pre.flatten(1), matrix, self.bias)
        return forward, torch.addmm(onto.flatten(1), post, matrix).view(-1, *self.shape.pre)

    def at_present(self, up: float = 1.0, down: float = 1.0, shift: float = 0.0) -> Drives:
        """The same map with its matrices at hand."""
        return PresentDense(self, up, down, shift)

    def spread(self, pre: Tensor, post: Tensor) -> Tensor:
        """`post` itself: [batch, upper]."""
        return post

    def outer_weight(self, pre: Tensor, spread: Tensor) -> Tensor:
        """Σ spread⊗pre over the batch, stored as the weight is."""
        lower = pre.flatten(1)
        return lower.t() @ spread if self.stored_by_lower else spread.t() @ lower

    def outer(self, pre: Tensor, spread: Tensor) -> Gradient:
        """Gradient of φ in weight and bias, summed over the batch."""
        gradient = {"weight": self.outer_weight(pre, spread)}
        if self.bias is not None:
            gradient["bias"] = spread.sum(0)
        return gradient


class Conv(Connection):
    """F(s) = pool(conv(s; W, b)); 2×2 pooling with stride 2: `m` max, `a` average, `i` none.

    How it computes makes it faster or slower, and changes the last bits at most: `layout` is the memory
    format of what is convolved, `pooling` that in which maxima are found, `unpooling` how values get back to
    their places.
    """

    layout: torch.memory_format = torch.contiguous_format
    pooling: torch.memory_format = torch.contiguous_format
    unpooling: Unpooling = "gradient"

    def __init__(self, shape: ConnectionShape, *, bias: bool = True) -> None:
        super().__init__(shape, shape.weight, bias=bias)
        assert shape.convolved is not None
        # Rows and columns at the far edge that a stride > 1 never reached; the transposed convolution
        # restores them as zeros.
        self.unreached = tuple(
            size + 2 * shape.padding - shape.kernel - (out - 1) * shape.stride
            for size, out in zip(shape.pre[1:], shape.convolved[1:], strict=True)
        )

    def convolve(self, pre: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """conv(pre; weight, bias): [batch, *convolved]."""
        pre = pre.contiguous(memory_format=self.layout)
        return functional.conv2d(pre, weight, bias, self.shape.stride, self.shape.padding)

    def transposed(self, spread: Tensor, weight: Tensor) -> Tensor:
        """The adjoint of the convolution without bias: [batch, *convolved] -> [batch, *pre]."""
        spread = spread.contiguous(memory_format=self.layout)
        return functional.conv_transpose2d(
            spread, weight, None, self.shape.stride, self.shape.padding, self.unreached
        )

    def pool(self, convolved: Tensor) -> tuple[Tensor, Places | None]:
        """Pool what was convolved: [batch, *post], with the places of the maxima."""
        if self.shape.pool == "m":
            pooled_from = convolved.detach()
            convolved = convolved.contiguous(memory_format=self.pooling)
            pooled, indices = functional.max_pool2d(convolved, 2, return_indices=True)
            # What is added to it, and what is spread over its places, is in this format.
            pooled, indices = (v.contiguous(memory_format=self.layout) for v in (pooled, indices))
            return pooled, Places(indices, pooled_from)
        return functional.avg_pool2d(convolved, 2) if self.shape.pool == "a" else convolved, None

    def unpool(self, post: Tensor, places: Places | None) -> Tensor:
        """`post` where pooling took its values: at the maxima, a quarter at each of four, or as it is."""
        assert self.shape.convolved is not None
        if self.shape.pool == "m":
            assert places is not None
            return self._at_maxima(post, places)
        if self.shape.pool == "a":
            quarter = functional.interpolate(post * 0.25, scale_factor=2)
            height, width = self.shape.convolved[1:]
            return functional.pad(quarter, (0, width - quarter.shape[3], 0, height - quarter.shape[2]))
        return post

    def _at_maxima(self, post: Tensor, places: Places) -> Tensor:
        """`post` at its places in images of zeros: [batch, *convolved]."""
        like = places.pooled_from
        if self.unpooling == "gradient":
            # Windows do not overlap, so that the gradient of pooling copies, and sums nothing.
            return torch.ops.aten.max_pool2d_with_indices_backward(  # type: ignore[no-any-return]
                post.contiguous(memory_format=self.layout), like, [2, 2], [2, 2], [0, 0], [1, 1], False,
                places.indices,
            )  # fmt: skip
        flat = post.new_zeros(*post.shape[:2], like.shape[2] * like.shape[3])
        return flat.scatter_(2, places.indices.flatten(2), post.flatten(2)).view(like.shape)

    def drive(self, pre: Tensor) -> tuple[Tensor, Places | None]:
        """F(pre), [batch, *post], and the places of the maxima."""
        return self.pool(self.convolve(pre, self.weight, self.bias))

    def places(self, pre: Tensor) -> Places | None:
        """The places of the maxima of conv(pre)."""
        return self.drive(pre)[1] if self.shape.pool == "m" else None

    def returned(self, post: Tensor, places: Places | None) -> Tensor:
        """∂φ/∂pre: the transposed convolution of `post` at its places."""
        return self.transposed(self.unpool(post, places), self.weight)

    def at_present(self, up: float = 1.0, down: float = 1.0, shift: float = 0.0) -> Drives:
        """The same map with its weights at hand, in the memory format of what they meet."""
        return PresentConv(self, up, down, shift)

    def spread(self, pre: Tensor, post: Tensor) -> Tensor:
        """`post` where pooling took its values from conv(pre): [batch, *convolved]."""
        return self.unpool(post, self.places(pre))

    def outer_weight(self, pre: Tensor, spread: Tensor) -> Tensor:
        """Correlation of `pre` with `spread`, summed over batch and places: [maps, low, kernel, kernel]."""
        shape = self.shape
        weight: Tensor = conv2d_weight(  # type: ignore[no-untyped-call]
            pre, self.weight.shape, spread, shape.stride, shape.padding
        )
        return weight

    def outer(self, pre: Tensor, spread: Tensor) -> Gradient:
        """Gradient of φ in weight and bias, summed over batch and places."""
        gradient = {"weight": self.outer_weight(pre, spread)}
        if self.bias is not None:
            gradient["bias"] = spread.sum((0, 2, 3))
        return gradient


def forward_connection(shape: ConnectionShape) -> Connection:
    """The connection that drives the upper layer (and in a symmetric network the lower one too)."""
    return Conv(shape) if shape.kind == "conv" else Dense(shape)


def backward_connection(shape: ConnectionShape, *, stored_by_lower: bool) -> Connection:
    """Backward weights B of a vector field: an ordinary connection without bias."""
    if shape.kind == "conv":
        return Conv(shape, bias=False)
    return Dense(shape, bias=False, stored_by_lower=stored_by_lower)
