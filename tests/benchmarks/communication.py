#!/usr/bin/env python3
"""What it costs that several processes train together: the sum of the gradients against the work of a batch.

    python tests/benchmarks/communication.py --repeat 20 --json docs/communication.json

Starts two processes, as `--nproc 2` does, each with one thread. For each preset, a batch (`mbs` images, random
ones: they do not change what is computed) is measured in one process alone and shared by both, and the sum of
the gradients by itself: flattening, adding, taking apart. Long batches are measured with fewer time steps, all
of which take as long. Then what several devices would come to is reckoned from

    seconds of a share + 2 (n − 1) / n · bytes of gradients / bandwidth + 2 (n − 1) · latency

for a ring of n, at bandwidths that are assumed. Printed are medians, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRESETS = ("mnist-mlp-ep", "mnist-cnn-ep", "cifar10-cnn-cel-ep-symmetric")
DEVICES = 8
TOGETHER = "EQPROP_TOGETHER"  # what joins one of the two processes
LONG = 10.0  # seconds; a batch that takes longer is measured with fewer time steps
SHORT = (6, 2)  # of the free and of the nudged phase
LINKS = {  # assumed: bytes a second in each direction, and seconds from one process to the next
    "10 Gbit/s Ethernet": (1.0e9, 50e-6),
    "PCI Express 4": (20e9, 10e-6),
    "NVLink": (200e9, 5e-6),
}


def timed(
    work: Callable[[], object], repeat: int, before: Callable[[], object] = lambda: None
) -> list[float]:
    """Seconds that some work takes, each time after `before`, once for warming up."""
    found = []
    for _ in range(repeat + 1):
        before()
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found[1:]


def measure(name: str, repeat: int, group: Any) -> dict[str, Any]:
    """One preset, in every process; the figures are those of the slower one."""
    import torch

    from eqprop_core.config import combine
    from eqprop_core.data.batches import Batch
    from eqprop_core.events import PhaseProgress
    from eqprop_core.learning.algorithms import ALGORITHMS
    from eqprop_core.learning.batch import train_batch
    from eqprop_core.learning.steps import Steps
    from eqprop_core.networks.network import build_network
    from eqprop_core.presets import load_preset
    from eqprop_core.speed.bench import optimizer_of
    from eqprop_core.speed.choosing import choose_numerics

    whole = combine(
        load_preset(name).config, {"seed": 0, "todo": "train", "data_aug": False, "check_thm": False}
    )
    net = build_network(whole.model_part(), generator=torch.Generator().manual_seed(0))
    net.use(choose_numerics(net, whole, torch.device("cpu")).numerics)
    optimizer = optimizer_of(net, whole)
    draw = torch.Generator().manual_seed(1)
    x = torch.rand(whole.mbs, *whole.model_part().input_shape, generator=draw)
    y = torch.arange(whole.mbs) % net.classes
    weights = {key: value.clone() for key, value in net.state_dict().items()}

    def ready() -> None:
        net.load_state_dict(weights)
        group.gather(None)

    def batch(config: Any, count: int, shared: Any) -> Callable[[], object]:
        rows = shared.rows(count) if shared is not None else slice(0, count)
        item = Batch(0, x[rows], y[rows], rows, count)

        def told(_: PhaseProgress) -> None:
            pass

        return lambda: train_batch(
            ALGORITHMS[config.alg], net, optimizer, config, item, epoch=0,
            steps=Steps(time.monotonic, told, lambda: False), picture=None, judged=True, group=shared,
        )  # fmt: skip

    short = whole.changed(T1=min(SHORT[0], whole.T1), T2=min(SHORT[1], whole.T2))
    sides = 2 if whole.estimator == "symmetric" else 1
    longer = (whole.T1 + sides * whole.T2) / (short.T1 + sides * short.T2)
    begun = time.perf_counter()
    batch(short, whole.mbs, None)()
    brief = group.tell(longer * (time.perf_counter() - begun) > LONG)
    config, factor = (short, longer) if brief else (whole, 1.0)
    count = min(repeat, 3) if brief else repeat

    def alone(images: int) -> list[float]:
        """By rank 0, while the other waits."""
        found = timed(batch(config, images, None), count) if group.rank == 0 else []
        return [factor * seconds for seconds in group.tell(found)]

    one, eighth = alone(whole.mbs), alone(-(-whole.mbs // DEVICES))
    gradients = {key: torch.randn_like(parameter) for key, parameter in net.named_parameters()}

    def summed() -> None:
        group.batch(net, 1, 2)(lambda: gradients)

    sums = timed(summed, max(repeat, 20), ready)
    flat = torch.zeros(sum(parameter.numel() for parameter in net.parameters()))
    raw = timed(lambda: group.add(flat), max(repeat, 20), ready)
    both = timed(batch(config, whole.mbs, group), count, ready)
    sums, raw, both = (
        [max(of_all) for of_all in zip(*group.gather(found), strict=True)] for found in (sums, raw, both)
    )
    communicated = statistics.median(sums)
    both = [factor * (seconds - communicated) + communicated for seconds in both]
    return {
        "preset": name,
        "mbs": whole.mbs,
        "steps": [whole.T1, whole.T2],
        "measured_steps": [config.T1, config.T2],
        "parameters": flat.numel(),
        "bytes": flat.numel() * flat.element_size(),
        "alone": one,
        "eighth": eighth,
        "together": both,
        "sum": sums,
        "add": raw,
    }


def ring(size: int, devices: int, bandwidth: float, latency: float) -> float:
    """Seconds that a sum over a ring takes."""
    return 2 * (devices - 1) / devices * size / bandwidth + 2 * (devices - 1) * latency


def words(seconds: list[float]) -> str:
    """Median, smallest and largest, in milliseconds."""
    low, middle, high = (1e3 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:,.3g} ({low:,.3g} to {high:,.3g}) ms"


def tell(found: dict[str, Any]) -> None:
    """Print what was measured of a preset, and what follows from it."""
    alone, eighth, together, summed = (
        statistics.median(found[key]) for key in ("alone", "eighth", "together", "sum")
    )
    print(f"{found['preset']}: batch of {found['mbs']}, {found['bytes'] / 2**20:.2f} MiB of gradients")
    for key in ("alone", "together", "sum", "add", "eighth"):
        print(f"  {key:<12} {words(found[key])}")
    print(f"  sum / work of a share       {summed / (together - summed):.2%}")
    print(f"  efficiency of 2, measured   {alone / (2 * together):.2f}")
    print(
        f"  fixed batch on {DEVICES}: each share alone has an efficiency of {alone / (DEVICES * eighth):.2f}"
    )
    for link, (bandwidth, latency) in LINKS.items():
        seconds = ring(found["bytes"], DEVICES, bandwidth, latency)
        fixed, grown = alone / (DEVICES * (eighth + seconds)), alone / (alone + seconds)
        print(
            f"    {link:<20} {1e3 * seconds:8.3f} ms a sum: {fixed:.3f}; batch {DEVICES} times as large {grown:.4f}"
        )


def main() -> None:
    """Start two processes of this file, or be one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", nargs="+", default=list(PRESETS))
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from eqprop_core.worker.neighbours import Links, link
    from eqprop_core.worker.ranks import Rank, joined
    from eqprop_core.worker.signals import Wishes

    if TOGETHER not in os.environ:
        started = [
            subprocess.Popen(
                [sys.executable, *sys.argv],
                env={**os.environ, "OMP_NUM_THREADS": "1", TOGETHER: links.document()},
                pass_fds=links.descriptors,
            )
            for links in link(2)
        ]
        sys.exit(max(process.wait() for process in started))
    import torch

    torch.set_num_threads(1)
    links = Links.of_document(os.environ[TOGETHER])
    here = Rank(links.rank, links.size, links.rank, links.size)
    with joined(here, Wishes(), links) as group:
        found = [measure(name, arguments.repeat, group) for name in arguments.preset]
    if here.rank == 0:
        print(f"torch {torch.__version__}, {os.cpu_count()} cores, one thread a process")
        for one in found:
            tell(one)
        if arguments.json:
            arguments.json.write_text(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
