"""Connections with their present weights at hand: what drives in many time steps without gradients.

Weights are looked up, scaled and laid out once. See `Connection.at_present` for the scales `up`, `down` and
`shift`, and `Drives` for what the methods are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from eqprop_core.networks.connections import Connection, Conv, Dense, Places


class PresentDense:
    """A dense map; small networks spend as much time on looking things up as on its products.

    Where the lower layer is a stack of maps in channels-last format, it is flattened in that order, without
    copying, and so are the columns of the matrix.
    """

    def __init__(self, dense: Dense, up: float, down: float, shift: float) -> None:
        matrix = dense.matrix.detach()
        self._maps = dense.shape.pre if len(dense.shape.pre) == 3 else None
        self._last = self._maps is not None and dense.layout == torch.channels_last
        if self._last:
            matrix = self._flat(matrix.view(-1, *dense.shape.pre))
        self._down = _times(matrix, down).contiguous()
        # Both lie as they are multiplied: products with few rows are slower the other way round.
        self._up = (self._down if up == down else _times(matrix, up)).t().contiguous()
        self._bias = _bias(dense, up, shift)

    def _flat(self, values: Tensor) -> Tensor:
        """[batch, lower] of the lower layer."""
        if values.dim() == 2:
            return values
        return (values.permute(0, 2, 3, 1) if self._last else values).flatten(1)

    def _shaped(self, flat: Tensor) -> Tensor:
        """The lower layer of [batch, lower]."""
        if self._maps is None:
            return flat
        if not self._last:
            return flat.view(-1, *self._maps)
        maps, height, width = self._maps
        return flat.view(-1, height, width, maps).permute(0, 3, 1, 2)

    def drive(self, pre: Tensor) -> tuple[Tensor, None]:
        """F(pre): [batch, upper]."""
        flat = self._flat(pre)
        return flat.mm(self._up) if self._bias is None else torch.addmm(self._bias, flat, self._up), None

    def places(self, pre: Tensor) -> None:
        """None: nothing is pooled."""
        return

    def returned(self, post: Tensor, places: Places | None = None) -> Tensor:
        """Wᵀ·post: [batch, *pre]."""
        return self._shaped(post.mm(self._down))

    def both_drives(self, pre: Tensor, post: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
        """W·pre + b, and `onto` with Wᵀ·post added: [batch, *pre]."""
        if self._maps is None and self._bias is not None:  # the usual case, without a call
            return torch.addmm(self._bias, pre, self._up), torch.addmm(onto, post, self._down)
        return self.drive(pre)[0], self._shaped(torch.addmm(self._flat(onto), post, self._down))


class PresentConv:
    """A convolution with its pooling."""

    def __init__(self, conv: Conv, up: float, down: float, shift: float) -> None:
        weight = conv.weight.detach().contiguous(memory_format=conv.layout)
        self._conv = conv
        self._up = _times(weight, up)
        self._down = self._up if down == up else _times(weight, down)
        self._bias = _bias(conv, up, shift)

    def drive(self, pre: Tensor) -> tuple[Tensor, Places | None]:
        """F(pre), [batch, *post], and the places of the maxima."""
        return self._conv.pool(self._conv.convolve(pre, self._up, self._bias))

    def places(self, pre: Tensor) -> Places | None:
        """The places of the maxima alone."""
        return self.drive(pre)[1] if self._conv.shape.pool == "m" else None

    def returned(self, post: Tensor, places: Places | None) -> Tensor:
        """∂φ/∂pre: [batch, *pre]."""
        return self._conv.transposed(self._conv.unpool(post, places), self._down)

    def both_drives(self, pre: Tensor, post: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
        """F(pre), and `onto` with ∂φ/∂pre added: [batch, *pre]."""
        forward, places = self.drive(pre)
        return forward, self.returned(post, places).add_(onto)


def _times(weight: Tensor, scale: float) -> Tensor:
    return weight if scale == 1 else weight * scale


def _bias(connection: Connection, scale: float, shift: float) -> Tensor | None:
    return None if connection.bias is None else torch.add(connection.bias.detach() * scale, shift)
