"""Epochs that a checkpoint knows of and that are not among a run's events, to be told when it is resumed.

The disk was full when they were over, and the process ended before there was room again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from eqprop_core.events import EpochFinished
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.history import current_events
from eqprop_core.runs.names import EVENTS


def epochs_untold(
    held: Mapping[str, Sequence[float | None]], run: RunFolder, seq: int
) -> list[EpochFinished]:
    """The epochs of the histories `held` in a checkpoint of event `seq` that were not told of until then."""
    told = {
        record.event.epoch
        for record in current_events(run.path / EVENTS, (EpochFinished.kind,))
        if record.seq <= seq and isinstance(record.event, EpochFinished)
    }
    untold = list[EpochFinished]()
    best: float | None = None
    for epoch, (train, validation, test, loss) in enumerate(
        zip_longest(*(held[name] for name in ("train", "validation", "test", "loss"))), start=1
    ):
        judged = test if validation is None else validation
        is_best = judged is not None and (best is None or judged > best)
        best = judged if is_best else best
        if epoch not in told and train is not None and test is not None:
            untold.append(
                EpochFinished(
                    epoch=epoch,
                    train_accuracy=train,
                    validation_accuracy=validation,
                    test_accuracy=test,
                    loss=loss,
                    test_loss=None,
                    rates=[],
                    seconds=0.0,
                    best=is_best,
                    written_later=True,
                )
            )
    return untold
