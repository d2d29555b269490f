"""Long batches tell where they are; short ones say nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from small_trainers import CASES, SMALL, dataset

from eqprop_core import RunConfig, build_network
from eqprop_core.events import PhaseProgress
from eqprop_core.learning.trainer import Trainer


class Clock:
    """Each reading is some time later than the one before."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


def places(settings: dict[str, Any], seconds: float) -> list[tuple[float, PhaseProgress]]:
    """What a training of an epoch tells, each with its time, by a clock that is so slow."""
    config = RunConfig(**{**settings, "epochs": 1, "train_samples": 30})
    clock = Clock(seconds)
    run = Trainer(config, build_network(config.model_part()), dataset(config), clock=clock)
    found: list[tuple[float, PhaseProgress]] = []

    def progress(event: PhaseProgress) -> None:
        if event.phase != "probe":  # of the gradient, before the batches
            found.append((clock.now, event))

    run.progress = progress
    for _ in run.run():
        pass
    return found


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (SMALL, {"free": 8, "nudged +β": 4}),
        ({**SMALL, "thirdphase": True}, {"free": 8, "nudged +β": 4, "nudged −β": 4}),
        ({**SMALL, "alg": "BPTT"}, {"free": 4, "unrolled": 4}),
        ({**SMALL, "alg": "CEP"}, {"free": 8, "nudged +β": 4}),
        (CASES["continual"], {"free": 8, "nudged +β": 4, "back": 4, "nudged −β": 4}),
    ],
    ids=["one-sided", "symmetric", "bptt", "continual", "continual, symmetric"],
)
def test_every_phase_of_a_long_batch_is_told_by_name_and_step(
    settings: dict[str, Any], steps: dict[str, int]
) -> None:
    found = [event for _, event in places(settings, 1.5)]
    for batch in (1, 2):
        of_batch = [event for event in found if event.batch == batch]
        assert {event.phase: event.steps for event in of_batch} == steps
        assert [(event.phase, event.step) for event in of_batch] == [
            (phase, step) for phase in steps for step in range(1, steps[phase] + 1)
        ]
    assert {event.epoch for event in found} == {1}


def test_evaluations_are_told_in_images() -> None:
    found = [e for _, e in places({**SMALL, "val_split": 0.2}, 1.5) if e.phase.startswith("evaluate")]
    assert {event.phase: event.steps for event in found} == {"evaluate validation": 6, "evaluate test": 40}
    for phase in ("evaluate validation", "evaluate test"):
        steps = [event.step for event in found if event.phase == phase]
        assert steps == sorted(steps)
        assert steps[-1] == {"evaluate validation": 6, "evaluate test": 40}[phase]


def test_at_most_two_a_second_are_told_and_none_in_the_first() -> None:
    found = places({**SMALL, "T1": 40, "T2": 20}, 0.125)
    for batch in (1, 2):
        of_batch = [(now, event) for now, event in found if event.batch == batch]
        assert [event.step for _, event in of_batch] == [*range(8, 41, 4), *range(4, 21, 4)]
        assert all(later - now == 0.5 for (now, _), (later, _) in pairwise(of_batch))


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_short_batches_say_nothing(seconds: float) -> None:
    assert places(SMALL, seconds) == []
