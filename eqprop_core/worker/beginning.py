"""Begins a training with weights that another program left: the reference's go on with epochs and moments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqprop_core.data.fingerprint import Fingerprint
from eqprop_core.events import Amended, Event, Warned
from eqprop_core.learning.trainer import Trainer
from eqprop_core.runs import names
from eqprop_core.runs.reference import accuracies, epochs_from
from eqprop_core.worker import checkpoint
from eqprop_core.worker.recorded_data import told_to_use


def begin_with(trainer: Trainer, source: Path, data: Fingerprint) -> list[Event]:
    """Put a trainer that is at its beginning where the weights are that lie in a folder, or are a file.

    What was trained before counts: the trainer's epochs are those to add, and its best accuracy is set where
    these weights are the best of all. Returns what there is to say, the epochs of before among it, and how
    the `data` differ from theirs. Raises `RunError`.
    """
    folder, order = (source.parent, (source.name,)) if source.is_file() else (source, names.LATEST_FIRST)
    path, content, notes = checkpoint.load_first(trainer.net, folder, order)
    notes += told_to_use(content, data, path, todo="train")
    before = epochs_from(accuracies(content))
    said: list[Event] = [*before]
    message = f"begins with the weights of {path}"
    if before:
        trainer.epoch = len(before)
        trainer.epochs += len(before)
        trainer.histories["train"] = [epoch.train_accuracy for epoch in before]
        trainer.histories["test"] = [epoch.test_accuracy for epoch in before]
        trainer.histories["validation"] = [None] * len(before)
        trainer.histories["loss"] = [None] * len(before)
        if before[-1].best and trainer.dataset.validation is None:
            trainer.best_accuracy = before[-1].test_accuracy
        how = "with" if _take_moments(trainer, content) else "without"
        message += (
            f", after its epoch {len(before)}, {how} the state of its optimizer; "
            f"the order of images and whatever else is random are not those that it would have had"
        )
        said.append(Amended(settings={"epochs": trainer.epochs}))
    return [*said, Warned(message=message), *(Warned(message=note) for note in notes)]


def _take_moments(trainer: Trainer, content: Mapping[str, Any]) -> bool:
    """Take over the moments of the reference's optimizer, where they fit; whether they do.

    It has a group for each connection, those of backward weights last; here these are with the connection
    that they mirror.
    """
    stored = content.get("opt")
    if not isinstance(stored, dict) or not isinstance(stored.get("state"), dict):
        return False
    optimizer = trainer.optimizer
    own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    named = dict(trainer.net.named_parameters())
    forward = [name for name in named if not name.startswith("B_syn.")]
    theirs = [named[name] for name in (*forward, *(name for name in named if name.startswith("B_syn.")))]
    place = {id(parameter): number for number, parameter in enumerate(own)}
    groups = stored.get("param_groups")
    try:
        ids = [number for group in groups or () for number in group["params"]]
        moments = {
            place[id(parameter)]: {key: _moment(value) for key, value in stored["state"][number].items()}
            for number, parameter in zip(ids, theirs, strict=True)
            if number in stored["state"]
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    if list(checkpoint.moment_problems(moments, optimizer)):
        return False
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return True


def _moment(value: Any) -> Any:
    """A moment in memory of its own; the number of steps, plain in old versions of torch, as a tensor."""
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    return value if value is None else torch.tensor(float(value))
