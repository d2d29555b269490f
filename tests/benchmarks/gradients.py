#!/usr/bin/env python3
"""How far a gradient is from the one that is meant, for every estimator, β, tolerance and precision.

    EQPROP_DATA=… python tests/benchmarks/gradients.py [--networks deep …] [--json FILE]

Four networks, at the start and after a short training. Each gradient on 32 images is held against the same
estimator in float64, settled exactly (the one-sided ones against the free state run on): the smallest cosine and the norm that is furthest off, over all
parameters whose gradient is not negligible. Where one is off by more than 0.99 and 10 % allow, it is asked
whether a training would have warned before its first batch. Printed is a table for docs/tolerance.md.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eqprop_core import build_network
from eqprop_core.config import Estimator, RunConfig, combine
from eqprop_core.data.datasets import load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.learning.equilibrium import Gradients, closeness, gradients_of, relax
from eqprop_core.learning.probe import Agreement, Probe, agreement
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import Network, State
from eqprop_core.networks.numerics import Numerics, Precision
from eqprop_core.presets import load_preset

IMAGES = 32
MNIST: dict[str, Any] = {
    **load_preset("mnist-mlp-ep-best").config,
    "train_samples": 2000,
    "test_samples": 200,
    "lr_decay": False,
    "epochs": 3,
    "seed": 0,
}
POOLED: dict[str, Any] = {
    **load_preset("mnist-cnn-ep-best").config,
    "channels": [16, 32],
    "train_samples": 1000,
    "test_samples": 100,
    "lr_decay": False,
    "epochs": 2,
    "seed": 0,
}
FIELD: dict[str, Any] = {**load_preset("digits-vfcnn-ep").config, "epochs": 3}
DEEP = {"archi": [784, 128, 128, 128, 128, 10], "lrs": [5e-4] * 5, "T1": 60, "T2": 30}
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {  # and the T1 and T2 of the gradients
    "MLP 784-512-10": (MNIST, (100, 20)),
    "MLP 784-128×4-10": ({**MNIST, **DEEP}, (200, 50)),
    "CNN 16-32, max pooling": (POOLED, (100, 20)),
    "VFCNN 16-32, softmax": (FIELD, (100, 30)),
}
ESTIMATORS: dict[str, tuple[Estimator, int]] = {  # and the sign of β
    "one-sided": ("one-sided", 1),
    "random sign, −β": ("one-sided", -1),
    "paired": ("paired", 1),
    "symmetric": ("symmetric", 1),
}
BETAS = (0.5, 0.1, 0.01, 0.001)
TOLERANCES = (None, 1e-3, 1e-4, 1e-5, 1e-6)
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


class Case:
    """A network with some weights, the images, and its free states, each settled once."""

    def __init__(self, net: Network, config: RunConfig, x: Tensor, y: Tensor) -> None:
        self.net, self.config, self.x, self.y = net, config, x, y
        self.exact = deepcopy(net).double()
        self._free: dict[tuple[bool, Numerics, float], State] = {}

    def gradients(self, numerics: Numerics, estimator: Estimator, beta: float, *, exactly: bool) -> Gradients:
        """The gradient of the network, or of its copy in float64."""
        net = self.exact if exactly else self.net
        x = self.x.double() if exactly else self.x
        T1, T2 = self.config.T1, self.config.T2
        with net.using(numerics):
            key = exactly, numerics, beta
            if key not in self._free:
                self._free[key] = net.settle(x, net.initial_state(len(x)), steps=T1, closely=closeness(beta))
            phases = relax(
                net, x, self.y, steps=(0, T2), beta=beta, estimator=estimator, start=self._free[key]
            )
            return gradients_of(net, x, self.y, phases, same_update=self.config.same_update)

    def warned(self, numerics: Numerics, estimator: Estimator, beta: float) -> list[str]:
        """Kinds of what a training would say before its first batch."""
        settings = {"estimator": estimator, "betas": (0.0, beta)}
        settings |= {"tol": numerics.tol, "precision": numerics.precision}
        with self.net.using(numerics):
            return [
                kind
                for kind, _ in Probe(self.net, self.config.changed(**settings), self.x, self.y).troubles()
            ]

    def measured(self) -> Iterator[dict[str, Any]]:
        """Every combination."""
        for name, (estimator, sign) in ESTIMATORS.items():
            for beta in BETAS:
                settled: Estimator = "symmetric" if estimator == "symmetric" else "paired"
                wanted = self.gradients(Numerics(), settled, sign * beta, exactly=True)
                for precision in PRECISIONS:
                    for tol in TOLERANCES:
                        numerics = Numerics(tol=tol, precision=precision)
                        found = self.gradients(numerics, estimator, sign * beta, exactly=False)
                        worst: Agreement = agreement(self.exact, found, wanted)
                        yield {
                            "estimator": name,
                            "beta": beta,
                            "precision": precision,
                            "tol": tol,
                            "parameter": worst.name,
                            "cosine": worst.cosine,
                            "norm": worst.ratio,
                            "said": [] if worst.good else self.warned(numerics, estimator, sign * beta),
                            "good": worst.good,
                        }


def cases(name: str) -> Iterator[tuple[str, Case]]:
    """A network at the start and after training."""
    settings, (T1, T2) = NETWORKS[name]
    config = combine(settings)
    net = build_network(config.model_part(), generator=generator(config.seed or 0, "weights"))
    dataset = load_dataset(
        config.task,
        root=config.data_root,
        train_samples=config.train_samples,
        test_samples=config.test_samples,
    )
    trainer = Trainer(config, net, dataset)
    first = next(trainer._batches(0))
    x, y = first.x[:IMAGES], first.y[:IMAGES]
    judged = config.changed(T1=T1, T2=T2)
    yield "start", Case(net, judged, x, y)
    for _ in trainer.run():
        pass
    yield f"after {config.epochs} epochs, test {trainer.histories['test'][-1]:.1f} %", Case(net, judged, x, y)


def cell(rows: list[dict[str, Any]]) -> str:
    """The worst of some combinations: cosine and norm; which were warned of, which passed in silence."""
    cosine = min(row["cosine"] for row in rows)
    norm = max((row["norm"] for row in rows), key=lambda ratio: abs(ratio - 1))
    bad = [row for row in rows if not row["good"]]
    silent = [row for row in bad if not row["said"]]
    mark = f" **silent {len(silent)}**" if silent else f" warned {len(bad)}" if bad else ""
    return f"{cosine:.4f} · {norm:.3f}{mark}"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="words of their names")
    parser.add_argument("--json", type=Path, help="keep every combination here")
    given = parser.parse_args()
    found: list[dict[str, Any]] = []
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {IMAGES} images\n")
    print("| network | estimator | " + " | ".join(f"β {beta:g}" for beta in BETAS) + " |")
    print("| --- | --- |" + " --- |" * len(BETAS), flush=True)
    for name in NETWORKS:
        if not any(word in name for word in given.networks):
            continue
        for state, case in cases(name):
            rows = [{"network": name, "state": state, **row} for row in case.measured()]
            found += rows
            for estimator in ESTIMATORS:
                cells = [
                    cell([row for row in rows if (row["estimator"], row["beta"]) == (estimator, beta)])
                    for beta in BETAS
                ]
                print(f"| {name}, {state} | {estimator} | {' | '.join(cells)} |", flush=True)
    bad = [row for row in found if not row["good"]]
    silent = [row for row in bad if not row["said"]]
    print(f"\n{len(found)} combinations: {len(bad)} off, {len(silent)} of them in silence")
    if given.json:
        given.json.write_text("".join(json.dumps(row) + "\n" for row in found))


if __name__ == "__main__":
    main()
