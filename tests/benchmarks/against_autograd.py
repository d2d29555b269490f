#!/usr/bin/env python3
"""Train a preset twice, by the explicit step and by autograd of Φ at every step; print accuracy and time.

    python tests/benchmarks/against_autograd.py --preset mnist-mlp-ep --epochs 1 --no-check-thm --repeat 3
    python tests/benchmarks/against_autograd.py --preset mnist-cnn-ep --train-samples 6000 \\
        --test-samples 2000 --T1 60

The two alternate; both start from the same weights and see the same batches. Flags are those of
`eqprop train` (symmetric networks with --alg EP), --repeat N, and --double for float64.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import Dataset, load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import Network
from eqprop_core.presets import load_preset
from eqprop_core.speed.baseline import AutogradNetwork, train_ep_by_autograd
from eqprop_tui.cli.flags import join_lists


def train(config: RunConfig, dataset: Dataset, *, by_autograd: bool, double: bool) -> tuple[float, float]:
    """Test accuracy in per cent and seconds of a training, evaluation of every epoch included."""
    assert config.seed is not None
    net = (AutogradNetwork if by_autograd else Network)(config.model_part())
    net.redraw(generator(config.seed, "weights"))
    if double:
        net.double()
    algorithm = train_ep_by_autograd if by_autograd else None
    trainer = Trainer(config, net, dataset, algorithm=algorithm)
    begun = time.perf_counter()
    for _ in trainer.run():
        pass
    accuracy = trainer.histories["test"][-1]
    assert accuracy is not None
    return accuracy, time.perf_counter() - begun


def read_arguments(arguments: list[str]) -> tuple[RunConfig, int, bool]:
    """The configuration, the number of repetitions and whether in float64."""
    flags: dict[str, object] = {"seed": 0}
    preset, repeat, double = "mnist-mlp-ep", 1, False
    words = iter(join_lists(arguments))
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        key = name.replace("-", "_")
        if key == "double":
            double = True
        elif key.startswith("no_"):
            flags[key.removeprefix("no_")] = False
        elif key in RunConfig.model_fields and RunConfig.model_fields[key].annotation is bool:
            flags[key] = True
        else:
            value = value if equals else next(words)
            if key == "preset":
                preset = value
            elif key == "repeat":
                repeat = int(value)
            else:
                flags[key] = value
    return load_preset(preset).run_config(**flags), repeat, double


def main() -> None:
    """Alternate the two, and print every figure."""
    config, repeat, double = read_arguments(sys.argv[1:])
    dataset = load_dataset(
        config.task,
        root=config.data_root,
        train_samples=config.train_samples,
        test_samples=config.test_samples,
    )
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for run in range(repeat):
        for by_autograd in (False, True):
            accuracy, took = train(config, dataset, by_autograd=by_autograd, double=double)
            seconds[by_autograd].append(took)
            name = "autograd of Φ" if by_autograd else "explicit step"
            print(f"run {run + 1}  {name}  test {accuracy:.2f} %  {took:.2f} s", flush=True)
    for by_autograd, name in ((False, "explicit step"), (True, "autograd of Φ")):
        times = seconds[by_autograd]
        print(f"{name}  median {statistics.median(times):.2f} s  ({min(times):.2f} to {max(times):.2f})")
    ratios = [slow / fast for fast, slow in zip(seconds[False], seconds[True], strict=True)]
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"autograd takes {middle:.2f} times as long ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
