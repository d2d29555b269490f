"""Accuracy and loss over images as they are seen. Knows nothing of where the images come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted on some images: how many there were, right predictions and the sum of losses."""

    images: int
    correct: Tensor
    loss: Tensor


def counted(logits: Tensor, losses: Tensor, y: Tensor) -> Counts:
    """Count a batch: logits [batch, classes], losses [batch], y [batch]."""
    return Counts(len(y), (logits.argmax(1) == y).sum(), losses.sum())


class Running:
    """Accuracy and loss over the images seen so far; summed on the device, read when asked for."""

    def __init__(self, device: torch.device, *, images: int = 0, correct: int = 0, loss: float = 0.0) -> None:
        self.images = images
        self._correct = torch.tensor(correct, device=device, dtype=torch.int64)
        # A float64 sum would be wished for; not every device has it.
        exact = torch.float32 if device.type == "mps" else torch.float64
        self._loss = torch.tensor(loss, device=device, dtype=exact)

    def add(self, logits: Tensor, losses: Tensor, y: Tensor) -> None:
        """Count a batch: logits [batch, classes], losses [batch], y [batch]."""
        self.take(counted(logits, losses, y))

    def take(self, counts: Counts) -> None:
        """Add what was counted."""
        self.images += counts.images
        self._correct += counts.correct
        self._loss += counts.loss

    def counts(self) -> Counts:
        """All that was counted."""
        return Counts(self.images, self._correct, self._loss)

    def accuracy(self) -> float:
        """Per cent of images whose prediction is right."""
        return 100 * int(self._correct) / max(1, self.images)

    def loss(self) -> float:
        """Mean loss of an image."""
        return float(self._loss) / max(1, self.images)

    def state(self) -> dict[str, Any]:
        """Arguments that make this again."""
        return {"images": self.images, "correct": int(self._correct), "loss": float(self._loss)}
