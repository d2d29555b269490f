"""Whole trainings reach the accuracy that is promised of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import Result

Run = Callable[..., Result]
DATA = os.environ.get("EQPROP_DATA", "")  # read before tests are cut off from it
MNIST_MLP = ["--preset", "mnist-mlp-ep", "--epochs", "1", "--no-check-thm", "--seed", "1"]


def accuracy(eqprop: Run, *words: str) -> float:
    document: dict[str, Any] = json.loads(eqprop("train", *words, "--no-save", "--json").stdout)
    return float(document["last_accuracy"])


@pytest.mark.parametrize(("preset", "least"), [("digits-mlp-ep", 96.0), ("digits-mlp-bptt", 96.0)])
def test_a_network_learns_the_digits(preset: str, least: float, eqprop: Run) -> None:
    assert accuracy(eqprop, "--preset", preset) >= least


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "least"), [("digits-cnn-ep", 96.0), ("digits-vfcnn-ep", 94.0)])
def test_a_convolutional_network_learns_the_digits(preset: str, least: float, eqprop: Run) -> None:
    assert accuracy(eqprop, "--preset", preset) >= least


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="needs MNIST, where EQPROP_DATA says")
@pytest.mark.parametrize(
    "more", [[], ["--thirdphase"], ["--alg", "BPTT"]], ids=["one-sided", "symmetric", "bptt"]
)
def test_one_epoch_of_mnist_is_enough_for_95_5_per_cent(more: list[str], eqprop: Run) -> None:
    assert accuracy(eqprop, *MNIST_MLP, "--data-dir", DATA, *more) >= 95.5
