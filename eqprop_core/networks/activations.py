"""The six activation functions σ; each takes and returns a tensor of any shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]
_MINUS_TWO = torch.tensor(-2.0)  # takes the type and the device of what it is added to


def mysig(x: Tensor) -> Tensor:
    """1 / (1 + exp(−4·(x − ½))), a logistic function with slope 1 at ½; range (0, 1)."""
    return torch.add(_MINUS_TWO, x, alpha=4).sigmoid_()  # 4x − 2, in one pass


def hard_sigmoid(x: Tensor) -> Tensor:
    """clamp(x, 0, 1)."""
    return x.clamp(0, 1)


def my_hard_sig(x: Tensor) -> Tensor:
    """clamp(x/2, 0, 1)."""
    return (0.5 * x).clamp(0, 1)


def ctrd_hard_sig(x: Tensor) -> Tensor:
    """½·clamp(2x, −1, 1); range [−½, ½]."""
    return 0.5 * (2 * x).clamp(-1, 1)


def linear(x: Tensor) -> Tensor:
    """x itself: the last layer of a cross-entropy network without softmax."""
    return x


ACTIVATIONS: dict[str, Activation] = {
    "mysig": mysig,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hard_sigmoid": hard_sigmoid,
    "my_hard_sig": my_hard_sig,
    "ctrd_hard_sig": ctrd_hard_sig,
}

# Lower and upper bound of each: where a neuron can be stuck, and the edges of its histogram.
BOUNDS: dict[str, tuple[float, float]] = {
    "mysig": (0.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "my_hard_sig": (0.0, 1.0),
    "ctrd_hard_sig": (-0.5, 0.5),
}
