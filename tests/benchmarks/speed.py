#!/usr/bin/env python3
"""What settling costs, against autograd of Φ at every time step and against the products alone.

    EQPROP_DATA=… python tests/benchmarks/speed.py [--only NAME] [--repeat 5]

Each row alternates its two sides, `--repeat` times after one for warming up, and prints the median ratio with the
smallest and the largest. Trained weights are made once, by 60 batches with --tol 1e-6, and kept in `--cache`. docs/speed.md has the figures of one machine.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from against_autograd import train as train_epochs
from torch import Tensor

from eqprop_core.config import RunConfig
from eqprop_core.data.batches import batches
from eqprop_core.data.datasets import Dataset, load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.learning.bptt import bptt_gradients
from eqprop_core.learning.gdu import gdu_check
from eqprop_core.networks.network import Network, build_network
from eqprop_core.networks.numerics import Numerics
from eqprop_core.presets import load_preset
from eqprop_core.speed.accelerations import Acceleration, candidates, fastest, measure
from eqprop_core.speed.baseline import (
    AutogradNetwork,
    bptt_by_autograd,
    gdu_by_autograd,
    train_ep_by_autograd,
)
from eqprop_core.speed.bench import bench, optimizer_of, training_step
from eqprop_core.speed.choosing import choose_numerics, fastest_precision
from eqprop_core.speed.timing import alternated
from eqprop_core.worker.preparing import choose_threads, count_tiny_as_zero

CPU = torch.device("cpu")
CIFAR, CNN, MLP = "cifar10-cnn-mse-ep-symmetric", "mnist-cnn-ep", "mnist-mlp-ep"


class Work:
    """A preset's network, data and next batch, as a run would have them."""

    def __init__(self, preset: str, cache: Path, warm: int = 0, **settings: object) -> None:
        self.config: RunConfig = load_preset(preset).run_config(seed=0, **settings)
        self.data: Dataset = load_dataset(self.config.task, root=self.config.data_root)
        self.net: Network = build_network(self.config.model_part(), generator=generator(0, "weights"))
        choose_threads(self.net, self.config.mbs)
        self.net.use(choose_numerics(self.net, self.config, CPU).numerics)
        following = batches(
            self.data.train, self.data.info, batch_size=self.config.mbs, seed=0, epoch=0, shuffle=True, augment=False
        )  # fmt: skip
        path = cache / f"{preset}-{warm}-{self.config.mbs}.pt"
        if warm and path.exists():
            self.net.load_state_dict(torch.load(path, weights_only=True))
        optimizer = optimizer_of(self.net, self.config)
        exact = self.net.numerics
        self.net.use(replace(exact, tol=1e-6))
        for _ in range(warm):
            batch = next(following)
            if not path.exists():
                training_step(self.net, self.config, batch.x, batch.y, optimizer=optimizer)()
        if warm and not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            torch.save(self.net.state_dict(), path)
        self.net.use(exact)
        batch = next(following)
        self.x: Tensor = batch.x
        self.y: Tensor = batch.y

    def slow(self) -> AutogradNetwork:
        """The same network, differentiating Φ."""
        net = AutogradNetwork(self.net.config)
        net.load_state_dict(self.net.state_dict())
        return net


def ratio(name: str, fast: Callable[[], object], slow: Callable[[], object], repeat: int) -> None:
    """Print how many times as long the slow one takes, alternating."""
    found = alternated({"fast": fast, "slow": slow}, CPU, repeat)
    ratios = [b / a for a, b in zip(found["fast"], found["slow"], strict=True)]
    seconds = " and ".join(f"{statistics.median(found[side]):.3g} s" for side in ("fast", "slow"))
    say(name, f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) times; {seconds}")


def say(name: str, text: str) -> None:
    """One line of the table."""
    print(f"{name:12} {text}", flush=True)


def mlp_epoch(repeat: int, cache: Path) -> None:
    """An epoch of the MNIST MLP with its evaluation."""
    config = load_preset(MLP).run_config(seed=0, epochs=1, check_thm=False)
    data = load_dataset(config.task, root=config.data_root)
    choose_threads(build_network(config.model_part()), config.mbs)

    def epoch(*, by_autograd: bool) -> Callable[[], object]:
        return lambda: train_epochs(config, data, by_autograd=by_autograd, double=False)

    ratio("mlp-epoch", epoch(by_autograd=False), epoch(by_autograd=True), repeat)


def step(name: str, work: Work, repeat: int) -> None:
    """A training step, against autograd of Φ and against its products."""
    found = bench(work.net, work.config, work.x, work.y, train_images=1, evaluated_images=1, repeat=repeat, accelerate=False)  # fmt: skip
    assert found.baseline is not None and found.roof is not None
    say(name, f"{found.ratio:.2f} times; {found.batch.median:.3g} s and {found.baseline.median:.3g} s; {100 * found.roof:.0f} % of it products")  # fmt: skip


def settled(name: str, work: Work, way: Numerics, repeat: int) -> None:
    """A training step that settles in another way, against autograd of Φ."""
    exact = work.net.numerics
    training = training_step(work.net, work.config, work.x, work.y)
    slow = training_step(work.slow(), work.config, work.x, work.y, algorithm=train_ep_by_autograd)
    work.net.use(way)
    ratio(name, training, slow, repeat)
    work.net.use(exact)


def told(way: Acceleration) -> str:
    """What a way to settle is and does."""
    steps = " + ".join(f"{count:.0f}" for count in way.steps.values())
    return f"{way.numerics.words()}: cosine {way.worst:.6f}, time steps {steps}, {way.seconds.median:.3g} s"


def cnn_tol(repeat: int, cache: Path) -> None:
    """The MNIST CNN in training, with --tol 1e-5."""
    work = Work(CNN, cache, warm=60)
    way = replace(work.net.numerics, tol=1e-5)
    for found in measure(work.net, work.config, work.x, work.y, [way], repeat=1):
        say("cnn-tol", told(found))
    settled("cnn-tol", work, way, repeat)


def cifar_fast(repeat: int, cache: Path) -> None:
    """The CIFAR-10 CNN after 60 batches, with what --fast takes; every acceleration with its cosine."""
    work = Work(CIFAR, cache, warm=60, mbs=16)
    precision = fastest_precision(work.net, 16, CPU)
    ways = list(candidates(work.net.numerics, work.config, precision))
    tried = measure(work.net, work.config, work.x, work.y, ways, repeat=1)
    for found in tried:
        say("cifar-fast", told(found))
    settled("cifar-fast", work, fastest(tried).numerics, repeat)


def gdu(repeat: int, cache: Path) -> None:
    """A GDU check of 30 nudged time steps, MLP and CNN."""
    for name, preset in (("gdu-mlp", MLP), ("gdu-cnn", CNN)):
        _gdu(name, Work(preset, cache, T1=60, T2=30, mbs=20), repeat)


def _gdu(name: str, work: Work, repeat: int) -> None:
    slow, steps = work.slow(), (work.config.T1, work.config.T2)
    ratio(
        name,
        lambda: gdu_check(work.net, work.x, work.y, steps=steps, beta=0.1),
        lambda: gdu_by_autograd(slow, work.x, work.y, steps=steps, beta=0.1),
        repeat,
    )


def bptt(repeat: int, cache: Path) -> None:
    """A BPTT gradient of the CIFAR-10 CNN: 25 of 50 time steps unrolled; and the memory of each side."""
    work = Work(CIFAR, cache, mbs=16)
    slow = work.slow()
    ratio(
        "bptt",
        lambda: bptt_gradients(work.net, work.x, work.y, steps=(50, 25)),
        lambda: bptt_by_autograd(slow, work.x, work.y, steps=(50, 25)),
        repeat,
    )
    for side in ("explicit", "autograd"):
        done = subprocess.run([sys.executable, __file__, "--memory", side], capture_output=True, text=True, check=True)  # fmt: skip
        say("bptt", f"{side}: {done.stdout.strip()} MB more than before")


def memory(side: str, cache: Path) -> None:
    """Print by how many MB one BPTT gradient raised what this process had in memory (Linux alone tells)."""
    work = Work(CIFAR, cache, mbs=16)
    slow = work.slow()
    Path("/proc/self/clear_refs").write_text("5")  # what is in use now is the most so far
    before = most_in_use()
    if side == "explicit":
        bptt_gradients(work.net, work.x, work.y, steps=(50, 25))
    else:
        bptt_by_autograd(slow, work.x, work.y, steps=(50, 25))
    print(round((most_in_use() - before) / 1024))


def most_in_use() -> int:
    """The most kB that this process had in memory."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


ROWS: dict[str, Callable[[int, Path], None]] = {
    "mlp-epoch": mlp_epoch,
    "cnn-step": lambda repeat, cache: step("cnn-step", Work(CNN, cache), repeat),
    "cifar-step": lambda repeat, cache: step("cifar-step", Work(CIFAR, cache, mbs=16), repeat),
    "cnn-tol": cnn_tol,
    "cifar-fast": cifar_fast,
    "gdu": gdu,
    "bptt": bptt,
}


def main() -> None:
    """Measure the rows that are asked for."""
    count_tiny_as_zero()  # as in a process that trains
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(ROWS), action="append")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "eqprop-benchmarks")
    parser.add_argument("--memory", choices=["explicit", "autograd"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        memory(given.memory, given.cache)
        return
    threads = torch.get_num_threads()
    print(
        f"{platform.processor() or platform.machine()}, {threads} threads, torch {torch.__version__}, {time.ctime()}"
    )
    for name in given.only or ROWS:
        torch.set_num_threads(threads)
        ROWS[name](given.repeat, given.cache)


if __name__ == "__main__":
    main()
