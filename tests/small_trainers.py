"""Small trainings that take a moment, and what of their events does not depend on clocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from eqprop_core import RunConfig, build_network
from eqprop_core.data.datasets import Dataset, load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.events import BatchFinished, EpochFinished, Event
from eqprop_core.learning.trainer import Trainer

SMALL: dict[str, Any] = {
    "task": "digits",
    "archi": [64, 16, 10],
    "lrs": [0.1, 0.1],
    "T1": 8,
    "T2": 4,
    "betas": [0.0, 0.3],
    "epochs": 2,
    "mbs": 20,
    "seed": 3,
    "train_samples": 150,
    "test_samples": 40,
}
CNN: dict[str, Any] = {
    **{name: value for name, value in SMALL.items() if name != "archi"},
    "model": "CNN",
    "channels": [4, 6],
    "kernels": [3, 3],
    "paddings": [1, 1],
    "lrs": [0.1, 0.1, 0.1],
    "act": "my_hard_sig",
    "train_samples": 60,
    "test_samples": 20,
}
SOFTMAX = {"loss": "cel", "softmax": True}
CASES: dict[str, dict[str, Any]] = {
    "one-sided": {**SMALL, "mmt": 0.9},
    "random sign, adam": {**SMALL, "random_sign": True, "optim": "adam", "lrs": [1e-3, 1e-3]},
    "symmetric, dropout": {**SMALL, "thirdphase": True, "dropouts": [0.9, 0.7, 1.0], "lr_decay": True},
    "bptt, weight decay": {**SMALL, "alg": "BPTT", "wds": [1e-3, 1e-3], "mmt": 0.9},
    "continual": {**SMALL, "alg": "CEP", "thirdphase": True, "wds": [1e-3, 1e-3]},
    "cnn softmax, check": {**CNN, **SOFTMAX, "check_thm": True, "thirdphase": True},
    "vector field": {
        **CNN,
        **SOFTMAX,
        "model": "VFCNN",
        "thirdphase": True,
        "same_update": True,
        "val_split": 0.2,
    },
}


def dataset(config: RunConfig) -> Dataset:
    return load_dataset(
        config.task,
        root=config.data_root,
        train_samples=config.train_samples,
        test_samples=config.test_samples,
        val_split=config.val_split,
        seed=config.seed or 0,
    )


def trainer(**settings: Any) -> Trainer:
    config = RunConfig(**settings)
    net = build_network(config.model_part(), generator=generator(config.seed or 0, "weights"))
    return Trainer(config, net, dataset(config), clock=ticking())


def ticking() -> Any:
    """A clock by which every reading is a second later: every batch is told."""
    ticks = iter(range(10**9))
    return lambda: float(next(ticks))


def told(events: Iterator[Event]) -> list[Event]:
    """Events without what clocks decide."""
    found = []
    for event in events:
        update: dict[str, Any] = {}
        if isinstance(event, BatchFinished):
            update = {"samples_per_s": 0.0}
        if isinstance(event, EpochFinished):
            update = {"seconds": 0.0}
        found.append(event.model_copy(update=update))
    return found


def same(a: Any, b: Any) -> bool:
    """Whether states are equal in all but what a clock says."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(key == "seconds" or same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
