#!/usr/bin/env python3
"""What writing a run down costs: a training alone, the same in a run folder, and there without pictures.

    EQPROP_DATA=… python tests/benchmarks/overhead.py --preset mnist-mlp-ep --repeat 5
    EQPROP_DATA=… python tests/benchmarks/overhead.py --train-samples 10000 --repeat 3

Each repetition trains three times from the same weights, in turn and in this process: (a) the trainer alone,
(b) as a worker does, with events, state, heartbeat, requests, checkpoints, models and pictures, (c) like b
without pictures. Printed is what b and c take more than a until the last epoch is over, in per cent, by CPU time
(all threads of the process) and by the clock, which others on the machine disturb; and, apart, what is done once
at the end of a run: the final files, all pictures, the arrays of the last GDU check. "Counted" is the CPU time that
passes in what writes and listens, of the training thread and of all others, in per cent of the rest: it does not
depend on a comparison of two trainings, which on a busy machine differ by more than what is looked for.
Then `eqprop --help` and `eqprop runs list` over 1,000 made run folders.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from eqprop_core.config import RunConfig
from eqprop_core.data.datasets import load_dataset
from eqprop_core.data.randomness import generator
from eqprop_core.events import Record
from eqprop_core.learning.trainer import Trainer
from eqprop_core.networks.network import build_network
from eqprop_core.presets import load_preset
from eqprop_core.runs.folder import RunFolder
from eqprop_core.runs.settings import make_plan
from eqprop_core.worker import process
from eqprop_core.worker.preparing import choose_threads
from eqprop_core.worker.requests import Requests
from eqprop_core.worker.session import Session


@dataclass(frozen=True)
class Taken:
    """Seconds of CPU time and by the clock."""

    cpu: float
    clock: float


def now() -> Taken:
    """The time."""
    return Taken(time.process_time(), time.perf_counter())


def since(before: Taken) -> Taken:
    """The time that has passed."""
    after = now()
    return Taken(after.cpu - before.cpu, after.clock - before.clock)


def timed(work: Callable[[], object]) -> Taken:
    """How long something takes."""
    begun = now()
    work()
    return since(begun)


def alone(config: RunConfig) -> Taken:
    """The trainer, nothing written."""
    assert config.seed is not None
    data = config.data_root
    dataset = load_dataset(
        config.task,
        root=data,
        train_samples=config.train_samples,
        test_samples=config.test_samples,
        val_split=config.val_split,
        seed=config.seed,
        image_size=config.image_size,
    )
    net = build_network(config.model_part(), generator=generator(config.seed, "weights"))
    choose_threads(net, config.mbs)
    trainer = Trainer(config, net, dataset)
    return timed(lambda: sum(1 for _ in trainer.run()))


@dataclass(frozen=True)
class Kept:
    """A training in a run folder: until the last epoch was over, after it, and CPU time counted of the former."""

    epochs: Taken
    end: Taken
    counted: float

    @property
    def share(self) -> float:
        """What was counted, in per cent of the rest."""
        return 100 * self.counted / (self.epochs.cpu - self.counted)


def in_folder(config: RunConfig, root: Path, *, pictures: bool) -> Kept:
    """Train as the worker does; data and network are made before."""
    epochs: list[Taken] = []
    own: list[float] = []
    counted = 0.0
    inside = False

    def counting(whole: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **named: Any) -> Any:
            nonlocal counted, inside
            if inside or threading.current_thread() is not threading.main_thread():
                return whole(*words, **named)
            inside, before = True, time.thread_time()
            try:
                value = whole(*words, **named)
                return iter(list(value)) if isinstance(value, Generator) else value
            finally:
                inside = False
                counted += time.thread_time() - before

        return call

    def finishing(self: Session, trainer: Trainer) -> Iterator[Record]:
        epochs.append(since(begun))
        own.extend([time.thread_time() - thread, counted])
        return finish(self, trainer)

    finish = Session.finish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "finish", finishing)
        for owner, name in ((Session, "emit"), (Session, "after"), (Requests, "boundary")):
            patch.setattr(owner, name, counting(getattr(owner, name)))
        if not pictures:
            for name in ("_draw", "_draw_all"):
                patch.setattr(Session, name, lambda self, trainer: iter(()))
        run = RunFolder.create(root, config, command=["overhead"])
        work = process.begin(make_plan("train", {"load_path": str(run.path)}), run=run)
        begun, thread = now(), time.thread_time()
        for _ in work.records:
            pass
        whole = since(begun)
    end = Taken(whole.cpu - epochs[0].cpu, whole.clock - epochs[0].clock)
    return Kept(epochs[0], end, own[1] + epochs[0].cpu - own[0])


def spread(values: list[float], unit: str) -> str:
    """Median, and the lowest and highest value."""
    return f"{statistics.median(values):8.2f} {unit}  ({min(values):.2f} to {max(values):.2f})"


def command(words: list[str], repeat: int, environment: dict[str, str]) -> list[Taken]:
    """Runs of a command, the first one left out: files are not in memory yet."""
    taken = []
    for _ in range(repeat + 1):
        before = os.times()
        whole = timed(lambda: subprocess.run(words, env=environment, check=True, capture_output=True))
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        taken.append(Taken(cpu, whole.clock))
    return taken[1:]


def made_runs(root: Path, count: int) -> None:
    """Run folders as they lie after a while."""
    config = RunConfig(task="digits", archi=[64, 10, 10], lrs=[0.1, 0.1], epochs=9)
    for number in range(count):
        folder = RunFolder.create(root, config, command=["overhead"])
        state = {"state": "finished", "epoch": 9, "best": 97.0, "last": 96.5, "seconds_an_epoch": 1.0}
        (folder.path / "state.json").write_text(
            json.dumps({**folder.identity(), **state, "epochs": 9, "name": f"made {number}"})
        )


def main() -> None:
    """Measure, print."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--preset", default="mnist-mlp-ep")
    words.add_argument("--train-samples", type=int)
    words.add_argument("--epochs", type=int, default=1)
    words.add_argument("--repeat", type=int, default=5)
    words.add_argument("--runs", type=int, default=1000)
    asked = words.parse_args()
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()  # the folders of this script are nobody's results
    os.environ.pop("EQPROP_RESULTS", None)
    settings = {**load_preset(asked.preset).config, "seed": 0, "device": "cpu", "epochs": asked.epochs}
    if asked.train_samples:
        settings["train_samples"] = asked.train_samples
    config = RunConfig(**settings)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        a: list[Taken] = []
        b: list[Kept] = []
        c: list[Kept] = []
        alone(config.changed(train_samples=min(1000, config.train_samples or 1000), epochs=1))  # warm
        in_folder(config.changed(train_samples=1000, epochs=1), root, pictures=True)
        for turn in range(asked.repeat):
            deeds: list[Callable[[], None]] = [
                lambda: a.append(alone(config)),
                lambda: b.append(in_folder(config, root, pictures=True)),
                lambda: c.append(in_folder(config, root, pictures=False)),
            ]
            for place in range(3):  # each of them is first, second and third in turn
                deeds[(turn + place) % 3]()
        print(f"{platform.platform()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
        print(
            f"python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads; "
            f"{asked.preset}, {asked.epochs} epoch(s), {asked.repeat} repetitions: median (lowest to highest)"
        )
        for name in ("cpu", "clock"):
            base = statistics.median(getattr(one, name) for one in a)
            print(f"{name:>5}  (a) trainer alone    {spread([getattr(one, name) for one in a], 's')}")
            for label, taken in (("(b) in a run folder", b), ("(c) without pictures", c)):
                pairs = [
                    100 * (getattr(two, name) / getattr(one, name) - 1)
                    for one, two in zip(a, (kept.epochs for kept in taken), strict=True)
                ]
                more = 1000 * (statistics.median(getattr(kept.epochs, name) for kept in taken) - base)
                end = [getattr(kept.end, name) for kept in taken]
                print(f"{name:>5}  {label:<20} {spread(pairs, '% more')}, {more:.0f} ms more")
                print(f"{name:>5}  {'':<15} end  {spread(end, 's')}")
        for label, taken in (("(b) in a run folder", b), ("(c) without pictures", c)):
            print(f"counted {label:<20} {spread([kept.share for kept in taken], '% of the rest')}")
        eqprop = [sys.executable, "-m", "eqprop_tui.cli.main"]
        made_runs(root / "made", asked.runs)
        environment = {
            **os.environ,
            "EQPROP_RESULTS": str(root / "made"),
            "XDG_STATE_HOME": temporary,
            "PYTHONPYCACHEPREFIX": str(root / "compiled"),  # as an installed package is
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for say in (["--help"], ["runs", "list"]):
            times = command([*eqprop, *say], asked.repeat, environment)
            print(
                f"eqprop {' '.join(say):<10} {spread([one.clock for one in times], 's')}, "
                f"CPU time {spread([one.cpu for one in times], 's')}"
            )


if __name__ == "__main__":
    main()
