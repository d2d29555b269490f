"""Products in low precision that converge to those in full precision, as the state does.

What a connection does to a state is linear but for pooling. So with a reference r whose products are known in
full, W·s = W·r + W·(s − r), and only the small difference is multiplied in low precision: the error shrinks
with the distance from the reference, as in iterative refinement. Contrasts of states that are settled from
the same reference keep the digits that they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from eqprop_core.networks.connections import Connection, Conv, Dense, Places

Product = Callable[[Tensor], Tensor]


class Refined:
    """An affine map of [batch, ...]: `full` in full precision, `low` its linear part in low precision."""

    def __init__(self, full: Product, low: Product) -> None:
        self._full = full
        self._low = low
        self.reference: tuple[Tensor, Tensor] | None = None

    def __call__(self, value: Tensor, *, renew: bool) -> Tensor:
        """The map at a value, which becomes the reference if `renew`."""
        if renew or self.reference is None:
            self.reference = value, self._full(value)
            return self.reference[1].clone()
        at, there = self.reference
        return self._low(value - at).to(there.dtype).add_(there)

    def keep(self, rows: Tensor) -> None:
        """Go on with some samples of the batch."""
        if self.reference is not None:
            at, there = self.reference
            self.reference = at[rows], there[rows]


class LowPrecision:
    """A connection whose products are refined; drives as the connection itself does. `renew` the references.

    `precision` is bf16, or tf32: that of float32 products on tensor cores.
    """

    def __init__(self, connection: Connection, precision: str) -> None:
        self._connection = connection
        self.renew = True
        full_in, full_out = full_products(connection)
        low_in, low_out = _low(connection, torch.bfloat16 if precision == "bf16" else connection.weight.dtype)
        if precision == "tf32":
            low_in, low_out = _with_tf32(low_in), _with_tf32(low_out)
        self._drive = Refined(full_in, low_in)
        self._return = Refined(full_out, low_out)

    def drive(self, pre: Tensor) -> tuple[Tensor, Places | None]:
        """F(pre), [batch, *post], and the places of the maxima."""
        driven = self._drive(pre, renew=self.renew)
        return self._connection.pool(driven) if isinstance(self._connection, Conv) else (driven, None)

    def places(self, pre: Tensor) -> Places | None:
        """From where F(pre) takes its values, where that depends on `pre`."""
        return self.drive(pre)[1]

    def returned(self, post: Tensor, places: Places | None) -> Tensor:
        """∂φ/∂pre: [batch, *pre]."""
        connection = self._connection
        spread = connection.unpool(post, places) if isinstance(connection, Conv) else post
        return self._return(spread, renew=self.renew)

    def both_drives(self, pre: Tensor, post: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
        """F(pre), and `onto` with ∂φ/∂pre added."""
        forward, places = self.drive(pre)
        return forward, onto + self.returned(post, places)

    def keep(self, rows: Tensor) -> None:
        """Go on with some samples of the batch."""
        self._drive.keep(rows)
        self._return.keep(rows)


def full_products(connection: Connection) -> tuple[Product, Product]:
    """The products of a connection's forward and backward drive, without pooling."""
    if isinstance(connection, Conv):
        return (
            lambda pre: connection.convolve(pre, connection.weight, connection.bias),
            lambda spread: connection.transposed(spread, connection.weight),
        )
    return connection.forward_drive, lambda post: connection.returned(post, None)


def _low(connection: Connection, dtype: torch.dtype) -> tuple[Product, Product]:
    """The linear parts of what a connection does before pooling, computed in another type."""
    weight = connection.weight.detach().to(dtype)
    if isinstance(connection, Conv):
        layout = connection.layout
        weight = weight.contiguous(memory_format=layout)
        return (
            lambda pre: connection.convolve(pre.to(dtype, memory_format=layout), weight, None),
            lambda spread: connection.transposed(spread.to(dtype, memory_format=layout), weight),
        )
    assert isinstance(connection, Dense)
    matrix = connection.turned(weight)
    return (
        lambda pre: functional.linear(pre.flatten(1).to(dtype), matrix),
        lambda post: (post.to(dtype) @ matrix).view(len(post), *connection.shape.pre),
    )


def _with_tf32(product: Product) -> Product:
    def computed(value: Tensor) -> Tensor:
        with tf32():
            return product(value)

    return computed


@contextmanager
def tf32() -> Iterator[None]:
    """Let float32 products use tensor cores."""
    backends: Any = torch.backends
    before = [place.fp32_precision == "tf32" for place in (backends.cuda.matmul, backends.cudnn.conv)]
    set_tf32(True, True)
    try:
        yield
    finally:
        set_tf32(*before)


def set_tf32(products: bool, convolutions: bool) -> None:
    """Whether float32 products, and those of convolutions, may use tensor cores.

    torch has flags for this and newer names, and refuses to read the ones where the others say something
    else, or heeds one alone. So both are written; writing is never refused.
    """
    backends: Any = torch.backends
    backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32 = products, convolutions
    backends.cuda.matmul.fp32_precision = "tf32" if products else "ieee"
    for place in (backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn):
        place.fp32_precision = "tf32" if convolutions else "ieee"
