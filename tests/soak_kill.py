#!/usr/bin/env python3
"""Kill, stop, pause and change runs again and again, resume them, and see whether anything was lost.

    python tests/soak_kill.py --kills 200

Small trainings by every algorithm are started in processes of their own and met at seeded random moments, in a
batch, in an evaluation, in the writing of a checkpoint, right after a start: by SIGKILL mostly, by SIGTERM, by
requests to stop, to pause and to go on, and to change the learning rates and the number of epochs. Each is resumed
until it is complete, and must then have the weights, the optimizer's state, the histories and the best accuracy of
one that was left alone, bit for bit. Where a run was changed in flight, the one left alone is trained afterwards,
with the same changes at the same places.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from interruptions import same

from eqprop_core.config import RunConfig
from eqprop_core.events import Amended
from eqprop_core.runs.control import ask
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.log import EventLog, read_events
from eqprop_core.runs.names import CHECKPOINT, EVENTS, FINAL_CHECKPOINT
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

DEEDS = {"kill": 6, "term": 1, "stop": 1, "pause": 1, "set": 1}  # how likely


def start(run: RunFolder) -> subprocess.Popen[bytes]:
    """The worker of a run."""
    with (run.path / "console.log").open("ab") as console:
        return subprocess.Popen(
            [sys.executable, "-m", "eqprop_core.worker", str(run.path)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=console,
            stderr=console,
        )


def end_of(run: RunFolder) -> dict[str, Any]:
    """What must be equal at the end."""
    content = checkpoint.load(run.path / FINAL_CHECKPOINT)
    kept = ("model_state_dict", "optimizer_state_dict", "histories", "best_accuracy", "position")
    return {name: content[name] for name in kept}


def changes_of(run: RunFolder) -> list[Amended]:
    """The changes that were made in flight, each once."""
    found: list[Amended] = []
    for record in read_events(run.path / EVENTS):
        if isinstance(record.event, Amended) and record.event not in found:
            found.append(record.event)
    return found


def left_alone(root: Path, name: str, changes: list[Amended]) -> RunFolder:
    """A run that nothing happened to, changed at the same places as another."""
    run = RunFolder.create(root, RunConfig(**{**BASE, **TABLE[name]}), command=[name])
    if changes:  # as if its first process had died after them: they are made again
        log = EventLog(run.path / EVENTS)
        for change in changes:
            log.write(change)
        log.close()
    assert start(run).wait() == 0, (run.path / "console.log").read_text()
    return run


def meet(run: RunFolder, process: subprocess.Popen[bytes], deed: str, chance: random.Random) -> bool:
    """Do something to a run's process; whether it has ended by that."""
    match deed:
        case "kill":
            process.kill()
        case "term":
            process.terminate()
        case "stop":
            ask(run.path, "stop")
        case "set":
            settings = chance.choice(
                [{"lr_factor": chance.choice([0.5, 2.0])}, {"epochs": chance.randint(5, 7)}]
            )
            ask(run.path, "set", settings)
            return False
        case "pause":
            ask(run.path, "pause")
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.3, 1.0))
            ask(run.path, "resume")
            return False
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        print(f"{run.path}: has not heard {deed} for a minute", flush=True)
        process.kill()
        process.wait()
        raise
    return True


def trouble(run: RunFolder, length: float, left: int, chance: random.Random) -> Counter[str]:
    """Start and meet a run until it is complete, killing it `left` times at most; how often what was done."""
    done: Counter[str] = Counter()
    while not (run.path / FINAL_CHECKPOINT).exists():
        process = start(run)
        assert sum(done.values()) < 200, (run.path / "console.log").read_text()[-2000:]
        ended = done["kill"] >= left and process.wait() is not None
        while not ended:
            try:
                process.wait(chance.uniform(1.0, length))
                break
            except subprocess.TimeoutExpired:
                (deed,) = chance.choices(list(DEEDS), list(DEEDS.values()))
                done[deed] += 1
                ended = meet(run, process, deed, chance)
                done["kill before a first checkpoint"] += (
                    deed == "kill" and not (run.path / CHECKPOINT).exists()
                )
    return done


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
    lost = changed = 0
    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        expected: dict[str, RunFolder] = {}
        lengths: dict[str, float] = {}
        for name in TABLE:
            begun = time.monotonic()
            expected[name] = left_alone(root, name, [])
            lengths[name] = time.monotonic() - begun
        while done["kill"] < words.kills:
            name = chance.choice(list(TABLE))
            run = RunFolder.create(root, RunConfig(**{**BASE, **TABLE[name]}), command=[name])
            times = trouble(run, lengths[name], words.kills - done["kill"], chance)
            done += times
            changes = changes_of(run)
            changed += bool(changes)
            whole = left_alone(root, name, changes) if changes else expected[name]
            equal = same(end_of(run), end_of(whole))
            lost += not equal
            what = ", ".join(f"{deed} {count}" for deed, count in times.items() if deed in DEEDS)
            print(
                f"{done['kill']:4d} kills  {name:<26} {what or 'nothing'}: {'equal' if equal else 'LOST'}",
                flush=True,
            )
    counts = ", ".join(f"{done[deed]} × {deed}" for deed in DEEDS)
    print(
        f"{counts}; {done['kill before a first checkpoint']} kills before a first checkpoint, {changed} runs "
        f"changed in flight; {lost} runs differ from one left alone"
    )
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
