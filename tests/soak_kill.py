#!/usr/bin/env python3
"""Kill runs again and again, resume them, and see whether anything was lost.

    python tests/soak_kill.py --kills 200

Small trainings by every algorithm are started in processes of their own and ended by SIGKILL at seeded random
moments, in a batch, in an evaluation, in the writing of a checkpoint, right after a start. Each is resumed until
it is complete, and must then have the weights, the optimizer's state, the histories and the best accuracy of one
that was left alone, bit for bit.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from eqprop_core.config import RunConfig
from eqprop_core.runs.folder import CHECKPOINT, FINAL_CHECKPOINT, RunFolder
from eqprop_core.worker import checkpoint

BASE: dict[str, Any] = {
    "task": "digits", "archi": [64, 24, 10], "lrs": [0.05, 0.05], "T1": 10, "T2": 5, "betas": [0.0, 0.3],
    "mbs": 4, "epochs": 6, "seed": 5, "checkpoint_every": 0.002,
}  # fmt: skip
CNN: dict[str, Any] = {
    "model": "VFCNN", "archi": None, "channels": [4, 6], "kernels": [3, 3], "paddings": [1, 1], "lrs": [0.1] * 3,
    "act": "my_hard_sig", "loss": "cel", "softmax": True, "train_samples": 400, "mbs": 16,
}  # fmt: skip
TABLE: dict[str, dict[str, Any]] = {
    "one-sided, momentum": {"mmt": 0.9},
    "random sign, adam": {"random_sign": True, "optim": "adam", "lrs": [1e-3, 1e-3]},
    "symmetric, dropout, decay": {"thirdphase": True, "dropouts": [0.9, 0.7, 1.0], "lr_decay": True},
    "bptt, validation": {"alg": "BPTT", "val_split": 0.2, "mmt": 0.9},
    "continual": {"alg": "CEP", "thirdphase": True, "wds": [1e-3, 1e-3]},
    "vector field": {**CNN, "thirdphase": True, "same_update": True},
}


def start(run: RunFolder) -> subprocess.Popen[bytes]:
    """The worker of a run."""
    with (run.path / "console.log").open("ab") as console:
        return subprocess.Popen(
            [sys.executable, "-m", "eqprop_core.worker", str(run.path)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=console,
            stderr=console,
        )


def same(a: Any, b: Any) -> bool:
    """Equal in every bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def end_of(run: RunFolder) -> dict[str, Any]:
    """What must be equal at the end."""
    content = checkpoint.load(run.path / FINAL_CHECKPOINT)
    kept = ("model_state_dict", "optimizer_state_dict", "histories", "best_accuracy", "position")
    return {name: content[name] for name in kept}


def main() -> int:
    """Kill, resume, compare; returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    chance = random.Random(words.seed)
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()  # the folders of this script are nobody's results
    lost = before_first = kills = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        expected: dict[str, dict[str, Any]] = {}
        lengths: dict[str, float] = {}
        for name, more in TABLE.items():
            run = RunFolder.create(root, RunConfig(**{**BASE, **more}), command=[name])
            begun = time.monotonic()
            assert start(run).wait() == 0, (run.path / "console.log").read_text()
            lengths[name] = time.monotonic() - begun
            expected[name] = end_of(run)
        while kills < words.kills:
            name = chance.choice(list(TABLE))
            run = RunFolder.create(root, RunConfig(**{**BASE, **TABLE[name]}), command=[name])
            times = 0
            while not (run.path / FINAL_CHECKPOINT).exists():
                process = start(run)
                if kills + times >= words.kills:
                    process.wait()
                    break
                try:
                    process.wait(chance.uniform(1.0, lengths[name]))
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    times += 1
                    before_first += not (run.path / CHECKPOINT).exists()
            kills += times
            equal = (run.path / FINAL_CHECKPOINT).exists() and same(end_of(run), expected[name])
            lost += not equal
            print(
                f"{kills:4d} kills  {name:<26} killed {times} times: {'equal' if equal else 'LOST'}",
                flush=True,
            )
    print(f"{kills} kills, {before_first} before a first checkpoint; {lost} runs differ from one left alone")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
