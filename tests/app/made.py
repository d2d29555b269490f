"""Events that tests of the application show."""

from __future__ import annotations

from typing import Any

from eqprop_core.events import (
    Activity,
    BatchFinished,
    EpochFinished,
    EpochStarted,
    Gdu,
    GduCurve,
    GduRow,
    LayerActivity,
    Settling,
)


def epoch(number: int, test: float, **fields: Any) -> EpochFinished:
    """An epoch with this test accuracy."""
    given: dict[str, Any] = {
        "train_accuracy": test - 1,
        "validation_accuracy": None,
        "loss": 1 / number,
        "test_loss": 2 / number,
        "rates": [0.1, 0.05],
        "seconds": 2.0,
        "best": True,
    }
    return EpochFinished(epoch=number, test_accuracy=test, **{**given, **fields})


def batch(number: int, epoch: int = 1, accuracy: float = 50.0, **fields: Any) -> BatchFinished:
    """A batch of ten in an epoch."""
    given: dict[str, Any] = {"loss": 0.25, "samples_per_s": 1234.0, "batches": 10}
    return BatchFinished(epoch=epoch, batch=number, accuracy=accuracy, **{**given, **fields})


def _curve(name: str, element: int) -> GduCurve:
    steps = [0.1, 0.05, 0.02, 0.01]
    return GduCurve(name=name, element=element, ep=steps, bptt=steps, plus=steps, minus=steps)


def _row(name: str, rmse: float) -> GduRow:
    return GduRow(name=name, rmse=rmse, sign_error=0.008, cosine=0.9998, norm_ratio=1.002)


GDU = Gdu(
    epoch=1,
    batch=4,
    beta=0.1,
    images=5,
    rows=[_row("synapses.0.weight", 0.021), _row("synapses.1.weight", 0.34), _row("neurons_0", 0.9)],
    curves=[_curve("synapses.0.weight", 7), _curve("synapses.0.weight", 9), _curve("synapses.1.weight", 3)],
)
STARTED = EpochStarted(epoch=1, batches=10, rates=[0.1, 0.05])
SETTLING = Settling(epoch=1, batch=4, phases={"free": [1.0, 0.1, 0.01], "nudged +β": [0.5, 0.05, 0.001]})
ACTIVITY = Activity(
    epoch=1,
    batch=4,
    layers=[
        LayerActivity(
            name="layer 1", edges=[0.0, 0.25, 0.5, 0.75, 1.0], counts=[9, 3, 2, 6], at_low=0.61, at_high=0.09
        )
    ],
)
