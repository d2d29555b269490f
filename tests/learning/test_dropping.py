"""A batch that is dropped between two time steps leaves nothing behind, wherever and however often."""

from __future__ import annotations

import copy
import io
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from small_trainers import CASES, SMALL, same, told, trainer

from eqprop_core.events import EpochStarted, Event, PhaseProgress
from eqprop_core.learning.algorithms import TrainingBatch
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import State, Watch

MOMENTUM = {"alg": "CEP", "mmt": 0.9, "lrs": [0.02, 0.02]}
ADAM = {"alg": "CEP", "optim": "adam", "lrs": [1e-3, 1e-3], "thirdphase": True}
DROPPED: dict[str, dict[str, Any]] = {
    **{name: {**case, "train_samples": 50} for name, case in CASES.items()},
    "continual, momentum": {**SMALL, **MOMENTUM, "train_samples": 50, "wds": [1e-3, 1e-3]},
    "continual, adam": {**SMALL, **ADAM, "train_samples": 50, "dropouts": [0.9, 0.7, 1.0]},
}


@dataclass(frozen=True)
class Point:
    """After a time step: epoch and batch from 0; the batch after the last one is an evaluation's."""

    epoch: int
    batch: int
    phase: str
    step: int


class Located:
    """A trainer that knows between which time steps `drop` is asked."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.trainer = trainer(**settings)
        self.here: list[Point] = []
        self._phase, self._step = "", 0
        algorithm = self.trainer.algorithm
        self.trainer.algorithm = lambda batch: algorithm(replace(batch, watch=self._located(batch)))
        self.trainer.drop = self._drop
        self._probing = False
        probe = self.trainer._probe

        def probed() -> bool:
            self._probing = True
            done = probe()
            self._probing = False
            return done

        self.trainer._probe = probed  # type: ignore[method-assign]
        self.left: dict[Point, int] = {}

    def _located(self, batch: TrainingBatch) -> Any:
        def watch(phase: str, count: int) -> Watch:
            assert batch.watch is not None
            within = batch.watch(phase, count)

            def watched(step: int, before: State, after: State) -> None:
                self._phase, self._step = phase, step
                within(step, before, after)

            return watched

        return watch

    def _drop(self) -> bool:
        at = self.trainer
        if self._probing:  # between no time steps of a batch
            return False
        if at.batch == at.batches_per_epoch:
            self._phase, self._step = "evaluate", self._step + 1 if self._phase == "evaluate" else 1
        here = Point(at.epoch, at.batch, self._phase, self._step)
        self.here.append(here)
        if not self.left.get(here, 0):
            return False
        self.left[here] -= 1
        self._step -= (self._step - 1) % at.config.T1 + 1  # an evaluation counts on from one part to the next
        return True


def points(name: str, settings: dict[str, Any]) -> list[Point]:
    """Some places of a training, the same every time: each phase, and the last batch of an epoch."""
    found = Located(settings)
    list(found.trainer.run())
    draws = random.Random(name)
    last = found.trainer.batches_per_epoch - 1
    phases = sorted({point.phase for point in found.here})
    chosen = [draws.choice([p for p in found.here if p.phase == phase]) for phase in phases]
    chosen.append(draws.choice([p for p in found.here if p.batch == last]))
    chosen.append(draws.choice([p for p in found.here if p.batch == last and p.step > 1]))
    return chosen


def kept(run: Trainer) -> dict[str, Any]:
    return copy.deepcopy(run.state())


def reloaded(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


def trained(events: list[Event]) -> list[Event]:
    """Without what is told again when an epoch, or its evaluation, is resumed."""
    return [event for event in events if not isinstance(event, EpochStarted | PhaseProgress)]


@pytest.mark.parametrize("name", DROPPED)
def test_batches_that_are_dropped_and_begun_again_change_nothing(name: str) -> None:
    settings = DROPPED[name]
    whole = trainer(**settings)
    expected = told(whole.run())
    found = Located(settings)
    draws = random.Random(name)
    found.left = {point: draws.randint(1, 3) for point in points(name, settings)}
    count = sum(found.left.values())
    before: list[dict[str, Any]] = [kept(found.trainer)]
    calls = []

    def boundary() -> bool:
        run = found.trainer
        calls.append((run.epoch, run.batch))
        if calls.count(calls[-1]) > 1 and run.batch < run.batches_per_epoch:
            assert same(kept(run), before[-1])
        before.append(kept(run))
        return False

    found.trainer.boundary = boundary
    assert told(found.trainer.run()) == expected
    assert not any(found.left.values())
    told_places = sum(isinstance(event, PhaseProgress) for event in expected)
    assert len(calls) == whole.epochs * whole.batches_per_epoch + told_places + count
    assert same(found.trainer.state(), whole.state())


@pytest.mark.parametrize("name", DROPPED)
def test_a_run_that_ends_by_dropping_a_batch_is_resumed_bit_for_bit(name: str) -> None:
    settings = DROPPED[name]
    whole = trainer(**settings)
    expected = told(whole.run())
    for point in points(name, settings):
        first = Located(settings)
        first.left = {point: 1}
        first.trainer.boundary = lambda first=first, point=point: not first.left[point]
        seen = told(first.trainer.run())
        assert first.trainer.stopped
        assert (first.trainer.epoch, first.trainer.batch) == (point.epoch, point.batch)
        second = trainer(**settings)
        with torch.no_grad():
            for parameter in second.net.parameters():
                parameter.zero_()
        second.restore(reloaded(first.trainer.state()))
        rest = told(second.run())
        assert same(second.state(), whole.state()), point
        assert trained(seen + rest) == trained(expected), point


def test_what_is_changed_while_a_batch_is_dropped_holds_when_it_begins_again() -> None:
    found = Located(DROPPED["one-sided"])
    found.left = {Point(1, 1, "free", 3): 1}

    def boundary() -> bool:
        if (found.trainer.epoch, found.trainer.batch) == (1, 1) and not any(found.left.values()):
            found.trainer.lr_factor = 0.0
            found.trainer.apply_rates()
            found.trainer.check_now()
        return False

    found.trainer.boundary = boundary
    list(found.trainer.run())
    other = Located(DROPPED["one-sided"])
    other.trainer.boundary = lambda: (other.trainer.epoch, other.trainer.batch) == (1, 1)
    list(other.trainer.run())
    ends = [run.trainer.state()["model_state_dict"] for run in (found, other)]
    assert same(*ends)


def test_an_interrupt_inside_continual_ep_leaves_the_weights_of_before() -> None:
    found = Located(DROPPED["continual, momentum"])
    before = kept(found.trainer)

    def interrupt() -> bool:
        if found._phase.startswith("nudged") and found._step == 3:
            raise KeyboardInterrupt
        return False

    found.trainer.drop = interrupt
    with pytest.raises(KeyboardInterrupt):
        list(found.trainer.run())
    assert same(found.trainer.state(), before)
