"""Runs that look as if they had been trained: their folders and files, without training."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from eqprop_core.config import RunConfig
from eqprop_core.events import BatchFinished, EpochFinished, Event
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import EventLog
from eqprop_core.runs.names import BEST_MODEL, CHECKPOINT, CHECKPOINT_BEFORE, EVENTS, FINAL_MODEL

TINY: dict[str, Any] = {"task": "digits", "archi": (64, 8, 10), "lrs": (0.1, 0.2), "seed": 1}
FIRST = datetime(2026, 11, 23, 10, tzinfo=UTC)


def epoch(number: int, test: float = 50.0, *, best: bool = True, **fields: Any) -> EpochFinished:
    given = {"train_accuracy": test + 1, "validation_accuracy": None, "loss": 1 / number, "test_loss": None}
    return EpochFinished(
        epoch=number, test_accuracy=test, best=best, rates=[0.1, 0.2], seconds=2.0, **{**given, **fields}
    )


def batch(number: int, epoch: int = 1) -> BatchFinished:
    return BatchFinished(
        epoch=epoch, batch=number, batches=9, accuracy=1.0 * number, loss=None, samples_per_s=8.0
    )


def make_run(
    root: Path,
    *,
    number: int = 0,
    events: Iterable[Event] = (),
    state: dict[str, Any] | None = None,
    **settings: Any,
) -> RunFolder:
    """A finished run with its files; `number` orders runs in time, `state` changes `state.json`."""
    config = RunConfig(**{**TINY, **settings})
    when = FIRST + timedelta(minutes=number)
    run = RunFolder.create(root, config, command=("eqprop", "train"), now=when.replace(tzinfo=None))
    log = EventLog(run.path / EVENTS, clock=lambda: when.timestamp())
    for event in events:
        log.write(event)
    log.close()
    for name in (CHECKPOINT, CHECKPOINT_BEFORE, BEST_MODEL, FINAL_MODEL):
        (run.path / name).write_bytes(b"weights " * 100)
    run.write_state({**run.identity(), "state": "finished", "epochs": config.epochs, **(state or {})})
    return run
