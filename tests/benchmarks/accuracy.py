#!/usr/bin/env python3
"""What --fast costs in accuracy: trainings exactly and with --fast, in pairs from the same weights and batches.

    EQPROP_DATA=… python tests/benchmarks/accuracy.py --preset mnist-mlp-ep --epochs 5 --seeds 0 1 2
    EQPROP_DATA=… python tests/benchmarks/accuracy.py --preset mnist-cnn-ep --train-samples 10000 --seeds 0 1 2

Each training is a run of its own in a temporary folder, as `eqprop train` would do it. Printed are its test
accuracy after the last epoch and its seconds, and the mean difference of the pairs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from eqprop_core.events import EpochFinished, Warned
from eqprop_core.presets import load_preset
from eqprop_core.runs.settings import Plan
from eqprop_core.worker import process


def train(preset: str, results: Path, **settings: object) -> tuple[float, float]:
    """Test accuracy in per cent after the last epoch, and the seconds of all epochs."""
    config = load_preset(preset).run_config(**settings)
    work = process.begin(Plan(config), root=results)
    accuracy, seconds = 0.0, 0.0
    for record in work.records:
        event = record.event
        if isinstance(event, Warned):
            print(f"    {event.message}", flush=True)
        if isinstance(event, EpochFinished) and event.test_accuracy is not None:
            accuracy, seconds = event.test_accuracy, seconds + event.seconds
    return accuracy, seconds


def main() -> None:
    """Train in pairs, and print every figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="mnist-mlp-ep")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--train-samples", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    settings = {"epochs": given.epochs, "train_samples": given.train_samples, "check_thm": False}
    differences = []
    for seed in given.seeds:
        found = {}
        for fast in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                found[fast] = train(given.preset, Path(folder), seed=seed, fast=fast, **settings)
            name = "--fast" if fast else "exact"
            print(f"seed {seed}  {name:7} {found[fast][0]:.2f} %  {found[fast][1]:.1f} s", flush=True)
        differences.append(found[True][0] - found[False][0])
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    print(
        f"--fast − exact: {statistics.mean(differences):+.2f} points in the mean, standard deviation {spread:.2f}"
    )


if __name__ == "__main__":
    main()
