#!/usr/bin/env python3
"""How the time of a training batch grows with samples, time steps and connections, over a decade of each.

    python tests/benchmarks/scaling.py --repeat 5 --figure docs/scaling.png

Networks have random weights and see random images: neither changes what is computed. The sizes of a decade are
measured in turn, `--repeat` times after once for warming up. Printed and drawn are the medians, with the smallest and the largest, and the
slope in logarithms: 1 is linear growth.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch

from eqprop_core.config import RunConfig
from eqprop_core.networks.network import build_network
from eqprop_core.speed.bench import training_step
from eqprop_core.speed.choosing import choose_numerics
from eqprop_core.speed.timing import Timing, alternated, timing_of
from eqprop_core.worker.preparing import choose_threads

matplotlib.use("Agg")
from matplotlib import pyplot

CPU = torch.device("cpu")
SAMPLES = (20, 40, 80, 120, 200)
STEPS = (20, 40, 80, 120, 200)
CONNECTIONS = (2, 4, 8, 12, 20)


def config_of(*, samples: int = 40, steps: int = 40, connections: int | None = None) -> RunConfig:
    """The MNIST CNN 32-64, or that many connections between layers of 512 neurons; a tenth of the steps is nudged."""
    common = {"task": "MNIST", "mbs": samples, "T1": steps, "T2": steps // 10, "betas": (0.0, 0.3), "seed": 0}
    if connections is None:
        return RunConfig(
            model="CNN", act="hard_sigmoid", channels=(32, 64), fc=(10,), lrs=(1e-3,) * 3, **common
        )
    archi = (784, *[512] * (connections + 1), 10)
    return RunConfig(model="MLP", archi=archi, lrs=(1e-3,) * (connections + 2), **common)


def work_of(config: RunConfig) -> Callable[[], object]:
    """A training batch of it."""
    torch.manual_seed(0)
    net = build_network(config.model_part())
    net.use(choose_numerics(net, config, CPU).numerics)
    x = torch.rand(config.mbs, *config.model_part().input_shape)
    step = training_step(net, config, x, torch.arange(config.mbs) % 10)

    def work() -> None:
        net.redraw(torch.Generator().manual_seed(1))  # so that every repetition has the same weights
        step()

    return work


def measured(configs: dict[int, RunConfig], repeat: int) -> dict[int, Timing]:
    """Seconds of a batch for each size."""
    threads = torch.get_num_threads()
    choose_threads(build_network(min(configs.items())[1].model_part()), min(configs.items())[1].mbs)
    found = alternated({str(size): work_of(config) for size, config in configs.items()}, CPU, repeat)
    torch.set_num_threads(threads)
    return {int(size): timing_of(seconds) for size, seconds in found.items()}


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--figure", type=Path, default=Path("scaling.png"))
    given = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}"
    print(machine)
    decades = {
        "samples": {n: config_of(samples=n) for n in SAMPLES},
        "time steps": {n: config_of(steps=n) for n in STEPS},
        "connections": {n: config_of(connections=n) for n in CONNECTIONS},
    }
    figure, panels = pyplot.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for panel, (name, configs) in zip(panels, decades.items(), strict=True):
        found = measured(configs, given.repeat)
        sizes, seconds = np.array(list(found)), np.array([timing.median for timing in found.values()])
        slope = float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
        for size, timing in found.items():
            print(
                f"{name:12} {size:4}  {timing.median:.4f} s  ({timing.shortest:.4f} to {timing.longest:.4f})"
            )
        print(f"{name:12} slope {slope:.2f}", flush=True)
        spread = [
            seconds - [t.shortest for t in found.values()],
            [t.longest for t in found.values()] - seconds,
        ]
        panel.errorbar(sizes, seconds, yerr=spread, fmt="o-", capsize=3, label=f"measured, slope {slope:.2f}")
        linear = statistics.median(seconds / sizes) * sizes
        panel.plot(sizes, linear, ":", color="gray", label="linear")
        panel.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds a training batch")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.legend(frameon=False)
    figure.savefig(given.figure, dpi=110)


if __name__ == "__main__":
    main()
