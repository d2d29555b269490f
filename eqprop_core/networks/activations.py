"""The six activation functions σ; each takes and returns a tensor of any shape.

`out` is a tensor to write into, which may be the argument itself; it is for computing without gradients.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_MINUS_TWO = torch.tensor(-2.0)  # takes the type and the device of what it is added to


class Activation(Protocol):
    """σ of each element."""

    def __call__(self, x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
        """σ(x), written into `out` where that is given."""


def mysig(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """1 / (1 + exp(−4·(x − ½))), a logistic function with slope 1 at ½; range (0, 1)."""
    return torch.add(_MINUS_TWO, x, alpha=4, out=out).sigmoid_()  # 4x − 2, in one pass


def sigmoid(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """1 / (1 + exp(−x)); range (0, 1)."""
    return torch.sigmoid(x, out=out)


def tanh(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent; range (−1, 1)."""
    return torch.tanh(x, out=out)


def hard_sigmoid(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """clamp(x, 0, 1)."""
    return torch.clamp(x, 0, 1, out=out)


def my_hard_sig(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """clamp(x/2, 0, 1)."""
    return torch.clamp(torch.mul(x, 0.5, out=out), 0, 1, out=out)


def ctrd_hard_sig(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """½·clamp(2x, −1, 1), which is clamp(x, −½, ½); range [−½, ½]."""
    return torch.clamp(x, -0.5, 0.5, out=out)


def linear(x: Tensor, /, *, out: Tensor | None = None) -> Tensor:
    """x itself: the last layer of a cross-entropy network without softmax."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "mysig": mysig,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "hard_sigmoid": hard_sigmoid,
    "my_hard_sig": my_hard_sig,
    "ctrd_hard_sig": ctrd_hard_sig,
}


class Scaled(NamedTuple):
    """σ(x) = rest(gain·x + shift): weights are scaled once instead of drives at every time step.

    Gains are powers of two, so that scaling by them loses no digit.
    """

    gain: float
    shift: float
    rest: Activation

    def apart(self, drive: Tensor) -> Tensor:
        """gain·drive + shift, or the drive itself where that is all the same."""
        return drive if self.gain == 1 and self.shift == 0 else drive * self.gain + self.shift


_SCALED: dict[Activation, Scaled] = {
    mysig: Scaled(4.0, -2.0, sigmoid),
    my_hard_sig: Scaled(0.5, 0.0, hard_sigmoid),
}


def scaled(activation: Activation) -> Scaled:
    """What an activation is after a gain and a shift, where it has them."""
    return _SCALED.get(activation, Scaled(1.0, 0.0, activation))


# Lower and upper bound of each: where a neuron can be stuck, and the edges of its histogram.
BOUNDS: dict[str, tuple[float, float]] = {
    "mysig": (0.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "my_hard_sig": (0.0, 1.0),
    "ctrd_hard_sig": (-0.5, 0.5),
}
