"""What the processes of a run do that do not own it: train as rank 0 says, and write nothing.

Rank 0 makes the plan, takes up the checkpoint, chooses how to compute and serves requests; the others take
all of that over from it, so that every process has the same weights, position and plan at every batch.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from eqprop_core.catalogue import DataError
from eqprop_core.config import RunConfig
from eqprop_core.events import EpochFinished, Event
from eqprop_core.learning.finite import TrainingError
from eqprop_core.learning.sharing import Group
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.numerics import read_numerics
from eqprop_core.problems import ConfigError, tell
from eqprop_core.runs.folder import RunError
from eqprop_core.runs.settings import Plan
from eqprop_core.worker.choices import compile_for
from eqprop_core.worker.out_of_memory import memory_told
from eqprop_core.worker.patience import ProcessLostError
from eqprop_core.worker.preparing import Prepared, count_tiny_as_zero, prepare
from eqprop_core.worker.ranks import Rank, joined, place_of
from eqprop_core.worker.signals import Wishes

ROOM_FOR_HISTORIES = 2**28  # bytes of a state beside the weights
WITH_MOMENTS = 4  # times the weights, those of the optimizer with them


def follow(words: argparse.Namespace, here: Rank, wishes: Wishes) -> int:
    """Take part in the training of the run that rank 0 owns; returns the exit status."""
    try:
        with joined(here, wishes, words.together) as group:
            _train(here, group, wishes, words.devices)
    except (ProcessLostError, TrainingError):
        return 1  # rank 0 says so
    except (ConfigError, RunError, DataError) as error:
        tell(f"error in process {here.rank}: {error!s}")
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _train(here: Rank, group: Group, wishes: Wishes, devices: str | None) -> None:
    count_tiny_as_zero()
    config = RunConfig(**group.tell(None))
    ready = prepare(Plan(config), place=here.place(config.device, devices))
    group.gather(place_of(ready.label))
    group.gather(ready.data.document())
    trainer = Trainer(ready.config, ready.net, ready.dataset, group=group)
    _take_over(group, ready, trainer)
    follower = Follower(group, trainer, wishes)
    group.wish = follower.wish
    trainer.boundary = follower.boundary
    if config.fast:
        trainer.review = lambda: use(ready, group.tell(None))
    follower.obey(group.tell(None))
    for event in memory_told(ready, trainer.run()):
        if isinstance(event, EpochFinished):
            follower.obey(group.tell(None))


def _take_over(group: Group, ready: Prepared, trainer: Trainer) -> None:
    """Stand where rank 0 does, and compute as it does."""
    told = group.tell(None)
    weights = sum(parameter.numel() * parameter.element_size() for parameter in ready.net.parameters())
    state = group.hand_out(None, ROOM_FOR_HISTORIES + WITH_MOMENTS * weights)
    use(ready, told["choices"], first=True)
    torch.set_num_threads(told["threads"])
    if ready.net.numerics.compiled:
        _, error = compile_for(ready, told["processes"])
        if error is not None:
            ready.net.use(replace(ready.net.numerics, compiled=False))
    trainer.restore(torch.load(io.BytesIO(state), map_location=ready.device, weights_only=True))


def use(ready: Prepared, choices: object, *, first: bool = False) -> Iterator[Event]:
    """Compute by the choices of rank 0; there is nothing to say."""
    numerics = read_numerics(choices)
    assert numerics is not None
    if ready.net.compiled_step is None and not first:  # it could not be compiled here
        numerics = replace(numerics, compiled=False)
    ready.net.use(numerics)
    return iter(())


class Follower:
    """Says what signals asked of this process, and does between two batches what rank 0 says."""

    def __init__(self, group: Group, trainer: Trainer, wishes: Wishes) -> None:
        self._group = group
        self._trainer = trainer
        self._wishes = wishes

    def wish(self) -> bool:
        """Whether a signal has asked for something."""
        return self._wishes.stop is not None or self._wishes.checkpoint

    def boundary(self) -> bool:
        """Do what rank 0 says where there is something to say; True to end the training here."""
        if not self._group.attention:
            return False
        self._group.attention = False
        while True:
            said = (self._wishes.stop, self._wishes.checkpoint)
            self._wishes.checkpoint = False
            self._group.gather(said)
            verdict = self._group.tell(None)
            self.obey(verdict)
            if not verdict["paused"]:
                return bool(verdict["stop"])

    def obey(self, verdict: Mapping[str, Any]) -> None:
        """Go on as rank 0 does."""
        trainer = self._trainer
        trainer.epochs = verdict["epochs"]
        if trainer.lr_factor != verdict["lr_factor"]:
            trainer.lr_factor = verdict["lr_factor"]
            trainer.apply_rates()
