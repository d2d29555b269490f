"""How the last layer meets the target: loss, nudging force, prediction.

Three kinds: `mse` (last layer through σ), `cel` (cross-entropy of a *linear* last layer) and `cel` with a
softmax readout, a dense map outside Φ whose loss nudges the last layer of neurons. y holds class indices
[batch].
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from eqprop_core.networks.connections import Dense, Gradient


class Readout(ABC):
    """Loss ℓ(s_L, y), its force on s_L, the prediction; `linear_output` leaves σ out of the last layer."""

    linear_output = False

    @abstractmethod
    def logits(self, last: Tensor) -> Tensor:
        """Scores of the classes, [batch, classes], whose argmax is the prediction."""

    @abstractmethod
    def loss(self, last: Tensor, y: Tensor) -> Tensor:
        """ℓ of each sample: [batch]."""

    @abstractmethod
    def force(self, last: Tensor, target: Tensor) -> Tensor:
        """−∂ℓ/∂s_L of each sample, in the shape of `last`; `target` is onehot(y), [batch, classes]."""

    def parameter_gradient(self, last: Tensor, target: Tensor) -> Gradient:
        """∂ℓ of the readout's own parameters, summed over the batch; empty where it has none."""
        return {}


def onehot(y: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """[batch] class indices -> [batch, classes]; without the check of range that would wait for a GPU."""
    return torch.zeros(len(y), classes, dtype=dtype, device=y.device).scatter_(1, y[:, None], 1.0)


class SquaredError(Readout):
    """ℓ = ½‖s_L − onehot(y)‖²."""

    def logits(self, last: Tensor) -> Tensor:
        """The last layer itself."""
        return last

    def loss(self, last: Tensor, y: Tensor) -> Tensor:
        """½‖s_L − onehot(y)‖²: [batch]."""
        return 0.5 * (last - onehot(y, last.shape[1], last.dtype)).square().sum(1)

    def force(self, last: Tensor, target: Tensor) -> Tensor:
        """onehot(y) − s_L."""
        return target - last


class CrossEntropy(Readout):
    """ℓ = cross-entropy(s_L, y) with s_L as logits; the last layer is linear."""

    linear_output = True

    def logits(self, last: Tensor) -> Tensor:
        """The last layer itself."""
        return last

    def loss(self, last: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy: [batch]."""
        return functional.cross_entropy(last, y, reduction="none")

    def force(self, last: Tensor, target: Tensor) -> Tensor:
        """onehot(y) − softmax(s_L)."""
        return target - torch.softmax(last, 1)


class SoftmaxReadout(Readout):
    """ℓ = cross-entropy(W·s_L + b, y); the dense map is trained by the ordinary gradient of ℓ."""

    def __init__(self, dense: Dense) -> None:
        self.dense = dense

    def logits(self, last: Tensor) -> Tensor:
        """W·s_L + b."""
        return self.dense.forward_drive(last)

    def loss(self, last: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy: [batch]."""
        return functional.cross_entropy(self.logits(last), y, reduction="none")

    def force(self, last: Tensor, target: Tensor) -> Tensor:
        """Wᵀ(onehot(y) − softmax(W·s_L + b)), in the shape of s_L."""
        return self.dense.backward_drive(last, target - torch.softmax(self.logits(last), 1))

    def parameter_gradient(self, last: Tensor, target: Tensor) -> Gradient:
        """∂ℓ/∂W and ∂ℓ/∂b, summed over the batch."""
        return self.dense.outer(last, torch.softmax(self.logits(last), 1) - target)
