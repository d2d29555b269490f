#!/usr/bin/env python3
"""Whether accelerations end where exact settling ends: the share of images whose settled state is another one.

    EQPROP_DATA=… python tests/benchmarks/fixed_points.py [--images 64] [--batches 30]

The MNIST CNN with max and with average pooling, and the MNIST MLP, at the start and after some batches. Free
phases go on until a time step changes no neuron by 1e-6, and 2,000 time steps at most; images that have not
settled by then in either way are not counted. A state is another one where a neuron of it is off by more than
0.01, that is 10,000 times as much.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from eqprop_core import build_network
from eqprop_core.data.batches import normalize
from eqprop_core.data.datasets import load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import Network, State
from eqprop_core.networks.numerics import Numerics
from eqprop_core.networks.relaxation import largest_changes
from eqprop_core.presets import load_preset

TOLERANCE, STEPS, ELSEWHERE = 1e-6, 2000, 0.01
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "MNIST CNN, max pooling": ("mnist-cnn-ep", {}),
    "MNIST CNN, average pooling": ("mnist-cnn-ep", {"pools": "aa"}),
    "MNIST MLP": ("mnist-mlp-ep", {}),
}
WAYS: dict[str, Numerics] = {
    "updates async": Numerics(tol=TOLERANCE, updates="async"),
    "precision bf16": Numerics(tol=TOLERANCE, precision="bf16"),
    "both": Numerics(tol=TOLERANCE, updates="async", precision="bf16"),
}


def settled(net: Network, x: Tensor, numerics: Numerics) -> tuple[State, Tensor, Tensor]:
    """The state, which images have settled, and what an exact time step still changes of each."""
    with net.using(numerics):
        s = net.settle(x, net.initial_state(len(x)), steps=STEPS)
    with net.using(Numerics()):
        change = largest_changes(s, net.settle(x, s, steps=1))
    return s, change < 10 * TOLERANCE, change


def stages(name: str, images: int, batches: int) -> Iterator[tuple[str, Network, Tensor]]:
    """A network at the start and after a short training, and test images."""
    preset, settings = NETWORKS[name]
    config = load_preset(preset).run_config(seed=0, epochs=1, check_thm=False, **settings)
    config = config.changed(train_samples=batches * config.mbs, test_samples=images, tol=1e-4)
    data = load_dataset(
        config.task,
        root=config.data_root,
        train_samples=config.train_samples,
        test_samples=images,
        seed=0,
    )
    net = build_network(config.model_part(), generator=generator(0, "weights"))
    x = normalize(data.test.images, data.info)
    yield "start", net, x
    trainer = Trainer(config, net, data)
    net.use(Numerics(tol=1e-4))
    for _ in trainer.run():
        pass
    yield f"after {batches} batches", net, x


def main() -> None:
    """Settle in every way, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batches", type=int, default=30)
    given = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {given.images} images\n")
    print("| network | settled exactly | " + " | ".join(WAYS) + " |")
    print("| --- | --- |" + " --- |" * len(WAYS), flush=True)
    for name in NETWORKS:
        for stage, net, x in stages(name, given.images, given.batches):
            exact, come_to_rest, _ = settled(net, x, Numerics(tol=TOLERANCE))
            cells = []
            for numerics in WAYS.values():
                s, rest, _ = settled(net, x, numerics)
                both = rest & come_to_rest
                off = largest_changes(exact, s)[both]
                other = int((net.logits(s).argmax(1) != net.logits(exact).argmax(1))[both].sum())
                share = 100 * float((off > ELSEWHERE).float().mean()) if len(off) else float("nan")
                cells.append(f"{share:.0f} % of {len(off)}, {other} answers")
            print(f"| {name}, {stage} | {int(come_to_rest.sum())} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
