"""Before the first batch it is told where the gradient is another than its settings mean, and never elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_trainers import trainer

from eqprop_core.events import Warned
from eqprop_core.learning.probe import Probe, agreement

DEEP: dict[str, Any] = {
    "task": "digits", "archi": [64, 24, 24, 24, 10], "lrs": [0.1] * 4, "T1": 60, "T2": 20, "seed": 1,
    "train_samples": 40, "test_samples": 10, "mbs": 20,
}  # fmt: skip
POOLED: dict[str, Any] = {
    "task": "digits", "model": "CNN", "channels": [6, 8], "kernels": [3, 3], "paddings": [1, 1], "T1": 60, "T2": 20,
    "act": "hard_sigmoid", "lrs": [0.1] * 3, "seed": 1, "train_samples": 40, "test_samples": 10, "mbs": 20,
}  # fmt: skip
GRADIENTS: dict[str, tuple[dict[str, Any], str]] = {
    "rounded away": ({**DEEP, "betas": [0, 1e-7]}, "β = 1e-07 moves states by so little that float32 rounds"),
    "rounded away, both signs": ({**DEEP, "betas": [0, -1e-6], "thirdphase": True}, "β = -1e-06 moves states"),
    "not settled": ({**DEEP, "T1": 12, "betas": [0, 1e-3]}, "has not settled after T1 12 time steps, and the one-"),
    "swings": ({**DEEP, "act": "hard_sigmoid", "betas": [0, 1.5]}, "the last layer still swings by"),
    "does not reach": ({**DEEP, "T2": 3, "betas": [0, 0.5]}, "with T2 3 it does not reach the first of 4 layers"),
    "continual": ({**DEEP, "alg": "CEP", "betas": [0, 1e-7]}, "β = 1e-07 moves states by so little"),
    "max pooling in turn": ({**POOLED, "betas": [0, 0.1], "updates": "async", "tol": 1e-5}, "--updates async images may settle in others"),
    "max pooling, bf16": ({**POOLED, "betas": [0, 0.1], "precision": "bf16"}, "a network with max pooling has several fixed"),
    "a coarse tolerance": ({**DEEP, "tol": 0.9, "betas": [0, 0.5]}, "--tol 0.9 makes another gradient than settling"),
}  # fmt: skip
SOUND: dict[str, dict[str, Any]] = {
    "one-sided": {**DEEP, "betas": [0, 0.1]},
    "both signs": {**DEEP, "betas": [0, 0.01], "thirdphase": True},
    "paired, not settled": {**DEEP, "T1": 12, "betas": [0, 0.01], "estimator": "paired"},
    "tolerance": {**DEEP, "betas": [0, 0.001], "tol": 1e-3},
    "random sign, tolerance, bf16": {**DEEP, "betas": [0, 0.01], "random_sign": True, "tol": 1e-4, "precision": "bf16"},
    "updates in turn": {**DEEP, "betas": [0, 0.1], "thirdphase": True, "updates": "async", "tol": 1e-5},
    "max pooling": {**POOLED, "betas": [0, 0.1], "thirdphase": True, "tol": 1e-5},
    "dropout": {**DEEP, "betas": [0, 0.1], "thirdphase": True, "dropouts": [0.9, 0.8, 0.8, 0.8, 1.0]},
    "bptt": {**DEEP, "alg": "BPTT", "betas": [0, 1e-7]},
    "continual": {**DEEP, "alg": "CEP", "betas": [0, 0.1], "tol": 1e-3},
}  # fmt: skip


def said_before_training(settings: dict[str, Any]) -> list[str]:
    """What a training says before its first batch."""
    run = trainer(**settings)
    run.net.use(
        replace(
            run.net.numerics, **{k: settings[k] for k in ("tol", "updates", "precision") if k in settings}
        )
    )
    events = iter(run.run())
    found = [next(events), next(events)]
    while isinstance(found[-1], Warned):
        found.append(next(events))
    assert run.batch <= 1
    return [event.message for event in found if isinstance(event, Warned)]


@pytest.mark.parametrize("name", GRADIENTS)
def test_a_gradient_that_is_another_than_meant_is_told_before_the_first_batch(name: str) -> None:
    settings, words = GRADIENTS[name]
    assert any(words in message for message in said_before_training(settings))


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_gradient_is_not_warned_of(name: str) -> None:
    said = said_before_training(SOUND[name])
    assert [message for message in said if "(as by --estimator paired)" not in message] == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"tol": 1e-3}, True),
        ({"tol": 1e-3, "random_sign": True}, True),
        ({"tol": 1e-3, "estimator": "paired"}, False),
        ({"tol": 1e-3, "thirdphase": True}, False),
        ({"tol": 1e-3, "alg": "CEP"}, False),
        ({}, False),
    ],
)
def test_that_a_one_sided_estimate_is_paired_is_told(settings: dict[str, Any], told: bool) -> None:
    said = said_before_training({**DEEP, "betas": [0, 0.1], **settings})
    assert any("are taken against the free state run on" in message for message in said) == told


def test_a_gradient_that_is_negligible_is_not_judged() -> None:
    run = trainer(**{**DEEP, "betas": [0, 1e-7]})
    names = [name for name, _ in run.net.named_parameters()]
    gradients = {name: torch.full_like(value, 1e-9) for name, value in run.net.named_parameters()}
    assert agreement(run.net, {name: -gradients[name] for name in names}, gradients).good
    assert not agreement(run.net, {n: -v * 1e6 for n, v in gradients.items()}, {n: v * 1e6 for n, v in gradients.items()}).good  # fmt: skip


def test_judging_a_gradient_changes_nothing() -> None:
    run = trainer(**{**DEEP, "betas": [0, 0.1], "tol": 1e-3})
    before, numerics = {n: v.clone() for n, v in run.net.state_dict().items()}, run.net.numerics
    first = next(run._batches(0))
    list(Probe(run.net, run.config, first.x, first.y).troubles())
    assert run.net.numerics == numerics
    assert all(torch.equal(value, before[name]) for name, value in run.net.state_dict().items())


def test_a_probe_that_is_dropped_begins_again_unless_training_ends() -> None:
    settings = {**DEEP, "betas": [0, 1e-7], "T1": 200, "epochs": 1}
    asked = iter([False] * 30 + [True])
    run = trainer(**settings)
    run.drop = lambda: next(asked, False)
    again = trainer(**settings)
    said = [event for event in run.run() if isinstance(event, Warned)]
    assert said and said == [event for event in again.run() if isinstance(event, Warned)]
    run = trainer(**settings)
    run.drop, run.boundary = lambda: True, lambda: True
    assert not [event for event in run.run() if isinstance(event, Warned)]
    assert run.stopped and run.batch == 0
